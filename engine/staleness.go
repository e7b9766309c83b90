package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/gofrs/uuid/v5"

	"github.com/tasker-systems/taskerpy/engine/store"
	"github.com/tasker-systems/taskerpy/template"
)

// StalenessMode says what happens to tasks that stay too long where they are
// (engine-semantics §7.4).
type StalenessMode string

// The modes.
const (
	// StalenessOff leaves them alone. It is the default: what waits long on one
	// machine often does so on purpose.
	StalenessOff StalenessMode = "off"
	// StalenessWarn logs a warning, once for each time a task gets stale.
	StalenessWarn StalenessMode = "warn"
	// StalenessAct makes a dead-letter entry and puts the task to error, as
	// the template's staleness_action says.
	StalenessAct StalenessMode = "act"
)

func (m StalenessMode) detects() bool { return m == StalenessWarn || m == StalenessAct }

// Staleness configures the detector of stale tasks.
type Staleness struct {
	Mode StalenessMode // "" means StalenessOff
	// Interval is the pause between two looks; 0 means 5 minutes.
	Interval time.Duration
}

const stalenessInterval = 5 * time.Minute

func (s Staleness) interval() time.Duration { return cmp.Or(s.Interval, stalenessInterval) }

const (
	// staleAge is how old a task may get in a watched state.
	staleAge = 24 * time.Hour
	// staleBatch is how many tasks are dealt with at a time.
	staleBatch = 100
	// recentCheckpoint is how long a checkpoint shows that its step lives.
	recentCheckpoint = 15 * time.Minute
)

// The words of staleness_action (engine-semantics §1.6). Anything else counts
// as dlq.
const (
	actionError = "error"
	actionNone  = "none"
)

// watchedStates are the states in which a task gets stale.
var watchedStates = []string{TaskWaitingForDependencies.String(), TaskWaitingForRetry.String(), TaskStepsInProcess.String()}

// stateThreshold is how long a task may be in a watched state, as its template
// says or by default; 0 for all other states.
func stateThreshold(state TaskState, l *template.Lifecycle) time.Duration {
	if l == nil {
		l = &template.Lifecycle{}
	}
	var limit *uint32
	var fallback time.Duration
	switch state {
	case TaskWaitingForDependencies:
		limit, fallback = l.MaxWaitingForDependenciesMinutes, 60*time.Minute
	case TaskWaitingForRetry:
		limit, fallback = l.MaxWaitingForRetryMinutes, 30*time.Minute
	case TaskStepsInProcess:
		limit, fallback = l.MaxStepsInProcessMinutes, 30*time.Minute
	}
	if limit != nil {
		return minutes(*limit)
	}
	return fallback
}

// minutes is so many minutes, or the longest time there is: larger limits load.
func minutes(n uint32) time.Duration {
	return time.Duration(min(int64(n), int64(math.MaxInt64/time.Minute))) * time.Minute
}

// staleness is why a task counts as stale.
type staleness struct {
	id        int64
	task      uuid.UUID
	key       templateKey
	state     TaskState
	since     store.Instant // in the state
	inState   time.Duration
	threshold time.Duration // that was exceeded
	overall   bool          // by the task's age
	action    string
}

func (s *staleness) String() string {
	if s.overall {
		return fmt.Sprintf("unfinished for longer than %s", s.threshold)
	}
	return fmt.Sprintf("in %s for %s, longer than %s", s.state, s.inState.Truncate(time.Minute), s.threshold)
}

// staleness judges a running task. A step that has checkpointed lately spares
// its task, but for the template's own max_duration_minutes.
func (r *run) staleness(now store.Instant) (staleness, bool) {
	s := staleness{id: r.row.ID, task: r.row.UUID, key: r.key, state: r.state, since: r.row.StateSince, inState: now.Sub(r.row.StateSince)}
	var l *template.Lifecycle
	if r.named.def != nil {
		l = r.named.def.template.Lifecycle
	}
	most := staleAge
	if l != nil {
		s.action = l.StalenessAction
		if l.MaxDurationMinutes != nil {
			most = minutes(*l.MaxDurationMinutes)
		}
	}
	age := now.Sub(r.row.CreatedAt)
	if r.settled() || r.state == TaskBlockedByFailures || s.action == actionNone {
		return s, false
	}
	if l != nil && l.MaxDurationMinutes != nil && age >= most {
		s.threshold, s.overall = most, true
		return s, true
	}
	limit := stateThreshold(r.state, l)
	switch {
	case limit == 0:
		return s, false
	case s.inState >= limit:
		s.threshold = limit
	case age >= most:
		s.threshold, s.overall = most, true
	default:
		return s, false
	}
	return s, !r.checkpointedSince(now.Add(-recentCheckpoint).Time())
}

// checkpointedSince tells whether a step that is in progress has reached a
// checkpoint since then.
func (r *run) checkpointedSince(t time.Time) bool {
	for i := range r.steps {
		s := &r.steps[i]
		if s.state != StepInProgress || s.row.Checkpoint == nil {
			continue
		}
		var c storedCheckpoint
		if json.Unmarshal(s.row.Checkpoint, &c) == nil && !c.Timestamp.Before(t) {
			return true
		}
	}
	return false
}

// detector looks for stale tasks.
type detector struct {
	e      *Engine
	warned map[int64]staleness // by task, in mode warn
}

// pass looks at all tasks that are not finished.
func (d *detector) pass(ctx context.Context) error {
	act := d.e.o.Staleness.Mode == StalenessAct
	for {
		q := &stalenessCheck{act: act, done: make(chan error, 1)}
		if err := d.e.ask(ctx, q, q.done); err != nil {
			return err
		}
		if !act {
			d.warn(q.found)
			return nil
		}
		for i := range q.found {
			s := &q.found[i]
			taken := "transitioned_to_dlq_and_error"
			if s.action == actionError {
				taken = "transitioned_to_error_only"
			}
			d.e.log.Warn("stale task put to error", "task_uuid", s.task, "template", s.key.String(), "why", s.String(), "action", taken)
		}
		if len(q.found) < staleBatch {
			return nil
		}
	}
}

// warn tells of each task once for each time it gets stale.
func (d *detector) warn(found []staleness) {
	still := make(map[int64]staleness, len(found))
	for i := range found {
		s := found[i]
		if before, known := d.warned[s.id]; !known || before.since != s.since || before.overall != s.overall {
			d.e.log.Warn("task is stale", "task_uuid", s.task, "template", s.key.String(), "why", s.String(),
				"action", "would_transition_to_dlq_and_error")
		}
		still[s.id] = s
	}
	d.warned = still
}

// A stalenessCheck finds stale tasks, the stalest first, and with act deals
// with up to staleBatch of them.
type stalenessCheck struct {
	act   bool
	found []staleness
	done  chan error
}

func (q *stalenessCheck) apply(w *writer) error {
	var all []staleness
	for _, r := range w.runs {
		if s, stale := r.staleness(w.batch.at); stale {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b staleness) int { return cmp.Or(cmp.Compare(a.since, b.since), cmp.Compare(a.id, b.id)) })
	err := w.store.ReadOwn(func(reader *store.Reader) error {
		for _, s := range all {
			if q.act && len(q.found) == staleBatch {
				break
			}
			_, pending, err := reader.PendingDLQEntry(w.ctx, s.id)
			if err != nil {
				return err
			}
			if !pending {
				q.found = append(q.found, s)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if q.act {
		for i := range q.found {
			w.abandon(&q.found[i])
		}
	}
	return nil
}

func (q *stalenessCheck) reply(_ *writer, err error) { q.done <- err }

// abandon puts a stale task to error, past the table of transitions, and
// records that for an investigation unless the template wants none. Steps are
// not touched, and those that run finish; but what yielded a checkpoint and is
// in line to go on ends.
func (w *writer) abandon(s *staleness) {
	r := w.runs[s.id]
	if s.action != actionError {
		entry := s.entry(r, w.batch.at)
		w.batch.inserts = append(w.batch.inserts, func() error { return w.store.InsertDLQEntry(entry) })
	}
	w.setTask(r, TaskError, string(DLQStalenessTimeout)+": "+s.String())
	r.explain("staleness detector", string(DLQStalenessTimeout))
	for i := range r.steps {
		if w.yielded(&r.steps[i]) {
			w.endYielded(r, int32(i))
		}
	}
}

// entry makes the dead-letter entry (engine-semantics §7.5).
func (s *staleness) entry(r *run, now store.Instant) *store.DLQEntry {
	type object = map[string]any
	inState, threshold := int64(s.inState/time.Minute), int64(s.threshold/time.Minute)
	snapshot := object{
		"task_uuid": s.task, "namespace": s.key.namespace, "task_name": s.key.name, "current_state": s.state.String(),
		"time_in_state_minutes": inState, "threshold_minutes": threshold, "snapshot_timestamp": NaiveTime{now.Time()},
		"task_details": object{
			"correlation_id": r.row.CorrelationID, "priority": r.row.Priority,
			"requested_at": NaiveTime{r.row.RequestedAt.Time()}, "created_at": NaiveTime{r.row.CreatedAt.Time()},
		},
	}
	metadata := object{"detection_method": "automatic_staleness", "time_in_state_minutes": inState, "threshold_minutes": threshold}
	return &store.DLQEntry{
		UUID: newUUID(), TaskID: s.id, OriginalState: s.state.String(), Reason: string(DLQStalenessTimeout),
		TaskSnapshot: encoded(snapshot), Metadata: encoded(metadata), CreatedAt: now, UpdatedAt: now,
	}
}

// encoded is plain values as JSON.
func encoded(value any) []byte {
	b, err := json.Marshal(value)
	if err != nil {
		panic("encode plain values: " + err.Error()) // cannot be
	}
	return b
}

// late finds the run of a result that comes after its task was put to error:
// the result is stored although nothing follows from it (engine-semantics
// §7.4). It returns nil for all other tasks that are not in memory.
func (w *writer) late(c *completion) *run {
	inError := false
	err := w.store.ReadOwn(func(r *store.Reader) error {
		_, state, _, err := r.TaskState(w.ctx, c.claim.taskUUID)
		inError = state == TaskError.String()
		return err
	})
	if err != nil || !inError {
		return nil
	}
	r, err := w.find(c.claim.taskUUID)
	if err != nil {
		return nil
	}
	return r
}

// StaleTask is a task in a watched state with how near it is to being stale
// (engine-semantics §7.4).
type StaleTask struct {
	TaskUUID                  uuid.UUID `json:"task_uuid"`
	NamespaceName             string    `json:"namespace_name"`
	TaskName                  string    `json:"task_name"`
	CurrentState              string    `json:"current_state"`
	TimeInStateMinutes        int64     `json:"time_in_state_minutes"`
	TaskAgeMinutes            int64     `json:"task_age_minutes"`
	StalenessThresholdMinutes int64     `json:"staleness_threshold_minutes"`
	HealthStatus              string    `json:"health_status"` // healthy, warning or stale
	Priority                  int32     `json:"priority"`
}

// StaleTasks returns up to limit tasks in watched states, those first that
// have used up most of their time, whether the detector is on or not.
func (e *Engine) StaleTasks(ctx context.Context, limit int) ([]StaleTask, error) {
	now := e.clock.now()
	var open []store.OpenTask
	named := map[int64]*store.NamedTask{}
	lifecycles := map[int64]*template.Lifecycle{}
	err := e.read(ctx, func(r *store.Reader) error {
		rows, err := r.NamedTasks(ctx)
		if err != nil {
			return err
		}
		for i := range rows {
			named[rows[i].ID] = &rows[i]
			if t, err := parseConfiguration(&rows[i]); err == nil {
				lifecycles[rows[i].ID] = t.Lifecycle
			}
		}
		return r.TasksInStates(ctx, watchedStates, func(t store.OpenTask) { open = append(open, t) })
	})
	if err != nil {
		return nil, fmt.Errorf("list tasks by staleness: %w", err)
	}
	used := func(t store.OpenTask) (inState, limit time.Duration) {
		state, _ := ParseTaskState(t.State)
		return now.Sub(t.StateSince), stateThreshold(state, lifecycles[t.NamedTask])
	}
	slices.SortStableFunc(open, func(a, b store.OpenTask) int {
		inA, limitA := used(a)
		inB, limitB := used(b)
		return cmp.Compare(float64(inB)/float64(limitB), float64(inA)/float64(limitA))
	})
	all := []StaleTask{}
	for _, t := range open[:min(len(open), limit)] {
		inState, threshold := used(t)
		health := "healthy"
		switch {
		case inState >= threshold:
			health = "stale"
		case inState*10 >= threshold*8:
			health = "warning"
		}
		s := StaleTask{
			TaskUUID: t.UUID, CurrentState: t.State, TimeInStateMinutes: minutesBetween(t.StateSince, now), TaskAgeMinutes: minutesBetween(t.CreatedAt, now),
			StalenessThresholdMinutes: int64(threshold / time.Minute), HealthStatus: health, Priority: t.Priority,
		}
		if n := named[t.NamedTask]; n != nil {
			s.NamespaceName, s.TaskName = n.Namespace, n.Name
		}
		all = append(all, s)
	}
	return all, nil
}
