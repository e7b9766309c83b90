// Package client asks a running taskerpy, or any server with the task API of
// Tasker (engine-semantics §9), and prints its answers for people.
package client

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 256 << 20

// Client asks one server. It may be used by several goroutines at once.
type Client struct {
	config Config
	base   *url.URL
	shown  string // the address without password
	http   *http.Client
}

// New makes a client; nothing is sent yet. The error tells that the address is
// none.
func New(c Config) (*Client, error) {
	base, err := address(c.URL)
	if err != nil {
		return nil, err
	}
	c.URL = base.String()
	c.APIKeyHeader = cmp.Or(c.APIKeyHeader, DefaultAPIKeyHeader)
	c.Timeout = cmp.Or(c.Timeout, DefaultTimeout)
	return &Client{
		config: c, base: base, shown: base.Redacted(),
		http: &http.Client{
			// The API redirects nobody, and credentials must not follow.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Close frees connections. The client must not be used any more.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Answer is what a server said: decoded, and as it came, which keeps integers
// of any size, the order of keys, and what this package does not know of.
type Answer[T any] struct {
	Value T
	Raw   json.RawMessage
}

// ask sends one request and decodes its answer. Nothing is sent twice: the
// caller is a person who can.
func ask[T any](ctx context.Context, c *Client, method string, query url.Values, body any, path ...string) (Answer[T], error) {
	var a Answer[T]
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	request, err := c.request(ctx, method, query, body, path)
	if err != nil {
		return a, err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return a, c.unreachable(ctx, err)
	}
	defer func() { _ = response.Body.Close() }()
	a.Raw, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return a, c.unreachable(ctx, err)
	}
	if len(a.Raw) > maxAnswer {
		return a, c.unintelligible(fmt.Errorf("it is larger than %d MiB", maxAnswer>>20))
	}
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return a, c.refused(response, a.Raw)
	}
	if err := json.Unmarshal(a.Raw, &a.Value); err != nil {
		if syntax := new(json.SyntaxError); errors.As(err, &syntax) {
			err = fmt.Errorf("it is not JSON: %w", err)
		}
		return a, c.unintelligible(err)
	}
	return a, nil
}

func (c *Client) request(ctx context.Context, method string, query url.Values, body any, path []string) (*http.Request, error) {
	escaped := make([]string, len(path))
	for i, element := range path {
		escaped[i] = url.PathEscape(element)
	}
	u := c.base.JoinPath(escaped...)
	u.RawQuery = query.Encode()
	var reader io.Reader
	if body != nil {
		data, err := encode(body)
		if err != nil {
			return nil, usagef("the request cannot be written as JSON: %v", err)
		}
		reader = bytes.NewReader(data)
	}
	r, err := http.NewRequestWithContext(ctx, method, u.String(), reader)
	if err != nil {
		return nil, usagef("%s cannot be asked: %v", c.shown, err)
	}
	r.Header.Set("Accept", "application/json")
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if c.config.Token != "" {
		r.Header.Set("Authorization", "Bearer "+string(c.config.Token))
	}
	if c.config.APIKey != "" {
		r.Header.Set(c.config.APIKeyHeader, string(c.config.APIKey))
	}
	return r, nil
}

func encode(body any) ([]byte, error) {
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	if err := e.Encode(body); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}
