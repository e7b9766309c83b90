package auth

import (
	"context"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"
)

const (
	// refreshKeys is how long a fetched key set is used without another look.
	refreshKeys = time.Hour
	// forgetKeys is how long it is used at most while it cannot be fetched: a
	// key that was taken back must not be good for ever.
	forgetKeys = 24 * time.Hour
	// fetchPause is the least time between two fetches. Tokens that name keys
	// which do not exist must not turn into load for who has the keys.
	fetchPause = 10 * time.Second
	// fetchTimeout bounds one fetch.
	fetchTimeout = 5 * time.Second

	maxKeySet = 1 << 20 // bytes of an answer
	maxKeys   = 100
)

// ErrKeysUnavailable is the error of a token that cannot be checked now, since
// the key set cannot be fetched. It says nothing about the token.
var ErrKeysUnavailable = errors.New("keys of tokens cannot be fetched")

// KeySet is the RSA keys of a JWKS URL (RFC 7517), fetched when they are first
// needed, every hour, and when a token names an unknown key. It may be used by
// several goroutines at once.
type KeySet struct {
	url   string
	shown string // without password
	http  *http.Client
	now   func() time.Time

	mu      sync.Mutex
	keys    map[string]*rsa.PublicKey // by kid; keys without one have ""
	fetched time.Time                 // when keys came
	tried   time.Time                 // the last fetch, whatever came of it
	failed  error                     // why the last fetch brought nothing
	flight  chan struct{}             // closed when the fetch under way has ended; nil without one
}

// NewKeySet makes the key set of a URL; nothing is fetched yet. The error says
// that it is no http or https URL.
func NewKeySet(address string) (*KeySet, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("%q is not an http or https URL of a JSON Web Key Set", address)
	}
	return &KeySet{
		url: address, shown: u.Redacted(), now: time.Now,
		http: &http.Client{
			Timeout: fetchTimeout,
			// Keys are taken from where the operator said and from nowhere else.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Close frees connections.
func (s *KeySet) Close() { s.http.CloseIdleConnections() }

// key returns the key of an id; "" is the only key there is. The error wraps
// ErrKeysUnavailable, or is that there is no such key.
func (s *KeySet) key(ctx context.Context, kid string) (*rsa.PublicKey, error) {
	for {
		s.mu.Lock()
		now := s.now()
		key, known := s.find(kid)
		age, pause := now.Sub(s.fetched), now.Sub(s.tried)
		usable := known && age < forgetKeys
		switch {
		case usable && age < refreshKeys, usable && (pause < fetchPause || s.flight != nil):
			s.mu.Unlock()
			return key, nil
		case s.flight == nil && !s.tried.IsZero() && pause < fetchPause:
			failed := s.failed
			s.mu.Unlock()
			if failed != nil {
				return nil, fmt.Errorf("%w: %w", ErrKeysUnavailable, failed)
			}
			return nil, fmt.Errorf("no key %q in %s", kid, s.shown)
		}
		flight := s.flight
		if flight == nil {
			flight = make(chan struct{})
			s.flight, s.tried = flight, now
			s.mu.Unlock()
			s.refresh(flight)
			continue
		}
		s.mu.Unlock()
		select {
		case <-flight:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", ErrKeysUnavailable, ctx.Err())
		}
	}
}

func (s *KeySet) find(kid string) (*rsa.PublicKey, bool) {
	if kid == "" && len(s.keys) == 1 {
		for _, key := range s.keys {
			return key, true
		}
	}
	key, ok := s.keys[kid]
	return key, ok
}

// refresh fetches the keys. Others wait for it, so the end of the request that
// it is made for does not end it.
func (s *KeySet) refresh(flight chan struct{}) {
	keys, err := s.fetch()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flight, s.failed = nil, err
	if err == nil {
		s.keys, s.fetched = keys, s.now()
	}
	close(flight)
}

func (s *KeySet) fetch() (map[string]*rsa.PublicKey, error) {
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, s.url, nil)
	if err != nil {
		return nil, fmt.Errorf("fetch keys from %s: %w", s.shown, err)
	}
	r.Header.Set("Accept", "application/json")
	response, err := s.http.Do(r)
	if err != nil {
		return nil, fmt.Errorf("fetch keys: %w", err) // it names the URL, without password
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetch keys from %s: it answers %s", s.shown, response.Status)
	}
	data, err := io.ReadAll(io.LimitReader(response.Body, maxKeySet+1))
	if err == nil && len(data) > maxKeySet {
		err = fmt.Errorf("more than %d bytes", maxKeySet)
	}
	var keys map[string]*rsa.PublicKey
	if err == nil {
		keys, err = parseKeySet(data)
	}
	if err != nil {
		return nil, fmt.Errorf("fetch keys from %s: %w", s.shown, err)
	}
	return keys, nil
}

// webKey is a JSON Web Key as far as RS256 needs it.
type webKey struct {
	Type       string   `json:"kty"`
	Use        string   `json:"use"`
	Operations []string `json:"key_ops"`
	Algorithm  string   `json:"alg"`
	ID         string   `json:"kid"`
	Modulus    string   `json:"n"`
	Exponent   string   `json:"e"`
}

// parseKeySet reads the keys of a set that tokens may be signed with. Keys for
// something else are left out, as RFC 7517 §5 wants it.
func parseKeySet(data []byte) (map[string]*rsa.PublicKey, error) {
	var set struct {
		Keys []webKey `json:"keys"`
	}
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, fmt.Errorf("not a JSON Web Key Set: %w", err)
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("%d keys; at most %d are taken", len(set.Keys), maxKeys)
	}
	keys := map[string]*rsa.PublicKey{}
	for _, k := range set.Keys {
		if key, ok := k.rsa(); ok {
			keys[k.ID] = key
		}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("no RSA key of at least %d bits for signatures", minKeyBits)
	}
	return keys, nil
}

func (k webKey) rsa() (*rsa.PublicKey, bool) {
	switch {
	case k.Type != "RSA",
		k.Use != "" && k.Use != "sig",
		k.Algorithm != "" && k.Algorithm != "RS256",
		len(k.Operations) > 0 && !slices.Contains(k.Operations, "verify"):
		return nil, false
	}
	n, err := base64.RawURLEncoding.DecodeString(k.Modulus)
	if err != nil {
		return nil, false
	}
	e, err := base64.RawURLEncoding.DecodeString(k.Exponent)
	if err != nil {
		return nil, false
	}
	modulus, exponent := new(big.Int).SetBytes(n), new(big.Int).SetBytes(e)
	if modulus.BitLen() < minKeyBits || modulus.BitLen() > maxKeyBits || exponent.BitLen() > 31 || exponent.Int64() < 3 || exponent.Bit(0) == 0 {
		return nil, false
	}
	return &rsa.PublicKey{N: modulus, E: int(exponent.Int64())}, true
}
