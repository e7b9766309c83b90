package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tasker-systems/taskerpy/engine"
)

// The codes of error bodies (engine-semantics §9.8). The last four stand for
// answers that the reference gives as plain text.
const (
	codeBadRequest         = "BAD_REQUEST"
	codeInvalidUUID        = "INVALID_UUID"
	codeJSON               = "JSON_ERROR"
	codeUnauthorized       = "UNAUTHORIZED"
	codeAuthentication     = "AUTHENTICATION_FAILED"
	codeForbidden          = "FORBIDDEN"
	codeAuthorization      = "AUTHORIZATION_FAILED"
	codeNotFound           = "NOT_FOUND"
	codeTimeout            = "TIMEOUT"
	codeConflict           = "CONFLICT"
	codeDatabase           = "DATABASE_ERROR"
	codeInternal           = "INTERNAL_ERROR"
	codeServiceUnavailable = "SERVICE_UNAVAILABLE"
	codeBackpressure       = "BACKPRESSURE"
	codeMethodNotAllowed   = "METHOD_NOT_ALLOWED"
	codePayloadTooLarge    = "PAYLOAD_TOO_LARGE"
	codeUnsupportedMedia   = "UNSUPPORTED_MEDIA_TYPE"
	codeUnprocessable      = "UNPROCESSABLE_ENTITY"
)

const (
	// retrySoon is when a client should come again while the store fails: the
	// engine tries again at least once a second.
	retrySoon = time.Second
	// retryElsewhere is for a process that is going away: by then its
	// successor may answer.
	retryElsewhere = 5 * time.Second
	// retryKeys is for tokens whose keys cannot be fetched.
	retryKeys = 10 * time.Second
)

// problem is an error with its answer.
type problem struct {
	status     int
	code       string
	message    string
	retryAfter time.Duration
	cause      error // for the log; may be nil
}

func (p *problem) Error() string { return p.code + ": " + p.message }

func (p *problem) Unwrap() error { return p.cause }

func problemf(status int, code, format string, args ...any) *problem {
	return &problem{status: status, code: code, message: fmt.Sprintf(format, args...)}
}

func badRequest(format string, args ...any) *problem {
	return problemf(http.StatusBadRequest, codeBadRequest, format, args...)
}

func notFound(format string, args ...any) *problem {
	return problemf(http.StatusNotFound, codeNotFound, format, args...)
}

func unavailable(after time.Duration, format string, args ...any) *problem {
	p := problemf(http.StatusServiceUnavailable, codeServiceUnavailable, format, args...)
	p.retryAfter = after
	return p
}

// problemOf finds the answer to an error of the engine or of this package.
func problemOf(err error) *problem {
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	var p *problem
	switch {
	case errors.Is(err, engine.ErrInvalid):
		p = badRequest("%s", detail(err, engine.ErrInvalid))
	case errors.Is(err, engine.ErrInvalidState):
		p = badRequest("%s", detail(err, engine.ErrInvalidState))
	case errors.Is(err, engine.ErrNotFound):
		p = notFound("%s", err)
	case errors.Is(err, engine.ErrConflict):
		p = problemf(http.StatusConflict, codeConflict, "%s", detail(err, engine.ErrConflict))
	case errors.Is(err, engine.ErrClosed):
		p = unavailable(retryElsewhere, "the engine is closed: this process is ending")
	case errors.Is(err, engine.ErrUnavailable):
		p = unavailable(retrySoon, "%s", err)
	case errors.Is(err, context.DeadlineExceeded):
		p = problemf(http.StatusRequestTimeout, codeTimeout, "the engine did not answer within %s", requestTimeout)
	case errors.Is(err, context.Canceled): // the client has gone; nobody reads this
		p = problemf(http.StatusRequestTimeout, codeTimeout, "the request was cancelled")
	default:
		p = problemf(http.StatusInternalServerError, codeDatabase, "Database operation failed")
	}
	p.cause = err
	return p
}

// detail is what an error says beyond the sentinel that it wraps: a client
// learns the rest from status and code.
func detail(err, sentinel error) string {
	text := err.Error()
	if _, after, ok := strings.Cut(text, sentinel.Error()+": "); ok {
		return after
	}
	return text
}

// refuse answers with an error.
func (s *front) refuse(w http.ResponseWriter, r *http.Request, err error) {
	p := problemOf(err)
	if p.status == http.StatusInternalServerError {
		s.log.Error("answer HTTP request", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	if p.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(p.retryAfter.Seconds())))
	}
	s.write(w, r, p.status, s.refusal(p))
}

// refusalOfServer is the body of a Server's errors.
func refusalOfServer(p *problem) any {
	body := errorBody{Code: p.code, Message: p.message}
	if p.code == codeBackpressure {
		body.RetryAfterSeconds = int(p.retryAfter.Seconds())
	}
	return errorAnswer{body}
}

// errorAnswer is the body of every answer of a Server that is an error
// (engine-semantics §9.8).
type errorAnswer struct {
	Error errorBody `json:"error"`
}

type errorBody struct {
	Code              string `json:"code"`
	Message           string `json:"message"`
	RetryAfterSeconds int    `json:"retry_after_seconds,omitempty"`
}

// joined writes errors that were joined in one line.
func joined(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
