package engine

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/gofrs/uuid/v5"
)

// maxWatchBacklog is how many changes a watcher may lag behind before it is
// dropped. Creating a task of n steps makes about 2n changes at once.
const maxWatchBacklog = 1 << 17

// Watch returns the changes of a task, or of all tasks when task is
// uuid.Nil, from now on and in the order in which they were committed. The
// engine never waits for a watcher: one that lags too far behind, and every
// watcher when the engine closes, gets the changes so far and then a closed
// channel; it can read the task's state and watch again. stop ends the watch;
// it may be called more than once.
func (e *Engine) Watch(task uuid.UUID) (changes <-chan Change, stop func()) {
	w := &watcher{task: task, out: make(chan Change), wake: make(chan struct{}, 1), stopped: make(chan struct{}), done: make(chan struct{})}
	if !e.watchers.add(w) {
		close(w.out)
		return w.out, func() {}
	}
	go w.run()
	var once sync.Once
	return w.out, func() {
		once.Do(func() { close(w.stopped) })
		<-w.done
		e.watchers.remove(w)
	}
}

// watcher passes on what the writer queues, at the pace of its reader.
type watcher struct {
	task uuid.UUID
	out  chan Change

	mu    sync.Mutex
	queue []Change
	ended bool // nothing more will be queued
	wake  chan struct{}

	stopped, done chan struct{}
}

func (w *watcher) run() {
	defer close(w.done)
	defer close(w.out)
	var batch []Change
	for {
		w.mu.Lock()
		batch, w.queue = w.queue, batch[:0]
		ended := w.ended
		w.mu.Unlock()
		for _, c := range batch {
			select {
			case w.out <- c:
			case <-w.stopped:
				return
			}
		}
		if len(batch) > 0 {
			continue
		}
		if ended {
			return
		}
		select {
		case <-w.wake:
		case <-w.stopped:
			return
		}
	}
}

// queueAll adds the changes that concern the watcher.
func (w *watcher) queueAll(changes []Change) {
	w.mu.Lock()
	for _, c := range changes {
		if w.ended || !w.task.IsNil() && w.task != c.TaskUUID {
			continue
		}
		w.queue = append(w.queue, c)
		w.ended = len(w.queue) >= maxWatchBacklog
	}
	w.mu.Unlock()
	w.signal()
}

func (w *watcher) end() {
	w.mu.Lock()
	w.ended = true
	w.mu.Unlock()
	w.signal()
}

func (w *watcher) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// watchers is the set of current watchers.
type watchers struct {
	mu     sync.Mutex
	all    []*watcher
	closed bool
	count  atomic.Int32
}

func (ws *watchers) add(w *watcher) bool {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.closed {
		return false
	}
	ws.all = append(ws.all, w)
	ws.count.Add(1)
	return true
}

func (ws *watchers) remove(w *watcher) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if i := slices.Index(ws.all, w); i >= 0 {
		ws.all = slices.Delete(ws.all, i, i+1)
		ws.count.Add(-1)
	}
}

// any tells, without a lock, whether somebody watches.
func (ws *watchers) any() bool { return ws.count.Load() > 0 }

func (ws *watchers) publish(changes []Change) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, w := range ws.all {
		w.queueAll(changes)
	}
}

// close ends all watchers; each first delivers what it has. Their goroutines
// end when their readers have read that or called stop.
func (ws *watchers) close() {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.closed = true
	for _, w := range ws.all {
		w.end()
	}
}
