package engine

import (
	"sync"
	"time"

	"github.com/tasker-systems/taskerpy/engine/store"
)

// A clock tells the engine's time: that of the machine, until somebody sets the
// machine's clock back. From then on it runs ahead of that one, at the same
// pace, so that it never stands still and a delay takes as long as it should.
type clock struct {
	mu   sync.Mutex
	at   store.Instant
	read time.Time // when it was at; Go measures what has passed since then without the machine's clock
}

func newClock() *clock {
	now := time.Now()
	return &clock{at: store.At(now), read: now}
}

// now is the time, never before what it was at the last call.
func (c *clock) now() store.Instant {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	ahead := c.at.Add(now.Sub(c.read))
	if wall := store.At(now); wall >= ahead {
		c.at, c.read = wall, now
		return wall
	}
	return ahead
}
