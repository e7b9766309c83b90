package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/uuid/v5"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// fewestConnections are one for notifications and two more: with less, claims and
// completions wait for each other.
const fewestConnections = 3

// connectTimeout is how long one attempt to connect may take.
const connectTimeout = 10 * time.Second

// session are the settings that the protocol demands (worker-protocol §1.2):
// triggers and functions of the schema name each other without a schema, and
// columns hold UTC without saying so.
//
// The others are for statements that touch a few rows by their keys, but have
// many parts: they look expensive enough to be compiled, which takes seconds,
// and planning one takes longer than running it; see statements.
func session(c *pgx.ConnConfig) {
	c.RuntimeParams["search_path"] = "tasker,public"
	c.RuntimeParams["TimeZone"] = "UTC"
	c.RuntimeParams["jit"] = "off"
	c.RuntimeParams["plan_cache_mode"] = "force_generic_plan"
	c.RuntimeParams["enable_seqscan"] = "off"
	if c.RuntimeParams["application_name"] == "" {
		c.RuntimeParams["application_name"] = "taskerpy-worker"
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = connectTimeout
	}
}

// ParseURL checks the URL of a database. Its error does not show the password.
func ParseURL(url string) (*pgxpool.Config, error) {
	c, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("database URL: %w", err)
	}
	session(c.ConnConfig)
	return c, nil
}

// connect opens the pools and verifies that the databases are a deployment's.
// Where the queues are, one more connection is for LISTEN.
func (s *Source) connect(ctx context.Context) (err error) {
	if s.o.QueueURL == "" {
		s.pool, err = connect(ctx, s.o.URL, s.o.MaxConnections-1, s.o.Upkeep, &s.waits, append(ofQueues(), ofSteps()...))
		s.queuePool, s.coupling = s.pool, joint{s}
		return err
	}
	if s.pool, err = connect(ctx, s.o.URL, s.o.MaxConnections, s.o.Upkeep, &s.waits, ofSteps()); err != nil {
		return err
	}
	if s.queuePool, err = connect(ctx, s.o.QueueURL, s.o.QueueMaxConnections-1, s.o.QueueUpkeep, &s.queueWaits, ofQueues()); err != nil {
		s.pool.Close()
		return fmt.Errorf("queue database: %w", err)
	}
	s.coupling = newSplit(s)
	return nil
}

func (s *Source) disconnect() {
	s.pool.Close()
	s.queuePool.Close()
}

// connect opens a pool of at most n connections to the database at a URL, which
// must have some things.
func connect(ctx context.Context, url string, n int, u Upkeep, w *waits, needs []need) (*pgxpool.Pool, error) {
	c, err := ParseURL(url)
	if err != nil {
		return nil, err
	}
	c.MaxConns = int32(max(n, fewestConnections-1))
	c.MinConns = min(cmp.Or(int32(u.Min), c.MinConns), c.MaxConns)
	c.MaxConnIdleTime = cmp.Or(u.IdleTimeout, c.MaxConnIdleTime)
	c.MaxConnLifetime = cmp.Or(u.Lifetime, c.MaxConnLifetime)
	c.ConnConfig.Tracer = w
	pool, err := pgxpool.NewWithConfig(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if err := verify(ctx, pool, needs); err != nil {
		pool.Close()
		return nil, err
	}
	return pool, nil
}

// need is what a worker cannot do without (worker-protocol §1.1).
type need struct{ what, found string } // found is an expression in SQL

func ofSteps() []need {
	return []need{{"the table tasker.workflow_step_transitions", `to_regclass('tasker.workflow_step_transitions') IS NOT NULL`}}
}

func ofQueues() []need {
	return []need{
		{"the extension pgmq", `to_regnamespace('pgmq') IS NOT NULL`},
		{"the function tasker.pgmq_send_with_notify", `to_regprocedure('tasker.pgmq_send_with_notify(text,jsonb,integer)') IS NOT NULL`},
	}
}

// verify looks for what a worker cannot do without.
func verify(ctx context.Context, pool *pgxpool.Pool, needs []need) error {
	expressions := make([]string, len(needs))
	for i, n := range needs {
		expressions[i] = n.found
	}
	var found []bool
	if err := pool.QueryRow(ctx, `SELECT ARRAY[`+strings.Join(expressions, ", ")+`]`).Scan(&found); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	var missing []string
	for i, n := range needs {
		if !found[i] {
			missing = append(missing, n.what)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%w: %s lacks %s: run the migrations of the deployment",
			ErrUnavailable, pool.Config().ConnConfig.Database, strings.Join(missing, ", "))
	}
	return nil
}

// warm gets two connections of a pool ready that claim and complete from then
// on: the first step shall not wait while they are made, and its statements
// planned. That it cannot is no error yet.
func (s *Source) warm(ctx context.Context, pool *pgxpool.Pool, statements func(*pgx.Batch)) {
	var warming sync.WaitGroup
	var conns [2]*pgxpool.Conn
	for i := range conns {
		warming.Go(func() {
			conn, err := pool.Acquire(ctx)
			if err != nil {
				return
			}
			conns[i] = conn // kept until the other has one too
			var batch pgx.Batch
			statements(&batch)
			if err := conn.SendBatch(ctx, &batch).Close(); err != nil {
				s.log.Debug("get a connection ready", "error", err)
			}
		})
	}
	warming.Wait()
	for _, conn := range conns {
		if conn != nil {
			conn.Release()
		}
	}
}

// queueEmptyCompletion adds a completion of nothing.
func (s *Source) queueEmptyCompletion(batch *pgx.Batch) {
	none := []uuid.UUID{}
	batch.Queue(s.statements.complete, none, []int32{}, []bool{}, [][]byte{}, none, none, []int64{}, []string{}, []bool{}, s.uuid, s.o.ResultsQueue)
}

// code is the SQLSTATE of an error of the database itself, "" for others.
func code(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// away tells whether an error is none of what a statement was about: nobody
// answered, or the database could do nothing of this kind at the moment.
func away(err error) bool {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return true
	}
	switch e.Code[:2] {
	case "08", "40", "53", "57", "58":
		return e.Code != "57014" // canceled, by the role's statement_timeout for instance
	}
	return e.Code == "25006" || notificationsFull(e) // read-only, after a fail-over
}

// notificationsFull tells of a queue of PostgreSQL's own, which has no SQLSTATE
// to itself: somebody listens and reads nothing.
func notificationsFull(e *pgconn.PgError) bool {
	return e.Code == "54000" && strings.Contains(e.Message, "NOTIFY")
}

// isOfData tells whether a statement failed because of the values that it was
// given, and will again.
func isOfData(err error) bool {
	c := code(err)
	return !away(err) && (strings.HasPrefix(c, "22") || strings.HasPrefix(c, "54") || c == "23514")
}

// shortestPause is between the first attempts at something, longestPause the
// longest.
const (
	shortestPause = 50 * time.Millisecond
	longestPause  = 5 * time.Second
)

// backoff is when something that has failed is tried again, later from time to
// time; the zero value is at once.
type backoff struct {
	at   time.Time
	wait time.Duration
}

func (b *backoff) later() {
	b.wait = min(max(2*b.wait, shortestPause), longestPause)
	b.at = time.Now().Add(jittered(b.wait))
}

// pause waits until it is time to try again. It returns false when ctx has ended
// before.
func (b *backoff) pause(ctx context.Context) bool {
	b.later()
	timer := time.NewTimer(time.Until(b.at))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
