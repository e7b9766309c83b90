package postgres

import (
	"context"
	"fmt"
	"time"
)

// beatOn keeps what is held ours, and finds out what is not any more.
func (s *Source) beatOn(ctx context.Context) {
	ticker := time.NewTicker(s.o.Visibility / 3)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if err := s.beatOnce(ctx); err != nil && ctx.Err() == nil {
				s.failed("keep running steps", err)
			}
		case <-ctx.Done():
			return
		}
	}
}

// beStillOurs beats before a claim after a time without contact, so that this
// worker does not take its own steps over.
func (s *Source) beStillOurs(ctx context.Context) error {
	s.mu.Lock()
	late := len(s.held) > 0 && time.Since(s.beat) > s.o.Visibility/2
	s.mu.Unlock()
	if !late {
		return nil
	}
	return s.beatOnce(ctx)
}

// beatOnce is one statement for each queue with something of ours.
func (s *Source) beatOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	started := time.Now()
	held := map[*queue][]*claim{}
	s.mu.Lock()
	for _, c := range s.held {
		held[c.queue] = append(held[c.queue], c)
	}
	s.mu.Unlock()
	for q, claims := range held {
		if err := s.beatQueue(ctx, q, claims); err != nil {
			return fmt.Errorf("keep steps of %s: %w", q.name, err)
		}
	}
	s.mu.Lock()
	s.beat = started
	s.mu.Unlock()
	s.fine()
	return nil
}

func (s *Source) beatQueue(ctx context.Context, q *queue, claims []*claim) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	_, _, keys := namesOf(claims)
	started := time.Now()
	ours, err := s.coupling.beat(ctx, q, claims)
	s.o.Observer.TransactionDone(Heartbeat, time.Since(started), err == nil)
	if ours == nil && err != nil {
		return err
	}
	for i, c := range claims {
		// One whose result is on its way may have been stored just now; one
		// whose key changed was claimed anew.
		if ours[c.stepUUID] || c.key.Load() != keys[i] || !c.finish() {
			continue
		}
		s.lose(c, "its handler is asked to end")
		if c.dispatched != nil {
			c.dispatched.Revoke()
		}
	}
	return err
}
