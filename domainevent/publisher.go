// Package domainevent takes finished attempts of steps to Python's publishers,
// and the events that those give to their subscribers: durable ones by way of
// the engine's file, fast ones directly (engine-semantics §8).
package domainevent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofrs/uuid/v5"

	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/handlers"
)

// Source keeps publications and durable events: the source of the steps that
// they are of.
type Source interface {
	Sync(ctx context.Context) error
	Publications(ctx context.Context) ([]dispatch.Publication, error)
	Published(ctx context.Context, p dispatch.Publication, durable []dispatch.DomainEvent) error
	Subscribe(ctx context.Context, consumer string) error
	Consume(ctx context.Context, consumer string, limit int) ([]dispatch.DomainEvent, error)
	Consumed(ctx context.Context, consumer string, last int64) error
}

// Python calls the user's publishers and subscribers; *handlers.Events is one.
// Publish and Subscribe are called by one goroutine, Handle by one at a time.
type Python interface {
	Publish(taskSequenceStep, result json.RawMessage) (handlers.Shaped, error)
	Subscribe() ([]string, error)
	Handle(subscriber string, event json.RawMessage) error
}

const (
	// consumeAtOnce is how many durable events a subscriber handles before
	// its progress is stored.
	consumeAtOnce = 100
	// fastBacklog is how many fast events may wait; the newest are dropped
	// beyond that.
	fastBacklog = 1000
	// retryAfter is how long to wait when the source or Python failed.
	retryAfter = time.Second
)

// Options configure a Publisher.
type Options struct {
	Source Source
	Python Python
	// Remote says that durable events have their readers elsewhere: subscribers
	// here get the fast half of broadcast ones.
	Remote   bool
	Observer Observer     // nil observes nothing
	Log      *slog.Logger // nil discards
}

// Publisher publishes and delivers domain events. Nothing it does affects the
// steps that the events are of: what fails is logged and counted.
type Publisher struct {
	o   Options
	bus Bus

	started     bool
	subscribers []string
	fast        chan fastEvent
	gate        sync.RWMutex // events may be published by handlers that a drain does not wait for
	closed      bool         // fast is
	handling    sync.Mutex   // Python handles one event at a time
	counts      counts
	waiting     atomic.Int64 // publications that were taken from the source

	// Stopped one after the other: what is published last is still delivered.
	publishing, consuming activity
	delivering            sync.WaitGroup // fast events, until the channel is closed
}

// activity is a group of goroutines and how to stop them.
type activity struct {
	stop context.CancelFunc
	sync.WaitGroup
}

func (a *activity) start(ctx context.Context) context.Context {
	ctx, a.stop = context.WithCancel(context.WithoutCancel(ctx))
	return ctx
}

func (a *activity) end() {
	a.stop()
	a.Wait()
}

type fastEvent struct {
	name string
	json []byte
}

type counts struct{ durable, fast, broadcast, given, dropped, failed, handled atomic.Uint64 }

// Stats count what became of events since the start (engine-semantics §8.5).
type Stats struct {
	// Routed is how many events were published, as EventPublished tells of
	// them and EventDropped of fast ones: the sum of the three that follow,
	// each by its delivery mode.
	Routed, Durable, Fast, Broadcast uint64
	// FastErrors are fast events that no subscriber got because too many
	// waited already.
	FastErrors uint64
	// RoutingErrors are events that were not published: they do not fit their
	// schema, their publisher failed, or they cannot be stored.
	RoutingErrors uint64
	// Handled is how often a subscriber was given an event, fitting or not.
	Handled     uint64
	Subscribers int
	// Lost are fast and broadcast events that programs which poll for them
	// can no longer have.
	Lost uint64
	// Waiting are attempts, taken from the source, whose events are not
	// published yet.
	Waiting int
	// Given are the fast events that were handed on to subscribers, and
	// FastWaiting those of them that wait. At most FastRoom can.
	Given                 uint64
	FastWaiting, FastRoom int
}

// New makes a Publisher; Start sets it going.
func New(o Options) *Publisher {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Observer == nil {
		o.Observer = blind{}
	}
	return &Publisher{o: o, fast: make(chan fastEvent, fastBacklog)}
}

// Bus is where fast and broadcast events can be polled.
func (p *Publisher) Bus() *Bus { return &p.bus }

// Stats reports what was published.
func (p *Publisher) Stats() Stats {
	c := &p.counts
	s := Stats{
		Durable: c.durable.Load(), Fast: c.fast.Load(), Broadcast: c.broadcast.Load(),
		FastErrors: c.dropped.Load(), RoutingErrors: c.failed.Load(), Handled: c.handled.Load(), Subscribers: len(p.subscribers),
		Lost: p.bus.dropped.Load(), Waiting: int(p.waiting.Load()), Given: c.given.Load(), FastWaiting: len(p.fast), FastRoom: cap(p.fast),
	}
	s.Routed = s.Durable + s.Fast + s.Broadcast
	return s
}

// Start starts the subscribers that the user's modules registered, and begins
// to publish. The error is of a subscriber that cannot be started.
func (p *Publisher) Start(ctx context.Context) error {
	names, err := p.o.Python.Subscribe()
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := p.o.Source.Subscribe(ctx, name); err != nil {
			return err
		}
	}
	p.subscribers = names
	publishing, consuming := p.publishing.start(ctx), p.consuming.start(ctx)
	p.publishing.Go(func() { p.publishAll(publishing) })
	for _, name := range names {
		p.consuming.Go(func() { p.consume(consuming, name) })
	}
	p.delivering.Go(p.deliverFast)
	p.started = true
	return nil
}

// Drain publishes and delivers what there is, the events of every attempt that
// the source was told of before included, and stops. It returns ctx.Err() when
// ctx ends first. What never started, or is drained already, is fine.
func (p *Publisher) Drain(ctx context.Context) error {
	if !p.started {
		return nil
	}
	p.started = false
	done := make(chan struct{})
	go func() {
		defer close(done)
		// Attempts that ended a moment ago are not in the file yet.
		if err := p.o.Source.Sync(ctx); err != nil {
			p.o.Log.Warn("the events of the last steps are published at the next start", "error", err)
		}
		p.publishing.end()
		p.consuming.end()
		p.gate.Lock()
		p.closed = true
		close(p.fast)
		p.gate.Unlock()
		p.delivering.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("deliver domain events: %w", ctx.Err())
	}
}

// publishAll publishes until ctx ends, and then what is still there.
func (p *Publisher) publishAll(ctx context.Context) {
	for {
		all, err := p.o.Source.Publications(ctx)
		if err != nil {
			return
		}
		p.waiting.Store(int64(len(all)))
		for _, publication := range all {
			p.publish(ctx, publication)
			p.waiting.Add(-1)
		}
	}
}

// publish publishes one attempt's events.
func (p *Publisher) publish(ctx context.Context, publication dispatch.Publication) {
	log := p.o.Log.With("step_uuid", publication.StepUUID)
	began := time.Now()
	var kept []routedEvent
	var durable []dispatch.DomainEvent
	events, failed, err := p.shape(&publication)
	if err != nil {
		log.Error("domain events were not published", "error", err)
	}
	for _, k := range failed {
		p.o.Observer.EventDispatched(k)
		p.fail(k, began)
	}
	for _, e := range events {
		p.o.Observer.EventDispatched(e.kind)
		if e.delivery == "fast" {
			p.deliver(e, began)
			continue
		}
		if e.delivery == "broadcast" {
			p.broadcast(e)
		}
		kept, durable = append(kept, e), append(durable, e.DomainEvent)
	}
	for {
		err := p.o.Source.Published(context.WithoutCancel(ctx), publication, durable)
		switch {
		case err == nil:
			p.stored(kept, began)
			return
		case errors.Is(err, dispatch.ErrUnstorable):
			for _, e := range kept {
				p.fail(e.kind, began)
			}
			return
		case errors.Is(err, dispatch.ErrClosed):
			return // it comes again at the next start
		}
		log.Error("store domain events", "error", err)
		if !pause(ctx) {
			return
		}
	}
}

// broadcast delivers the fast half of a broadcast event.
func (p *Publisher) broadcast(e routedEvent) {
	polled := p.bus.put(e.JSON)
	if p.o.Remote && !p.give(e) || !polled {
		p.o.Observer.EventDropped(e.kind)
	}
}

// stored notes that durable events can be had by their readers.
func (p *Publisher) stored(events []routedEvent, began time.Time) {
	for _, e := range events {
		if e.delivery == "broadcast" {
			p.counts.broadcast.Add(1)
		} else {
			p.counts.durable.Add(1)
		}
		p.o.Observer.EventPublished(e.kind, time.Since(began))
	}
}

// fail notes that an event will not be published.
func (p *Publisher) fail(k Kind, began time.Time) {
	p.counts.failed.Add(1)
	p.o.Observer.EventFailed(k, time.Since(began))
}

// pause waits before something is tried again; false when ctx ends it.
func pause(ctx context.Context) bool {
	select {
	case <-time.After(retryAfter):
		return true
	case <-ctx.Done():
		return false
	}
}

type routedEvent struct {
	dispatch.DomainEvent
	delivery string
	kind     Kind
}

// envelope is a domain event as subscribers get it (engine-semantics §8.4).
type envelope struct {
	EventID uuid.UUID                  `json:"event_id"`
	Name    string                     `json:"event_name"`
	Version string                     `json:"event_version"`
	Payload payload                    `json:"payload"`
	Meta    map[string]json.RawMessage `json:"metadata"`
}

type payload struct {
	Step   json.RawMessage `json:"task_sequence_step"`
	Result json.RawMessage `json:"execution_result"`
	Value  json.RawMessage `json:"payload"`
}

// shape asks the step's publisher for its events and wraps them. failed are
// those that there should have been.
func (p *Publisher) shape(publication *dispatch.Publication) (events []routedEvent, failed []Kind, err error) {
	var event struct {
		Step json.RawMessage `json:"task_sequence_step"`
	}
	if err := json.Unmarshal(publication.Event, &event); err != nil {
		return nil, []Kind{(&declared{}).kind(-1)}, fmt.Errorf("read the step's event: %w", err)
	}
	declared := sync.OnceValue(func() *declared { return declaredBy(event.Step) })
	_, unobserved := p.o.Observer.(blind)
	shaped, err := p.o.Python.Publish(event.Step, publication.Result)
	if err != nil {
		return nil, declared().lost(publication), err
	}
	events = make([]routedEvent, 0, len(shaped.Events))
	for _, s := range shaped.Events {
		meta := map[string]json.RawMessage{}
		if err := json.Unmarshal(s.Metadata, &meta); err != nil {
			return nil, declared().lost(publication), fmt.Errorf("read metadata of event %s: %w", s.Name, err)
		}
		meta["fired_at"] = quoted(time.Now().UTC().Format(time.RFC3339Nano))
		meta["fired_by"] = quoted(s.FiredBy)
		id := publication.EventID(s.Declaration)
		data, err := json.Marshal(envelope{
			EventID: id, Name: s.Name, Version: "1.0", Meta: meta,
			Payload: payload{Step: event.Step, Result: publication.Result, Value: s.Payload},
		})
		if err != nil {
			return nil, declared().lost(publication), fmt.Errorf("write event %s: %w", s.Name, err)
		}
		var kind Kind
		if !unobserved {
			kind = declared().kind(s.Declaration)
			kind.Delivery = s.Delivery
		}
		events = append(events, routedEvent{dispatch.DomainEvent{Event: id, Name: s.Name, JSON: data}, s.Delivery, kind})
	}
	if len(shaped.Failed) > 0 {
		failed = declared().failed(publication, shaped.Failed)
	}
	return events, failed, nil
}

func quoted(s string) json.RawMessage {
	data, err := json.Marshal(s)
	if err != nil {
		panic(err) // strings always encode
	}
	return data
}

// PublishFast publishes an event that no step declares. Like every fast event
// it is delivered in this process, and not kept. meta is added to the
// envelope's metadata.
func (p *Publisher) PublishFast(name string, value json.RawMessage, meta map[string]json.RawMessage) (uuid.UUID, error) {
	began := time.Now()
	id, err := uuid.NewV7()
	if err != nil {
		return uuid.Nil, fmt.Errorf("publish event %s: %w", name, err)
	}
	all := map[string]json.RawMessage{"fired_at": quoted(time.Now().UTC().Format(time.RFC3339Nano))}
	maps.Copy(all, meta)
	data, err := json.Marshal(envelope{EventID: id, Name: name, Version: "1.0", Meta: all, Payload: payload{Value: value}})
	if err != nil {
		return uuid.Nil, fmt.Errorf("publish event %s: %w", name, err)
	}
	kind := Kind{Namespace: unknown, Name: name, Delivery: "fast", Publisher: DirectPublisher}
	var namespace string
	if json.Unmarshal(all["namespace"], &namespace) == nil && namespace != "" {
		kind.Namespace = namespace
	}
	p.o.Observer.EventDispatched(kind)
	p.deliver(routedEvent{dispatch.DomainEvent{Event: id, Name: name, JSON: data}, "fast", kind}, began)
	return id, nil
}

// deliver hands a fast event on.
func (p *Publisher) deliver(e routedEvent, began time.Time) {
	p.counts.fast.Add(1)
	polled := p.bus.put(e.JSON)
	if p.give(e) && polled {
		p.o.Observer.EventPublished(e.kind, time.Since(began))
	} else {
		p.o.Observer.EventDropped(e.kind)
	}
}

// give hands an event to the subscribers; false when they have too many.
func (p *Publisher) give(e routedEvent) bool {
	p.gate.RLock()
	defer p.gate.RUnlock()
	if len(p.subscribers) == 0 || p.closed {
		return true
	}
	select {
	case p.fast <- fastEvent{e.Name, e.JSON}:
		p.counts.given.Add(1)
		return true
	default:
		p.counts.dropped.Add(1)
		p.o.Log.Warn("fast domain event dropped: subscribers are too slow", "event", e.Name, "event_id", e.Event)
		return false
	}
}

func (p *Publisher) deliverFast() {
	for e := range p.fast {
		for _, subscriber := range p.subscribers {
			p.handle(subscriber, e.name, e.json)
		}
	}
}

// consume gives durable events to one subscriber until ctx ends, and then
// what is still there.
func (p *Publisher) consume(ctx context.Context, subscriber string) {
	for {
		events, err := p.o.Source.Consume(ctx, subscriber, consumeAtOnce)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, dispatch.ErrClosed) {
				return
			}
			p.o.Log.Error("read domain events", "subscriber", subscriber, "error", err)
			pause(ctx)
			continue
		}
		for _, e := range events {
			p.handle(subscriber, e.Name, e.JSON)
		}
		if !p.consumed(ctx, subscriber, events[len(events)-1].ID) {
			return
		}
	}
}

// consumed notes that a subscriber has handled all events up to one, however
// often it takes: otherwise it would get them again. It is false when that
// cannot be had any more; then they come again at the next start.
func (p *Publisher) consumed(ctx context.Context, subscriber string, last int64) bool {
	for {
		err := p.o.Source.Consumed(context.WithoutCancel(ctx), subscriber, last)
		if err == nil {
			return true
		}
		p.o.Log.Error("note progress of subscriber", "subscriber", subscriber, "error", err)
		if errors.Is(err, dispatch.ErrClosed) || !pause(ctx) {
			return false
		}
	}
}

func (p *Publisher) handle(subscriber, name string, event []byte) {
	p.handling.Lock()
	defer p.handling.Unlock()
	p.counts.handled.Add(1)
	if err := p.o.Python.Handle(subscriber, event); err != nil {
		p.o.Log.Error("hand domain event to subscriber", "subscriber", subscriber, "event", name, "error", err)
	}
}
