package e2e_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/domainevent"
	"github.com/tasker-systems/taskerpy/postgres"
	"github.com/tasker-systems/taskerpy/template"
)

// wire is a proxy before a database that cuts every connection for good at one
// statement: to the database, that is the death of the client.
type wire struct {
	address string // of the database
	before  bool   // it never gets the statement, or else nobody gets its answer

	mu    sync.Mutex
	left  int // statements that still pass
	armed bool
	dead  chan struct{} // closed at the cut
}

// serve returns the address of the wire, which ends with the test.
func (w *wire) serve(t *testing.T) string { return proxy(t, w.pass) }

// proxy hands each connection to handle, and returns its address. It ends with
// the test.
func proxy(t *testing.T, handle func(client net.Conn)) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var serving sync.WaitGroup
	t.Cleanup(func() {
		require.NoError(t, listener.Close())
		serving.Wait()
	})
	serving.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { handle(client) })
		}
	})
	return listener.Addr().String()
}

// pass takes messages from a client to the database, and the answers back.
func (w *wire) pass(client net.Conn) {
	server, err := net.Dial("tcp", w.address)
	if err != nil {
		_ = client.Close()
		return
	}
	over := make(chan struct{})
	var helping sync.WaitGroup
	defer helping.Wait()
	defer close(over)
	helping.Go(func() {
		select {
		case <-w.dead:
		case <-over:
		}
		_, _ = client.Close(), server.Close()
	})
	if first, err := packet(client, 0); err != nil || !forward(server, first) {
		return
	}
	back := &lossy{to: client}
	helping.Go(func() {
		_, _ = io.Copy(back, server)
		_ = client.Close()
	})
	for {
		message, err := packet(client, 1)
		if err != nil {
			return
		}
		if message[0] == 'E' && w.count() { // Execute
			if !w.before {
				committed := back.lose()
				_ = forward(server, message) && forward(server, []byte("S\x00\x00\x00\x04")) // Sync
				<-committed
			}
			close(w.dead)
			return
		}
		if !forward(server, message) {
			return
		}
	}
}

// packet reads a message, whose length comes after that many bytes of type.
func packet(from io.Reader, kind int) ([]byte, error) {
	message := make([]byte, kind+4)
	if _, err := io.ReadFull(from, message); err != nil {
		return nil, err
	}
	rest := make([]byte, int(binary.BigEndian.Uint32(message[kind:]))-4)
	_, err := io.ReadFull(from, rest)
	return append(message, rest...), err
}

func forward(to io.Writer, message []byte) bool {
	_, err := to.Write(message)
	return err == nil
}

// lossy is what the database says to a client, until they are to be lost.
type lossy struct {
	to io.Writer

	mu   sync.Mutex
	lost chan struct{} // closed when the database is ready for more; nil until lose
	last []byte
}

// lose keeps further answers back. The channel is closed once the database has
// done what it was told.
func (a *lossy) lose() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lost = make(chan struct{})
	return a.lost
}

func (a *lossy) Write(chunk []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.lost == nil {
		return a.to.Write(chunk)
	}
	const ready = "Z\x00\x00\x00\x05" // and a letter
	a.last = append(a.last, chunk...)
	if n := len(a.last) - len(ready) - 1; n >= 0 && strings.HasPrefix(string(a.last[n:]), ready) {
		close(a.lost)
		return 0, io.EOF
	}
	return len(chunk), nil
}

// count tells whether a statement is the one to cut at.
func (w *wire) count() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.armed {
		return false
	}
	w.left--
	return w.left == 0
}

func (w *wire) arm() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.armed = true
}

// Item 10 of the conformance checklist: the worker is cut off at its first
// statement, at its second, and so on, before the database has it or after.
func TestAWorkerMayDieAtEveryStatement(t *testing.T) {
	newProject(t, shared, "statements", chain(2, "steps.Work")...).requireSurvivesDeaths(false, 5)
}

// requireSurvivesDeaths has workers die at every statement in the database of
// the tasks, or of the queues, and another one finish what each has begun. A
// step takes a statement to claim and one to complete, and there are two.
func (p *project) requireSurvivesDeaths(queues bool, least int) {
	p.t.Helper()
	t := p.t
	parsed, findings := template.ParseFile(filepath.Join(p.templates, "flow.yaml"))
	require.False(t, template.HasErrors(findings), findings)
	options := postgres.Options{QueueURL: p.QueueURL(), Templates: []*template.Template{parsed}, Visibility: time.Second, Poll: 100 * time.Millisecond}
	for _, before := range []bool{true, false} {
		died := 0
		for {
			cut := &wire{before: before, left: died + 1, dead: make(chan struct{})}
			other := &wire{dead: cut.dead} // a worker that is dead is so everywhere
			through := options
			tasks := p.URL()
			if queues {
				tasks, through.QueueURL = other.through(t, tasks), cut.through(t, p.QueueURL())
			} else {
				tasks, through.QueueURL = cut.through(t, tasks), other.through(t, p.QueueURL())
			}
			victim := p.source(tasks, through)
			cut.arm()
			victim.work()
			ids := p.createMany(1, nil)
			survived := false // it needs fewer statements
			require.Eventually(t, func() bool {
				select {
				case <-cut.dead:
					return true
				default:
					survived = p.completed(ids)
					return survived
				}
			}, patience, time.Millisecond)
			heir := p.source(p.URL(), options)
			heir.work()
			p.requireDone(ids)
			heir.stop()
			victim.stop()
			if survived {
				break
			}
			died++
		}
		require.Greater(t, died, least)
		t.Logf("died at %d statements", died)
	}
}

// through is the URL of a database with the wire before it; "" stays what it is.
func (w *wire) through(t *testing.T, database string) string {
	t.Helper()
	if database == "" {
		return ""
	}
	u, err := url.Parse(database)
	require.NoError(t, err)
	w.address = u.Host
	u.Host, u.RawQuery = w.serve(t), "sslmode=disable"
	return u.String()
}

// Whatever statement a worker dies at, also while it publishes, there is one
// event of the step.
func TestAWorkerThatDiesWhilePublishingLeavesOneEvent(t *testing.T) {
	p := newProject(t, shared, "remains", lasting("one", "", "steps.Work", event("a.durable", "durable")))
	parsed, findings := template.ParseFile(filepath.Join(p.templates, "flow.yaml"))
	require.False(t, template.HasErrors(findings), findings)
	options := postgres.Options{Templates: []*template.Template{parsed}, Visibility: time.Second, Poll: 100 * time.Millisecond}
	database, err := url.Parse(p.URL())
	require.NoError(t, err)
	const eventsOf = ` FROM pgmq.q_remains_domain_events WHERE message->'metadata'->>'task_uuid' = $1`
	late, died := 0, 0
	for _, before := range []bool{true, false} {
		for n := 1; ; n++ {
			w := &wire{address: database.Host, before: before, left: n, dead: make(chan struct{})}
			through := *database
			through.Host, through.RawQuery = w.serve(t), "sslmode=disable"
			victim := p.source(through.String(), options)
			victim.publish()
			w.arm()
			victim.work()
			ids := p.createMany(1, nil)
			survived := false // it needs fewer statements
			require.Eventually(t, func() bool {
				select {
				case <-w.dead:
					return true
				default:
					survived = p.completed(ids) && p.number(`SELECT count(*)`+eventsOf, ids[0]) > 0
					return survived
				}
			}, patience, time.Millisecond)
			stored := p.number(`SELECT count(*) FROM tasker.workflow_steps WHERE results IS NOT NULL AND task_uuid = $1`, ids[0])
			heir := p.source(p.URL(), options)
			heir.publish()
			heir.work()
			p.requireDone(ids)
			p.awaitNumber(1, `SELECT count(*)`+eventsOf, ids[0])
			heir.stop()
			victim.stop()
			require.Equal(t, 1, p.number(`SELECT count(DISTINCT message->>'event_id')`+eventsOf, ids[0]))
			require.Equal(t, 1, p.number(`SELECT count(*)`+eventsOf+` AND message->>'event_id' = $2`, ids[0], p.eventID(p.steps(ids...)[0])))
			if survived {
				break
			}
			died++
			late += stored
		}
	}
	require.GreaterOrEqual(t, late, 2, "it has died after its result was stored, before it published and after")
	t.Logf("died at %d statements, after its result was stored at %d", died, late)
	p.requireNothingLeft()
}

// The attempt whose events a worker has left is not the last one any more, or the
// next one waits in the queue beside the message that was kept for them.
func TestEventsOfAnAttemptArePublishedAfterTheStepWasRetried(t *testing.T) {
	// later: the heir comes when the messages of both attempts can be read.
	for namespace, later := range map[string]bool{"retried": false, "retried_later": true} {
		t.Run(namespace, func(t *testing.T) {
			p := newProject(t, shared, namespace, lasting("one", "", "steps.Work",
				event("it.failed", "durable", "condition: retryable_failure"), event("it.worked", "durable")))
			parsed, findings := template.ParseFile(filepath.Join(p.templates, "flow.yaml"))
			require.False(t, template.HasErrors(findings), findings)
			options := postgres.Options{Templates: []*template.Template{parsed}, Visibility: 3 * time.Second, Poll: 100 * time.Millisecond}
			database, err := url.Parse(p.URL())
			require.NoError(t, err)
			w := &wire{address: database.Host, dead: make(chan struct{})}
			through := *database
			through.Host, through.RawQuery = w.serve(t), "sslmode=disable"
			victim := p.source(through.String(), options)
			ids := p.createMany(1, nil)
			steps, err := victim.Claim(t.Context(), 1)
			require.NoError(t, err)
			victim.Complete(steps[0], dispatch.Result{Outcome: dispatch.RetryableFailure, JSON: dispatch.FailureResult(dispatch.Failure{
				Step: steps[0], Message: "not now", ErrorType: "Busy", Retryable: true,
			})})
			require.NoError(t, victim.Sync(t.Context()))
			if later {
				close(w.dead)
				p.awaitNumber(2, `SELECT count(*) FROM `+p.queue()+` WHERE vt <= now()`)
			}
			heir := p.source(p.URL(), options)
			heir.publish()
			heir.work()
			require.Eventually(t, func() bool { return p.completed(ids) }, patience, time.Millisecond)
			if !later {
				close(w.dead)
			}
			all, names := p.events(2)
			if later {
				require.ElementsMatch(t, []string{"it.failed", "it.worked"}, names)
			} else {
				require.Equal(t, []string{"it.worked", "it.failed"}, names)
			}
			failed, worked := all[slices.Index(names, "it.failed")], all[slices.Index(names, "it.worked")]
			require.False(t, failed.Payload.Result.Success)
			first := dispatch.Publication{StepUUID: steps[0].StepUUID, Attempt: 1}
			require.Equal(t, first.EventID(0).String(), failed.ID)
			second := dispatch.Publication{StepUUID: steps[0].StepUUID, Attempt: 2}
			require.Equal(t, second.EventID(1).String(), worked.ID)
			heir.stop()
			victim.stop()
			p.requireNothingLeft()
		})
	}
}

// inline is a worker within this process.
type inline struct {
	*postgres.Source
	publisher *domainevent.Publisher // nil publishes nothing
	p         *project
	ctx       context.Context
	cancel    context.CancelFunc
	working   sync.WaitGroup
}

func (p *project) source(url string, o postgres.Options) *inline {
	p.t.Helper()
	o.URL = url
	s, err := postgres.Open(p.t.Context(), o)
	require.NoError(p.t, err)
	i := &inline{Source: s, p: p}
	i.ctx, i.cancel = context.WithCancel(p.t.Context())
	return i
}

// publish publishes domain events.
func (i *inline) publish() {
	i.publisher = domainevent.New(domainevent.Options{
		Source: i.Source, Python: domainevent.NewBuiltIn(slog.New(slog.DiscardHandler)), Remote: true,
	})
	require.NoError(i.p.t, i.publisher.Start(i.ctx))
}

// work runs steps as steps.Work does.
func (i *inline) work() {
	i.working.Go(func() {
		for {
			steps, err := i.Claim(i.ctx, 1)
			if err != nil {
				return
			}
			for _, s := range steps {
				i.Complete(s, dispatch.Result{Outcome: dispatch.Success, JSON: fmt.Appendf(nil,
					`{"step_uuid":"%s","success":true,"status":"completed","result":{"value":%d},"metadata":{},"error":null,"orchestration_metadata":null}`,
					s.StepUUID, slices.Index(stepNames, s.Name)+1)})
			}
		}
	})
}

// stop ends it. One that is cut off has nobody to say goodbye to.
func (i *inline) stop() {
	i.cancel()
	i.working.Wait()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(i.ctx), 100*time.Millisecond)
	defer cancel()
	if i.publisher != nil {
		_ = i.publisher.Drain(ctx) // see above
	}
	_ = i.Close(ctx) // see above
}
