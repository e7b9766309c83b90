package auth

import (
	"cmp"
	"crypto/rand"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Identity is who asks.
type Identity struct {
	Name   string // a token's subject or a key's description; may be empty
	Grants Grants
}

// Reason says why somebody is refused.
type Reason string

// The reasons.
const (
	Missing   Reason = "missing"   // no credentials
	Expired   Reason = "expired"   // of a token
	Invalid   Reason = "invalid"   // not ours
	Malformed Reason = "malformed" // not even of the right form
	Forbidden Reason = "forbidden" // good credentials, without the permission
)

// Severity says how much a refusal looks like an attack: low, medium or high.
func (r Reason) Severity() string {
	switch r {
	case Malformed, Forbidden:
		return "medium"
	case Invalid:
		return "high"
	}
	return "low"
}

// RetryAfter is how long a client should wait before it asks again; 0 means
// as it likes.
func (r Reason) RetryAfter() time.Duration {
	switch r.Severity() {
	case "medium":
		return 5 * time.Second
	case "high":
		return time.Minute
	}
	return 0
}

// Failure is why a request is refused.
type Failure struct {
	Reason  Reason
	Message string // for the client
	cause   error  // for the log; may be nil
}

// Error tells also what the client is not told.
func (f *Failure) Error() string {
	if f.cause != nil {
		return fmt.Sprintf("%s: %v", f.Message, f.cause)
	}
	return f.Message
}

// Unwrap gives what the client is not told.
func (f *Failure) Unwrap() error { return f.cause }

func failed(r Reason, message string, cause error) *Failure { return &Failure{r, message, cause} }

// Options say whose credentials are good.
type Options struct {
	Tokens  *Tokens // nil: tokens are not looked at
	APIKeys []APIKey
	// APIKeyHeader carries an API key; "" means DefaultAPIKeyHeader.
	APIKeyHeader string
}

// Authenticator knows requests by their credentials. It may be used by several
// goroutines at once.
type Authenticator struct {
	o   Options
	own APIKey
	// ownSecret is behind a function, so that nothing that prints an
	// Authenticator prints it.
	ownSecret func() string
}

// New makes an Authenticator.
func New(o Options) *Authenticator {
	o.APIKeyHeader = cmp.Or(o.APIKeyHeader, DefaultAPIKeyHeader)
	secret := rand.Text()
	return &Authenticator{o: o, own: NewAPIKey(secret, "handlers of this process", ownGrants()), ownSecret: func() string { return secret }}
}

// ownGrants are what clients in handlers of the serving process may do: what
// tasker_core's TaskerClient has methods for.
func ownGrants() Grants {
	g, _ := ParseGrants([]string{"tasks:*", "steps:*"}) // none of them is unknown
	return g
}

// OwnKey is a header with a key that was made for this Authenticator: for
// clients in handlers of the process that serves, which need no credentials of
// anybody's. It is a secret of the process and good for tasks and steps only;
// it is in no configuration and ends with the process.
func (a *Authenticator) OwnKey() (header, secret string) { return a.o.APIKeyHeader, a.ownSecret() }

// Options are those it was made with, defaults filled in.
func (a *Authenticator) Options() Options { return a.o }

// Identify finds out who sends a request: by a bearer token, or else by an API
// key. The error is a *Failure, or wraps ErrKeysUnavailable.
func (a *Authenticator) Identify(r *http.Request) (Identity, error) {
	authorization := r.Header.Get("Authorization")
	if a.o.Tokens != nil && authorization != "" {
		scheme, token, _ := strings.Cut(authorization, " ")
		if strings.EqualFold(scheme, "Bearer") {
			return a.o.Tokens.identity(r.Context(), strings.TrimSpace(token))
		}
	}
	secret := r.Header.Get(a.o.APIKeyHeader)
	if key, ok := find([]APIKey{a.own}, secret); ok {
		return Identity{Name: key.Description, Grants: key.Grants}, nil
	}
	if secret != "" && len(a.o.APIKeys) > 0 {
		key, ok := find(a.o.APIKeys, secret)
		if !ok {
			return Identity{}, failed(Invalid, "Invalid API key", nil)
		}
		return Identity{Name: key.Description, Grants: key.Grants}, nil
	}
	if a.o.Tokens != nil && authorization != "" {
		return Identity{}, failed(Malformed, "Malformed Authorization header: write Bearer and the token", nil)
	}
	return Identity{}, failed(Missing, "Authentication required: "+a.ways(), nil)
}

// ways says what to send.
func (a *Authenticator) ways() string {
	var ways []string
	if a.o.Tokens != nil {
		ways = append(ways, "a bearer token in the header Authorization")
	}
	if len(a.o.APIKeys) > 0 {
		ways = append(ways, "an API key in the header "+a.o.APIKeyHeader)
	}
	return "send " + strings.Join(ways, " or ")
}

// Require checks that the sender of a request has a permission. The error is
// that of Identify, or a *Failure.
func (a *Authenticator) Require(r *http.Request, p Permission) (Identity, error) {
	who, err := a.Identify(r)
	if err != nil {
		return Identity{}, err
	}
	if !who.Grants.Allow(p) {
		return who, failed(Forbidden, "Missing required permission: "+string(p), nil)
	}
	return who, nil
}
