package engine

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/gofrs/uuid/v5"

	"github.com/tasker-systems/taskerpy/engine/store"
	"github.com/tasker-systems/taskerpy/template"
)

// maxText is how long initiator, source_system, reason and the like may be, in
// bytes (engine-semantics §0).
const maxText = 128

// A submission creates a task. Everything that needs no writer is done by the
// submitting goroutine.
type submission struct {
	run        *run
	registered registered
	done       chan error
}

// submission prepares a task (engine-semantics §2.2).
func (e *Engine) submission(request TaskRequest) (*submission, error) {
	if err := request.check(); err != nil {
		return nil, err
	}
	key := templateKey{request.Namespace, request.Name, request.Version}
	named, err := e.catalog.Load().find(key)
	if err != nil {
		return nil, err
	}
	if len(named.def.initial) == 0 {
		return nil, fmt.Errorf("task template %s has no steps to begin with: %w", key, ErrNotFound)
	}
	context, err := readContext(request.Context)
	if err != nil {
		return nil, err
	}
	if err := e.checkInput(named.def.template, key, context.compact); err != nil {
		return nil, err
	}
	r := newRun(&request, key, named, context, e.clock.now())
	if request.IdempotencyKey == nil && e.o.AlwaysUnique {
		unique := r.row.UUID.String()
		r.row.IdentityHash = identityHash(named.uuid, &unique, nil)
	} else {
		r.row.IdentityHash = identityHash(named.uuid, request.IdempotencyKey, context.canonical)
	}
	r.head = eventHead(&store.FullTask{
		Task: r.row, NamedTaskUUID: named.uuid, Namespace: key.namespace, Name: key.name, Version: key.version, Context: r.context,
	})
	return &submission{run: r, registered: named, done: make(chan error, 1)}, nil
}

// check refuses what no template could accept. The error is ErrInvalid.
func (r *TaskRequest) check() error {
	for _, f := range []struct {
		name, value string
		required    bool
	}{
		{"name", r.Name, true}, {"namespace", r.Namespace, true}, {"version", r.Version, true},
		{"initiator", r.Initiator, false}, {"source_system", r.SourceSystem, false}, {"reason", r.Reason, false},
	} {
		if f.required && strings.TrimSpace(f.value) == "" {
			return fmt.Errorf("%w: %s must not be blank", ErrInvalid, f.name)
		}
		if len(f.value) > maxText {
			return fmt.Errorf("%w: %s has %d bytes, at most %d are allowed", ErrInvalid, f.name, len(f.value), maxText)
		}
	}
	return nil
}

// checkInput holds a context against the template's input_schema
// (engine-semantics §1.7).
func (e *Engine) checkInput(t *template.Template, key templateKey, context json.RawMessage) error {
	differences := t.CheckInput(context)
	if len(differences) == 0 {
		return nil
	}
	texts := make([]string, len(differences))
	for i, d := range differences {
		texts[i] = d.String()
	}
	text := strings.Join(texts, "; ")
	if e.o.StrictInput {
		return fmt.Errorf("%w: input of %s: %s", ErrInvalid, key, text)
	}
	e.log.Warn("task input does not match input_schema", "template", key.String(), "differences", text)
	return nil
}

func newRun(request *TaskRequest, key templateKey, named registered, context taskContext, now store.Instant) *run {
	r := &run{
		row: store.Task{
			UUID: newUUID(), NamedTask: named.id, StateSince: now, Priority: request.Priority,
			Initiator: request.Initiator, SourceSystem: request.SourceSystem, Reason: request.Reason,
			Tags: tagsJSON(request.Tags), ParentCorrelationID: request.ParentCorrelationID,
			RequestedAt: now, CreatedAt: now, UpdatedAt: now,
		},
		key:     key,
		context: context.compact,
		steps:   make([]step, len(named.def.initial)),
	}
	if request.CorrelationID != nil {
		r.row.CorrelationID = *request.CorrelationID
	} else {
		r.row.CorrelationID = newUUID()
	}
	for i := range r.steps {
		p := &named.def.initial[i]
		r.steps[i] = step{
			row: store.Step{
				UUID: newUUID(), NamedStep: p.named.ID, Retryable: p.retryable, MaxAttempts: p.maxAttempts,
				BackoffSeconds: -1, CreatedAt: now, UpdatedAt: now, Parents: p.parentsJSON, Inputs: p.inputs,
			},
			name: p.named.Name, quoted: p.quoted, namedUUID: p.named.UUID,
			parents: p.parents, children: slices.Clip(p.children), missing: int32(len(p.parents)),
		}
	}
	return r
}

func (s *submission) apply(w *writer) error {
	r := s.run
	if other, ok := w.batch.identities[string(r.row.IdentityHash)]; ok {
		return conflict(other)
	}
	other, exists, err := w.store.Identity(w.ctx, r.row.IdentityHash)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	case exists:
		return conflict(other)
	}
	r.named = w.named[s.registered.id]
	if r.named == nil {
		return fmt.Errorf("task template %s: %w", r.key, ErrNotFound)
	}
	w.lastTask++
	r.row.ID = w.lastTask
	for i := range r.steps {
		r.steps[i].row.ID = store.ID(r.row.ID, i)
	}
	w.batch.identities[string(r.row.IdentityHash)] = r.row.UUID
	w.adopt(r)
	w.create(r)
	return nil
}

func (s *submission) reply(_ *writer, err error) { s.done <- err }

func conflict(other uuid.UUID) error {
	return fmt.Errorf("%w: A task with this identity already exists: %s has the same template and input; change the input or give another idempotency_key",
		ErrConflict, other)
}
