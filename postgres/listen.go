package postgres

import (
	"context"
	"encoding/json"
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
	var wait time.Duration
	for {
		heard, err := s.listenOnce(ctx)
		if ctx.Err() != nil {
			return
		}
		s.health.setListening(false)
		s.log.Warn("notifications are interrupted; queues are polled meanwhile", "error", err)
		s.counts.Reconnects.Add(1)
		if heard {
			wait = 0
		}
		var ok bool
		if wait, ok = pause(ctx, wait); !ok {
			return
		}
	}
}

// listenOnce listens until the connection breaks. heard says that it worked
// for a while.
func (s *Source) listenOnce(ctx context.Context) (heard bool, err error) {
	conn, err := pgx.ConnectConfig(ctx, s.pool.Config().ConnConfig.Copy())
	if err != nil {
		return false, err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(ctx) // it may be broken
	}()
	for _, q := range s.queues {
		channel := pgx.Identifier{"pgmq_message_ready." + q.namespace}.Sanitize()
		if _, err := conn.Exec(ctx, "LISTEN "+channel); err != nil {
			return false, err
		}
	}
	s.health.setListening(true)
	if s.counts.Reconnects.Load() > 0 {
		select {
		case s.reconnected <- struct{}{}:
		default:
		}
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
			s.notified(n)
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

// notified makes the queue due that a notification is of. What else it says
// needs not be trusted.
func (s *Source) notified(n *pgconn.Notification) {
	var event struct {
		Queue string `json:"queue_name"`
	}
	// A batch notification may be cut off: then every queue may be meant.
	known := json.Unmarshal([]byte(n.Payload), &event) == nil
	due := false
	s.mu.Lock()
	for _, q := range s.queues {
		if !known || q.name == event.Queue {
			q.due, due = true, true
		}
	}
	s.mu.Unlock()
	if due {
		s.signal()
	}
}

// health is whether the database can be worked with.
type health struct {
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

// fine notes that a statement went well.
func (h *health) fine(log *slog.Logger) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil {
		log.Info("the database is back", "away_for", time.Since(h.since).Round(time.Millisecond).String())
	}
	h.err = nil
}

// Health is nil while the database answers. It does no I/O.
func (s *Source) Health() error {
	s.health.mu.Lock()
	defer s.health.mu.Unlock()
	if s.health.err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, s.health.err)
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
