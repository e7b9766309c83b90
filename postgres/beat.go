package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

// beStillOurs beats before a claim from a queue after a time without contact, so
// that this worker does not take its own steps over.
func (s *Source) beStillOurs(ctx context.Context, q *queue) error {
	s.mu.Lock()
	late := time.Since(q.beat) > s.o.Visibility/2
	s.mu.Unlock()
	if !late {
		return nil
	}
	// Of one that cannot be kept alone, the claim takes over what is ours already.
	if err := s.beatOf(ctx, q, s.heldByQueue()[q], s.part(2)); err != nil && away(err) {
		return err
	}
	return nil
}

// beatOnce is one statement for each queue with something of ours. That one
// cannot be kept is not the fault of the others.
func (s *Source) beatOnce(ctx context.Context) error {
	held := s.heldByQueue()
	var failed []error
	for _, q := range s.queues {
		failed = append(failed, s.beatOf(ctx, q, held[q], s.part(2*max(len(held), 1))))
	}
	if err := errors.Join(failed...); err != nil {
		return err
	}
	s.fine()
	return nil
}

func (s *Source) heldByQueue() map[*queue][]*claim {
	held := map[*queue][]*claim{}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.held {
		held[c.queue] = append(held[c.queue], c)
	}
	return held
}

// beatOf keeps claims of a queue, within a time.
func (s *Source) beatOf(ctx context.Context, q *queue, claims []*claim, within time.Duration) error {
	started := time.Now()
	if len(claims) > 0 {
		ctx, cancel := context.WithTimeout(ctx, within)
		defer cancel()
		if err := s.beatQueue(ctx, q, claims); err != nil {
			return fmt.Errorf("keep steps of %s: %w", q.name, err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	q.beat = started
	return nil
}

// stillHeld are those of the claims that we have.
func (s *Source) stillHeld(claims []*claim) []*claim {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(claims), func(c *claim) bool { return s.held[c.stepUUID] != c })
}

// beatQueue keeps claims of a queue together, or if one of them cannot be kept,
// the others.
func (s *Source) beatQueue(ctx context.Context, q *queue, claims []*claim) error {
	err := s.beatTogether(ctx, q, claims)
	if err == nil || away(err) || len(claims) == 1 {
		return err
	}
	half := len(claims) / 2
	return errors.Join(s.beatQueue(ctx, q, claims[:half]), s.beatQueue(ctx, q, claims[half:]))
}

func (s *Source) beatTogether(ctx context.Context, q *queue, claims []*claim) error {
	if err := s.writing.enter(ctx); err != nil {
		return err
	}
	defer s.writing.leave()
	// The messages of steps that were handed back meanwhile are not to be hidden.
	if claims = s.stillHeld(claims); len(claims) == 0 {
		return nil
	}
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
