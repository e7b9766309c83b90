package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"unicode"
)

// The exit codes that errors of this package ask for.
const (
	exitUsage       = 2
	exitEnvironment = 3
	exitInterrupted = 130 // as shells have it for SIGINT
)

// Error is why something could not be had from a running taskerpy. Its text is
// one line.
type Error struct {
	// Status is the HTTP status of the answer, 0 without one.
	Status int
	// Code is the code of the error body (engine-semantics §9.8), "" without
	// one.
	Code string
	// Message says what is wrong and what to do.
	Message string

	exit  int
	cause error
}

// Error is the message.
func (e *Error) Error() string { return e.Message }

// Unwrap gives the network's error, nil for an answer.
func (e *Error) Unwrap() error { return e.cause }

// ExitCode is what a command that fails with the error should end with: 2 if
// what was asked is wrong, 3 if nobody could answer.
func (e *Error) ExitCode() int { return e.exit }

// usagef is the error of something that the user wrote.
func usagef(format string, args ...any) *Error {
	return &Error{Message: oneLine(fmt.Sprintf(format, args...)), exit: exitUsage}
}

// unreachable explains why no answer came.
func (c *Client) unreachable(ctx context.Context, err error) error {
	e := &Error{exit: exitEnvironment, cause: err}
	var (
		dns     *net.DNSError
		timeout interface{ Timeout() bool }
	)
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		e.Message, e.exit = "interrupted", exitInterrupted
	case errors.Is(err, syscall.ECONNREFUSED):
		e.Message = fmt.Sprintf("no taskerpy listens on %s; start one with `taskerpy run PATH`, or say with --url where it is", c.shown)
	case errors.As(err, &dns):
		e.Message = fmt.Sprintf("host %s of %s cannot be found", dns.Name, c.shown)
	case errors.As(err, &timeout) && timeout.Timeout():
		e.Message = fmt.Sprintf("%s did not answer within %s; TASKER_ORCHESTRATION_TIMEOUT_MS sets how long to wait", c.shown, c.config.Timeout)
	default:
		e.Message = fmt.Sprintf("%s cannot be asked: %v", c.shown, innermost(err))
	}
	e.Message = oneLine(e.Message)
	return e
}

// innermost leaves out the layers that repeat the address.
func innermost(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// refused turns an answer that is an error into one.
func (c *Client) refused(r *http.Response, body []byte) error {
	var said struct {
		Error struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	e := &Error{Status: r.StatusCode, exit: exitEnvironment}
	status := strings.TrimSpace(fmt.Sprintf("%d %s", r.StatusCode, http.StatusText(r.StatusCode)))
	switch {
	case json.Unmarshal(body, &said) == nil && said.Error.Message != "":
		e.Code, e.Message = said.Error.Code, said.Error.Message
	case r.StatusCode == http.StatusNotFound || r.StatusCode < 400:
		// The API explains its own 404s and redirects nobody.
		e.Message = fmt.Sprintf("%s is not the API of a taskerpy: it answers %s", c.shown, status)
		return e
	default:
		e.Message = fmt.Sprintf("%s answers %s", c.shown, status)
		if text := firstLine(body); text != "" {
			e.Message += ": " + text
		}
	}
	switch {
	case r.StatusCode == http.StatusUnauthorized:
		e.exit = exitUsage
		e.Message += "; set TASKER_AUTH_TOKEN or TASKER_API_KEY"
	case r.StatusCode == http.StatusRequestTimeout || r.StatusCode >= 500:
		if after := r.Header.Get("Retry-After"); after != "" {
			e.Message += fmt.Sprintf("; try again in %s s", after)
		}
	default:
		e.exit = exitUsage
	}
	e.Message = oneLine(e.Message)
	return e
}

// unintelligible is an answer that says success but cannot be read.
func (c *Client) unintelligible(err error) error {
	return &Error{
		Message: oneLine(fmt.Sprintf("%s is not the API of a taskerpy: its answer cannot be read: %v", c.shown, err)),
		exit:    exitEnvironment, cause: err,
	}
}

// firstLine is a hint at what a body says that is no error body.
func firstLine(body []byte) string {
	line, _, _ := bytes.Cut(bytes.TrimSpace(body), []byte("\n"))
	if bytes.HasPrefix(line, []byte("<")) { // a proxy's page
		return ""
	}
	return abbreviated(string(line), 200)
}

// oneLine makes text from elsewhere fit for a line on a terminal.
func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r)
	}), " ")
}

func abbreviated(s string, limit int) string {
	s = oneLine(s)
	if runes := []rune(s); len(runes) > limit {
		return string(runes[:limit-1]) + "…"
	}
	return s
}
