package postgres

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasker-systems/taskerpy/template"
)

// queue is where the steps of a namespace arrive.
type queue struct {
	namespace string
	name      string
	table     string // with its schema, safe to stand in SQL

	// Guarded by Source.mu.
	due  bool      // there may be something in it
	beat time.Time // when we last were sure that what we hold of it is ours

	// Claim's own.
	suspect bool    // a claim's answer was lost
	few     int     // it is claimed from no more at once, after a claim that failed; 0: as many as one likes
	bare    error   // why the next step is claimed without its dependencies; nil: with them
	failing bool    // its last claim was refused by a database that answers
	retry   backoff // it is not looked into before
}

// tableOf is the table of a queue, with its schema.
func tableOf(queue string) string { return "pgmq.q_" + strings.ToLower(queue) }

// queueName is what PGMQ and PostgreSQL can carry (worker-protocol §2.1).
var queueName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// maxQueueName is PGMQ's limit.
const maxQueueName = 47

// register makes the templates, namespaces and queues of this worker known
// (worker-protocol §4).
func (s *Source) register(ctx context.Context) error {
	if err := s.chooseQueues(); err != nil {
		return err
	}
	if err := s.registerTemplates(ctx); err != nil {
		return err
	}
	return s.ensureQueues(ctx)
}

// chooseQueues finds out which namespaces to serve.
func (s *Source) chooseQueues() error {
	lower := map[string]string{}
	for _, t := range s.o.Templates {
		ns := t.Namespace
		if len(s.o.Namespaces) > 0 && !slices.Contains(s.o.Namespaces, ns) {
			continue
		}
		if slices.ContainsFunc(s.queues, func(q *queue) bool { return q.namespace == ns }) {
			continue
		}
		longest := ns + "_domain_events_dlq"
		if !queueName.MatchString(ns) || len(longest) > maxQueueName {
			return fmt.Errorf("%w: %s: namespace %q: its queues need letters, digits and _, and at most %d of them",
				ErrTemplate, t.Path, ns, maxQueueName-len(longest)+len(ns))
		}
		if ns == "orchestration" {
			return fmt.Errorf("%w: %s: namespace %q is the server's own: choose another", ErrTemplate, t.Path, ns)
		}
		if other, taken := lower[strings.ToLower(ns)]; taken {
			return fmt.Errorf("%w: %s: the namespaces %q and %q would share a table: rename one", ErrTemplate, t.Path, other, ns)
		}
		lower[strings.ToLower(ns)] = ns
		name := "worker_" + ns + "_queue"
		s.queues = append(s.queues, &queue{namespace: ns, name: name, table: tableOf(name), due: true})
	}
	for _, ns := range s.o.Namespaces {
		if !slices.ContainsFunc(s.queues, func(q *queue) bool { return q.namespace == ns }) {
			return fmt.Errorf("%w: no template has the namespace %q", ErrTemplate, ns)
		}
	}
	slices.SortFunc(s.queues, func(a, b *queue) int { return strings.Compare(a.namespace, b.namespace) })
	return nil
}

// upsertTemplate leaves an unchanged row alone: every replica starts with it.
const upsertTemplate = `
WITH ns AS (
  INSERT INTO tasker.task_namespaces (name, description, created_at, updated_at)
  VALUES ($1::text, 'Auto-created namespace: ' || $1::text, now(), now())
  ON CONFLICT (name) DO UPDATE SET name = EXCLUDED.name
  RETURNING task_namespace_uuid
)
INSERT INTO tasker.named_tasks AS t
       (task_namespace_uuid, name, version, description, configuration, identity_strategy, created_at, updated_at)
SELECT task_namespace_uuid, $2::text, $3::text, $4::text, $5::jsonb, 'strict', now(), now() FROM ns
ON CONFLICT (task_namespace_uuid, name, version) DO UPDATE
   SET description = EXCLUDED.description, configuration = EXCLUDED.configuration, updated_at = now()
 WHERE t.configuration IS DISTINCT FROM EXCLUDED.configuration OR t.description IS DISTINCT FROM EXCLUDED.description`

// registerTemplates is one round trip and one transaction. It goes by the
// templates' names, so that workers that start together do not wait for each
// other in a circle.
func (s *Source) registerTemplates(ctx context.Context) error {
	const maxDescription = 255
	templates := slices.SortedFunc(slices.Values(s.o.Templates), func(a, b *template.Template) int {
		return strings.Compare(a.Key(), b.Key())
	})
	var batch pgx.Batch
	for _, t := range templates {
		description := []rune(t.Description)
		if len(description) > maxDescription {
			description = append(description[:maxDescription-1], '…')
		}
		configuration, _ := storable(t.JSON())
		batch.Queue(upsertTemplate, t.Namespace, t.Name, t.Version, string(description), configuration)
	}
	results := s.pool.SendBatch(ctx, &batch)
	for _, t := range templates {
		if _, err := results.Exec(); err != nil {
			_ = results.Close() // the same error
			if isOfData(err) {
				return fmt.Errorf("%w: %s: %s: %w", ErrTemplate, t.Path, t.Key(), err)
			}
			return fmt.Errorf("%w: register template %s: %w", ErrUnavailable, t.Key(), err)
		}
	}
	if err := results.Close(); err != nil {
		return fmt.Errorf("%w: register templates: %w", ErrUnavailable, err)
	}
	return nil
}

// eventsQueue is where durable domain events of a namespace go.
func eventsQueue(namespace string) string { return namespace + "_domain_events" }

// ensureQueues makes the queues that do not exist.
func (s *Source) ensureQueues(ctx context.Context) error {
	names := []string{s.o.ResultsQueue, s.o.TaskRequestsQueue, s.o.FinalizationsQueue}
	for _, q := range s.queues {
		names = append(names, q.name, eventsQueue(q.namespace), eventsQueue(q.namespace)+"_dlq")
	}
	for _, name := range names {
		if !queueName.MatchString(name) || len(name) > maxQueueName {
			return fmt.Errorf("%w: queue %q: PGMQ wants letters, digits and _, at most %d", ErrUnavailable, name, maxQueueName)
		}
	}
	rows, err := s.queuePool.Query(ctx, `SELECT w.name FROM unnest($1::text[]) AS w(name)
		WHERE NOT EXISTS (SELECT 1 FROM pgmq.meta m WHERE m.queue_name = w.name) ORDER BY w.name`, names)
	if err != nil {
		return fmt.Errorf("%w: look for queues: %w", ErrUnavailable, err)
	}
	missing, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("%w: look for queues: %w", ErrUnavailable, err)
	}
	for _, name := range missing {
		if _, err := s.queuePool.Exec(ctx, `SELECT pgmq.create($1)`, name); err != nil {
			if code(err) == "42501" {
				return fmt.Errorf("%w: queue %s does not exist, and %s may not create it: run SELECT pgmq.create('%s') as the owner of the schema pgmq, or grant CREATE on it and INSERT on pgmq.meta",
					ErrUnavailable, name, s.queuePool.Config().ConnConfig.User, name)
			}
			// Replicas that start together may both have found it missing.
			if code(err) != "42P07" && code(err) != "23505" {
				return fmt.Errorf("%w: create queue %s: %w", ErrUnavailable, name, err)
			}
		}
		s.log.Info("queue created", "queue", name)
	}
	return nil
}
