package e2e_test

import (
	"flag"
	"math/rand/v2"
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

// worker is any of them.
func (s *storm) worker() int { return s.random.IntN(len(s.workers)) }

func (s *storm) moment(most time.Duration) time.Duration { return rand.N(most) }

// faults are what happens, by name.
func (s *storm) faults() map[string]func() {
	return map[string]func(){
		"a worker is killed": func() {
			i := s.worker()
			s.workers[i].Kill()
			delete(s.paused, s.workers[i])
			s.workers[i] = s.start()
		},
		"a worker is stopped": func() {
			i := s.worker()
			s.resume(s.workers[i])
			_, _ = s.workers[i].Stop() // it may have ended, see attend
			s.workers[i] = s.start()
		},
		"a worker sleeps": func() {
			if w := s.workers[s.worker()]; w.Pause() == nil { // it may have ended, see attend
				s.paused[w] = time.Now().Add(s.moment(8 * time.Second))
			}
		},
		"connections of workers are ended":   func() { s.TerminateConnections(s.t.Context(), "taskerpy%") },
		"connections of everybody are ended": func() { s.TerminateConnections(s.t.Context(), "%") },
		"the server is killed": func() {
			s.KillServer()
			time.Sleep(s.moment(2 * time.Second))
			s.StartServer(s.t.Context())
		},
		"the database crashes": func() {
			s.StopPostgres(cluster.Immediate)
			time.Sleep(s.moment(4 * time.Second))
			s.StartPostgres(s.t.Context())
		},
		"the database restarts": func() {
			s.StopPostgres(cluster.Fast)
			s.StartPostgres(s.t.Context())
		},
		"messages come twice": func() {
			_, _ = s.DB().Exec(s.t.Context(), `INSERT INTO `+s.queue()+` (vt, message, enqueued_at) SELECT now(), message, now() FROM `+s.queue()) // connections are ended
		},
	}
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

// Each of these faults has a test of its own; here they come on top of each other.
func TestWhateverHappensEveryTaskIsDoneOnce(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	p := newProject(t, alone(t), "storm",
		"{name: one, handler: {callable: steps.Work}, retry: {retryable: true, max_attempts: 100, backoff: none}}",
		"{name: two, dependencies: [one], handler: {callable: steps.Failing}, retry: {retryable: true, max_attempts: 100, backoff: none}}",
		"{name: side, dependencies: [one], handler: {callable: steps.Work}, retry: {retryable: true, max_attempts: 100, backoff: none}}",
		"{name: three, dependencies: [two], handler: {callable: steps.Work}, retry: {retryable: true, max_attempts: 100, backoff: none}}",
		"{name: four, dependencies: [three, side], handler: {callable: steps.Work}, retry: {retryable: true, max_attempts: 100, backoff: none}, "+
			"publishes_events: [{name: work.done, description: done, condition: success, schema: {type: object}, delivery_mode: durable}]}")
	s := &storm{project: p, random: rand.New(rand.NewPCG(seed, 0)), paused: map[*cluster.Worker]time.Time{}}
	for range 3 {
		s.workers = append(s.workers, s.start())
	}
	for _, w := range s.workers {
		require.NoError(t, w.Ready(t.Context()), w.Log())
	}
	faults := s.faults()
	names := make([]string, 0, len(faults))
	for name := range faults {
		names = append(names, name)
	}
	happened := map[string]int{}
	var ids []string
	for until := time.Now().Add(*chaos); time.Now().Before(until); {
		ids = append(ids, p.createMany(1+s.random.IntN(4), map[string]any{"ms": s.random.IntN(300), "failures": s.random.IntN(2), "permanent": false})...)
		name := names[s.random.IntN(len(names))]
		faults[name]()
		happened[name]++
		time.Sleep(s.moment(time.Second)) // the moment is meant to be any
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
	p.requireDone(ids)
	require.Eventually(t, func() bool {
		return p.queued(`SELECT count(DISTINCT message->'metadata'->>'task_uuid') FROM pgmq.q_storm_domain_events`) == len(ids)
	}, patience, 10*time.Millisecond, "events are missing")
}
