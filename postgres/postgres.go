// Package postgres is the worker's side of a Tasker deployment: a source of
// steps that tasker-server orchestrates, over PostgreSQL and PGMQ (spec:
// worker-protocol). The server knows nothing of it but rows and messages.
//
// What a step costs, in round trips and write transactions:
//
//	claim with hydration   1 statement per batch   (the reference: 19 statements, 4 commits per step)
//	completion             1 statement per batch   (the reference: 10 statements, 3 commits per step)
//
// With the queues in a database of their own (Options.QueueURL) either is a
// statement in each of the two; see split.
//
// A batch is what has gathered while the previous one was under way, so a lone
// step waits for nobody: whoever hears of it claims it (told.go). Templates are
// cached, an idle worker waits in LISTEN, and besides there is one statement for
// all running steps every third of the visibility timeout.
//
// Of the two commits only the completion waits for the disk.
//
// What a crash leaves: both statements are transactions, the message of a step
// stays in its queue until the step's result is stored, and whoever reads it
// after its visibility timeout takes the step over. The claim's sort key fences
// off the result of the worker that lost it.
//
// What is wrong with one result, step or queue stays with it: it is tried again
// by itself (persist.go), put off, or waits (claim.go), and the others go on.
package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/gofrs/uuid/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/template"
)

// Defaults of Options.
const (
	DefaultVisibility     = 30 * time.Second
	DefaultPoll           = 2 * time.Second
	DefaultMaxBatch       = 256
	DefaultMaxConnections = 5
	DefaultMaxResultBytes = 32 << 20
	// DefaultSlowAcquire is the reference's slow_acquire_threshold_ms.
	DefaultSlowAcquire = 100 * time.Millisecond

	DefaultResultsQueue       = "orchestration_step_results"
	DefaultTaskRequestsQueue  = "orchestration_task_requests"
	DefaultFinalizationsQueue = "orchestration_task_finalizations"
)

// sweepEvery is how often what others left half done is looked for.
const sweepEvery = time.Minute

// Errors of Open.
var (
	// ErrUnavailable is wrapped by errors of a database that cannot be
	// reached, or that is not a Tasker deployment's.
	ErrUnavailable = errors.New("database is not available")
	// ErrTemplate is wrapped by errors of templates that a deployment cannot
	// hold.
	ErrTemplate = errors.New("template cannot be registered")
)

// Options configure a Source.
type Options struct {
	URL string // of the deployment's database
	// QueueURL is of the database with the queues, where that is another one
	// (worker-protocol §1.8); empty if it is not.
	QueueURL string
	// Templates are registered by Open; steps of their namespaces are claimed.
	Templates []*template.Template
	// Namespaces restricts what is claimed; empty means all of Templates.
	Namespaces []string

	WorkerID string // name of this worker in results and logs
	// Visibility is how long the steps of a worker that died stay untouched.
	Visibility time.Duration
	// Poll is the longest time for which a lost notification goes unnoticed.
	Poll           time.Duration
	MaxBatch       int // steps claimed, or results stored, by one statement
	MaxConnections int // one of them for LISTEN
	// QueueMaxConnections are to the database at QueueURL, where LISTEN is then;
	// 0: MaxConnections.
	QueueMaxConnections int
	// Upkeep is of the connections to either database. What is zero of QueueUpkeep
	// is as in Upkeep.
	Upkeep, QueueUpkeep Upkeep
	MaxResultBytes      int // of one step
	// HandlerTimeout is for steps without timeout_seconds; 0 is none.
	HandlerTimeout time.Duration
	// DeleteMessages deletes handled messages instead of archiving them.
	DeleteMessages bool

	ResultsQueue, TaskRequestsQueue, FinalizationsQueue string

	Observer Observer     // nil observes nothing
	Log      *slog.Logger // nil discards
}

// Upkeep says how connections are kept. What is zero is what the URL says, or
// as usual with pgxpool.
type Upkeep struct {
	Min         int           // stay open although nothing uses them
	IdleTimeout time.Duration // after which one that is not used is closed
	Lifetime    time.Duration // after which one is closed
	SlowAcquire time.Duration // a wait for one that counts as long; 0: DefaultSlowAcquire
}

// or is u with what is zero from another.
func (u Upkeep) or(other Upkeep) Upkeep {
	return Upkeep{
		cmp.Or(u.Min, other.Min), cmp.Or(u.IdleTimeout, other.IdleTimeout),
		cmp.Or(u.Lifetime, other.Lifetime), cmp.Or(u.SlowAcquire, other.SlowAcquire),
	}
}

func (o *Options) fill() {
	o.Visibility = cmp.Or(o.Visibility, DefaultVisibility)
	o.Poll = cmp.Or(o.Poll, DefaultPoll)
	o.MaxBatch = cmp.Or(o.MaxBatch, DefaultMaxBatch)
	o.MaxConnections = cmp.Or(o.MaxConnections, DefaultMaxConnections)
	o.QueueMaxConnections = cmp.Or(o.QueueMaxConnections, o.MaxConnections)
	o.Upkeep = o.Upkeep.or(Upkeep{SlowAcquire: DefaultSlowAcquire})
	o.QueueUpkeep = o.QueueUpkeep.or(o.Upkeep)
	o.MaxResultBytes = cmp.Or(o.MaxResultBytes, DefaultMaxResultBytes)
	o.ResultsQueue = cmp.Or(o.ResultsQueue, DefaultResultsQueue)
	o.TaskRequestsQueue = cmp.Or(o.TaskRequestsQueue, DefaultTaskRequestsQueue)
	o.FinalizationsQueue = cmp.Or(o.FinalizationsQueue, DefaultFinalizationsQueue)
	if o.Observer == nil {
		o.Observer = blind{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

// Source is a worker's connection to a deployment: a dispatch.Source. It also
// keeps publications for a domainevent.Publisher.
type Source struct {
	o          Options
	log        *slog.Logger
	uuid       uuid.UUID // of this process, in transitions
	pool       *pgxpool.Pool
	queuePool  *pgxpool.Pool // of the database with the queues; it may be pool
	coupling   coupling
	queues     []*queue // of the namespaces, sorted by name
	server     queue    // of results
	statements statements

	templates templateCache
	counts    counts
	waits     waits
	// queueWaits are for connections of queuePool, where that is another pool.
	queueWaits waits
	health     health
	// queueHealth is that of a database with nothing but the queues.
	queueHealth health
	outbox      dispatch.Outbox
	suspects    suspects

	mu    sync.Mutex
	held  map[uuid.UUID]*claim // by step: ours until their results are stored
	again []*claim             // to be dispatched once more, after a checkpoint
	next  int                  // the queue to be looked into first
	poll  time.Time            // when all queues are looked into, told or not
	wake  chan struct{}        // has room for one: there may be something to claim
	offer *offer               // of the claimant that waits
	heard time.Time            // when a notification came last

	reconnected chan struct{} // has room for one: an outage is over

	// writing is held by a statement about what we hold: beats take messages
	// before transitions, results the other way round.
	writing gate

	finished inbox
	unsent   inbox // what a queue database does not know yet; see split

	stop    context.CancelFunc // ends the goroutines that Close waits for first
	running sync.WaitGroup
	flushed chan struct{} // closed when the last result is stored, or given up
	giveUp  context.CancelFunc
}

// Open connects, verifies the schema, registers the templates, makes missing
// queues and begins to listen. The error wraps ErrUnavailable or ErrTemplate.
func Open(ctx context.Context, o Options) (*Source, error) {
	o.fill()
	id, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("name this worker: %w", err)
	}
	s := &Source{
		o: o, log: o.Log, uuid: id, held: map[uuid.UUID]*claim{}, wake: make(chan struct{}, 1), flushed: make(chan struct{}),
		writing: newGate(), reconnected: make(chan struct{}, 1),
	}
	s.finished.arrived, s.unsent.arrived = make(chan struct{}, 1), make(chan struct{}, 1)
	s.health.of, s.queueHealth.of = "database", "queue database"
	s.suspects.tasks, s.suspects.arrived = map[uuid.UUID]suspicion{}, make(chan struct{}, 1)
	s.server = queue{name: o.ResultsQueue, table: tableOf(o.ResultsQueue)}
	s.statements = prepareStatements(o)
	s.waits.pool, s.queueWaits.pool = MainPool, QueuePool
	s.waits.observer, s.queueWaits.observer = o.Observer, o.Observer
	s.waits.long, s.queueWaits.long = o.Upkeep.SlowAcquire, o.QueueUpkeep.SlowAcquire
	if err := s.connect(ctx); err != nil {
		return nil, err
	}
	if err := s.register(ctx); err != nil {
		s.disconnect()
		return nil, err
	}
	s.coupling.prepare(ctx)
	s.start(ctx)
	return s, nil
}

// start sets the goroutines going.
func (s *Source) start(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	var flushing context.Context
	flushing, s.giveUp = context.WithCancel(ctx)
	ctx, s.stop = context.WithCancel(ctx)
	s.running.Go(func() { s.listen(ctx) })
	s.running.Go(func() { s.beatOn(ctx) })
	s.running.Go(func() { s.sweepOn(ctx) })
	s.running.Go(func() { s.watchServer(ctx) })
	go func() {
		defer close(s.flushed)
		s.coupling.run(flushing)
		s.flush(flushing)
		s.coupling.close()
	}()
}

// Close stores the results that were handed in, hands back the steps that are
// still running (another worker begins them anew, and what their handlers
// return is refused), and disconnects. When ctx ends first it returns its
// error, and what was not stored is run again by whoever takes it over.
func (s *Source) Close(ctx context.Context) error {
	s.stop()
	s.running.Wait()
	s.handBackRunning()
	s.finished.close()
	s.outbox.Close()
	defer s.disconnect()
	defer s.giveUp()
	select {
	case <-s.flushed:
		return nil
	case <-ctx.Done():
		s.giveUp()
		<-s.flushed
		return fmt.Errorf("store the last results: %w", ctx.Err())
	}
}

// handBackRunning hands back what is still inside handlers.
func (s *Source) handBackRunning() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.held {
		if c.finish() {
			s.finished.put(&finished{claim: c, outcome: dispatch.Unstarted, began: true})
		}
	}
}

// Namespaces are those whose steps are claimed, sorted.
func (s *Source) Namespaces() []string {
	names := make([]string, len(s.queues))
	for i, q := range s.queues {
		names[i] = q.namespace
	}
	return names
}

// UUID identifies this process in transitions and audits.
func (s *Source) UUID() uuid.UUID { return s.uuid }

// signal tells that there may be something to claim.
func (s *Source) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
