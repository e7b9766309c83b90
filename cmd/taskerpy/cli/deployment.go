package cli

import (
	"context"
	"net"
	"net/http"

	"github.com/tasker-systems/taskerpy/config"
	"github.com/tasker-systems/taskerpy/postgres"
	"github.com/tasker-systems/taskerpy/server"
	"github.com/tasker-systems/taskerpy/server/auth"
	"github.com/tasker-systems/taskerpy/server/metrics"
	"github.com/tasker-systems/taskerpy/worker"
)

// deploys tells whether the configuration is of a worker of a deployment.
func deploys(c *config.Config) bool { return c.DatabaseURL != "" }

// deploymentOptions are what the configuration means for a deployment's source.
func deploymentOptions(c *config.Config) (*postgres.Options, error) {
	if err := c.CheckDeployment(); err != nil {
		return nil, usage(err)
	}
	if _, err := postgres.ParseURL(c.DatabaseURL); err != nil {
		return nil, usagef("%s: %v", c.Origin("database_url"), err)
	}
	queues := c.QueuesApart()
	if queues != "" {
		if _, err := postgres.ParseURL(queues); err != nil {
			return nil, usagef("%s: %v", c.Origin("queue_database_url"), err)
		}
	}
	return &postgres.Options{
		URL: c.DatabaseURL, QueueURL: queues, Namespaces: c.Namespaces, Visibility: c.VisibilityTimeout, Poll: c.PollInterval,
		MaxBatch: c.BatchSize, MaxConnections: c.MaxConnections, QueueMaxConnections: c.QueueMaxConnections,
		Upkeep: postgres.Upkeep(c.Upkeep), QueueUpkeep: postgres.Upkeep(c.QueueUpkeep), MaxResultBytes: c.MaxResultSize,
		HandlerTimeout: c.HandlerTimeout, DeleteMessages: c.MessageRetention == config.RetainDelete,
		ResultsQueue: c.ResultsQueue, TaskRequestsQueue: c.TaskRequestsQueue, FinalizationsQueue: c.FinalizationsQueue,
	}, nil
}

// tellOrchestration tells clients in handlers where the orchestration API is:
// in a deployment, and wherever somebody has named one. Others are left with
// the worker's own API.
func tellOrchestration(wc *worker.Config, c *config.Config) {
	wc.EndpointTimeout = c.Orchestration.Timeout
	if deploys(c) || c.Origin("orchestration_url") != config.Default {
		wc.Endpoint, wc.EndpointHeaders = c.Orchestration.URL, orchestrationHeaders(c.Orchestration)
	}
}

// orchestrationHeaders authenticate clients in handlers to a deployment's API.
func orchestrationHeaders(o config.OrchestrationClient) map[string]string {
	switch {
	case o.Token != "":
		return map[string]string{"Authorization": "Bearer " + o.Token}
	case o.APIKey != "":
		return map[string]string{http.CanonicalHeaderKey(o.KeyHeader): o.APIKey}
	default:
		return nil
	}
}

// httpServer is what serves while a worker runs.
type httpServer interface {
	StartOn(l net.Listener) error
	Addr() string
	Drain()
	Draining() bool
	Stop(ctx context.Context) error
}

// workerServerOptions are what the configuration means for the API of a
// deployment's worker.
func workerServerOptions(c *config.Config, l *logging, known *auth.Authenticator) server.WorkerOptions {
	o := server.WorkerOptions{
		Version: version, Environment: c.Environment, WorkerID: c.WorkerID, WorkerType: c.WorkerType, ResultsQueue: c.ResultsQueue,
		Auth: known, AllowedHosts: c.AllowedHosts, Log: l.log,
	}
	if c.ConfigEndpoint {
		o.Config = func() any { return c.Entries() }
	}
	return o
}

// workerServer serves the API of a deployment's worker.
func workerServer(c *config.Config, l *logging, w *worker.Worker, m *metrics.Metrics, known *auth.Authenticator) httpServer {
	o := workerServerOptions(c, l, known)
	o.Deployment, o.Templates, o.Dispatch, o.Steps = w.Deployment(), w.Report().Templates, w.Dispatcher().Stats, m.Steps
	o.Lanes, o.Events, o.Metrics = w.DebugState, eventStats(w.DomainEvents), m.Handler(l.log)
	return server.NewWorker(o)
}
