package server

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/go-chi/chi/v5/middleware"
)

// observe logs requests and turns a panic into an answer.
func (s *front) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
		started := time.Now()
		defer func() {
			if s.log.Enabled(r.Context(), slog.LevelDebug) {
				s.log.Debug("HTTP request", "method", r.Method, "path", r.URL.Path, "status", sent.Status(),
					"bytes", sent.BytesWritten(), "took", time.Since(started), "client", r.RemoteAddr)
			}
		}()
		defer s.recover(sent, r)
		next.ServeHTTP(sent, r)
	})
}

// recover answers for a request whose handler panicked.
func (s *front) recover(w middleware.WrapResponseWriter, r *http.Request) {
	reason := recover()
	if reason == nil {
		return
	}
	if reason == http.ErrAbortHandler {
		panic(reason) // wanted: net/http cuts the connection without a word
	}
	s.log.Error("HTTP handler panicked", "method", r.Method, "path", r.URL.Path, "panic", reason, "stack", string(debug.Stack()))
	if w.Status() != 0 {
		panic(http.ErrAbortHandler) // half an answer must not look like a whole one
	}
	s.refuse(w, r, problemf(http.StatusInternalServerError, codeInternal, "Internal server error"))
}

// limit bounds how long a request may take, and how large it may be.
func limit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
		defer cancel()
		r.Body = http.MaxBytesReader(w, r.Body, maxBodyBytes)
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// guard keeps web pages of others from using the reader's browser against a
// server that has no passwords: a page may neither send anything that changes
// state, nor, on loopback, pretend to be of this machine by pointing its own
// name at it (DNS rebinding).
func (s *front) guard(checkHost bool) func(http.Handler) http.Handler {
	origins := http.NewCrossOriginProtection()
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if checkHost && !s.hostAllowed(r.Host) {
				s.refuse(w, r, problemf(http.StatusForbidden, codeForbidden,
					"this server is for its own machine and does not answer to the name %q; use 127.0.0.1 or localhost", r.Host))
				return
			}
			if err := origins.Check(r); err != nil {
				s.refuse(w, r, problemf(http.StatusForbidden, codeForbidden, "%s of a web page of another origin is refused", r.Method))
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// hostAllowed tells whether a Host header can be that of an honest client. An
// address is: rebinding needs a name.
func (s *front) hostAllowed(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	if _, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		return true
	}
	return name == "" || strings.EqualFold(name, "localhost") ||
		slices.ContainsFunc(s.allowedHosts, func(allowed string) bool { return strings.EqualFold(name, allowed) })
}
