package engine

import (
	"math/rand/v2"
	"time"
)

const (
	// maxRequestedDelay bounds delays that a handler or a server asks for.
	maxRequestedDelay = time.Hour
	// maxJitter is how much longer than computed a delay may become.
	maxJitter = 0.1
)

// jitter spreads d upwards.
func jitter(d time.Duration, r *rand.Rand) time.Duration {
	return d + time.Duration(r.Float64()*maxJitter*float64(d))
}
