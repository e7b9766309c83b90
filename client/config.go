package client

import (
	"cmp"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Defaults of a Config.
const (
	DefaultURL          = "http://127.0.0.1:8083"
	DefaultTimeout      = 30 * time.Second
	DefaultAPIKeyHeader = "X-API-Key"
)

// Secret is text that shows as ••• wherever it is printed.
type Secret string

// String never gives the secret away.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "•••"
}

// GoString is String, for %#v.
func (s Secret) GoString() string { return strconv.Quote(s.String()) }

// MarshalText is String, for JSON and logs.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Config says where a running taskerpy is and who asks. The zero value of
// each field is its default.
type Config struct {
	URL          string
	Token        Secret // of "Authorization: Bearer"
	APIKey       Secret
	APIKeyHeader string // carries APIKey
	// Timeout bounds one request with its answer.
	Timeout time.Duration
}

// FromEnv fills what c leaves open from the environment of a Tasker client
// (engine-semantics §9.9): addresses, credentials and the time limit. getenv
// is os.Getenv or like it. The error names the variable that is wrong.
func (c Config) FromEnv(getenv func(string) string) (Config, error) {
	return c.fromEnv(getenv, orchestration, worker)
}

// FromWorkerEnv is FromEnv for questions that a worker answers.
func (c Config) FromWorkerEnv(getenv func(string) string) (Config, error) {
	return c.fromEnv(getenv, worker, orchestration)
}

// side is one of the two servers of a Tasker deployment. taskerpy is both.
type side struct{ address, token string }

var (
	orchestration = side{"TASKER_ORCHESTRATION_URL", "TASKER_ORCHESTRATION_AUTH_TOKEN"}
	worker        = side{"TASKER_WORKER_URL", "TASKER_WORKER_AUTH_TOKEN"}
)

func (c Config) fromEnv(getenv func(string) string, asked, other side) (Config, error) {
	if c.URL == "" {
		if c.URL = getenv(asked.address); c.URL == "" {
			if c.URL = getenv(other.address); c.URL != "" {
				asked = other
			}
		}
	}
	// The token of the side that is asked comes before the one for both.
	c.Token = cmp.Or(c.Token, Secret(getenv(asked.token)), Secret(getenv("TASKER_AUTH_TOKEN")))
	c.APIKey = cmp.Or(c.APIKey, Secret(getenv("TASKER_API_KEY")))
	c.APIKeyHeader = cmp.Or(c.APIKeyHeader, getenv("TASKER_API_KEY_HEADER"))
	if text := getenv("TASKER_ORCHESTRATION_TIMEOUT_MS"); c.Timeout == 0 && text != "" {
		ms, err := strconv.ParseUint(text, 10, 31)
		if err != nil || ms == 0 {
			return c, usagef("TASKER_ORCHESTRATION_TIMEOUT_MS is %q; it must be a number of milliseconds from 1 on", text)
		}
		c.Timeout = time.Duration(ms) * time.Millisecond
	}
	return c, nil
}

// address reads a URL as people write it.
func address(text string) (*url.URL, error) {
	text = strings.TrimSpace(cmp.Or(text, DefaultURL))
	full := text
	if !strings.Contains(full, "://") {
		full = "http://" + full
	}
	u, err := url.Parse(full)
	wrong := func(why string) (*url.URL, error) {
		return nil, usagef("%q is not the address of a taskerpy: %s; write it as %s", masked(u, text), why, DefaultURL)
	}
	switch {
	case err != nil:
		return wrong("it is not a URL")
	case u.Scheme != "http" && u.Scheme != "https":
		return wrong(fmt.Sprintf("the scheme is %q", u.Scheme))
	case u.Hostname() == "":
		return wrong("it has no host")
	case u.RawQuery != "" || u.Fragment != "":
		return wrong("it has a query")
	}
	return u, nil
}

// masked is the address without a password. An address that cannot be parsed
// is cut where one might be.
func masked(u *url.URL, text string) string {
	if u != nil {
		if u.User == nil {
			return text
		}
		return u.Redacted()
	}
	if i := strings.LastIndexByte(text, '@'); i >= 0 {
		return "•••" + text[i:]
	}
	return text
}
