package e2e_test

import (
	"flag"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/tests/cluster"
)

var chaos = flag.Duration("chaos", 20*time.Second, "how long faults of all kinds are made")

// storm is a deployment that bad things happen to.
type storm struct {
	*project
	random  *rand.Rand
	workers []*cluster.Worker
	paused  map[*cluster.Worker]time.Time // until when
}

// start does not wait for it: the database may be away.
func (s *storm) start() *cluster.Worker {
	s.t.Helper()
	return s.launch("--visibility-timeout", "3s", "--concurrency", "8")
}

// any is the index of a worker.
func (s *storm) any() int { return s.random.IntN(len(s.workers)) }

func (s *storm) sleep(most time.Duration) { time.Sleep(s.upTo(most)) }

func (s *storm) upTo(most time.Duration) time.Duration {
	return time.Duration(s.random.Int64N(int64(most)))
}

// faults are what happens, by name.
func (s *storm) faults() map[string]func() {
	return map[string]func(){
		"a worker is killed": func() {
			i := s.any()
			s.workers[i].Kill()
			delete(s.paused, s.workers[i])
			s.workers[i] = s.start()
		},
		"a worker is stopped": func() {
			i := s.any()
			s.resume(s.workers[i])
			_, _ = s.workers[i].Stop() // it may have ended, see attend
			s.workers[i] = s.start()
		},
		"a worker sleeps": func() {
			if w := s.workers[s.any()]; w.Pause() == nil { // it may have ended, see attend
				s.paused[w] = time.Now().Add(s.upTo(8 * time.Second))
			}
		},
		"connections of workers are ended":   func() { s.cut("taskerpy%") },
		"connections of everybody are ended": func() { s.cut("%") },
		"the server is killed": func() {
			s.KillServer()
			s.sleep(2 * time.Second)
			s.StartServer(s.t.Context())
		},
		"the database crashes": func() {
			s.StopPostgres(cluster.Immediate)
			s.sleep(4 * time.Second)
			s.StartPostgres(s.t.Context())
		},
		"the database restarts": func() {
			s.StopPostgres(cluster.Fast)
			s.StartPostgres(s.t.Context())
		},
		"messages come twice": func() {
			_, err := s.QueueDB().Exec(s.t.Context(), `INSERT INTO `+s.queue()+` (vt, message, enqueued_at) SELECT now(), message, now() FROM `+s.queue())
			require.NoError(s.t, err)
		},
	}
}

func (s *storm) cut(pattern string) {
	s.TerminateConnections(s.t.Context(), pattern)
	s.TerminateQueueConnections(s.t.Context(), pattern)
}

// attend does what somebody does who runs workers: those that found no database
// at their start have ended, and are started again.
func (s *storm) attend() {
	for i, w := range s.workers {
		if w.Ended() {
			code, err := w.Wait()
			require.NoError(s.t, err)
			require.Equal(s.t, 3, code, w.Log())
			s.workers[i] = s.start()
		}
	}
	for w, until := range s.paused {
		if time.Now().After(until) {
			s.resume(w)
		}
	}
}

func (s *storm) resume(w *cluster.Worker) {
	s.t.Helper()
	if _, ok := s.paused[w]; ok {
		require.NoError(s.t, w.Resume())
		delete(s.paused, w)
	}
}

// awaitWhileSomethingHappens waits until tasks are complete, or until nothing has
// become of any for long: a server that has a lot to make up for, or that does not
// hear of messages any more, takes twenty results every ten seconds.
func (s *storm) awaitWhileSomethingHappens(ids []string) {
	s.t.Helper()
	const all = `SELECT (SELECT count(*) FROM tasker.workflow_step_transitions) + (SELECT count(*) FROM tasker.task_transitions)`
	before, since := 0, time.Now()
	for !s.completed(ids) && time.Since(since) < 3*time.Minute {
		now := 0
		if s.DB().QueryRow(s.t.Context(), all).Scan(&now) == nil && now != before {
			before, since = now, time.Now()
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// Each of these faults has a test of its own; here they come on top of each other.
func TestWhateverHappensEveryTaskIsDoneOnce(t *testing.T) {
	for name, deploy := range map[string]func(*testing.T) *cluster.Cluster{"one database": alone, "queues apart": apart} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it waits most of the time
			stormy(t, deploy(t))
		})
	}
}

func stormy(t *testing.T, c *cluster.Cluster) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	p := newProject(t, c, "storm",
		lasting("one", "", "steps.Work"),
		lasting("two", "one", "steps.Failing"),
		lasting("side", "one", "steps.Work"),
		lasting("three", "two", "steps.Work"),
		lasting("four", "three, side", "steps.Work", event("work.done", "durable")))
	s := &storm{project: p, random: rand.New(rand.NewPCG(seed, 0)), paused: map[*cluster.Worker]time.Time{}}
	for range 3 {
		s.workers = append(s.workers, s.start())
	}
	for _, w := range s.workers {
		require.NoError(t, w.Ready(t.Context()), w.Log())
	}
	faults := s.faults()
	names := slices.Sorted(maps.Keys(faults))
	happened := map[string]int{}
	var ids []string
	for until := time.Now().Add(*chaos); time.Now().Before(until); {
		ids = append(ids, p.createMany(1+s.random.IntN(4), map[string]any{"ms": s.random.IntN(300), "failures": s.random.IntN(2), "permanent": false})...)
		name := names[s.random.IntN(len(names))]
		faults[name]()
		happened[name]++
		s.sleep(time.Second) // the moment is meant to be any
		s.attend()
	}
	for w := range s.paused {
		s.resume(w)
	}
	s.attend()
	t.Logf("%d tasks, %v", len(ids), happened)
	for _, w := range s.workers {
		require.NoError(t, w.Ready(t.Context()), w.Log())
	}
	s.awaitWhileSomethingHappens(ids)
	p.requireDone(ids)
	require.Eventually(t, func() bool {
		return p.queued(`SELECT count(DISTINCT message->'metadata'->>'task_uuid') FROM pgmq.q_storm_domain_events`) == len(ids)
	}, patience, 10*time.Millisecond, "events are missing")
}
