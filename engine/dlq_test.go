package engine

import (
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gofrs/uuid/v5"
	"github.com/stretchr/testify/require"
)

// deadLetter makes a dead-letter entry of a task for this reason.
func deadLetter(t testing.TB, e *Engine, task uuid.UUID, reason DLQReason) {
	t.Helper()
	r := &madeEntry{task: task, reason: reason, done: make(chan error, 1)}
	require.NoError(t, e.ask(t.Context(), r, r.done))
}

type madeEntry struct {
	task   uuid.UUID
	reason DLQReason
	done   chan error
}

func (m *madeEntry) apply(w *writer) error {
	r, err := w.find(m.task)
	if err != nil {
		return err
	}
	s := staleness{id: r.row.ID, task: r.row.UUID, key: r.key, state: r.state}
	entry := s.entry(r, w.batch.at)
	entry.Reason = string(m.reason)
	w.batch.inserts = append(w.batch.inserts, func() error { return w.store.InsertDLQEntry(entry) })
	return nil
}

func (m *madeEntry) reply(_ *writer, err error) { m.done <- err }

func ptr[T any](v T) *T { return &v }

func TestAnUpdateOverwritesWhatItGivesAndLeavesTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory}, linear)
		id := submit(t, e, asked("linear", 1))
		deadLetter(t, e, id, DLQManual)
		before := deadLetters(t, e)[0]
		require.Nil(t, before.ResolutionTimestamp)
		later(time.Hour)

		require.NoError(t, e.UpdateDLQ(t.Context(), before.DLQEntryUUID, DLQUpdate{ResolutionNotes: ptr("looked into it")}))
		noted := deadLetters(t, e)[0]
		want := before
		want.ResolutionNotes, want.UpdatedAt = ptr("looked into it"), noted.UpdatedAt
		require.Equal(t, want, noted)
		require.Equal(t, time.Hour, noted.UpdatedAt.Sub(before.UpdatedAt.Time))

		require.NoError(t, e.UpdateDLQ(t.Context(), before.DLQEntryUUID, DLQUpdate{
			ResolutionStatus: ptr(DLQManuallyResolved), ResolvedBy: ptr("ops-7"), Metadata: json.RawMessage(`{"ticket":"T-4"}`),
		}))
		resolved := deadLetters(t, e)[0]
		require.Equal(t, DLQManuallyResolved, resolved.ResolutionStatus)
		require.Equal(t, "ops-7", *resolved.ResolvedBy)
		require.Equal(t, "looked into it", *resolved.ResolutionNotes)
		require.JSONEq(t, `{"ticket":"T-4"}`, string(resolved.Metadata))
		require.Equal(t, time.Hour, resolved.ResolutionTimestamp.Sub(before.CreatedAt.Time))
		require.Equal(t, "steps_in_process", statusOf(t, e, id), "an entry never changes its task")
	})
}

func TestATaskHasOnePendingEntryAndAsManyOthersAsItGets(t *testing.T) {
	e := open(t, Options{Path: memory}, linear)
	id := submit(t, e, asked("linear", 1))
	deadLetter(t, e, id, DLQManual)
	deadLetter(t, e, id, DLQWorkerUnavailable)
	require.Len(t, deadLetters(t, e), 1)
	first := deadLetters(t, e)[0]
	require.NoError(t, e.UpdateDLQ(t.Context(), first.DLQEntryUUID, DLQUpdate{ResolutionStatus: ptr(DLQCancelled)}))
	deadLetter(t, e, id, DLQWorkerUnavailable)
	require.Len(t, deadLetters(t, e), 2)
	err := e.UpdateDLQ(t.Context(), first.DLQEntryUUID, DLQUpdate{ResolutionStatus: ptr(DLQPending)})
	require.ErrorIs(t, err, ErrInvalidState)
	require.ErrorContains(t, err, "pending already")

	last, err := e.DLQOfTask(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, DLQWorkerUnavailable, last.DLQReason, "the newest")
}

func TestUpdatesOfOneEntryAtTheSameTimeBothCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory}, linear)
		deadLetter(t, e, submit(t, e, asked("linear", 1)), DLQManual)
		entry := deadLetters(t, e)[0].DLQEntryUUID
		a := &dlqUpdate{entry: entry, DLQUpdate: DLQUpdate{ResolutionNotes: ptr("noted")}, done: make(chan error, 1)}
		b := &dlqUpdate{entry: entry, DLQUpdate: DLQUpdate{ResolvedBy: ptr("ops-7")}, done: make(chan error, 1)}
		require.True(t, e.inbox.put(a, b))
		require.NoError(t, <-a.done)
		require.NoError(t, <-b.done)
		got := deadLetters(t, e)[0]
		require.Equal(t, "noted", *got.ResolutionNotes)
		require.Equal(t, "ops-7", *got.ResolvedBy)
	})
}

func TestDeadLettersThatDoNotExistAreNotFound(t *testing.T) {
	e := open(t, Options{Path: memory}, linear)
	require.ErrorIs(t, e.UpdateDLQ(t.Context(), newUUID(), DLQUpdate{ResolutionNotes: ptr("x")}), ErrNotFound)
	_, err := e.DLQOfTask(t.Context(), submit(t, e, asked("linear", 1)))
	require.ErrorIs(t, err, ErrNotFound)
}

func TestDeadLettersAreListedNewestFirstByStatusAndPage(t *testing.T) {
	e := open(t, Options{Path: memory}, linear)
	var tasks []uuid.UUID
	for i := range 3 {
		tasks = append(tasks, submit(t, e, asked("linear", i)))
		deadLetter(t, e, tasks[i], DLQManual)
	}
	all := deadLetters(t, e)
	require.Equal(t, []uuid.UUID{tasks[2], tasks[1], tasks[0]}, []uuid.UUID{all[0].TaskUUID, all[1].TaskUUID, all[2].TaskUUID})
	require.NoError(t, e.UpdateDLQ(t.Context(), all[1].DLQEntryUUID, DLQUpdate{ResolutionStatus: ptr(DLQPermanentlyFailed)}))
	for filter, want := range map[DLQFilter][]uuid.UUID{
		{Limit: 2}:                                  {tasks[2], tasks[1]},
		{Limit: 2, Offset: 2}:                       {tasks[0]},
		{Limit: 9, Status: DLQPermanentlyFailed}:    {tasks[1]},
		{Limit: 9, Status: DLQPending}:              {tasks[2], tasks[0]},
		{Limit: 1, Offset: 1, Status: DLQPending}:   {tasks[0]},
		{Limit: 9, Status: DLQCancelled, Offset: 0}: nil,
	} {
		list, err := e.DLQ(t.Context(), filter)
		require.NoError(t, err)
		var got []uuid.UUID
		for _, entry := range list {
			got = append(got, entry.TaskUUID)
		}
		require.Equal(t, want, got, "%+v", filter)
	}
}

func TestStatisticsCountEachReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory}, linear)
		for i, reason := range []DLQReason{DLQManual, DLQManual, DLQManual, DLQManual, DLQStalenessTimeout} {
			deadLetter(t, e, submit(t, e, asked("linear", i)), reason)
			later(time.Minute)
		}
		all := deadLetters(t, e) // newest first
		for i, s := range []DLQStatus{DLQManuallyResolved, DLQPermanentlyFailed, DLQCancelled} {
			require.NoError(t, e.UpdateDLQ(t.Context(), all[i+1].DLQEntryUUID, DLQUpdate{ResolutionStatus: ptr(s)}))
		}
		stats, err := e.DLQStats(t.Context())
		require.NoError(t, err)
		require.Equal(t, []DLQStats{
			{
				DLQReason: DLQManual, TotalEntries: 4, Pending: 1, ManuallyResolved: 1, PermanentFailures: 1, Cancelled: 1,
				OldestEntry: &all[4].CreatedAt, NewestEntry: &all[1].CreatedAt, AvgResolutionTimeMinutes: ptr(3.0),
			},
			{DLQReason: DLQStalenessTimeout, TotalEntries: 1, Pending: 1, OldestEntry: &all[0].CreatedAt, NewestEntry: &all[0].CreatedAt},
		}, stats)
	})
}

func TestInvestigationsAreInOrderOfReasonAndAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := open(t, Options{Path: memory}, linear)
		reasons := []DLQReason{DLQManual, DLQWorkerUnavailable, DLQStalenessTimeout, DLQMaxRetriesExceeded, DLQDependencyCycleDetected}
		tasks := map[DLQReason]uuid.UUID{}
		for i, reason := range reasons {
			tasks[reason] = submit(t, e, asked("linear", i))
			deadLetter(t, e, tasks[reason], reason)
		}
		score := func() (order []DLQReason, scores []float64) {
			all, err := e.Investigations(t.Context(), 100)
			require.NoError(t, err)
			for _, i := range all {
				require.Equal(t, tasks[i.DLQReason], i.TaskUUID)
				order, scores = append(order, i.DLQReason), append(scores, i.PriorityScore)
			}
			return order, scores
		}
		order, scores := score()
		require.Equal(t, []DLQReason{DLQDependencyCycleDetected, DLQMaxRetriesExceeded, DLQStalenessTimeout, DLQWorkerUnavailable, DLQManual}, order)
		require.Equal(t, []float64{1000, 500, 100, 50, 10}, scores)

		later(30 * time.Minute)
		all, err := e.Investigations(t.Context(), 2)
		require.NoError(t, err)
		require.Len(t, all, 2)
		require.Equal(t, 1030.0, all[0].PriorityScore)
		require.EqualValues(t, 30, all[0].MinutesInDLQ)
		var read Investigation
		require.NoError(t, json.Unmarshal([]byte(`{"task_name": "t", "minutes_in_dlq": 30.99, "time_in_state_minutes": 2}`), &read), "as tasker-server writes it")
		require.Equal(t, Investigation{TaskName: "t", MinutesInDLQ: 30, TimeInStateMinutes: 2}, read)
		require.EqualValues(t, 30, all[0].TimeInStateMinutes)
		require.Equal(t, "tests", all[0].NamespaceName)
		require.Equal(t, "linear", all[0].TaskName)
		require.Equal(t, "steps_in_process", all[0].CurrentState)
		require.Equal(t, "steps_in_process", all[0].OriginalState)

		entry, err := e.DLQOfTask(t.Context(), tasks[DLQDependencyCycleDetected])
		require.NoError(t, err)
		require.NoError(t, e.UpdateDLQ(t.Context(), entry.DLQEntryUUID, DLQUpdate{ResolutionStatus: ptr(DLQCancelled)}))
		order, _ = score()
		require.Equal(t, DLQMaxRetriesExceeded, order[0], "only pending ones")
	})
}

func TestEntriesOutliveTheProcess(t *testing.T) {
	e := open(t, Options{}, linear)
	id := submit(t, e, asked("linear", 1))
	deadLetter(t, e, id, DLQManual)
	before := deadLetters(t, e)
	require.NoError(t, e.Close(t.Context()))
	again := open(t, Options{Path: e.o.Path}, linear)
	require.Equal(t, before, deadLetters(t, again))
}
