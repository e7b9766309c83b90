package config

import (
	"fmt"
	"strings"
)

// taskerAuth is the table of a deployment's file about who may use a worker's
// HTTP API.
const taskerAuth = "worker.web.auth"

// APIKey is a secret of a client with what it may do.
type APIKey struct {
	Key, Description string
	Permissions      []string
}

// IsPEM tells whether a public key was given itself, and not the file of one.
func IsPEM(key string) bool { return strings.HasPrefix(strings.TrimSpace(key), "-----BEGIN ") }

// readAuth takes what settings cannot hold out of worker.web.auth: the list of
// API keys. It refuses a file that wants clients to be asked in a way that is
// not there, for leaving it out would let everybody in.
func (f *taskerFile) readAuth(c *Config) error {
	if f == nil || !f.authEnabled() {
		return nil
	}
	if c.Auth.PublicKey == "" && !f.usesJWKS() {
		if key, place := firstSet(f.env, "TASKER_JWT_PUBLIC_KEY_PATH", "TASKER_JWT_PUBLIC_KEY"); key != "" {
			c.Auth.PublicKey = key
			c.origins["auth_public_key"] = Origin(place)
		}
	}
	if strict := taskerAuth + ".strict_validation"; c.Origin("auth_strict") == Default && f.lookup(strict) == nil {
		c.Auth.Strict = true // as Tasker has it
		c.origins["auth_strict"] = Origin(f.place(taskerAuth + ".enabled"))
	}
	if f.hasAPIKeys() {
		if err := f.readAPIKeys(c); err != nil {
			return err
		}
	}
	if c.Auth.PublicKey == "" && c.Auth.JWKSURL == "" && c.Auth.Keys == "" && c.Auth.APIKey == "" && len(c.Auth.APIKeys) == 0 {
		return fmt.Errorf("%s: true, but nothing says whom to let in: set jwt_public_key_path, jwks_url, api_key, or api_keys_enabled and api_keys",
			f.place(taskerAuth+".enabled"))
	}
	return nil
}

// readWeb keeps a server that the file turns off out of everybody's reach, also
// where the variable says its address that such files put in themselves.
func (f *taskerFile) readWeb(c *Config) {
	const enabled = "worker.web.enabled"
	if f == nil || f.lookup(enabled) != false || !strings.HasSuffix(string(c.Origin("listen")), "TASKER_WEB_BIND_ADDRESS") {
		return
	}
	c.Listen = withoutWeb(f, "false")[0]
	c.origins["listen"] = Origin(f.place(enabled))
}

func firstSet(env func(string) string, names ...string) (value, name string) {
	for _, name := range names {
		if value := env(name); value != "" {
			return value, name
		}
	}
	return "", ""
}

func (f *taskerFile) readAPIKeys(c *Config) error {
	path := taskerAuth + ".api_keys"
	list, _ := f.lookup(path).([]any)
	for i, item := range list {
		place := fmt.Sprintf("%s[%d]", f.place(path), i)
		table, ok := item.(map[string]any)
		if !ok {
			return fmt.Errorf("%s: want a table", place)
		}
		var key APIKey
		text, _ := table["key"].(string)
		var set bool
		var err error
		if key.Key, set, err = f.substitute(text); err != nil {
			return fmt.Errorf("%s.key: %w", place, err)
		}
		if !set || strings.TrimSpace(key.Key) == "" {
			return fmt.Errorf("%s.key: want the secret", place)
		}
		key.Description, _ = table["description"].(string)
		if permissions, ok := table["permissions"]; ok {
			if key.Permissions, err = texts(permissions); err != nil {
				return fmt.Errorf("%s.permissions: %w", place, err)
			}
		}
		c.Auth.APIKeys = append(c.Auth.APIKeys, key)
	}
	return nil
}
