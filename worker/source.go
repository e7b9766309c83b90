package worker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/domainevent"
	"github.com/tasker-systems/taskerpy/engine"
	"github.com/tasker-systems/taskerpy/postgres"
	"github.com/tasker-systems/taskerpy/template"
)

// A source is where the worker's steps come from and their results go: the
// embedded engine, or a deployment's database.
type source interface {
	dispatch.Source
	domainevent.Source
	Close(ctx context.Context) error
}

// sources holds the one that there is, nil for the other.
type sources struct {
	engine     *engine.Engine
	deployment *postgres.Source
}

// openSource opens what the configuration says.
func openSource(ctx context.Context, c Config, ts []*template.Template) (sources, error) {
	if c.Deployment == nil {
		e, err := openEngine(ctx, c, ts)
		return sources{engine: e}, err
	}
	o := *c.Deployment
	o.Templates, o.WorkerID, o.Log = ts, c.WorkerID, c.Log
	d, err := postgres.Open(ctx, o)
	return sources{deployment: d}, err
}

func (s *sources) source() source {
	if s.deployment != nil {
		return s.deployment
	}
	return s.engine
}

// pool is the size of the pool of connections, and how many are idle.
func (s *sources) pool() (size, idle int) {
	if s.deployment != nil {
		p := s.deployment.Pool()
		return p.Size, p.Idle
	}
	return 1, 0 // the engine's file has one writing connection; what it does not do is idle
}

func openEngine(ctx context.Context, c Config, ts []*template.Template) (*engine.Engine, error) {
	if c.Data != ":memory:" {
		if err := os.MkdirAll(filepath.Dir(c.Data), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("make the folder of %s: %w", c.Data, err)
		}
	}
	e, err := engine.Open(ctx, engine.Options{
		Path: c.Data, Log: c.Log, StrictInput: c.Strict, AlwaysUnique: c.AlwaysUnique, WorkerID: c.WorkerID,
		Keep: c.Keep, MaxResult: c.MaxResult, Staleness: c.Staleness,
		CommitObserver: c.CommitObserver, Shown: c.Shown,
	})
	if err != nil {
		return nil, err
	}
	if err := e.Register(ctx, ts...); err != nil {
		return nil, errors.Join(err, e.Close(ctx))
	}
	return e, nil
}
