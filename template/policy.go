package template

import (
	"math"
	"time"
)

const (
	// defaultBackoffBase and defaultBackoffLimit apply where a retry policy
	// leaves them out (engine-semantics §4.4).
	defaultBackoffBase  = time.Second
	defaultBackoffLimit = 30 * time.Second
)

// Policy is how long a step waits before it is tried again.
type Policy struct {
	Strategy    Backoff
	Base, Limit time.Duration
}

// Policy is r with what it leaves out (engine-semantics §4.4).
func (r *Retry) Policy() Policy {
	return Policy{
		Strategy: r.Backoff,
		Base:     milliseconds(r.BackoffBaseMS, defaultBackoffBase),
		Limit:    milliseconds(r.MaxBackoffMS, defaultBackoffLimit),
	}
}

func milliseconds(ms *uint64, absent time.Duration) time.Duration {
	if ms == nil {
		return absent
	}
	return time.Duration(min(*ms, uint64(math.MaxInt64/time.Millisecond))) * time.Millisecond
}

// Delay returns how long to wait after the n-th attempt failed, n ≥ 1,
// before jitter.
func (p Policy) Delay(n int) time.Duration {
	factor := 1.0
	switch p.Strategy {
	case BackoffNone:
		return 0
	case BackoffLinear:
		factor = float64(n)
	case BackoffFibonacci:
		previous := 0.0
		for range n - 1 {
			previous, factor = factor, previous+factor
		}
	default:
		factor = math.Pow(2, float64(n-1))
	}
	// Compared as floats, because the product may not fit a Duration. The factor
	// may be infinite.
	if p.Base == 0 {
		return 0
	}
	if float64(p.Base)*factor >= float64(p.Limit) {
		return p.Limit
	}
	return time.Duration(float64(p.Base) * factor)
}

// Jittered tells whether delays of this policy are to be spread.
func (p Policy) Jittered() bool {
	return p.Strategy != BackoffNone && p.Strategy != BackoffLinear
}
