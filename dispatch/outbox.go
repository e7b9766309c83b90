package dispatch

import (
	"context"
	"sync"
)

// Outbox holds the publications of a source that nobody took yet. The zero value
// is empty and open.
type Outbox struct {
	mu      sync.Mutex
	waiting []Publication
	given   uint64
	arrived chan struct{} // closed and replaced when something comes; nil while nobody waits
	closed  bool
}

// Put adds publications.
func (o *Outbox) Put(all ...Publication) {
	if len(all) == 0 {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.waiting = append(o.waiting, all...)
	o.given += uint64(len(all))
	o.tell()
}

// Close says that no more will come.
func (o *Outbox) Close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.tell()
}

// tell wakes who waits. o.mu is held.
func (o *Outbox) tell() {
	if o.arrived != nil {
		close(o.arrived)
		o.arrived = nil
	}
}

// Take waits until something is there and returns all of it, oldest first. The
// error is ErrClosed, when nothing is left, or ctx.Err().
func (o *Outbox) Take(ctx context.Context) ([]Publication, error) {
	for {
		all, arrived, closed := o.take()
		switch {
		case len(all) > 0:
			return all, nil
		case closed:
			return nil, ErrClosed
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			select {
			case <-arrived: // both, and a drain wants what there is
			default:
				return nil, ctx.Err()
			}
		}
	}
}

// take returns what waits, or a channel that is closed when something comes.
func (o *Outbox) take() (all []Publication, arrived <-chan struct{}, closed bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.waiting) > 0 {
		all, o.waiting = o.waiting, nil
		return all, nil, false
	}
	if o.arrived == nil {
		o.arrived = make(chan struct{})
	}
	return nil, o.arrived, o.closed
}

// Counts are how many publications were put, and how many of them wait.
func (o *Outbox) Counts() (given uint64, waiting int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.given, len(o.waiting)
}
