package store

import "time"

// Instant is a point in time as the file keeps it: microseconds since 1970 in
// UTC. Zero stands for SQL NULL.
type Instant int64

// At converts t, dropping what is finer than a microsecond. The zero time is
// the zero Instant.
func At(t time.Time) Instant {
	if t.IsZero() {
		return 0
	}
	return Instant(t.UnixMicro())
}

// IsZero tells whether i is unset.
func (i Instant) IsZero() bool { return i == 0 }

// Time converts back; the zero Instant is the zero time.
func (i Instant) Time() time.Time {
	if i == 0 {
		return time.Time{}
	}
	return time.UnixMicro(int64(i)).UTC()
}

// Add returns i moved by d.
func (i Instant) Add(d time.Duration) Instant { return i + Instant(d/time.Microsecond) }

// Sub returns the time from j to i.
func (i Instant) Sub(j Instant) time.Duration { return time.Duration(i-j) * time.Microsecond }

// naiveLayout is how the handler side writes times: UTC without a zone.
const naiveLayout = "2006-01-02T15:04:05.999999"

// AppendNaive appends the time in UTC without a zone, with up to six decimals.
func (i Instant) AppendNaive(b []byte) []byte {
	return time.UnixMicro(int64(i)).UTC().AppendFormat(b, naiveLayout)
}
