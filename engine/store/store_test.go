package store

import (
	"context"
	"errors"
	"math"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/gofrs/uuid/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func id(n byte) uuid.UUID { return uuid.UUID{15: n} }

const now = Instant(1_700_000_000_123_456)

// aTask is a row with something in every column.
func aTask(n int64) *Task {
	parent := id(200)
	return &Task{
		ID: n, UUID: id(byte(n)), NamedTask: 1, State: "pending", StateSince: now, IdentityHash: []byte{1, byte(n)}, Priority: -7,
		Initiator: "me", SourceSystem: "here", Reason: "nul \x00 quote '", Tags: []byte(`["x"]`), CorrelationID: id(100), ParentCorrelationID: &parent,
		RequestedAt: now, CreatedAt: now + 1, UpdatedAt: now + 2, CompletedAt: now + 3,
	}
}

// aStep is a row with something in every column.
func aStep(task int64, position int) *Step {
	return &Step{
		ID: ID(task, position), UUID: id(byte(50 + position)), NamedStep: 1, TemplateStep: "mould", State: "pending", Retryable: true,
		MaxAttempts: math.MaxInt32, Attempts: 2, BackoffSeconds: 0, LastAttemptedAt: now, NextRetryAt: now + 1, LastFailureAt: now + 2,
		ProcessedAt: now + 3, CreatedAt: now + 4, UpdatedAt: now + 5, Duration: 1500 * time.Microsecond,
		Parents: []byte(`[0]`), Inputs: []byte(`{"i":1}`), Checkpoint: []byte(`{"c":1}`), Results: []byte(`{"big":123456789012345678901234567890}`),
	}
}

// write runs f in a transaction.
func write(t testing.TB, s *Store, f func() error) {
	t.Helper()
	require.NoError(t, s.Begin())
	if err := f(); err != nil {
		s.Rollback()
		require.NoError(t, err)
	}
	require.NoError(t, s.Commit())
}

// read calls f with a Reader.
func read(t testing.TB, s *Store, f func(r *Reader)) {
	t.Helper()
	require.NoError(t, s.Read(t.Context(), func(r *Reader) error { f(r); return nil }))
}

// seed adds a template, a step name, and a task with one step.
func seed(t testing.TB, s *Store) {
	t.Helper()
	write(t, s, func() error {
		return errors.Join(
			s.InsertNamedTask(&NamedTask{1, id(1), "shop", "intake", "1.0.0", "what it does", []byte(`{"a":1}`)}, id(9), now),
			s.InsertNamedStep(&NamedStep{1, id(2), "check"}, now),
			s.InsertTask(aTask(1), []byte(`{"n":1}`)),
			s.InsertStep(aStep(1, 0)),
		)
	})
}

// both runs a test on a file and in memory.
func both(t *testing.T, test func(t *testing.T, s *Store)) {
	t.Run("file", func(t *testing.T) { test(t, opened(t, newPath(t), Options{})) })
	t.Run("memory", func(t *testing.T) { test(t, opened(t, memory, Options{})) })
}

func TestRowsAreReadAsTheyWereWritten(t *testing.T) {
	both(t, func(t *testing.T, s *Store) {
		seed(t, s)
		read(t, s, func(r *Reader) {
			templates, err := r.NamedTasks(t.Context())
			require.NoError(t, err)
			require.Equal(t, []NamedTask{{1, id(1), "shop", "intake", "1.0.0", "what it does", []byte(`{"a":1}`)}}, templates)
			steps, err := r.NamedSteps(t.Context())
			require.NoError(t, err)
			require.Equal(t, []NamedStep{{1, id(2), "check"}}, steps)
			task, ok, err := r.Task(t.Context(), id(1))
			require.NoError(t, err)
			require.True(t, ok)
			require.Equal(t, FullTask{
				Task: *aTask(1), NamedTaskUUID: id(1), Namespace: "shop", Name: "intake", Version: "1.0.0", Context: []byte(`{"n":1}`),
			}, task)
			full, err := r.FullSteps(t.Context(), 1)
			require.NoError(t, err)
			require.Equal(t, []FullStep{{Step: *aStep(1, 0), Name: "check", NamedStepUUID: id(2)}}, full)
			last, err := r.LastTaskID(t.Context())
			require.NoError(t, err)
			require.Equal(t, int64(1), last)
		})
	})
}

func TestWhatIsUnsetIsReadAsUnset(t *testing.T) {
	s := opened(t, memory, Options{})
	seed(t, s)
	bare := Task{
		ID: 2, UUID: id(3), NamedTask: 1, State: "complete", StateSince: now, IdentityHash: []byte{9}, Tags: []byte(`[]`), CorrelationID: id(1),
		RequestedAt: now, CreatedAt: now, UpdatedAt: now,
	}
	step := Step{ID: ID(2, 0), UUID: id(4), NamedStep: 1, State: "pending", BackoffSeconds: -1, CreatedAt: now, UpdatedAt: now}
	write(t, s, func() error { return errors.Join(s.InsertTask(&bare, []byte(`{}`)), s.InsertStep(&step)) })
	read(t, s, func(r *Reader) {
		task, _, err := r.Task(t.Context(), id(3))
		require.NoError(t, err)
		require.Equal(t, bare, task.Task)
		steps, err := r.FullSteps(t.Context(), 2)
		require.NoError(t, err)
		require.Equal(t, step, steps[0].Step)
	})
}

func TestStepsAreReadWithoutTheirLargeColumnsWhenNobodyNeedsThem(t *testing.T) {
	s := opened(t, memory, Options{})
	seed(t, s)
	read(t, s, func(r *Reader) {
		steps, err := r.Steps(t.Context(), 1)
		require.NoError(t, err)
		want := *aStep(1, 0)
		want.Inputs, want.Checkpoint, want.Results = nil, nil, nil
		require.Equal(t, want, steps[0].Step)
	})
}

func TestAnUpdateWritesWhatChanges(t *testing.T) {
	both(t, func(t *testing.T, s *Store) {
		seed(t, s)
		task, step := aTask(1), aStep(1, 0)
		task.State, task.StateSince, task.UpdatedAt, task.CompletedAt = "cancelled", now+10, now+11, now+12
		step.State, step.Attempts, step.LastAttemptedAt, step.BackoffSeconds, step.NextRetryAt = "complete", 3, now+13, -1, 0
		step.LastFailureAt, step.ProcessedAt, step.Duration, step.UpdatedAt = 0, now+14, 0, now+15
		step.Results, step.Checkpoint, step.Parents = []byte(`{"r":2}`), []byte(`{"c":2}`), []byte(`[1,2]`)
		write(t, s, func() error {
			return errors.Join(s.UpdateTask(task, "pending"), s.UpdateStep(step, "pending", true), s.UpdateCheckpoint(step), s.UpdateParents(step))
		})
		read(t, s, func(r *Reader) {
			got, _, err := r.Task(t.Context(), task.UUID)
			require.NoError(t, err)
			require.Equal(t, *task, got.Task)
			steps, err := r.FullSteps(t.Context(), 1)
			require.NoError(t, err)
			require.Equal(t, *step, steps[0].Step)
		})
	})
}

func TestAnUpdateWithoutResultsLeavesThem(t *testing.T) {
	s := opened(t, memory, Options{})
	seed(t, s)
	step := aStep(1, 0)
	step.State, step.Results = "enqueued", nil
	write(t, s, func() error { return s.UpdateStep(step, "pending", false) })
	read(t, s, func(r *Reader) {
		steps, err := r.FullSteps(t.Context(), 1)
		require.NoError(t, err)
		require.Equal(t, aStep(1, 0).Results, steps[0].Results)
	})
}

func TestARowThatSomebodyElseMovedIsNotOverwritten(t *testing.T) {
	s := opened(t, memory, Options{})
	seed(t, s)
	require.NoError(t, s.Begin())
	require.ErrorIs(t, s.UpdateTask(aTask(1), "complete"), ErrStale)
	require.ErrorIs(t, s.UpdateStep(aStep(1, 0), "complete", true), ErrStale)
	require.ErrorIs(t, s.UpdateStep(aStep(1, 5), "pending", false), ErrStale)
	s.Rollback()
}

func TestStatesThatDoNotExistAreRefused(t *testing.T) {
	s := opened(t, memory, Options{})
	seed(t, s)
	task, step := aTask(2), aStep(1, 1)
	task.State, step.State = "sleeping", "sleeping"
	require.NoError(t, s.Begin())
	require.Error(t, s.InsertTask(task, []byte(`{}`)))
	require.Error(t, s.InsertStep(step))
	s.Rollback()
}

func TestAnIdentityIsUnique(t *testing.T) {
	both(t, func(t *testing.T, s *Store) {
		seed(t, s)
		task, ok, err := s.Identity(t.Context(), []byte{1, 1})
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, id(1), task)
		_, ok, err = s.Identity(t.Context(), []byte{1, 2})
		require.NoError(t, err)
		require.False(t, ok)
		same := aTask(2)
		same.IdentityHash = []byte{1, 1}
		require.NoError(t, s.Begin())
		require.Error(t, s.InsertTask(same, []byte(`{}`)))
		s.Rollback()
	})
}

func TestRolledBackRowsAreGone(t *testing.T) {
	both(t, func(t *testing.T, s *Store) {
		seed(t, s)
		require.NoError(t, s.Begin())
		require.NoError(t, s.InsertTask(aTask(2), []byte(`{}`)))
		s.Rollback()
		read(t, s, func(r *Reader) {
			_, ok, err := r.Task(t.Context(), id(2))
			require.NoError(t, err)
			require.False(t, ok)
		})
		write(t, s, func() error { return s.InsertTask(aTask(2), []byte(`{}`)) })
	})
}

var errFault = errors.New("fault")

func TestAFaultBeforeTheCommitUndoesTheTransaction(t *testing.T) {
	fail := false
	s := opened(t, newPath(t), Options{Fault: func(p Point) error {
		if fail && p == BeforeCommit {
			return errFault
		}
		return nil
	}})
	seed(t, s)
	fail = true
	require.NoError(t, s.Begin())
	require.NoError(t, s.InsertTask(aTask(2), []byte(`{}`)))
	require.ErrorIs(t, s.Commit(), errFault)
	fail = false
	write(t, s, func() error { return s.InsertTask(aTask(2), []byte(`{}`)) })
}

func TestAFaultAfterTheCommitLeavesTheTransactionDurable(t *testing.T) {
	fail := false
	s := opened(t, newPath(t), Options{Fault: func(p Point) error {
		if fail && p == AfterCommit {
			return errFault
		}
		return nil
	}})
	seed(t, s)
	fail = true
	require.NoError(t, s.Begin())
	require.NoError(t, s.InsertTask(aTask(2), []byte(`{}`)))
	require.ErrorIs(t, s.Commit(), errFault)
	read(t, s, func(r *Reader) {
		_, ok, err := r.Task(t.Context(), id(2))
		require.NoError(t, err)
		require.True(t, ok)
	})
}

func TestAReaderSeesOneCommittedState(t *testing.T) {
	s := opened(t, newPath(t), Options{})
	seed(t, s)
	read(t, s, func(r *Reader) {
		before, err := r.LastTaskID(t.Context())
		require.NoError(t, err)
		write(t, s, func() error { return s.InsertTask(aTask(2), []byte(`{}`)) })
		after, err := r.LastTaskID(t.Context())
		require.NoError(t, err)
		require.Equal(t, before, after, "what is committed meanwhile is not seen")
	})
	read(t, s, func(r *Reader) {
		last, err := r.LastTaskID(t.Context())
		require.NoError(t, err)
		require.Equal(t, int64(2), last)
	})
}

func TestReadersDoNotSeeATransactionThatIsNotCommitted(t *testing.T) {
	s := opened(t, newPath(t), Options{})
	seed(t, s)
	require.NoError(t, s.Begin())
	require.NoError(t, s.InsertTask(aTask(2), []byte(`{}`)))
	read(t, s, func(r *Reader) {
		last, err := r.LastTaskID(t.Context())
		require.NoError(t, err)
		require.Equal(t, int64(1), last)
	})
	s.Rollback()
}

func TestReadersCannotWrite(t *testing.T) {
	s := opened(t, newPath(t), Options{})
	seed(t, s)
	read(t, s, func(r *Reader) { require.Error(t, r.c.script("DELETE FROM tasks")) })
}

func TestManyReadersReadBesideTheWriter(t *testing.T) {
	both(t, func(t *testing.T, s *Store) {
		seed(t, s)
		var wg sync.WaitGroup
		for range 2 * maxReaders {
			wg.Go(func() {
				for range 20 {
					err := s.Read(t.Context(), func(r *Reader) error {
						_, _, err := r.Task(t.Context(), id(1))
						return err
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		for n := int64(2); n < 22; n++ {
			write(t, s, func() error { return s.InsertTask(aTask(n), []byte(`{}`)) })
		}
		wg.Wait()
	})
}

func TestAReadWaitsForAFreeReaderUntilItsContextEnds(t *testing.T) {
	s := opened(t, newPath(t), Options{})
	release := make(chan struct{})
	var wg, busy sync.WaitGroup
	for range maxReaders {
		busy.Add(1)
		wg.Go(func() {
			err := s.Read(context.Background(), func(*Reader) error { busy.Done(); <-release; return nil })
			if err != nil {
				t.Error(err)
			}
		})
	}
	busy.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, s.Read(ctx, func(*Reader) error { return nil }), context.Canceled)
	close(release)
	wg.Wait()
}

func TestAReadWhoseContextEndsStopsAndHarmsNobody(t *testing.T) {
	both(t, func(t *testing.T, s *Store) {
		seed(t, s)
		ctx, cancel := context.WithCancel(t.Context())
		err := s.Read(ctx, func(r *Reader) error {
			cancel()
			_, _, err := r.Task(ctx, id(1))
			return err
		})
		require.ErrorIs(t, err, context.Canceled)
		for range 2 * maxReaders {
			read(t, s, func(r *Reader) {
				_, ok, err := r.Task(t.Context(), id(1))
				require.NoError(t, err)
				require.True(t, ok)
			})
		}
	})
}

// The file cannot grow any more: what a full disk looks like to SQLite.
func TestAFullDiskFailsTheTransactionAndIsOverWhenThereIsSpace(t *testing.T) {
	s := opened(t, newPath(t), Options{})
	seed(t, s)
	require.NoError(t, s.w.script("PRAGMA max_page_count = 1"))
	large := make([]byte, 1<<20)
	for i := range large {
		large[i] = 'x'
	}
	require.NoError(t, s.Begin())
	err := s.InsertTask(aTask(2), large)
	if err == nil {
		err = s.Commit()
	} else {
		s.Rollback()
	}
	require.ErrorContains(t, err, "database or disk is full")
	require.NoError(t, s.w.script("PRAGMA max_page_count = 1000000"))
	write(t, s, func() error { return s.InsertTask(aTask(2), large) })
}

func TestTouchingNeedsAFileThatCanBeWritten(t *testing.T) {
	s := opened(t, newPath(t), Options{})
	version, err := s.w.pragma("user_version")
	require.NoError(t, err)
	write(t, s, s.Touch)
	after, err := s.w.pragma("user_version")
	require.NoError(t, err)
	require.Equal(t, version, after)
	require.NoError(t, s.Begin())
	require.NoError(t, s.w.script("PRAGMA query_only = 1"))
	require.Error(t, s.Touch())
	s.Rollback()
}

func TestHistoryAndFailedAttemptsAreReadInTheirOrder(t *testing.T) {
	s := opened(t, memory, Options{})
	seed(t, s)
	write(t, s, func() error {
		return errors.Join(
			s.InsertHistory(HistoryRow{ID(1, 0), now, []byte(`[[null,null,"pending"]]`)}),
			s.InsertHistory(HistoryRow{ID(1, 1), now + 1, []byte(`[[0,null,"pending"]]`)}),
			s.InsertHistory(HistoryRow{ID(2, 0), now, []byte(`[]`)}),
			s.InsertFailedAttempt(&FailedAttempt{ID(1, 0), 1, now, time.Millisecond, "w-1", []byte(`{"a":1}`)}),
			s.InsertFailedAttempt(&FailedAttempt{ID(1, 0), 2, now + 1, 0, "", []byte(`{"a":2}`)}),
			s.InsertFailedAttempt(&FailedAttempt{ID(1, 1), 1, now, 0, "", []byte(`{}`)}),
		)
	})
	read(t, s, func(r *Reader) {
		rows, err := r.History(t.Context(), 1)
		require.NoError(t, err)
		require.Equal(t, []HistoryRow{{ID(1, 0), now, []byte(`[[null,null,"pending"]]`)}, {ID(1, 1), now + 1, []byte(`[[0,null,"pending"]]`)}}, rows)
		for task, want := range map[int64]int{1: 2, 2: 1, 3: 0} {
			n, err := r.HistoryLength(t.Context(), task)
			require.NoError(t, err)
			require.Equal(t, want, n)
		}
		attempts, err := r.FailedAttempts(t.Context(), ID(1, 0))
		require.NoError(t, err)
		require.Equal(t, []FailedAttempt{
			{ID(1, 0), 1, now, time.Millisecond, "w-1", []byte(`{"a":1}`)}, {ID(1, 0), 2, now + 1, 0, "", []byte(`{"a":2}`)},
		}, attempts)
	})
}

func TestOpenTasksAreThoseInNoTerminalStateThatDoNotRest(t *testing.T) {
	s := opened(t, memory, Options{})
	seed(t, s) // task 1 has completed_at
	for n, state := range map[int64][2]string{
		2: {"steps_in_process", "pending"}, 3: {"blocked_by_failures", "error"}, 4: {"blocked_by_failures", "in_progress"},
	} {
		task, step := aTask(n), aStep(n, 0)
		task.State, task.CompletedAt, step.State = state[0], 0, state[1]
		write(t, s, func() error { return errors.Join(s.InsertTask(task, []byte(`{}`)), s.InsertStep(step)) })
	}
	read(t, s, func(r *Reader) {
		open, err := r.OpenTasks(t.Context(), "blocked_by_failures", []string{"enqueued", "in_progress"})
		require.NoError(t, err)
		var ids []int64
		for _, task := range open {
			ids = append(ids, task.ID)
		}
		require.Equal(t, []int64{2, 4}, ids)
	})
}

func TestIDsCarryTheTaskAndTheNumber(t *testing.T) {
	for _, task := range []int64{1, 7, 1 << 38} {
		for _, number := range []int{0, 1, MaxPositions - 1} {
			require.Equal(t, task, TaskOf(ID(task, number)))
			require.Equal(t, number, Position(ID(task, number)))
		}
	}
	require.Less(t, ID(1, MaxPositions-1), ID(2, 0))
}

func TestAnInstantIsAMicrosecondInUTC(t *testing.T) {
	at := time.Date(2026, 2, 3, 10, 0, 1, 123_456_789, time.FixedZone("", -7200))
	i := At(at)
	require.Equal(t, time.Date(2026, 2, 3, 12, 0, 1, 123_456_000, time.UTC), i.Time())
	require.Equal(t, "2026-02-03T12:00:01.123456", string(i.AppendNaive(nil)))
	require.Equal(t, "2026-02-03T12:00:01", string(At(at.Truncate(time.Second)).AppendNaive(nil)))
	require.Equal(t, i.Time().Add(time.Minute), i.Add(time.Minute).Time())
	require.Equal(t, time.Minute, i.Add(time.Minute).Sub(i))
	require.True(t, At(time.Time{}).IsZero())
	require.True(t, Instant(0).Time().IsZero())
}

func TestClosingTwiceIsFine(t *testing.T) {
	s, err := Open(newPath(t), Options{})
	require.NoError(t, err)
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
}

func TestACleanCloseLeavesOneFileAndTheLock(t *testing.T) {
	path := newPath(t)
	s := opened(t, path, Options{})
	seed(t, s)
	read(t, s, func(*Reader) {})
	require.FileExists(t, path+"-wal")
	require.NoError(t, s.Close())
	require.NoFileExists(t, path+"-wal")
	require.NoFileExists(t, path+"-shm")
}

// A database in memory cannot have write-ahead logging, like a file on many
// network file systems.
func TestAFileSystemWithoutWriteAheadLoggingIsRefused(t *testing.T) {
	c, err := connect(memory, url.Values{})
	require.NoError(t, err)
	defer func() { require.NoError(t, c.close()) }()
	require.EqualError(t, writeAhead(c),
		`its file system cannot have write-ahead logging, the journal mode stays "memory"; choose a path on a local disk`)
}
