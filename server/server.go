// Package server is the HTTP side of taskerpy: health and metrics for
// operators, and the task API of a Tasker deployment (engine-semantics §9) on
// top of the embedded engine.
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

	"github.com/gofrs/uuid/v5"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/engine"
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

// Engine is what the server needs of an engine.Engine. Stats, Health and
// Templates must not wait for I/O; the errors of the others are those of
// package engine.
type Engine interface {
	Submit(ctx context.Context, r engine.TaskRequest) (engine.Task, error)
	Task(ctx context.Context, id uuid.UUID) (engine.Task, error)
	Tasks(ctx context.Context, f engine.TaskFilter) (engine.TaskList, error)
	Summary(ctx context.Context, id uuid.UUID) (engine.TaskSummary, error)
	Wait(ctx context.Context, task uuid.UUID) (engine.Task, error)
	Watch(task uuid.UUID) (changes <-chan engine.Change, stop func())
	Cancel(ctx context.Context, task uuid.UUID) (engine.Task, error)

	Steps(ctx context.Context, task uuid.UUID) ([]engine.Step, error)
	Step(ctx context.Context, task, step uuid.UUID) (engine.Step, error)
	Audit(ctx context.Context, task, step uuid.UUID) ([]engine.StepAudit, error)
	ResetStep(ctx context.Context, task, step uuid.UUID, o engine.Operation) (engine.Step, error)
	ResolveStep(ctx context.Context, task, step uuid.UUID, o engine.Operation) (engine.Step, error)
	CompleteStep(ctx context.Context, task, step uuid.UUID, o engine.Operation, c engine.Completion) (engine.Step, error)

	DLQ(ctx context.Context, f engine.DLQFilter) ([]engine.DLQEntry, error)
	DLQOfTask(ctx context.Context, task uuid.UUID) (engine.DLQEntry, error)
	UpdateDLQ(ctx context.Context, entry uuid.UUID, u engine.DLQUpdate) error
	DLQStats(ctx context.Context) ([]engine.DLQStats, error)
	Investigations(ctx context.Context, limit int) ([]engine.Investigation, error)
	StaleTasks(ctx context.Context, limit int) ([]engine.StaleTask, error)

	Performance(ctx context.Context, hours int) (engine.Performance, error)
	Bottlenecks(ctx context.Context, limit, least int) (engine.Bottlenecks, error)

	Templates() []engine.RegisteredTemplate
	Stats() engine.Stats
	Health() error
}

// Options say what a Server shows. None of its functions may wait for the GIL
// or for I/O: health and metrics have to answer while handlers spin.
type Options struct {
	Engine Engine
	// Dispatch tells where the dispatcher stands; nil leaves that out.
	Dispatch func() dispatch.Stats
	// Lanes gives the body of /debug/lanes; without it the route is missing.
	Lanes func() any
	// Events counts domain events for /metrics/events; without it the route is
	// missing.
	Events func() EventStats
	// Config gives what /config shows as "configuration", secrets masked; nil
	// leaves that out.
	Config func() any
	// Metrics serves /metrics; without it the route is missing.
	Metrics http.Handler

	Version     string
	Environment string // the active TASKER_ENV; "" means "development"
	WorkerID    string // "" leaves worker_id out of health answers

	// Auth says who may ask for what; nil lets everybody ask for everything.
	Auth *auth.Authenticator

	// AllowedHosts are further names under which clients may address a server
	// that listens on loopback, as a proxy on the same machine may do.
	AllowedHosts []string

	Log *slog.Logger // nil discards
}

// Server serves HTTP from Start to Stop. All methods may be called by any
// goroutine.
type Server struct {
	o        Options
	log      *slog.Logger
	draining atomic.Bool
	streams  chan struct{} // holds a token for each stream of events
	stopping chan struct{} // closed when streams are to end
	stop     sync.Once     // closes it

	mu       sync.Mutex
	http     *http.Server // nil before Start
	listener net.Listener
	served   chan struct{} // closed when the accept loop has ended
	stopped  bool
}

// ErrStarted and ErrStopped are what Start returns the second time, and after
// Stop.
var (
	ErrStarted = errors.New("server is started already")
	ErrStopped = errors.New("server is stopped")
)

// New makes a Server that listens to nobody yet.
func New(o Options) *Server {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Environment == "" {
		o.Environment = "development"
	}
	return &Server{o: o, log: o.Log, streams: make(chan struct{}, maxStreams), stopping: make(chan struct{})}
}

// Start listens on addr ("host:port"; port 0 picks a free one) and serves until
// Stop. It returns when requests are answered. The error is ErrAddressInUse,
// ErrBadAddress, ErrStarted, ErrStopped or the system's.
func (s *Server) Start(ctx context.Context, addr string) error {
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
func (s *Server) StartOn(l net.Listener) error {
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

func (s *Server) serve() {
	defer close(s.served)
	if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		s.log.Error("HTTP is not served any more", "address", s.listener.Addr().String(), "error", err)
	}
}

// Addr is the address that Start listens on, "" before.
func (s *Server) Addr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener == nil {
		return ""
	}
	return s.listener.Addr().String()
}

// Handler answers requests as a started Server does, but for the check of the
// Host header that comes with listening on loopback.
func (s *Server) Handler() http.Handler { return s.handler(false) }

// Drain makes readiness fail and refuses new tasks; everything else is still
// answered. It is called when the worker begins to drain, so that nobody sends
// it work any more. Draining twice is fine.
func (s *Server) Drain() { s.draining.Store(true) }

// Draining tells whether Drain was called.
func (s *Server) Draining() bool { return s.draining.Load() }

// Stop takes no more requests, ends streams, and waits for requests under way;
// when ctx ends first it cuts them off and returns an error. Stopping what
// never started, and stopping twice, is fine.
func (s *Server) Stop(ctx context.Context) error {
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
