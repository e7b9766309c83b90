package auth

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// What tokens say when the options do not ask for something else.
const (
	DefaultIssuer   = "tasker-core"
	DefaultAudience = "tasker-api"
)

// minKeyBits is the least size of an RSA key that is accepted.
const minKeyBits = 2048

// maxKeyBits is the greatest: checking signatures of larger ones takes long.
const maxKeyBits = 16384

// Claims are what a token says.
type Claims struct {
	jwt.RegisteredClaims
	Permissions      []string `json:"permissions"`
	WorkerNamespaces []string `json:"worker_namespaces"`
}

// Tokens checks JSON Web Tokens signed with RS256.
type Tokens struct {
	Key *rsa.PublicKey
	// KeySet has the keys when Key is nil.
	KeySet           *KeySet
	Issuer, Audience string // "" means the defaults
	// Strict refuses tokens with a permission that does not exist; otherwise
	// it is ignored.
	Strict bool
}

// ReadPublicKey reads the PEM file of an RSA public key.
func ReadPublicKey(path string) (*rsa.PublicKey, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read public key: %w", err)
	}
	return ParsePublicKey(path, data)
}

// ParsePublicKey reads the PEM text of an RSA public key; name is for errors.
func ParsePublicKey(name string, data []byte) (*rsa.PublicKey, error) {
	key, err := jwt.ParseRSAPublicKeyFromPEM(data)
	if err != nil {
		return nil, fmt.Errorf("read public key: %s is not the PEM file of an RSA public key: %w", name, err)
	}
	if key.N.BitLen() < minKeyBits {
		return nil, fmt.Errorf("read public key: the key in %s has %d bits; at least %d are needed", name, key.N.BitLen(), minKeyBits)
	}
	return key, nil
}

// Check reads a token and checks signature, issuer, audience and expiry. The
// error is a *Failure, or wraps ErrKeysUnavailable.
func (t *Tokens) Check(ctx context.Context, token string) (Claims, error) {
	issuer, audience := t.Issuer, t.Audience
	if issuer == "" {
		issuer = DefaultIssuer
	}
	if audience == "" {
		audience = DefaultAudience
	}
	var c Claims
	_, err := jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodRS256.Alg()}), jwt.WithIssuer(issuer), jwt.WithAudience(audience), jwt.WithExpirationRequired(),
	).ParseWithClaims(token, &c, func(parsed *jwt.Token) (any, error) {
		if t.Key != nil {
			return t.Key, nil
		}
		kid, _ := parsed.Header["kid"].(string)
		return t.KeySet.key(ctx, kid)
	})
	switch {
	case err == nil:
		return c, nil
	case errors.Is(err, ErrKeysUnavailable):
		return Claims{}, err
	case errors.Is(err, jwt.ErrTokenMalformed):
		return Claims{}, failed(Malformed, "Malformed token", err)
	case errors.Is(err, jwt.ErrTokenExpired):
		return Claims{}, failed(Expired, "Token has expired", err)
	}
	return Claims{}, failed(Invalid, "Invalid token", err)
}

// identity is who a token stands for.
func (t *Tokens) identity(ctx context.Context, token string) (Identity, error) {
	c, err := t.Check(ctx, token)
	if err != nil {
		return Identity{}, err
	}
	g, unknown := ParseGrants(c.Permissions)
	if t.Strict && len(unknown) > 0 {
		return Identity{}, failed(Invalid, "Invalid token: "+unknownError(unknown).Error(), nil)
	}
	return Identity{Name: c.Subject, Grants: g}, nil
}

// Sign makes a token for subject that is valid for so long from now on.
func Sign(key *rsa.PrivateKey, issuer, audience, subject string, permissions []string, valid time.Duration, now time.Time) (string, error) {
	// The audience as a string, not a list of one: others read no list.
	token, err := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{
		"sub": subject, "iss": issuer, "aud": audience, "iat": now.Unix(), "exp": now.Add(valid).Unix(),
		"permissions": permissions, "worker_namespaces": []string{},
	}).SignedString(key)
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	return token, nil
}
