// Package server is the HTTP side of taskerpy: health and metrics for
// operators, and either the task API of a Tasker deployment (engine-semantics
// §9) on top of the embedded engine, which is Server, or the API of a worker of
// a deployment (worker-protocol §5.2), which is Worker.
package server

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"

	"github.com/gofrs/uuid/v5"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/engine"
	"github.com/tasker-systems/taskerpy/server/auth"
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

// Server serves the embedded engine by HTTP from Start to Stop. All methods may
// be called by any goroutine.
type Server struct {
	front
	o       Options
	streams chan struct{} // holds a token for each stream of events
}

// New makes a Server that listens to nobody yet.
func New(o Options) *Server {
	o.Environment = cmp.Or(o.Environment, defaultEnvironment)
	s := &Server{o: o, streams: make(chan struct{}, maxStreams)}
	s.front = front{
		log: orDiscard(o.Log), auth: o.Auth, allowedHosts: o.AllowedHosts, stopping: make(chan struct{}),
		routes: s.routes, refusal: refusalOfServer, nowhere: s.noRoute,
		about: about{
			title: "taskerpy", version: o.Version, description: "The task API of a Tasker deployment, on the embedded engine of taskerpy.",
			examples: s.taskExamples,
		},
	}
	return s
}
