package engine

import (
	"context"
	"errors"
	"sync"
	"time"
)

// upkeep is what an engine does from time to time, from Open to Close, beside
// running tasks.
type upkeep struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// start begins the chores: those that every engine has, and those that the
// options ask for.
func (u *upkeep) start(e *Engine) {
	var ctx context.Context
	ctx, u.cancel = context.WithCancel(context.Background())
	if e.o.Staleness.Mode.detects() {
		d := &detector{e: e, warned: map[int64]staleness{}}
		u.every(ctx, e, "look for stale tasks", e.o.Staleness.interval(), d.pass)
	}
	u.every(ctx, e, "delete old domain events", pauseOfEvents, e.expireEvents)
	if e.o.Keep > 0 {
		u.every(ctx, e, "delete expired tasks", pauseOfRetention(e.o.Keep), e.expire)
	}
}

// every calls pass at once and then again and again, pause after it returned.
func (u *upkeep) every(ctx context.Context, e *Engine, what string, pause time.Duration, pass func(context.Context) error) {
	u.wg.Go(func() {
		timer := time.NewTimer(0)
		defer timer.Stop()
		for {
			select {
			case <-timer.C:
			case <-ctx.Done():
				return
			}
			if err := pass(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, ErrClosed) {
				e.log.Warn("engine upkeep failed; it is tried again", "what", what, "pause", pause.String(), "error", err)
			}
			timer.Reset(pause)
		}
	})
}

// stop ends the chores and waits for them. What is under way in the writer is
// finished by it.
func (u *upkeep) stop() {
	u.cancel()
	u.wg.Wait()
}
