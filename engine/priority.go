package engine

import (
	"container/heap"
	"math"
	"time"

	"github.com/tasker-systems/taskerpy/engine/store"
)

// computedPriority orders tasks when there are more ready steps than workers
// (engine-semantics §4.6). It is at least the smallest positive number, so
// that negative priorities do not overtake by decaying towards zero.
func computedPriority(priority int32, age, inState time.Duration) float64 {
	p := 0.1
	switch hours := inState.Hours(); {
	case hours < 1:
		p = float64(priority) + 0.1*age.Hours()
	case hours <= 24:
		p = float64(priority) * math.Exp(-hours/12)
	}
	return max(p, math.SmallestNonzeroFloat64)
}

// reorderEvery is how often the order of waiting steps is computed anew.
// Within an hour in one state, and from then on again, time moves all
// priorities alike; only tasks that pass such a bound change places.
const reorderEvery = time.Minute

// readyQueue holds the enqueued steps that wait for a worker. Steps that
// were cancelled meanwhile are left inside and skipped by the taker.
type readyQueue struct {
	entries readyHeap
	at      store.Instant // as of when the keys are computed
	count   uint64
}

type readyEntry struct {
	run      *run
	position int32
	key      float64
	order    uint64 // of arrival
}

// push adds a step of a task whose state is already the one it will wait in.
func (q *readyQueue) push(r *run, position int32, now store.Instant) {
	if len(q.entries) == 0 {
		q.at = now
	}
	q.count++
	heap.Push(&q.entries, readyEntry{run: r, position: position, key: q.key(r), order: q.count})
}

// pop removes the step of the highest priority; ok is false when there is
// none.
func (q *readyQueue) pop(now store.Instant) (e readyEntry, ok bool) {
	if len(q.entries) == 0 {
		return readyEntry{}, false
	}
	if now.Sub(q.at) >= reorderEvery {
		q.at = now
		for i := range q.entries {
			q.entries[i].key = q.key(q.entries[i].run)
		}
		heap.Init(&q.entries)
	}
	return heap.Pop(&q.entries).(readyEntry), true
}

func (q *readyQueue) len() int { return len(q.entries) }

func (q *readyQueue) key(r *run) float64 {
	return computedPriority(r.row.Priority, q.at.Sub(r.row.CreatedAt), q.at.Sub(r.row.StateSince))
}

type readyHeap []readyEntry

func (h readyHeap) Len() int { return len(h) }

func (h readyHeap) Less(i, j int) bool {
	a, b := &h[i], &h[j]
	switch {
	case a.key != b.key:
		return a.key > b.key
	case a.run.row.Priority != b.run.row.Priority:
		return a.run.row.Priority > b.run.row.Priority
	case a.run.row.ID != b.run.row.ID:
		return a.run.row.ID < b.run.row.ID
	}
	return a.order < b.order
}

func (h readyHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

func (h *readyHeap) Push(x any) { *h = append(*h, x.(readyEntry)) }

func (h *readyHeap) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last] = readyEntry{}
	*h = (*h)[:last]
	return e
}
