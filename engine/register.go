package engine

import (
	"bytes"
	"fmt"

	"github.com/gofrs/uuid/v5"

	"github.com/tasker-systems/taskerpy/engine/store"
	"github.com/tasker-systems/taskerpy/template"
)

// A registration makes templates known.
type registration struct {
	defs  []*definition
	added catalog
	done  chan error
}

func (g *registration) apply(w *writer) error {
	g.added = catalog{}
	for _, d := range g.defs {
		n := w.register(d)
		g.added[n.key()] = registered{id: n.row.ID, uuid: n.row.UUID, def: d}
		for _, p := range n.parked {
			if w.runs[p.run.row.ID] == p.run {
				w.ready.push(p.run, p.position, w.batch.at)
			}
		}
		n.active, n.parked = true, nil
	}
	return nil
}

func (g *registration) reply(w *writer, err error) {
	if err == nil {
		all := w.e.catalog.Load().with(g.added)
		w.e.catalog.Store(&all)
		for _, n := range w.named {
			if len(n.parked) > 0 {
				w.e.log.Warn("steps wait for a worker that has their handlers", "template", n.key().String(), "steps", len(n.parked))
			}
		}
	}
	g.done <- err
}

// register finds or makes the named task of a template and gives it d.
func (w *writer) register(d *definition) *namedTask {
	for i := range d.initial {
		d.initial[i].named = w.namedStep(d.initial[i].named.Name)
	}
	t := d.template
	row := store.NamedTask{
		Namespace: t.Namespace, Name: t.Name, Version: t.Version, Description: t.Description, Configuration: t.JSON(),
	}
	n := w.byKey[keyOf(t)]
	now := w.batch.at
	switch {
	case n == nil:
		w.lastNamedTask++
		row.ID, row.UUID = w.lastNamedTask, newUUID()
		n = &namedTask{row: row}
		w.byKey[keyOf(t)], w.named[row.ID] = n, n
		namespace := newUUID()
		w.batch.inserts = append(w.batch.inserts, func() error { return w.store.InsertNamedTask(&row, namespace, now) })
	case !bytes.Equal(n.row.Configuration, row.Configuration):
		row.ID, row.UUID = n.row.ID, n.row.UUID
		n.row = row
		w.batch.inserts = append(w.batch.inserts, func() error { return w.store.UpdateNamedTask(&row, now) })
	}
	n.def = d
	return n
}

// namedStep finds or makes the identity of a step name.
func (w *writer) namedStep(name string) store.NamedStep {
	if n, ok := w.namedSteps[name]; ok {
		return n
	}
	w.lastNamedID++
	n := store.NamedStep{ID: w.lastNamedID, UUID: newUUID(), Name: name}
	w.namedSteps[name] = n
	now := w.batch.at
	w.batch.inserts = append(w.batch.inserts, func() error { return w.store.InsertNamedStep(&n, now) })
	return n
}

func (n *namedTask) key() templateKey { return templateKey{n.row.Namespace, n.row.Name, n.row.Version} }

// parseConfiguration reads a template back from the file.
func parseConfiguration(n *store.NamedTask) (*template.Template, error) {
	t, findings := template.Parse(fmt.Sprintf("stored template %s/%s@%s", n.Namespace, n.Name, n.Version), n.Configuration)
	if template.HasErrors(findings) {
		return nil, fmt.Errorf("%s", findings[0].String())
	}
	return t, nil
}

// A cancellation cancels a task.
type cancellation struct {
	task uuid.UUID
	done chan error
}

func (c *cancellation) apply(w *writer) error {
	r, err := w.find(c.task)
	if err != nil {
		return err
	}
	if _, err := r.state.next(taskCancel); err != nil {
		return fmt.Errorf("Cannot cancel a completed task: %w", err) //lint:ignore ST1005 the reference's text
	}
	w.cancelSteps(r)
	w.moveTask(r, taskCancel, "")
	return nil
}

func (c *cancellation) reply(_ *writer, err error) { c.done <- err }
