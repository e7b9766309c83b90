package postgres

import (
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gofrs/uuid/v5"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/tests/cluster"
)

// together is a deployment whose listener can claim.
func together(t *testing.T) *deployment {
	if *apart {
		t.Skip("a connection to a database of queues sees no steps")
	}
	return newDeployment(t, cluster.Options{})
}

// seldom has a source look at queues when it is told to.
func seldom(o *Options) { o.Poll, o.Visibility = time.Hour, time.Hour }

// claimant is a claimant that waits to be told of a step.
func claimant(ctx context.Context, t *testing.T, s *Source) <-chan []*dispatch.Step {
	t.Helper()
	require.Eventually(t, s.Listening, time.Minute, time.Millisecond)
	got := make(chan []*dispatch.Step, 1)
	go func() {
		steps, _ := s.Claim(ctx, 16)
		got <- steps
	}()
	waitUntilIdle(t, s)
	return got
}

// waitUntilIdle waits until a claimant waits, and nothing was heard of for a
// while.
func waitUntilIdle(t *testing.T, s *Source) {
	t.Helper()
	require.Eventually(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.offer != nil && !s.queues[0].due && len(s.wake) == 0 && time.Since(s.heard) > loneAfter
	}, time.Minute, time.Millisecond)
}

func TestALoneStepIsClaimedInOneStatementByWhoeverHearsOfIt(t *testing.T) {
	d := together(t)
	s := d.open(seldom)
	d.enqueue(1, "check_order")
	claimed(t, s, 1) // after which the template is known
	got := claimant(t.Context(), t, s)
	d.LogStatements(t.Context(), true)
	id := d.enqueue(1, "check_order")[0]
	step := (<-got)[0]
	d.LogStatements(t.Context(), false)
	require.Equal(t, id, step.StepUUID)
	statements := d.Statements("taskerpy-worker")
	require.Len(t, statements, 1)
	require.Contains(t, statements[0], "q.msg_id = $2", "it looks at nothing but that message")
	require.EqualValues(t, 2, s.Stats().Claimed)

	require.Equal(t, "in_progress", d.state(id))
	require.Equal(t, 1, d.count(`SELECT count(*) FROM tasker.workflow_steps WHERE workflow_step_uuid = $1 AND in_process AND attempts = 1`, id))
	require.Equal(t, 1, d.count(`SELECT count(*) FROM pgmq.q_worker_shop_queue WHERE message->>'step_uuid' = $1::text AND read_ct = 1 AND vt > now() + interval '50 minutes'`, id))

	s.Complete(step, success(step, `{}`))
	synced(t, s)
	require.Equal(t, "enqueued_for_orchestration", d.state(id))
	require.Equal(t, 1, d.waiting("worker_shop_queue"))
}

// nameless are the events of steps without what differs from one to another.
func nameless(t *testing.T, steps ...*dispatch.Step) (events []object) {
	t.Helper()
	differing := regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d{4}-\d\d-\d\dT[0-9:.]+`)
	for _, s := range steps {
		var event object
		require.NoError(t, json.Unmarshal(differing.ReplaceAll(s.Event, []byte("…")), &event))
		events = append(events, event)
	}
	return events
}

func TestALoneStepComesWithWhatOthersComeWith(t *testing.T) {
	d := together(t)
	s := d.open(seldom)
	d.enqueue(1, "check_order")
	looked := claimed(t, s, 1)[0]
	got := claimant(t.Context(), t, s)
	d.enqueue(1, "check_order")
	told := (<-got)[0]
	events := nameless(t, looked, told)
	require.Equal(t, events[0], events[1])
	require.Equal(t, looked.Timeout, told.Timeout)
}

func TestOneOfManyWorkersGetsALoneStepAndTheOthersGoOnWaiting(t *testing.T) {
	d := together(t)
	ctx, cancel := context.WithCancel(t.Context())
	var sources []*Source
	all := make(chan []*dispatch.Step, 3)
	for range 3 {
		s := d.open(seldom)
		sources = append(sources, s)
		got := claimant(ctx, t, s)
		go func() { all <- <-got }()
	}
	d.LogStatements(t.Context(), true)
	id := d.enqueue(1, "check_order")[0]
	require.Equal(t, id, (<-all)[0].StepUUID)
	for _, s := range sources {
		if s.Stats().Claimed == 0 {
			require.Eventually(t, func() bool { return s.Stats().ClaimBatches > 1 }, time.Minute, time.Millisecond)
			waitUntilIdle(t, s)
		}
	}
	d.LogStatements(t.Context(), false)
	claims := slices.DeleteFunc(d.Statements("taskerpy-worker"), func(s string) bool { return !strings.Contains(s, "SKIP LOCKED") })
	require.Equal(t, len(sources), len(claims), "one of each worker")
	cancel()
	require.Empty(t, <-all)
	require.Empty(t, <-all)
}

func TestWhatIsToldOfAndNothingCanBeDoneWithIsPutAside(t *testing.T) {
	d := together(t)
	s := d.open(seldom)
	done := d.enqueue(1, "check_order")[0]
	step := claimed(t, s, 1)[0]
	s.Complete(step, success(step, `{}`))
	synced(t, s)
	got := claimant(t.Context(), t, s)
	for name, message := range map[string]string{
		"no step":            `{"hello": "world"}`,
		"a step there isn't": `{"step_uuid": "00000000-0000-7000-8000-000000000001"}`,
		"a finished step":    `{"step_uuid": "` + done.String() + `"}`,
	} {
		waitUntilIdle(t, s)
		d.send(message)
		require.Eventually(t, func() bool { return d.waiting("worker_shop_queue") == 0 }, time.Minute, time.Millisecond, name)
	}
	require.Equal(t, "enqueued_for_orchestration", d.state(done))
	waitUntilIdle(t, s)
	id := d.enqueue(1, "check_order")[0]
	require.Equal(t, id, (<-got)[0].StepUUID)
}

func TestAStepThatSomebodyHandsBackIsClaimedAtOnce(t *testing.T) {
	d := together(t)
	first := d.open(seldom)
	id := d.enqueue(1, "check_order")[0]
	claimed(t, first, 1)
	second := d.open(seldom)
	got := claimant(t.Context(), t, second)
	require.NoError(t, first.Close(t.Context()))
	require.Equal(t, id, (<-got)[0].StepUUID)
}

// enqueueLocked is enqueue for a step that is locked, and that a worker has begun
// to claim.
func (d *deployment) enqueueLocked() (id uuid.UUID, blocker pgx.Tx) {
	d.t.Helper()
	id, message := d.silent()
	blocker = d.lock(id)
	d.send(message)
	d.awaitLocked()
	return id, blocker
}

func TestALoneStepIsHandedOutAlthoughTheClaimantIsStoppedMeanwhile(t *testing.T) {
	d := together(t)
	s := d.open(seldom)
	ctx, cancel := context.WithCancel(t.Context())
	got := claimant(ctx, t, s)
	id, blocker := d.enqueueLocked()
	cancel()
	require.NoError(t, blocker.Rollback(t.Context()))
	require.Equal(t, id, (<-got)[0].StepUUID)
}

func TestALoneStepThatSomebodyHasLockedKeepsNoOtherWaiting(t *testing.T) {
	d := together(t)
	s := d.open(seldom)
	got := claimant(t.Context(), t, s)
	_, blocker := d.enqueueLocked()
	next := d.enqueue(1, "check_order")[0]
	require.Equal(t, next, (<-got)[0].StepUUID)
	require.NoError(t, blocker.Rollback(t.Context()))
}

func TestLoneStepsAreClaimedAfterTheirTablesHaveChanged(t *testing.T) {
	d := together(t)
	s := d.open(seldom)
	d.run(`ALTER TABLE pgmq.q_worker_shop_queue ALTER COLUMN read_ct TYPE bigint`)
	for range 2 {
		got := claimant(t.Context(), t, s)
		id := d.enqueue(1, "check_order")[0]
		require.Equal(t, id, (<-got)[0].StepUUID)
	}
	require.EqualValues(t, 2, s.Stats().Claimed)
}
