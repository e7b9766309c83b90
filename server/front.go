package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tasker-systems/taskerpy/server/auth"
)

const (
	// A client gets readHeaderTimeout to send its headers and readTimeout for
	// the whole request; the engine gets requestTimeout to answer, as the
	// reference's request_timeout_ms.
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 30 * time.Second
	requestTimeout    = 30 * time.Second
	// writeTimeout counts from the end of the headers, so it covers reading the
	// body and the engine's answer too.
	writeTimeout = readTimeout + requestTimeout + 30*time.Second
	idleTimeout  = 2 * time.Minute

	maxHeaderBytes = 64 << 10
	// maxBodyBytes leaves room around a context of 1 MiB (engine-semantics
	// §2.3), whose size is counted without insignificant white space.
	maxBodyBytes = 2 << 20
)

// defaultEnvironment is what is shown when TASKER_ENV says nothing.
const defaultEnvironment = "development"

// front is what Server and Worker have in common: the life from Start to Stop,
// who is let in, and how answers are sent. What they serve is theirs.
type front struct {
	log          *slog.Logger
	auth         *auth.Authenticator // nil lets everybody in
	allowedHosts []string
	// routes are all that is served; nowhere answers for all other paths.
	routes  func() []route
	nowhere http.HandlerFunc
	// refusal is the body of an answer that is an error.
	refusal func(p *problem) any
	about   about // for the OpenAPI document

	draining atomic.Bool
	stopping chan struct{} // closed when streams are to end
	stop     sync.Once     // closes it

	mu       sync.Mutex
	http     *http.Server // nil before Start
	listener net.Listener
	served   chan struct{} // closed when the accept loop has ended
	stopped  bool
}

func orDiscard(log *slog.Logger) *slog.Logger {
	if log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return log
}

// ErrStarted and ErrStopped are what Start returns the second time, and after
// Stop.
var (
	ErrStarted = errors.New("server is started already")
	ErrStopped = errors.New("server is stopped")
)

// Start listens on addr ("host:port"; port 0 picks a free one) and serves until
// Stop. It returns when requests are answered. The error is ErrAddressInUse,
// ErrBadAddress, ErrStarted, ErrStopped or the system's.
func (s *front) Start(ctx context.Context, addr string) error {
	l, err := Listen(ctx, addr)
	if err != nil {
		return err
	}
	if err := s.StartOn(l); err != nil {
		return errors.Join(err, l.Close())
	}
	return nil
}

// StartOn is Start with a listener of the caller's, which Stop closes. When it
// returns an error the listener is still the caller's.
func (s *front) StartOn(l net.Listener) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.stopped:
		return ErrStopped
	case s.http != nil:
		return ErrStarted
	}
	s.http = &http.Server{
		Handler:           s.handler(onLoopback(l)),
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug), // clients' mistakes
	}
	s.listener, s.served = l, make(chan struct{})
	go s.serve()
	return nil
}

func (s *front) serve() {
	defer close(s.served)
	if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		s.log.Error("HTTP is not served any more", "address", s.listener.Addr().String(), "error", err)
	}
}

// Addr is the address that Start listens on, "" before.
func (s *front) Addr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener == nil {
		return ""
	}
	return s.listener.Addr().String()
}

// Handler answers requests as a started Server does, but for the check of the
// Host header that comes with listening on loopback.
func (s *front) Handler() http.Handler { return s.handler(false) }

// Drain makes readiness fail and refuses new tasks; everything else is still
// answered. It is called when the worker begins to drain, so that nobody sends
// it work any more. Draining twice is fine.
func (s *front) Drain() { s.draining.Store(true) }

// Draining tells whether Drain was called.
func (s *front) Draining() bool { return s.draining.Load() }

// Stop takes no more requests, ends streams, and waits for requests under way;
// when ctx ends first it cuts them off and returns an error. Stopping what
// never started, and stopping twice, is fine.
func (s *front) Stop(ctx context.Context) error {
	s.draining.Store(true)
	s.stop.Do(func() { close(s.stopping) })
	s.mu.Lock()
	s.stopped = true
	running := s.http
	s.mu.Unlock()
	if running == nil {
		return nil
	}
	err := running.Shutdown(ctx)
	if err != nil {
		err = fmt.Errorf("stop HTTP on %s: requests still under way: %w", s.Addr(), err)
		_ = running.Close() // the connections' errors are of no use
	}
	<-s.served
	return err
}
