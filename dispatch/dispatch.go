package dispatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// DefaultConcurrency is how many steps may be inside handlers at once.
	DefaultConcurrency = 16

	// heldUp is how long every awake lane must have been inside one handler
	// before a further lane is woken. Short CPU-bound steps are fastest on one
	// lane (more threads only fight for the GIL); waiting steps need many.
	heldUp = 500 * time.Microsecond

	// Steps are claimed ahead of the lanes' need for about horizon of work, so
	// that short steps never wait for a source's commit, and long ones are not
	// held back from other workers.
	horizon     = 20 * time.Millisecond
	maxPrefetch = 256

	// A handler past its step's timeout is interrupted, and once more if it has
	// not come back after yieldTime: Python swallows an exception that hits in a
	// finalizer. If it still does not come back, because it is blocked outside
	// of Python, it loses its step, and its lane counts as stuck and is replaced.
	yieldTime = 2 * time.Second

	// claimRetry is how long to wait after a source failed to claim.
	claimRetry = 100 * time.Millisecond
)

// Call hands one event to the handler side and waits for its answer: one byte
// of Outcome followed by the result's JSON. label says what runs.
type Call = func(event []byte, label *string) (answer []byte, err error)

// Executor is a thread that runs handlers one after another: a lane.
type Executor interface {
	// Occupy runs loop on the executor's thread and returns when loop does. It
	// is called once: the executor is over then.
	Occupy(loop func(call Call))
	// Interrupt asks the handler that is running to end, and does nothing
	// between calls. Other goroutines call it.
	Interrupt(ctx context.Context) error
}

// Metrics receives what a Dispatcher observes. Methods are called on lanes
// and must be quick.
type Metrics interface {
	StepDone(step *Step, outcome Outcome, queued, inHandler time.Duration)
}

type noMetrics struct{}

func (noMetrics) StepDone(*Step, Outcome, time.Duration, time.Duration) {}

// Options configure a Dispatcher.
type Options struct {
	Source Source
	// NewExecutor makes the n-th lane, counted from 1. Lanes are made when
	// they are first needed.
	NewExecutor func(n int) (Executor, error)
	// Concurrency is the largest number of lanes; 0 means DefaultConcurrency.
	Concurrency int
	WorkerID    string
	// MaxStuck is how many lanes may be stuck in handlers that cannot be
	// interrupted; 0 means Concurrency. With one more, Exhausted is called.
	MaxStuck  int
	Exhausted func()       // nil does nothing; called once, it must not block
	Metrics   Metrics      // nil observes nothing
	Log       *slog.Logger // nil discards
}

// Dispatcher takes steps from its source to lanes and results back. It never
// polls: lanes sleep until there is work, and the claimer until there is room.
type Dispatcher struct {
	Options

	mu      sync.Mutex
	queue   queue
	lanes   []*lane
	idle    []*lane // asleep, the most recently used last
	flying  int     // claimed and not completed
	claimed uint64  // steps that were queued, in all
	room    *sync.Cond
	ended   bool // no more steps will be queued
	pacer   chan struct{}
	typical atomic.Int64 // moving average of the time in a handler, ns; 0 unknown

	lastLane  int  // the number of the lane made last
	stuck     int  // lanes that were given up and have not come back
	exhausted bool // Exhausted was called
	timeouts  uint64

	stopClaim context.CancelFunc
	wg        sync.WaitGroup
}

// lane is the dispatcher's view of one executor.
type lane struct {
	n        int
	wake     chan struct{}
	since    atomic.Int64         // when it entered the handler it is in, unix ns; 0 outside
	step     atomic.Pointer[Step] // that it is in the handler of, for metrics
	executor Executor
}

func (l *lane) enter(step *Step, now time.Time) {
	l.step.Store(step)
	l.since.Store(now.UnixNano())
}

func (l *lane) leave() {
	l.since.Store(0)
	l.step.Store(nil)
}

// item is a queued step.
type item struct {
	step   *Step
	queued time.Time
}

// New makes a Dispatcher; Start sets it going.
func New(o Options) *Dispatcher {
	if o.Concurrency <= 0 {
		o.Concurrency = DefaultConcurrency
	}
	if o.MaxStuck <= 0 {
		o.MaxStuck = o.Concurrency
	}
	if o.Exhausted == nil {
		o.Exhausted = func() {}
	}
	if o.Metrics == nil {
		o.Metrics = noMetrics{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	d := &Dispatcher{Options: o, pacer: make(chan struct{}, 1)}
	d.room = sync.NewCond(&d.mu)
	return d
}

// Start begins to claim and run steps until Drain or the end of ctx.
func (d *Dispatcher) Start(ctx context.Context) {
	ctx, d.stopClaim = context.WithCancel(ctx)
	d.wg.Add(2)
	go d.claim(ctx)
	go d.pace()
}

// Drain stops claiming, hands the steps back whose handlers were not entered,
// and waits for the others. When ctx ends first it returns its error; the lanes then still run. A Dispatcher
// that was never started, or is drained already, is fine.
func (d *Dispatcher) Drain(ctx context.Context) error {
	if d.stopClaim == nil {
		return nil
	}
	d.stopClaim()
	done := make(chan struct{})
	go func() {
		d.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("drain: %d steps still running: %w", d.Stats().Running, ctx.Err())
	}
}

// claim keeps the queue filled.
func (d *Dispatcher) claim(ctx context.Context) {
	defer d.wg.Done()
	defer d.end()
	forget := context.AfterFunc(ctx, func() {
		// Under the lock, or it could come between waitForRoom's look at ctx
		// and its wait.
		d.mu.Lock()
		defer d.mu.Unlock()
		d.room.Broadcast()
	})
	defer forget()
	for {
		room := d.waitForRoom(ctx)
		if room == 0 {
			return
		}
		steps, err := d.Source.Claim(ctx, room)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, context.Canceled) {
				return
			}
			d.Log.Error("claim steps", "error", err)
			select {
			case <-time.After(claimRetry):
			case <-ctx.Done():
			}
			continue
		}
		d.push(steps)
	}
}

// waitForRoom waits until more steps may be claimed and tells how many; 0 when
// ctx ended.
func (d *Dispatcher) waitForRoom(ctx context.Context) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	for {
		if ctx.Err() != nil {
			return 0
		}
		if room := d.roomToClaim(); room > 0 {
			return room
		}
		d.room.Wait()
	}
}

// roomToClaim is how many steps may be claimed now. While more than half of
// what is claimed ahead is left it is 0: to wake the claimer for every step
// would cost more than a short step does. d.mu is held.
func (d *Dispatcher) roomToClaim() int {
	ahead := d.ahead()
	room := d.Concurrency + ahead - d.flying
	if room <= ahead/2 {
		return 0
	}
	return room
}

// ahead is how many steps may be claimed beyond what the lanes can hold.
func (d *Dispatcher) ahead() int {
	typical := d.typical.Load()
	if typical == 0 {
		return 0
	}
	return min(int(int64(horizon)/typical), maxPrefetch)
}

// push queues claimed steps and sees that somebody takes them.
func (d *Dispatcher) push(steps []*Step) {
	now := time.Now()
	d.mu.Lock()
	for _, s := range steps {
		d.queue.push(item{s, now})
	}
	d.flying += len(steps)
	d.claimed += uint64(len(steps))
	if len(d.lanes) == len(d.idle) { // nobody is awake
		d.wakeOne()
	}
	d.mu.Unlock()
	d.armPacer()
}

// wakeOne wakes the most recently used sleeping lane, or makes one; it tells
// whether there was one. d.mu is held.
func (d *Dispatcher) wakeOne() bool {
	if n := len(d.idle); n > 0 {
		l := d.idle[n-1]
		d.idle = d.idle[:n-1]
		l.wake <- struct{}{}
		return true
	}
	if len(d.lanes) == d.Concurrency {
		return false
	}
	d.lastLane++
	l := &lane{n: d.lastLane, wake: make(chan struct{}, 1)}
	d.lanes = append(d.lanes, l)
	d.wg.Add(1)
	go d.run(l)
	return true
}

// run is a lane's life.
func (d *Dispatcher) run(l *lane) {
	executor, err := d.NewExecutor(l.n)
	if err != nil {
		d.Log.Error("start lane", "lane", l.n, "error", err)
		time.Sleep(claimRetry) // or the pacer would try two thousand times a second
		d.dropLane(l)
		d.wg.Done()
		return
	}
	l.executor = executor
	ours := true // whether the lane still belongs to the dispatcher
	executor.Occupy(func(call Call) {
		for ours {
			it, ok := d.next(l)
			if !ok {
				return
			}
			ours = d.execute(l, call, it)
		}
	})
	if ours {
		d.wg.Done()
	}
}

// dropLane forgets a lane that could not be started, and sees that another
// attempt is made.
func (d *Dispatcher) dropLane(l *lane) {
	defer d.armPacer()
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, other := range d.lanes {
		if other == l {
			d.lanes = append(d.lanes[:i], d.lanes[i+1:]...)
			break
		}
	}
}

// next gives the lane its next step, asleep until there is one; false when
// there will be none any more.
func (d *Dispatcher) next(l *lane) (item, bool) {
	for {
		d.mu.Lock()
		if it, ok := d.queue.pop(); ok {
			d.mu.Unlock()
			return it, true
		}
		if d.ended {
			d.mu.Unlock()
			d.armPacer() // which may end now
			return item{}, false
		}
		d.idle = append(d.idle, l)
		d.mu.Unlock()
		<-l.wake
	}
}

// execute runs one step on the calling lane and tells whether the lane may go
// on: not after it was given up.
func (d *Dispatcher) execute(l *lane, call Call, it item) bool {
	started := time.Now()
	l.enter(it.step, started)
	limit := d.limit(l, it, started)
	defer it.step.leave()
	if !it.step.enter(func() { d.revoke(l, it, limit) }) {
		limit.end()
		l.leave()
		d.handBack([]item{it})
		return true
	}
	answer, err := call(it.step.Event, &it.step.Name)
	l.leave()
	took := time.Since(started)
	switch limit.end() {
	case givenUp:
		d.comeBack(l, it, took)
		return false
	case expired:
		d.finish(it, started, took, RetryableFailure, d.timedOut(it.step, took))
	default:
		outcome, result := d.interpret(it.step, answer, err, took)
		d.finish(it, started, took, outcome, result)
	}
	return true
}

// finish hands a step's result back.
func (d *Dispatcher) finish(it item, started time.Time, took time.Duration, outcome Outcome, result []byte) {
	d.observe(took)
	d.Metrics.StepDone(it.step, outcome, started.Sub(it.queued), took)
	d.Source.Complete(it.step, Result{Outcome: outcome, JSON: result, Started: started, Duration: took})

	d.landed(1)
}

// handBack returns steps whose handlers were not entered.
func (d *Dispatcher) handBack(items []item) {
	for _, it := range items {
		d.Source.Complete(it.step, Result{Outcome: Unstarted})
	}
	d.landed(len(items))
}

// landed notes that n claimed steps went back to the source.
func (d *Dispatcher) landed(n int) {
	d.mu.Lock()
	d.flying -= n
	room := d.roomToClaim()
	d.mu.Unlock()
	if room > 0 {
		d.room.Signal()
	}
}

// interpret reads the handler side's answer. A handler's own errors arrive as
// results; an err or an unreadable answer is a fault of the host, and becomes
// a retryable failure.
func (d *Dispatcher) interpret(step *Step, answer []byte, err error, took time.Duration) (Outcome, []byte) {
	if err == nil && len(answer) > 1 {
		switch o := Outcome(answer[0]); o {
		case Success, SuccessDirective, RetryableFailure, PermanentFailure, CheckpointYield:
			return o, answer[1:]
		}
	}
	if err == nil {
		err = fmt.Errorf("unreadable answer of %d bytes", len(answer))
	}
	d.Log.Error("run step", "step", step.Name, "task_uuid", step.TaskUUID, "error", err)
	return RetryableFailure, FailureResult(Failure{
		Step: step, Message: "host failure: " + err.Error(), ErrorType: "host_error", Retryable: true, Took: took, WorkerID: d.WorkerID,
	})
}

// observe updates the typical time in a handler: a moving average over about
// sixteen steps.
func (d *Dispatcher) observe(took time.Duration) {
	old := d.typical.Load()
	if old == 0 {
		d.typical.Store(max(int64(took), 1))
		return
	}
	d.typical.Store(max(old+(int64(took)-old)/16, 1))
}

func (d *Dispatcher) armPacer() {
	select {
	case d.pacer <- struct{}{}:
	default:
	}
}

// pace wakes further lanes while queued steps wait and every awake lane is
// held up in one handler.
func (d *Dispatcher) pace() {
	defer d.wg.Done()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for range d.pacer {
		for d.lookAround() {
			timer.Reset(heldUp)
			<-timer.C
		}
		d.mu.Lock()
		over := d.ended && d.queue.len() == 0
		d.mu.Unlock()
		if over {
			return
		}
	}
}

// lookAround wakes lanes if needed and tells whether to look again soon.
func (d *Dispatcher) lookAround() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	waiting := d.queue.len()
	if waiting == 0 {
		return false
	}
	awake := len(d.lanes) - len(d.idle)
	if awake == d.Concurrency {
		return false // a lane looks into the queue when it is done
	}
	before := time.Now().Add(-heldUp).UnixNano()
	if awake > 0 && d.someoneMoves(before) {
		return true
	}
	// Twice as many each time: a burst of waiting steps has all its lanes soon.
	for range min(max(awake, 1), waiting) {
		if !d.wakeOne() {
			return false
		}
	}
	return true
}

// someoneMoves tells whether an awake lane is outside of handlers or entered
// its current one after before. d.mu is held.
func (d *Dispatcher) someoneMoves(before int64) bool {
	sleeping := make(map[*lane]bool, len(d.idle))
	for _, l := range d.idle {
		sleeping[l] = true
	}
	for _, l := range d.lanes {
		if since := l.since.Load(); !sleeping[l] && (since == 0 || since > before) {
			return true
		}
	}
	return false
}

// end tells lanes and pacer that no more steps come, and hands back what waits.
func (d *Dispatcher) end() {
	var unstarted []item
	d.mu.Lock()
	d.ended = true
	for {
		it, ok := d.queue.pop()
		if !ok {
			break
		}
		unstarted = append(unstarted, it)
	}
	for _, l := range d.idle {
		l.wake <- struct{}{}
	}
	d.idle = nil
	d.mu.Unlock()
	d.handBack(unstarted)
	d.armPacer()
}

// Stats is a snapshot for metrics and hang reports.
type Stats struct {
	Queued   int           `json:"queued"`
	Running  int           `json:"running"`
	Lanes    int           `json:"lanes"`
	Idle     int           `json:"idle_lanes"`
	Stuck    int           `json:"stuck_lanes"` // given up, in a handler that does not come back
	Window   int           `json:"window"`      // how many steps may be claimed and unfinished
	Typical  time.Duration `json:"typical_ns"`  // moving average of the time in a handler
	Timeouts uint64        `json:"timeouts"`    // steps that were ended by their timeout
	Longest  time.Duration `json:"longest_ns"`  // how long the longest running step has been inside its handler
	Claimed  uint64        `json:"claimed"`     // steps that were queued since the start

	// Namespaces counts the running steps of each namespace that has some.
	Namespaces map[string]int `json:"namespaces,omitempty"`
}

// Stats reports where the dispatcher stands.
func (d *Dispatcher) Stats() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := Stats{
		Queued: d.queue.len(), Lanes: len(d.lanes), Idle: len(d.idle), Stuck: d.stuck, Timeouts: d.timeouts, Claimed: d.claimed,
		Window: d.Concurrency + d.ahead(), Typical: time.Duration(d.typical.Load()),
	}
	now := time.Now().UnixNano()
	for _, l := range d.lanes {
		if since := l.since.Load(); since != 0 {
			s.Running++
			s.Longest = max(s.Longest, time.Duration(now-since))
			if step := l.step.Load(); step != nil {
				if s.Namespaces == nil {
					s.Namespaces = map[string]int{}
				}
				s.Namespaces[step.Namespace]++
			}
		}
	}
	return s
}
