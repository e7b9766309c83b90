package postgres

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// probeEvery is how often a silent connection is asked whether it is alive.
const probeEvery = 30 * time.Second

// listen hears of new messages, on a connection of its own, and makes it anew
// when it breaks.
func (s *Source) listen(ctx context.Context) {
	var retry backoff
	for {
		heard, err := s.listenOnce(ctx)
		if ctx.Err() != nil {
			return
		}
		s.health.setListening(false)
		s.log.Warn("notifications are interrupted; queues are polled meanwhile", "error", err)
		s.counts.Reconnects.Add(1)
		if heard {
			retry = backoff{}
		}
		if !retry.pause(ctx) {
			return
		}
	}
}

// listenOnce listens until the connection breaks. heard says that it worked
// for a while.
func (s *Source) listenOnce(ctx context.Context) (heard bool, err error) {
	conn, err := pgx.ConnectConfig(ctx, s.queuePool.Config().ConnConfig.Copy())
	if err != nil {
		return false, err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(ctx) // it may be broken
	}()
	e := &ear{conn, map[*queue]*toldClaim{}}
	s.prepareTold(ctx, e)
	for _, q := range s.queues {
		channel := pgx.Identifier{"pgmq_message_ready." + q.namespace}.Sanitize()
		if _, err := conn.Exec(ctx, "LISTEN "+channel); err != nil {
			return false, err
		}
	}
	s.health.setListening(true)
	if s.counts.Reconnects.Load() > 0 {
		s.sweepSoon()
	}
	// What was sent before is not heard of any more.
	s.allDue()
	s.signal()
	for {
		limited, cancel := context.WithTimeout(ctx, probeEvery)
		n, err := conn.WaitForNotification(limited)
		cancel()
		switch {
		case err == nil:
			s.notified(ctx, e, n)
		case ctx.Err() != nil:
			return true, ctx.Err()
		case pgconn.Timeout(err):
			if err := s.probe(ctx, conn); err != nil {
				return true, err
			}
		default:
			return true, err
		}
	}
}

func (s *Source) probe(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if err := conn.Ping(ctx); err != nil {
		return fmt.Errorf("the connection is dead: %w", err)
	}
	return nil
}

// notified makes the queue due that a notification is of, or claims the step of
// its message for a claimant that waits. What else it says needs not be trusted.
func (s *Source) notified(ctx context.Context, e *ear, n *pgconn.Notification) {
	var event struct {
		Queue   string `json:"queue_name"`
		Message int64  `json:"msg_id"`
	}
	// A batch notification may be cut off: then every queue may be meant.
	known := json.Unmarshal([]byte(n.Payload), &event) == nil
	s.mu.Lock()
	var due []*queue
	for _, q := range s.queues {
		if !known || q.name == event.Queue {
			due = append(due, q)
		}
	}
	waiting := s.accept(e, due, event.Message)
	for _, q := range due {
		q.due = q.due || waiting == nil
	}
	s.mu.Unlock()
	switch {
	case waiting != nil:
		waiting.steps <- s.claimTold(ctx, e, due[0], event.Message)
	case len(due) > 0:
		s.signal()
	}
}

// health is whether a database can be worked with.
type health struct {
	of        string
	mu        sync.Mutex
	err       error // of the last statement, nil if it was fine
	since     time.Time
	listening bool
}

func (h *health) setListening(yes bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.listening = yes
}

// failed notes a failure, and says so once for each outage.
func (h *health) failed(log *slog.Logger, what string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err == nil {
		h.since = time.Now()
		log.Error(what+"; trying again", "error", err)
	}
	h.err = fmt.Errorf("%s: %w", what, err)
}

// fine notes that a statement went well. back says that the last one did not.
func (h *health) fine(log *slog.Logger) (back bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	back = h.err != nil
	if back {
		log.Info("the "+h.of+" is back", "away_for", time.Since(h.since).Round(time.Millisecond).String())
	}
	h.err = nil
	return back
}

func (h *health) get() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err
}

// failed notes a failure of the database that it is of.
func (s *Source) failed(what string, err error) {
	var queues queueError
	if errors.As(err, &queues) {
		s.queueHealth.failed(s.log, what, err)
		return
	}
	s.health.failed(s.log, what, err)
}

// fine notes that all databases answer.
func (s *Source) fine() {
	s.fineHere()
	s.queueHealth.fine(s.log)
}

// fineHere notes that the deployment's database answers. What an outage has
// left is looked for; where queues are in it, the listener knows of that.
func (s *Source) fineHere() {
	if s.health.fine(s.log) && s.queuePool != s.pool {
		s.sweepSoon()
	}
}

// Health is nil while the database, or both, answers. It does no I/O.
func (s *Source) Health() error {
	if err := cmp.Or(s.health.get(), s.queueHealth.get()); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}

// Listening tells whether notifications are heard; without them queues are
// polled every Options.Poll.
func (s *Source) Listening() bool {
	s.health.mu.Lock()
	defer s.health.mu.Unlock()
	return s.health.listening
}
