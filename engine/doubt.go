package engine

import (
	"context"
	"slices"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/engine/store"
)

// doubt is what the world is to know of a batch whose commit seemed to fail, if
// it is in the file all the same: then one of its tasks has a history row more.
type doubt struct {
	task     int64 // 0 when there is nothing to tell
	history  int   // how many rows the task had before
	changes  []Change
	failures []dispatch.FailedAttempt
	revoked  []*claim
}

func (b *batch) doubt() doubt {
	for _, r := range b.dirty {
		if len(r.history) > 0 {
			return doubt{r.row.ID, r.historyRows, slices.Clone(b.changes), b.failures, b.revoked}
		}
	}
	return doubt{}
}

// resolveDoubt looks whether the last batch is in the file, and makes up for
// what was not told of it.
func (w *writer) resolveDoubt(ctx context.Context) error {
	d := w.doubt
	if d.task == 0 {
		return nil
	}
	var history int
	err := w.store.ReadOwn(func(r *store.Reader) (err error) {
		history, err = r.HistoryLength(ctx, d.task)
		return err
	})
	if err != nil {
		return err
	}
	w.doubt = doubt{}
	if history == d.history {
		return nil
	}
	w.e.watchers.publish(d.changes)
	for _, c := range d.revoked {
		c.revoke()
	}
	for _, f := range d.failures {
		f.Log(w.e.log)
	}
	return nil
}
