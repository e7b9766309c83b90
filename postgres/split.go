package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/uuid/v5"
	"github.com/jackc/pgx/v5"

	"github.com/tasker-systems/taskerpy/dispatch"
)

// split is the coupling for queues in a database of their own (worker-protocol
// §1.8). No transaction can span the two, so that everything is done in the
// order in which a crash in between loses nothing:
//
//   - Messages are read, then their steps are claimed. Until then, and for the
//     visibility timeout, a message is out of sight, and comes again.
//   - Results are stored, then the server is told of them in the transaction
//     that puts their messages aside. What cannot be told waits in memory. If
//     this worker dies meanwhile, whoever reads a message whose step has a
//     result that the server did not look at tells the server of it; and the
//     sweep does. That it is told twice does no harm (§9.1).
//   - Steps are handed back, then their messages are shown.
//
// Who has a step is decided in the deployment's database alone.
type split struct {
	*Source

	// telling is held by a statement about messages of steps that we have: beats
	// and acknowledgements take them in different orders. It is taken after
	// Source.writing.
	telling gate
	sending sync.WaitGroup

	unclaimed map[*queue][]read // by a claim that failed; Claim's own
}

// read is a message that was read.
type read struct {
	id    int64
	reads int32
	age   float64 // in seconds
	step  *uuid.UUID
}

func newSplit(s *Source) *split {
	return &split{Source: s, telling: newGate(), unclaimed: map[*queue][]read{}}
}

func (p *split) prepare(ctx context.Context) {
	var preparing sync.WaitGroup
	preparing.Go(func() {
		p.warm(ctx, p.pool, func(batch *pgx.Batch) {
			batch.Queue(claimReadSQL, p.claimArgs(nil)...)
			p.queueEmptyCompletion(batch)
		})
	})
	preparing.Go(func() {
		p.warm(ctx, p.queuePool, func(batch *pgx.Batch) {
			for _, q := range p.queues {
				batch.Queue(q.sql(readSQL), p.o.Visibility.Seconds(), 0)
			}
			batch.Queue(p.statements.tell, p.tellArgs(nil)...)
		})
	})
	preparing.Wait()
}

func (p *split) run(ctx context.Context) {
	p.sending.Go(func() { p.send(ctx) })
}

func (p *split) close() {
	p.unsent.close()
	p.sending.Wait()
}

// readSQL reads up to $2 messages. $1 is the visibility timeout in seconds. Its
// commit does not wait for the disk: what a crash undoes is read again.
const readSQL = `
WITH ` + readParts + `
SELECT msg_id, read_ct, age, step_uuid FROM m ORDER BY msg_id`

// claimReadSQL is claimSQL for messages that were read: $1 and $3 as there, $2
// the messages, $4 how often each was read, $5 its step, $6 its age in seconds.
const claimReadSQL = `
WITH m AS MATERIALIZED (
  SELECT * FROM unnest($2::bigint[], $4::int[], $5::uuid[], $6::float8[]) AS x(msg_id, read_ct, step_uuid, age) WHERE ` + lazily + ` AND ` + briefly + `
), ` + claimParts

func (p *split) claimArgs(messages []read) []any {
	n := len(messages)
	ids, reads, steps, ages := make([]int64, n), make([]int32, n), make([]*uuid.UUID, n), make([]float64, n)
	for i, m := range messages {
		ids[i], reads[i], steps[i], ages[i] = m.id, m.reads, m.step, m.age
	}
	return []any{p.o.Visibility.Seconds(), ids, p.uuid, reads, steps, ages}
}

func (p *split) claim(ctx context.Context, q *queue, n int, bare bool) ([]message, error) {
	before := p.unclaimed[q]
	if room := n - len(before); room > 0 {
		more, err := p.read(ctx, q, room)
		if err != nil {
			return nil, inQueues("read messages", err)
		}
		before = append(before, more...)
	}
	p.unclaimed[q] = before
	now := before[:min(n, len(before))]
	if len(now) == 0 {
		return nil, nil
	}
	rows, err := p.pool.Query(ctx, depending(claimReadSQL, bare), p.claimArgs(now)...)
	if err != nil {
		return nil, err
	}
	messages, err := collectMessages(rows)
	if err != nil {
		return nil, err
	}
	p.unclaimed[q] = slices.Clone(before[len(now):])
	p.tellAgain(ctx, messages)
	return messages, nil
}

// putOff leaves the message until it is visible again: it was read.
func (p *split) putOff(_ context.Context, q *queue) error {
	if len(p.unclaimed[q]) == 0 {
		return errors.New("no message was read")
	}
	p.unclaimed[q] = p.unclaimed[q][1:]
	return nil
}

func (p *split) read(ctx context.Context, q *queue, n int) ([]read, error) {
	rows, err := p.queuePool.Query(ctx, q.sql(readSQL), p.o.Visibility.Seconds(), n)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (m read, err error) {
		return m, row.Scan(&m.id, &m.reads, &m.age, &m.step)
	})
}

// lostReadSQL finds which of the steps $3, whose messages are $2, this process
// ($1) has claimed.
const lostReadSQL = `
SELECT x.msg_id, t.workflow_step_uuid, t.sort_key
  FROM unnest($2::bigint[], $3::uuid[]) AS x(msg_id, step_uuid)
  JOIN tasker.workflow_step_transitions t
    ON t.workflow_step_uuid = ANY (ARRAY[x.step_uuid]) AND t.most_recent IS NOT FALSE AND t.to_state = 'in_progress'
 WHERE t.metadata->>'worker_uuid' = $1::text`

// lost looks at the messages whose claim failed: there are no others that were
// claimed without an answer.
func (p *split) lost(ctx context.Context, q *queue) ([]lostClaim, error) {
	messages := p.unclaimed[q]
	if len(messages) == 0 {
		return nil, nil
	}
	args := p.claimArgs(messages)
	rows, err := p.pool.Query(ctx, lostReadSQL, p.uuid, args[1], args[4])
	if err != nil {
		return nil, err
	}
	found, err := collectLost(rows)
	if err != nil {
		return nil, err
	}
	p.unclaimed[q] = slices.DeleteFunc(messages, func(m read) bool {
		return slices.ContainsFunc(found, func(l lostClaim) bool { return l.msgID == m.id })
	})
	return found, nil
}

// splitCompleteSQL has the parameters and the columns of completeSQL.
const splitCompleteSQL = storeParts + `
SELECT step_uuid, task_uuid,
       ` + enqueuing + `,
       $11::text, NULL, NULL
  FROM flip AS its`

// tellSQL tells the server of results that are stored: $1 steps, $2 tasks, $3
// their correlation ids, $4 messages, $5 their queues, $6 whether each message
// is done with, $7 the server's queue.
const tellSQL = `
WITH flip AS (
  SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[], $5::text[], $6::boolean[])
           AS x(step_uuid, task_uuid, correlation_id, msg_id, queue, done)
), ` + tellParts + `
SELECT ` + notify + `
  FROM notice`

// result is what the server is told of.
type result struct {
	step, task, correlation uuid.UUID
	msgID                   int64
	queue                   string
	done                    bool // the message can be put aside
}

func (p *split) tellArgs(results []result) []any {
	n := len(results)
	steps, tasks, correlations := make([]uuid.UUID, n), make([]uuid.UUID, n), make([]uuid.UUID, n)
	ids, queues, done := make([]int64, n), make([]string, n), make([]bool, n)
	for i, r := range results {
		steps[i], tasks[i], correlations[i], ids[i], queues[i], done[i] = r.step, r.task, r.correlation, r.msgID, r.queue, r.done
	}
	return []any{steps, tasks, correlations, ids, queues, done, p.o.ResultsQueue}
}

func (p *split) tell(ctx context.Context, results []result) error {
	return p.alone(ctx, p.telling, func(ctx context.Context) error {
		_, err := p.queuePool.Exec(ctx, p.statements.tell, p.tellArgs(results)...)
		return inQueues("tell the server of results", err)
	})
}

func (p *split) stored(batch []*finished) {
	now := time.Now()
	for _, f := range batch {
		f.storedAt = now
		p.unsent.put(f)
	}
}

// releaseStepsSQL is releaseSQL without messages, showAgainSQL the rest of it.
const (
	releaseStepsSQL = releaseParts + `
SELECT step_uuid FROM flip`

	showAgainSQL = `
WITH flip AS (SELECT * FROM unnest($1::bigint[], $2::text[]) AS x(msg_id, queue))
SELECT ` + showAgain
)

func (p *split) release(ctx context.Context, batch []*finished, again bool) error {
	freed := map[uuid.UUID]bool{}
	if again {
		var err error
		if freed, err = p.alreadyStored(ctx, batch, "enqueued"); err != nil {
			return err
		}
	}
	rows, err := p.pool.Query(ctx, releaseStepsSQL, p.releaseArgs(batch)...)
	if err != nil {
		return err
	}
	more, err := collectSet(rows)
	if err != nil {
		return err
	}
	for _, f := range batch {
		if freed[f.claim.stepUUID] || more[f.claim.stepUUID] {
			p.unsent.put(f)
		}
	}
	return nil
}

func (p *split) show(ctx context.Context, batch []*finished, _ bool) error {
	ids, queues := make([]int64, len(batch)), make([]string, len(batch))
	for i, f := range batch {
		ids[i], queues[i] = f.claim.msgID, f.claim.queue.name
	}
	return p.alone(ctx, p.telling, func(ctx context.Context) error {
		_, err := p.queuePool.Exec(ctx, showAgainSQL, ids, queues)
		return inQueues("show messages of steps that were handed back", err)
	})
}

// send has the queues follow what was stored, until the inbox is closed and
// empty.
func (p *split) send(ctx context.Context) {
	stored := &job{what: "have the queues follow", do: p.tellOf, sends: true}
	released := &job{what: "have the queues follow", do: p.show}
	all := &persister{
		Source: p.Source, inbox: &p.unsent, pool: p.queuePool, fine: func() { p.queueHealth.fine(p.log) }, jobs: []*job{stored, released},
		jobOf: func(f *finished) *job {
			if f.outcome == dispatch.Unstarted {
				return released
			}
			return stored
		},
	}
	all.run(ctx)
}

// tellOf tells the server of results. What it was doing when they were stored
// says little if that is a while ago: see overlooked.go.
func (p *split) tellOf(ctx context.Context, batch []*finished, _ bool) error {
	results := make([]result, len(batch))
	for i, f := range batch {
		c := f.claim
		results[i] = result{c.stepUUID, c.taskUUID, c.correlation, c.msgID, c.queue.name, !f.publishes()}
	}
	if err := p.tell(ctx, results); err != nil {
		return err
	}
	var late []uuid.UUID
	for _, f := range batch {
		if time.Since(f.storedAt) > overlookedAfter {
			late = append(late, f.claim.taskUUID)
		}
		p.told(f)
	}
	p.suspects.add(late)
	return nil
}

// tellAgainSQL finds what the server is told of the results of steps.
const tellAgainSQL = `
SELECT s.workflow_step_uuid, s.task_uuid, t.correlation_id
  FROM tasker.workflow_steps s JOIN tasker.tasks t ON t.task_uuid = ANY (ARRAY[s.task_uuid])
 WHERE s.workflow_step_uuid = ANY ($1::uuid[])`

// tellAgain tells the server of results that it has not looked at, though their
// message has come again: whoever stored them died before they were told of.
func (p *split) tellAgain(ctx context.Context, messages []message) {
	var steps []uuid.UUID
	for i := range messages {
		if m := &messages[i]; m.awaitsServer() {
			steps = append(steps, *m.stepUUID)
		}
	}
	if len(steps) == 0 {
		return
	}
	if err := p.tellOfSteps(ctx, steps); err != nil {
		p.log.Warn("tell tasker-server again of results", "error", err)
		for i := range messages {
			messages[i].kept = messages[i].awaitsServer()
		}
		return
	}
	p.counts.Swept.Add(uint64(len(steps)))
	p.log.Warn("tasker-server was told of results by another worker than the one that stored them", "results", len(steps))
}

// awaitsServer tells whether a message gave no step because its step has a
// result that the server has not looked at.
func (m *message) awaitsServer() bool {
	return m.key == nil && m.stepUUID != nil && m.state != nil &&
		(*m.state == "enqueued_for_orchestration" || *m.state == "enqueued_as_error_for_orchestration")
}

func (p *split) tellOfSteps(ctx context.Context, steps []uuid.UUID) error {
	rows, err := p.pool.Query(ctx, tellAgainSQL, steps)
	if err != nil {
		return err
	}
	results, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r result, err error) {
		return r, row.Scan(&r.step, &r.task, &r.correlation)
	})
	if err != nil {
		return err
	}
	return p.tell(ctx, results)
}

// beatStepsSQL has the steps as $1, their keys as $2, and this process as $3.
var beatStepsSQL = strings.NewReplacer("$3", "$1", "$4", "$2", "$5", "$3").Replace(beatSteps)

func (p *split) beat(ctx context.Context, q *queue, claims []*claim) (map[uuid.UUID]bool, error) {
	_, steps, keys := namesOf(claims)
	rows, err := p.pool.Query(ctx, beatStepsSQL, steps, keys, p.uuid)
	if err != nil {
		return nil, err
	}
	ours, err := collectSet(rows)
	if err != nil {
		return nil, err
	}
	if err := p.telling.enter(ctx); err != nil {
		return ours, inQueues("keep messages out of sight", err)
	}
	defer p.telling.leave()
	messages, _, _ := namesOf(p.stillHeld(claims)) // some may have been shown meanwhile
	_, err = p.queuePool.Exec(ctx, q.sql(beatMessages), p.o.Visibility.Seconds(), messages)
	return ours, inQueues("keep messages out of sight", err)
}

// resendPage is how many steps are looked for in a queue by one statement.
const resendPage = 5000

// missingSQL sends the queue $2 messages about those of the steps ($1 tasks, $3
// steps, $4 correlation ids) of which there is none in it.
const missingSQL = `
WITH due AS (
  SELECT * FROM unnest($1::uuid[], $3::uuid[], $4::uuid[]) AS x(task_uuid, step_uuid, correlation_id)
), there AS MATERIALIZED (
  SELECT q.message->>'step_uuid' AS step FROM {queue} q WHERE q.message->>'step_uuid' IN (SELECT step_uuid::text FROM due)
)` + sendEach + `SELECT * FROM due WHERE step_uuid::text NOT IN (SELECT step FROM there) LIMIT 100) w`

// resend sends what is missing of the steps that a query finds, page by page.
func (p *split) resend(ctx context.Context, tx pgx.Tx, q *queue, query string, age float64, more ...any) (sent int64, err error) {
	const bounds = ` AND s.workflow_step_uuid > $2 ORDER BY s.workflow_step_uuid LIMIT `
	query += bounds + fmt.Sprint(resendPage)
	last := uuid.Nil
	for {
		rows, err := tx.Query(ctx, query, append([]any{age, last}, more...)...)
		if err != nil {
			return sent, err
		}
		var tasks, steps, correlations []uuid.UUID
		var task, step, correlation uuid.UUID
		_, err = pgx.ForEachRow(rows, []any{&task, &step, &correlation}, func() error {
			tasks, steps, correlations = append(tasks, task), append(steps, step), append(correlations, correlation)
			return nil
		})
		if err != nil || len(steps) == 0 {
			return sent, err
		}
		var n int64
		if err := p.queuePool.QueryRow(ctx, q.sql(missingSQL), tasks, q.name, steps, correlations).Scan(&n); err != nil {
			return sent, inQueues("look for messages", err)
		}
		sent += n
		last = step
		if n > 0 || len(steps) < resendPage {
			return sent, nil // the rest is for the next sweep
		}
	}
}

func (p *split) resendResults(ctx context.Context, tx pgx.Tx, age float64) (int64, error) {
	return p.resend(ctx, tx, &p.server, unprocessedResults, age)
}

func (p *split) resendSteps(ctx context.Context, tx pgx.Tx, q *queue, age float64) (int64, error) {
	return p.resend(ctx, tx, q, unclaimedSteps, age, q.namespace)
}

// lookedSQL returns the candidates: whether the server is busy with each, and
// what it may be told.
const lookedSQL = `
SELECT l.task_uuid, l.busy, l.stopped AND l.ended IS NOT NULL, COALESCE(l.ended, l.task_uuid), t.correlation_id, $1::text
  FROM looked l JOIN tasker.tasks t ON t.task_uuid = ANY (ARRAY[l.task_uuid])`

// goOnTellSQL sends the server ($1 its queue) a message about each task of $2
// for which $3 is true, unless one is under way: about the step $4, $5 is the
// correlation id. It returns which were sent, and which are under way.
const goOnTellSQL = `
WITH l AS MATERIALIZED (
  SELECT * FROM unnest($2::uuid[], $3::boolean[], $4::uuid[], $5::uuid[]) AS x(task_uuid, tells, ended, correlation_id)
), coming AS MATERIALIZED (
  SELECT q.message->>'task_uuid' AS task FROM {queue} q WHERE q.message->>'task_uuid' IN (SELECT task_uuid::text FROM l)
), told AS MATERIALIZED (
  SELECT task_uuid, tasker.pgmq_send_with_notify($1::text,
           jsonb_build_object('task_uuid', task_uuid, 'step_uuid', ended, 'correlation_id', correlation_id), 0)
    FROM l WHERE tells AND task_uuid::text NOT IN (SELECT task FROM coming)
)
SELECT l.task_uuid, t.task_uuid IS NOT NULL, l.task_uuid::text IN (SELECT task FROM coming) FROM l LEFT JOIN told t USING (task_uuid)`

func (p *split) lookAt(ctx context.Context, db querier, candidates string, arg any) (told int, again map[uuid.UUID]bool, err error) {
	rows, err := db.Query(ctx, strings.ReplaceAll(candidates+lookedParts, "{coming}", "false")+lookedSQL, p.o.ResultsQueue, arg)
	if err != nil {
		return 0, nil, err
	}
	again = map[uuid.UUID]bool{}
	var tasks, ended, correlations []uuid.UUID
	var tells []bool
	var task, step, correlation uuid.UUID
	var busy, tell bool
	_, err = pgx.ForEachRow(rows, []any{&task, &busy, &tell, &step, &correlation, nil}, func() error {
		tasks, tells, ended, correlations = append(tasks, task), append(tells, tell), append(ended, step), append(correlations, correlation)
		if busy {
			again[task] = true
		}
		return nil
	})
	if err != nil || len(tasks) == 0 {
		return 0, again, err
	}
	rows, err = p.queuePool.Query(ctx, p.server.sql(goOnTellSQL), p.o.ResultsQueue, tasks, tells, ended, correlations)
	if err != nil {
		return 0, nil, inQueues("look for messages", err)
	}
	told, err = collectLooked(rows, again)
	return told, again, inQueues("look for messages", err)
}
