package dispatch

import (
	"errors"
	"fmt"

	"github.com/gofrs/uuid/v5"
)

// ErrClosed is what a source answers after it was closed.
var ErrClosed = errors.New("closed")

// ErrUnstorable is what a source answers when it is done with a publication
// whose events it can never store.
var ErrUnstorable = errors.New("cannot be stored")

// A Publication is a finished attempt of a step that declares domain events,
// told by its source until it was published: after a crash it comes again, and
// gives events of the same ids.
type Publication struct {
	StepUUID uuid.UUID
	Attempt  int
	// ID is that of the attempt where a step can have two of the same number,
	// after a reset; else it is nil.
	ID     uuid.UUID
	Event  []byte // the FfiStepEvent that the handler was given
	Result []byte // the stored result

	// Handle belongs to the source.
	Handle any
}

// EventID returns the id of the event that comes from the n-th declaration,
// counted from 0: always the same, so that duplicates can be told.
func (p *Publication) EventID(n int) uuid.UUID {
	root := p.ID
	if root.IsNil() {
		root = p.StepUUID
	}
	return uuid.NewV5(root, fmt.Sprintf("%d/%d", p.Attempt, n))
}

// DomainEvent is an event as subscribers get it.
type DomainEvent struct {
	ID    int64 // position among the source's durable events; 0 for others
	Event uuid.UUID
	Name  string
	JSON  []byte // engine-semantics §8.4
}
