package postgres

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// job is what is done about executions that have ended, for many of them in one
// statement.
type job struct {
	what string // it does
	do   writer
	// sends tells that do sends messages.
	sends bool
	// refused sees to one whose values cannot be stored; false if it cannot, and
	// this one is to be tried again. It may be nil.
	refused func(context.Context, *finished, error) bool
}

// writer carries out a statement for a batch; again says that an earlier
// attempt may have done it.
type writer func(ctx context.Context, batch []*finished, again bool) error

// persister does the jobs that there are for what is put into an inbox, however
// often it takes: nothing that was finished is dropped because a database is
// away. When it is one of many that the database cannot do, for whatever reason,
// that one is tried again by itself, and the others do not wait for it.
type persister struct {
	*Source
	inbox *inbox
	pool  *pgxpool.Pool // of the database
	jobs  []*job        // in their order
	jobOf func(*finished) *job
	fine  func() // notes that the database answers

	delayed []*delayed
}

// delayed is an execution that is tried again by itself.
type delayed struct {
	f   *finished
	job *job
	backoff
}

// run works until the inbox is closed and nothing is left, or ctx ends.
func (p *persister) run(ctx context.Context) {
	for {
		batch, more := p.inbox.take(ctx, p.o.MaxBatch, p.next())
		for _, j := range p.jobs {
			part := slices.DeleteFunc(slices.Clone(batch), func(f *finished) bool { return p.jobOf(f) != j })
			p.inbox.done(p.insist(ctx, j, part, false))
		}
		p.retry(ctx)
		if ctx.Err() != nil || !more && len(p.delayed) == 0 {
			return
		}
	}
}

// next tells when something is to be tried again, nil for never.
func (p *persister) next() <-chan time.Time {
	if len(p.delayed) == 0 {
		return nil
	}
	first := slices.MinFunc(p.delayed, func(a, b *delayed) int { return a.at.Compare(b.at) })
	return time.After(time.Until(first.at))
}

// insist does a job for a batch, and returns for how many of it.
func (p *persister) insist(ctx context.Context, j *job, batch []*finished, again bool) (done int) {
	if len(batch) == 0 {
		return 0
	}
	var retry backoff
	for ; ; again = true {
		err := j.do(ctx, batch, again)
		switch {
		case err == nil:
			p.fine()
			return len(batch)
		case !p.atFault(ctx, err):
			p.note(j, len(batch))
			p.failed(j.what, err)
			if !retry.pause(ctx) {
				return 0
			}
		case len(batch) > 1:
			again = again || away(err)
			half := len(batch) / 2
			return p.insist(ctx, j, batch[:half], again) + p.insist(ctx, j, batch[half:], again)
		case p.refuses(ctx, j, batch[0], err):
			return 1
		default:
			p.note(j, 1)
			c := batch[0].claim
			p.log.Error(j.what+"; trying again by itself", "step", c.name, "task_uuid", c.taskUUID, "step_uuid", c.stepUUID, "error", err)
			d := &delayed{f: batch[0], job: j}
			d.later()
			p.delayed = append(p.delayed, d)
			return 0
		}
	}
}

// retry tries again what it is time for.
func (p *persister) retry(ctx context.Context) {
	now := time.Now()
	p.delayed = slices.DeleteFunc(p.delayed, func(d *delayed) bool {
		if d.at.After(now) || ctx.Err() != nil {
			return false
		}
		err := d.job.do(ctx, []*finished{d.f}, true)
		if err == nil || p.refuses(ctx, d.job, d.f, err) {
			p.inbox.done(1)
			return true
		}
		p.note(d.job, 1)
		d.later()
		return false
	})
}

func (p *persister) refuses(ctx context.Context, j *job, f *finished, err error) bool {
	return isOfData(err) && j.refused != nil && j.refused(ctx, f, err)
}

// note counts a job that could not be done for n.
func (p *persister) note(j *job, n int) {
	p.counts.Retries.Add(1)
	if j.sends {
		p.counts.SendFailures.Add(uint64(n))
	}
}

// atFault tells whether an error is of what a statement was given, or of the
// rows that it is about. One that took too long is if the database answers.
func (p *persister) atFault(ctx context.Context, err error) bool {
	if !away(err) {
		return true
	}
	if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	return p.pool.Ping(ctx) == nil
}

// gate is a mutex that one waits for no longer than a context lasts.
type gate chan struct{}

func newGate() gate { return make(gate, 1) }

func (g gate) enter(ctx context.Context) error {
	select {
	case g <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g gate) leave() { <-g }

// alone does something while nobody else has passed a gate, and for so long only
// that beats come between.
func (s *Source) alone(ctx context.Context, g gate, do func(context.Context) error) error {
	if err := g.enter(ctx); err != nil {
		return err
	}
	defer g.leave()
	ctx, cancel := context.WithTimeout(ctx, s.part(3))
	defer cancel()
	return do(ctx)
}
