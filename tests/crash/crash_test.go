// Package crash_test kills the real program again and again and looks whether
// anything that it had accepted or acknowledged is missing afterwards.
package crash_test

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "github.com/mattn/go-sqlite3" // reads the file when nobody else does
	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/tests/built"
)

const (
	kills      = 20
	submitters = 8
	perLife    = 8 // tasks that each of them creates between two kills
	// patience bounds waiting for the program to start and to finish what is
	// left; a healthy one needs a small part of it.
	patience = 2 * time.Minute
)

// instance is one life of the program.
type instance struct {
	command *exec.Cmd
	stderr  *lines
	exited  chan struct{}
}

// lines keeps what the program said and tells when a line has come.
type lines struct {
	mu    sync.Mutex
	all   bytes.Buffer
	ready chan struct{} // closed at the line that says it listens
}

func (l *lines) read(r io.Reader) {
	var once sync.Once
	for s := bufio.NewScanner(r); s.Scan(); {
		l.mu.Lock()
		l.all.WriteString(s.Text() + "\n")
		l.mu.Unlock()
		if strings.Contains(s.Text(), "taskerpy is running") {
			once.Do(func() { close(l.ready) })
		}
	}
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

type scene struct {
	binary, folder, address string
}

func (s *scene) start(t *testing.T) *instance {
	t.Helper()
	command := exec.Command(s.binary, "run", "handlers.py", "--templates", "crashing.yaml",
		"--data", filepath.Join(s.folder, "crash.db"), "--listen", s.address, "--log-format", "json", "--concurrency", "4")
	command.Env = built.Environ("CRASH_TRACE="+filepath.Join(s.folder, "trace"), "CRASH_EVENTS="+filepath.Join(s.folder, "events"))
	pipe, err := command.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())
	i := &instance{command: command, stderr: &lines{ready: make(chan struct{})}, exited: make(chan struct{})}
	go func() {
		defer close(i.exited)
		i.stderr.read(pipe)
		_ = command.Wait()
	}()
	select {
	case <-i.stderr.ready:
	case <-i.exited:
		t.Fatalf("the program ended at its start:\n%s", i.stderr)
	case <-time.After(patience):
		t.Fatalf("the program does not listen:\n%s", i.stderr)
	}
	return i
}

func (i *instance) kill() {
	_ = i.command.Process.Signal(syscall.SIGKILL)
	<-i.exited
}

// accepted is what the program acknowledged.
type accepted struct {
	mu      sync.Mutex
	tasks   map[string]int    // n of the input, by task uuid
	order   []string          // task uuids, oldest first
	results map[string]string // result of a complete step, by step uuid
	last    int
}

func (a *accepted) next() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last++
	return a.last
}

var client = &http.Client{Timeout: 10 * time.Second}

func call(ctx context.Context, method, url string, body any, answer any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(data))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s: %s", method, url, response.Status, text)
	}
	return json.Unmarshal(text, answer)
}

// submit creates some tasks and looks at their results until the program is
// gone, and notes which it accepted and which step results it showed.
func (a *accepted) submit(ctx context.Context, base string) {
	for i := 0; ctx.Err() == nil; i++ {
		if i < perLife {
			n := a.next()
			var task struct {
				UUID string `json:"task_uuid"`
			}
			err := call(ctx, http.MethodPost, base+"/v1/tasks", map[string]any{
				"namespace": "crash", "name": "crashing", "version": "1.0.0", "context": map[string]any{"n": n},
				"initiator": "test", "source_system": "test", "reason": "crash",
			}, &task)
			if err != nil {
				return // killed meanwhile: not accepted as far as we know
			}
			a.mu.Lock()
			a.tasks[task.UUID] = n
			a.order = append(a.order, task.UUID)
			a.mu.Unlock()
		}
		a.mu.Lock()
		task := a.order[rand.IntN(len(a.order))]
		a.mu.Unlock()
		if a.note(ctx, base, task) != nil {
			return
		}
	}
}

type step struct {
	UUID    string          `json:"step_uuid"`
	Name    string          `json:"name"`
	State   string          `json:"current_state"`
	Results json.RawMessage `json:"results"`
}

// note remembers the results that the program shows for a task's steps.
func (a *accepted) note(ctx context.Context, base, task string) error {
	var steps []step
	if err := call(ctx, http.MethodGet, base+"/v1/tasks/"+task+"/workflow_steps", nil, &steps); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range steps {
		if s.State == "complete" {
			a.results[s.UUID] = string(s.Results)
		}
	}
	return nil
}

func TestNothingIsLostWhenTheProgramIsKilled(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("CRASH_SEED"); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("CRASH_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))

	s := &scene{binary: built.Binary(t), folder: t.TempDir(), address: freeAddress(t)}
	base := "http://" + s.address
	a := &accepted{tasks: map[string]int{}, results: map[string]string{}}
	for range kills {
		i := s.start(t)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range submitters {
			wg.Go(func() { a.submit(ctx, base) })
		}
		// The moment is random; nothing is waited for.
		time.Sleep(time.Duration(20+random.IntN(400)) * time.Millisecond)
		i.kill()
		cancel()
		wg.Wait()
	}
	require.NotEmpty(t, a.tasks)
	require.NotEmpty(t, a.results)

	i := s.start(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for task := range a.tasks {
		awaitComplete(ctx, t, base, task)
	}
	a.verify(ctx, t, base)
	require.NoError(t, i.command.Process.Signal(syscall.SIGTERM))
	<-i.exited
	require.Equal(t, 0, i.command.ProcessState.ExitCode(), i.stderr.String())
	t.Logf("%d tasks accepted, %d results shown before a kill", len(a.tasks), len(a.results))
	noStepCompletedTwice(t, filepath.Join(s.folder, "crash.db"))
	everyStepRan(t, filepath.Join(s.folder, "trace"), a.tasks, a.steps())
	everyEventWasHandled(t, filepath.Join(s.folder, "events"), slices.Collect(maps.Keys(a.tasks)))
}

// outcome is what becomes of a task, by its input.
type outcome struct {
	steps []string
	value int
}

func outcomeOf(n int) outcome {
	switch n % 3 {
	case 0: // a decision for two branches
		return outcome{[]string{"first", "route", "left", "right", "last"}, 5 * n}
	case 1: // one for batches, each of which hands back its progress
		return outcome{[]string{"first", "route", "split", "crunch_001", "crunch_002", "crunch_003", "gather", "last"}, 66 * n}
	default: // one for a step that hands back its progress
		return outcome{[]string{"first", "route", "count", "last"}, 10 * n}
	}
}

// steps is how many steps the accepted tasks have.
func (a *accepted) steps() (all int) {
	for _, n := range a.tasks {
		all += len(outcomeOf(n).steps)
	}
	return all
}

func awaitComplete(ctx context.Context, t *testing.T, base, task string) {
	t.Helper()
	for {
		var now struct {
			Status string `json:"status"`
		}
		require.NoError(t, call(ctx, http.MethodGet, base+"/v1/tasks/"+task, nil, &now))
		if now.Status == "complete" {
			return
		}
		require.NotEqual(t, "blocked_by_failures", now.Status, task)
	}
}

// verify compares every accepted task with what its input gives, and every
// acknowledged result with what is there now.
func (a *accepted) verify(ctx context.Context, t *testing.T, base string) {
	t.Helper()
	acknowledged := len(a.results)
	for task, n := range a.tasks {
		var steps []step
		require.NoError(t, call(ctx, http.MethodGet, base+"/v1/tasks/"+task+"/workflow_steps", nil, &steps))
		want := outcomeOf(n)
		var names []string
		for _, s := range steps {
			names = append(names, s.Name)
			require.Equal(t, "complete", s.State)
			if before, ok := a.results[s.UUID]; ok {
				require.Equal(t, before, string(s.Results), "the result of step %s of task %s changed", s.Name, task)
				acknowledged--
			}
			if s.Name == "last" {
				require.Contains(t, string(s.Results), fmt.Sprintf(`"result":{"value":%d}`, want.value))
			}
		}
		require.ElementsMatch(t, want.steps, names)
	}
	require.Zero(t, acknowledged, "acknowledged results are missing")
}

func noStepCompletedTwice(t *testing.T, path string) {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+path+"?mode=ro")
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	rows, err := db.QueryContext(t.Context(), `SELECT hex(workflow_step_uuid), count(*) FROM workflow_step_transitions
		WHERE to_state = 'complete' GROUP BY 1 HAVING count(*) <> 1`)
	require.NoError(t, err)
	defer func() { require.NoError(t, errors.Join(rows.Err(), rows.Close())) }()
	for rows.Next() {
		var id string
		var n int
		require.NoError(t, rows.Scan(&id, &n))
		t.Errorf("step %s completed %d times", id, n)
	}
}

// everyStepRan looks at the trace of the steps: none is missing, and none went
// back behind a checkpoint that it had been given before.
func everyStepRan(t *testing.T, path string, tasks map[string]int, steps int) {
	t.Helper()
	reached, resumed := map[string]int{}, map[string]bool{}
	attempt := map[string]string{}
	for _, fields := range written(t, path, 4) {
		if _, ok := tasks[fields[0]]; !ok {
			continue // accepted, but killed before it could say so
		}
		step := fields[1]
		cursor, err := strconv.Atoi(fields[3])
		require.NoError(t, err)
		require.GreaterOrEqual(t, cursor, reached[step], "step %s went back behind its checkpoint", step)
		if cursor > 0 && attempt[step] != fields[2] {
			resumed[step] = true
		}
		reached[step], attempt[step] = cursor, fields[2]
	}
	require.Len(t, reached, steps)
	require.NotEmpty(t, resumed, "no step was killed after a checkpoint")
	t.Logf("%d steps, %d of them resumed from a checkpoint after a kill", steps, len(resumed))
}

// everyEventWasHandled looks at what the subscriber has written down: of each
// task both events, under one id however often they came.
func everyEventWasHandled(t *testing.T, path string, tasks []string) {
	t.Helper()
	ids := map[string]string{} // by task and event name
	all := written(t, path, 3)
	for _, fields := range all {
		event := fields[0] + " " + fields[1]
		if ids[event] != "" {
			require.Equal(t, ids[event], fields[2], "two ids of %s", event)
		}
		ids[event] = fields[2]
	}
	distinct := map[string]bool{}
	for _, task := range tasks {
		for _, name := range []string{"crash.begun", "crash.done"} {
			require.Contains(t, ids, task+" "+name, "nobody handled the event")
			distinct[ids[task+" "+name]] = true
		}
	}
	require.Len(t, distinct, 2*len(tasks), "two events have one id")
	t.Logf("%d events, %d of them handled more than once", len(ids), len(all)-len(ids))
}

// written reads lines of n words.
func written(t *testing.T, path string, n int) (all [][]string) {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		require.Len(t, fields, n, "half a line: %q", line)
		all = append(all, fields)
	}
	return all
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	return l.Addr().String()
}
