package postgres

import "time"

// Observer is told of what was done. Its methods are called by any goroutine
// and must be quick; those that are called for each step do not allocate.
type Observer interface {
	// ClaimDone tells of a statement that claimed steps of a namespace,
	// takenOver of them from workers that were gone.
	ClaimDone(namespace string, claimed, takenOver int, took time.Duration)
	// ResultGiven tells how long it took to hand a result in.
	ResultGiven(took time.Duration)
	// StoreDone tells of a statement that stored results.
	StoreDone(results int, took time.Duration)
	// ResultStored tells of one stored result.
	ResultStored(namespace string, success bool)
	// StepReleased tells of a step that was handed back.
	StepReleased(namespace string)
	// MessageDone tells of the message of a step that was put aside, that long
	// after it had been sent.
	MessageDone(namespace string, age time.Duration)
	// EventsSent tells of a transaction that sent durable domain events.
	EventsSent(events int, took time.Duration)
	// TransactionDone tells of a transaction, and whether it was committed.
	TransactionDone(what Transaction, took time.Duration, committed bool)
	// ConnectionTaken tells how long somebody waited for a connection.
	ConnectionTaken(pool PoolName, wait time.Duration)
}

// Transaction is what a transaction is for.
type Transaction string

// The transactions that are observed.
const (
	StepClaim      Transaction = "step_claim"
	StepResult     Transaction = "step_result"
	StepCheckpoint Transaction = "step_checkpoint"
	StepRelease    Transaction = "step_release"
	Heartbeat      Transaction = "heartbeat"
	DomainEvents   Transaction = "domain_events"
)

type blind struct{}

func (blind) ClaimDone(string, int, int, time.Duration)        {}
func (blind) ResultGiven(time.Duration)                        {}
func (blind) StoreDone(int, time.Duration)                     {}
func (blind) ResultStored(string, bool)                        {}
func (blind) StepReleased(string)                              {}
func (blind) MessageDone(string, time.Duration)                {}
func (blind) EventsSent(int, time.Duration)                    {}
func (blind) TransactionDone(Transaction, time.Duration, bool) {}
func (blind) ConnectionTaken(PoolName, time.Duration)          {}

// messageDone tells that the message of a claim was put aside.
func (s *Source) messageDone(c *claim) {
	s.counts.Archived.Add(1)
	s.o.Observer.MessageDone(c.queue.namespace, time.Since(c.sent))
}
