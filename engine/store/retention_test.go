package store

import (
	"testing"

	"github.com/stretchr/testify/require"
)

const minute = Instant(60_000_000)

// template adds the template of aTask.
func template(t testing.TB, s *Store) {
	t.Helper()
	write(t, s, func() error {
		return s.InsertNamedTask(&NamedTask{ID: 1, UUID: id(1), Namespace: "shop", Name: "intake", Version: "1.0.0", Configuration: []byte(`{}`)}, id(9), now)
	})
}

// createdAt writes tasks that were created at these minutes and, if finished
// is set, finished a minute later.
func createdAt(t *testing.T, s *Store, finished bool, minutes map[int64]Instant) {
	t.Helper()
	write(t, s, func() error {
		for id, m := range minutes { // in no order
			task := aTask(id)
			task.CreatedAt = m * minute
			if task.CompletedAt = 0; finished {
				task.CompletedAt = (m + 1) * minute
			}
			if err := s.InsertTask(task, []byte(`{}`)); err != nil {
				return err
			}
		}
		return nil
	})
}

func TestTheFirstTaskSinceATimeIsFoundByItsId(t *testing.T) {
	both(t, func(t *testing.T, s *Store) {
		template(t, s)
		createdAt(t, s, true, map[int64]Instant{2: 10, 3: 20, 7: 30, 9: 40, 50: 50}) // with gaps
		for since, want := range map[Instant]int64{0: 0, 10: 2, 15: 3, 20: 3, 21: 7, 40: 9, 41: 50, 50: 50, 51: 51} {
			read(t, s, func(r *Reader) {
				first, err := r.FirstTaskSince(t.Context(), since*minute)
				require.NoError(t, err)
				counts, err := r.CountTasks(t.Context(), first)
				require.NoError(t, err)
				expected, err := r.CountTasks(t.Context(), want)
				require.NoError(t, err)
				require.Equal(t, expected, counts, "since %d: first is %d", since, first)
			})
		}
	})
}

func TestExpiredTasksAreFoundInPiecesAndNeverTheNewest(t *testing.T) {
	both(t, func(t *testing.T, s *Store) {
		template(t, s)
		createdAt(t, s, true, map[int64]Instant{2: 10, 3: 11, 5: 12, 6: 20, 8: 13})
		createdAt(t, s, false, map[int64]Instant{4: 12})
		read(t, s, func(r *Reader) {
			var found []int64
			for after := int64(0); ; {
				ids, last, err := r.ExpiredTasks(t.Context(), after, 19*minute, 2)
				require.NoError(t, err)
				found = append(found, ids...)
				if after = last; last == 0 {
					break
				}
			}
			require.Equal(t, []int64{2, 3, 5}, found, "4 is not finished, 6 is too young, 8 is the newest")
		})
	})
}

func TestATaskThatIsNotFinishedIsNotTakenOut(t *testing.T) {
	both(t, func(t *testing.T, s *Store) {
		template(t, s)
		createdAt(t, s, false, map[int64]Instant{2: 10})
		write(t, s, func() error {
			taken, err := s.ExpireTask(2, 100*minute)
			require.False(t, taken)
			return err
		})
	})
}
