package engine

import "sync"

// A request is what other goroutines ask of the writer.
type request interface {
	// apply carries the request out in memory, within the current batch. Its
	// error refuses this request only and is passed to reply.
	apply(w *writer) error
	// reply answers the request once the batch is durable: with nil, or with
	// the reason why it is refused. It gets an error at once when the batch
	// failed, and a refusal at once when nothing before it was to be stored.
	reply(w *writer, err error)
}

// inbox is where requests gather while a commit runs. put never blocks.
type inbox struct {
	mu     sync.Mutex
	items  []request
	closed bool
	wake   chan struct{} // has room for one
}

func newInbox() *inbox { return &inbox{wake: make(chan struct{}, 1)} }

// put queues requests and reports whether the inbox is still open. All of
// them become part of one batch.
func (in *inbox) put(r ...request) bool {
	in.mu.Lock()
	open := !in.closed
	if open {
		in.items = append(in.items, r...)
	}
	in.mu.Unlock()
	if open {
		in.signal()
	}
	return open
}

// take empties the inbox into buf and reports whether it is still open.
func (in *inbox) take(buf []request) (items []request, open bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	items, in.items = in.items, buf[:0]
	return items, !in.closed
}

// close refuses further requests; those inside remain.
func (in *inbox) close() {
	in.mu.Lock()
	in.closed = true
	in.mu.Unlock()
	in.signal()
}

func (in *inbox) signal() {
	select {
	case in.wake <- struct{}{}:
	default:
	}
}
