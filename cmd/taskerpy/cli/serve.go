package cli

import (
	"context"
	"errors"
	"time"

	"github.com/tasker-systems/taskerpy/config"
	"github.com/tasker-systems/taskerpy/domainevent"
	"github.com/tasker-systems/taskerpy/server"
	"github.com/tasker-systems/taskerpy/server/auth"
	"github.com/tasker-systems/taskerpy/server/metrics"
	"github.com/tasker-systems/taskerpy/worker"
)

// requestsTimeout is how long requests under way may take once the worker is
// drained.
const requestsTimeout = 2 * time.Second

// serve runs a worker and its HTTP server until a signal comes.
func (a *app) serve(c *config.Config) error {
	l := a.newLogging(c, true)
	signals, stop := interrupts()
	defer stop()
	known, err := authenticator(c.Auth)
	if err != nil {
		return err
	}
	// The address first: whether it is free is known in no time.
	listener, err := server.Listen(context.Background(), c.Listen)
	if errors.Is(err, server.ErrBadAddress) {
		return usage(err)
	}
	if err != nil {
		return environment(err)
	}
	if c.WorkerID == "" {
		c.WorkerID = worker.DefaultID()
	}
	wc, m, err := servedConfig(c, l, listener.Addr().String(), known)
	if err != nil {
		_ = listener.Close() // the process ends
		return err
	}
	w, err := start(wc, signals)
	if err != nil {
		_ = listener.Close() // the process ends
		return err
	}
	var s httpServer
	sources := metrics.Sources{Dispatch: w.Dispatcher().Stats, Lanes: w.Lanes, Events: w.DomainEvents}
	if w.Deployment() != nil {
		s = workerServer(c, l, w, m, known)
		sources.Deployment = w.Deployment()
	} else {
		s = server.New(server.Options{
			Engine: w.Engine(), Dispatch: w.Dispatcher().Stats, Lanes: w.DebugState, Events: eventStats(w.DomainEvents),
			Config:  func() any { return c.Entries() },
			Metrics: m.Handler(l.log), Version: version, Environment: c.Environment, WorkerID: c.WorkerID,
			Auth: known, AllowedHosts: c.AllowedHosts, Log: l.log,
		})
		sources.Engine = w.Engine()
	}
	sources.Draining = s.Draining
	m.Follow(sources)
	if err := s.StartOn(listener); err != nil {
		return environment(err)
	}
	announce(l, c, w, s.Addr())

	var stuck error
	cause := ""
	select {
	case sig := <-signals:
		cause = sig.String()
	case <-w.Exhausted():
		cause = "stuck handlers"
		stuck = &exitError{exitFailed, errors.New("too many handlers ignore their timeout_seconds: restart to go on with the other steps; /debug/lanes of a running instance shows such handlers")}
	}
	s.Drain()
	l.log.Info("draining: running steps finish, no new ones begin", "cause", cause,
		"running", w.Dispatcher().Stats().Running, "timeout", c.DrainTimeout.String())
	drained := drain(w, c.DrainTimeout, signals, nil)
	if stuck != nil {
		drained = stuck
	}
	ctx, cancel := context.WithTimeout(context.Background(), requestsTimeout)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		l.log.Warn(err.Error())
	}
	if drained == nil {
		l.log.Info("stopped")
	}
	return drained
}

// servedConfig is workerConfig for a worker with an HTTP server at address.
func servedConfig(
	c *config.Config, l *logging, address string, known *auth.Authenticator,
) (worker.Config, *metrics.Metrics, error) {
	wc := workerConfig(c, l)
	info := metrics.Info{Version: version, WorkerID: c.WorkerID}
	if !deploys(c) {
		m := metrics.New(info)
		wc.Metrics, wc.CommitObserver = m, m.Committed
		wc.Endpoint, wc.EndpointHeaders = "http://"+address, ownHeaders(known)
		tellOrchestration(&wc, c)
		return wc, m, nil
	}
	m := metrics.NewForDeployment(info)
	var err error
	if wc.Deployment, err = deploymentOptions(c); err != nil {
		return wc, m, err
	}
	wc.Metrics, wc.Deployment.Observer, wc.EventObserver = m, m, m
	tellOrchestration(&wc, c)
	return wc, m, nil
}

// eventStats puts the numbers of domain events into the server's words.
func eventStats(events func() domainevent.Stats) func() server.EventStats {
	return func() server.EventStats {
		s := events()
		return server.EventStats{
			Routed: s.Routed, Durable: s.Durable, Fast: s.Fast, Broadcast: s.Broadcast,
			FastErrors: s.FastErrors, RoutingErrors: s.RoutingErrors,
			Subscribers: s.Subscribers, Lost: s.Lost,
		}
	}
}

// announce says what is running, and what is not going to.
func announce(l *logging, c *config.Config, w *worker.Worker, address string) {
	r := w.Report()
	var names []string
	for _, t := range r.Templates {
		names = append(names, t.Key())
	}
	if d := w.Deployment(); d != nil {
		l.log.Info("taskerpy works for a deployment", "url", "http://"+address, "namespaces", d.Namespaces(), "tasks", names,
			"handlers", len(r.Handlers), "python", r.Python.Version, "orchestration", c.Orchestration.URL, "worker_uuid", d.UUID())
		return
	}
	stats := w.Engine().Stats()
	l.log.Info("taskerpy is running", "url", "http://"+address, "tasks", names, "handlers", len(r.Handlers),
		"python", r.Python.Version, "data", c.Data, "taken_up", r.TakenUp)
	if stats.ParkedSteps > 0 {
		l.log.Warn("steps of earlier runs wait for templates that are not here", "steps", stats.ParkedSteps, "data", c.Data)
	}
}
