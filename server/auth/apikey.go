package auth

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// DefaultAPIKeyHeader carries an API key when the options name no other.
const DefaultAPIKeyHeader = "X-API-Key"

// maxKeysFile bounds a file of API keys, in bytes.
const maxKeysFile = 1 << 20

// APIKey is a secret that stands for some permissions. Only the SHA-256 of it
// is kept.
type APIKey struct {
	Description string
	Sum         [sha256.Size]byte
	Grants      Grants
}

// NewAPIKey makes an API key of a secret.
func NewAPIKey(secret, description string, g Grants) APIKey {
	return APIKey{Description: description, Sum: sha256.Sum256([]byte(secret)), Grants: g}
}

// ParseAPIKey makes an API key of a secret and the words for its permissions,
// as in "tasks:read" and "dlq:*". The error is of a permission that does not
// exist.
func ParseAPIKey(secret, description string, permissions []string) (APIKey, error) {
	g, unknown := ParseGrants(permissions)
	if len(unknown) > 0 {
		return APIKey{}, unknownError(unknown)
	}
	return NewAPIKey(secret, description, g), nil
}

// find returns the key with this secret. The time that it takes tells nothing
// about the keys.
func find(keys []APIKey, secret string) (APIKey, bool) {
	sum := sha256.Sum256([]byte(secret))
	at := -1
	for i := range keys {
		at = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(sum[:], keys[i].Sum[:]), i, at)
	}
	if at < 0 {
		return APIKey{}, false
	}
	return keys[at], true
}

// ReadAPIKeys reads a TOML file of API keys:
//
//	[[key]]
//	description = "dashboard"
//	sha256 = "9f86d081…"       # or key = "the secret itself"
//	permissions = ["tasks:read", "tasks:list", "dlq:*"]
//
// The error names the file and the key at fault.
func ReadAPIKeys(path string) ([]APIKey, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read API keys: %w", err)
	}
	defer func() { _ = f.Close() }()
	var file struct {
		Key []keyEntry `toml:"key"`
	}
	d := toml.NewDecoder(io.LimitReader(f, maxKeysFile))
	d.DisallowUnknownFields()
	if err := d.Decode(&file); err != nil {
		return nil, fmt.Errorf("read API keys: %s: %w", path, explained(err))
	}
	if len(file.Key) == 0 {
		return nil, fmt.Errorf("read API keys: %s has none; begin each with a line [[key]]", path)
	}
	var keys []APIKey
	for i, entry := range file.Key {
		k, err := entry.apiKey()
		if err != nil {
			return nil, fmt.Errorf("read API keys: %s: key %d (%q): %w", path, i+1, entry.Description, err)
		}
		keys = append(keys, k)
	}
	return keys, nil
}

type keyEntry struct {
	Description string   `toml:"description"`
	Key         string   `toml:"key"`
	SHA256      string   `toml:"sha256"`
	Permissions []string `toml:"permissions"`
}

func (e keyEntry) apiKey() (APIKey, error) {
	g, unknown := ParseGrants(e.Permissions)
	switch {
	case len(unknown) > 0:
		return APIKey{}, unknownError(unknown)
	case len(e.Permissions) == 0:
		return APIKey{}, errors.New("it has no permissions")
	case (e.Key == "") == (e.SHA256 == ""):
		return APIKey{}, errors.New("give either key or sha256")
	case e.Key != "":
		return NewAPIKey(e.Key, e.Description, g), nil
	}
	sum, err := hex.DecodeString(strings.TrimSpace(e.SHA256))
	if err != nil || len(sum) != sha256.Size {
		return APIKey{}, errors.New("sha256 must be 64 hexadecimal digits")
	}
	return APIKey{Description: e.Description, Sum: [sha256.Size]byte(sum), Grants: g}, nil
}

// explained puts a TOML error into one line with its place.
func explained(err error) error {
	var strict *toml.StrictMissingError
	if errors.As(err, &strict) && len(strict.Errors) > 0 {
		e := strict.Errors[0]
		line, _ := e.Position()
		return fmt.Errorf("line %d: unknown key %q", line, strings.Join(e.Key(), "."))
	}
	var syntax *toml.DecodeError
	if errors.As(err, &syntax) {
		line, column := syntax.Position()
		return fmt.Errorf("line %d, column %d: %s", line, column, strings.TrimPrefix(syntax.Error(), "toml: "))
	}
	return err
}
