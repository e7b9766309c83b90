package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasker-systems/taskerpy/template"
)

// templateKey is what identifies a template.
type templateKey struct{ namespace, name, version string }

func (k templateKey) String() string { return k.namespace + "/" + k.name + "@" + k.version }

// stepDefinition is what running a step needs of its template.
type stepDefinition struct {
	json    []byte        // step_definition of the event
	timeout time.Duration // 0 is none
	backoff template.Policy
	events  []template.EventDeclaration
}

// templateCache keeps the templates of claimed steps as the database has them,
// which may be newer than this worker's: the row's updated_at comes with each
// claim and says when to read one again.
type templateCache struct {
	mu  sync.Mutex
	all map[templateKey]cachedTemplate
}

type cachedTemplate struct {
	updated time.Time
	steps   map[string]*stepDefinition
}

// errNoStep tells that a template lacks a step.
var errNoStep = errors.New("template has no such step")

// definition returns the definition of a step. The error is errNoStep, of a
// template that cannot be read, or of the database.
func (s *Source) definition(ctx context.Context, k templateKey, updated time.Time, step string) (*stepDefinition, error) {
	s.templates.mu.Lock()
	cached, ok := s.templates.all[k]
	s.templates.mu.Unlock()
	if !ok || !cached.updated.Equal(updated) {
		var err error
		if cached, err = s.readTemplate(ctx, k); err != nil {
			return nil, fmt.Errorf("read template %s: %w", k, err)
		}
		s.templates.mu.Lock()
		if s.templates.all == nil {
			s.templates.all = map[templateKey]cachedTemplate{}
		}
		s.templates.all[k] = cached
		s.templates.mu.Unlock()
	}
	d, ok := cached.steps[step]
	if !ok {
		return nil, fmt.Errorf("template %s, step %s: %w", k, step, errNoStep)
	}
	return d, nil
}

func (s *Source) readTemplate(ctx context.Context, k templateKey) (cachedTemplate, error) {
	var c cachedTemplate
	var configuration []byte
	err := s.pool.QueryRow(ctx, `SELECT nt.configuration, nt.updated_at
		FROM tasker.named_tasks nt JOIN tasker.task_namespaces tn USING (task_namespace_uuid)
		WHERE tn.name = $1 AND nt.name = $2 AND nt.version = $3`, k.namespace, k.name, k.version).Scan(&configuration, &c.updated)
	if errors.Is(err, pgx.ErrNoRows) {
		return c, fmt.Errorf("%w: its row is gone", errNoStep)
	}
	if err != nil {
		return c, err
	}
	c.steps, err = s.readSteps(configuration)
	return c, err
}

// errUnreadable tells that a stored template is not one.
var errUnreadable = errors.New("its configuration cannot be read")

func (s *Source) readSteps(configuration []byte) (map[string]*stepDefinition, error) {
	var t struct {
		Steps []json.RawMessage `json:"steps"`
	}
	if err := json.Unmarshal(configuration, &t); err != nil {
		return nil, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	steps := make(map[string]*stepDefinition, len(t.Steps))
	for _, raw := range t.Steps {
		var step struct {
			Name    string                      `json:"name"`
			Timeout *uint32                     `json:"timeout_seconds"`
			Retry   template.Retry              `json:"retry"`
			Events  []template.EventDeclaration `json:"publishes_events"`
		}
		if err := json.Unmarshal(raw, &step); err != nil {
			return nil, fmt.Errorf("%w: %w", errUnreadable, err)
		}
		d := &stepDefinition{json: raw, timeout: s.o.HandlerTimeout, backoff: step.Retry.Policy(), events: step.Events}
		if step.Timeout != nil {
			d.timeout = time.Duration(*step.Timeout) * time.Second
		}
		steps[step.Name] = d
	}
	return steps, nil
}
