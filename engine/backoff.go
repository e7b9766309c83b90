package engine

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/tasker-systems/taskerpy/template"
)

const (
	// defaultBackoffBase and defaultBackoffLimit apply where a template's
	// retry policy leaves them out (engine-semantics §4.4).
	defaultBackoffBase  = time.Second
	defaultBackoffLimit = 30 * time.Second
	// maxRequestedDelay bounds delays that a handler or a server asks for.
	maxRequestedDelay = time.Hour
	// maxJitter is how much longer than computed a delay may become.
	maxJitter = 0.1
)

// backoff is a step's retry delay policy.
type backoff struct {
	strategy    template.Backoff
	base, limit time.Duration
}

func backoffOf(r *template.Retry) backoff {
	return backoff{
		strategy: r.Backoff,
		base:     milliseconds(r.BackoffBaseMS, defaultBackoffBase),
		limit:    milliseconds(r.MaxBackoffMS, defaultBackoffLimit),
	}
}

func milliseconds(ms *uint64, absent time.Duration) time.Duration {
	if ms == nil {
		return absent
	}
	return time.Duration(min(*ms, uint64(math.MaxInt64/time.Millisecond))) * time.Millisecond
}

// delay returns how long to wait after the n-th attempt failed, n ≥ 1,
// before jitter.
func (b backoff) delay(n int) time.Duration {
	factor := 1.0
	switch b.strategy {
	case template.BackoffNone:
		return 0
	case template.BackoffLinear:
		factor = float64(n)
	case template.BackoffFibonacci:
		previous := 0.0
		for range n - 1 {
			previous, factor = factor, previous+factor
		}
	default:
		factor = math.Pow(2, float64(n-1))
	}
	// Compared as floats, because the product may not fit a Duration. The factor
	// may be infinite.
	if b.base == 0 {
		return 0
	}
	if float64(b.base)*factor >= float64(b.limit) {
		return b.limit
	}
	return time.Duration(float64(b.base) * factor)
}

// jittered tells whether delays of this policy are spread.
func (b backoff) jittered() bool {
	return b.strategy != template.BackoffNone && b.strategy != template.BackoffLinear
}

// jitter spreads d upwards.
func jitter(d time.Duration, r *rand.Rand) time.Duration {
	return d + time.Duration(r.Float64()*maxJitter*float64(d))
}
