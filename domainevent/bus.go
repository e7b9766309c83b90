package domainevent

import (
	"strconv"
	"sync"
	"sync/atomic"
)

// busSize is how many events wait to be polled; beyond that the newest are
// dropped.
const busSize = 1000

// Bus holds the fast and broadcast events of this process for programs that
// poll for them. The zero value is ready to use.
type Bus struct {
	mu      sync.Mutex
	events  [][]byte
	lost    int           // since the last one that was polled
	dropped atomic.Uint64 // in all
	polled  bool          // somebody takes events from here
}

// put is false when one who polls will not get the event, because too many wait.
func (b *Bus) put(event []byte) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.events) == busSize {
		b.lost++
		b.dropped.Add(1)
		return !b.polled
	}
	b.events = append(b.events, event)
	return true
}

// Poll returns the next event, nil when there is none. An event that comes
// after others were dropped says how many in its key "lagged".
func (b *Bus) Poll() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.polled = true
	if len(b.events) == 0 {
		return nil
	}
	event := b.events[0]
	b.events[0] = nil
	b.events = b.events[1:]
	if b.lost > 0 {
		event = append(strconv.AppendInt([]byte(`{"lagged":`), int64(b.lost), 10), append([]byte{','}, event[1:]...)...)
		b.lost = 0
	}
	return event
}
