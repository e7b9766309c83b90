package engine

import (
	"container/heap"

	"github.com/tasker-systems/taskerpy/engine/store"
)

// timers holds the steps whose backoff has not ended yet, earliest first.
// Entries that something else made void are left inside; whoever takes one
// compares it with the step.
type timers struct{ entries timerHeap }

type timer struct {
	at       store.Instant
	run      *run
	position int32
}

func (t *timers) push(at store.Instant, r *run, position int32) {
	heap.Push(&t.entries, timer{at, r, position})
}

// next returns when the earliest entry is due; ok is false when there is none.
func (t *timers) next() (at store.Instant, ok bool) {
	if len(t.entries) == 0 {
		return 0, false
	}
	return t.entries[0].at, true
}

// pop removes the earliest entry if it is due.
func (t *timers) pop(now store.Instant) (e timer, ok bool) {
	if at, any := t.next(); !any || at > now {
		return timer{}, false
	}
	return heap.Pop(&t.entries).(timer), true
}

func (t *timers) len() int { return len(t.entries) }

type timerHeap []timer

func (h timerHeap) Len() int           { return len(h) }
func (h timerHeap) Less(i, j int) bool { return h[i].at < h[j].at }
func (h timerHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *timerHeap) Push(x any)        { *h = append(*h, x.(timer)) }

func (h *timerHeap) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last] = timer{}
	*h = (*h)[:last]
	return e
}
