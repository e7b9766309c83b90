package domainevent

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func fill(b *Bus, n int) {
	for i := range n {
		b.put(fmt.Appendf(nil, `{"n":%d}`, i))
	}
}

func TestABusGivesEventsInTheirOrder(t *testing.T) {
	var b Bus
	fill(&b, 3)
	for i := range 3 {
		require.JSONEq(t, fmt.Sprintf(`{"n":%d}`, i), string(b.Poll()))
	}
	require.Nil(t, b.Poll())
}

func TestAFullBusDropsTheNewestAndSaysSoOnce(t *testing.T) {
	var b Bus
	fill(&b, busSize+3)
	require.JSONEq(t, `{"lagged":3,"n":0}`, string(b.Poll()))
	require.JSONEq(t, `{"n":1}`, string(b.Poll()))
	require.EqualValues(t, 3, b.dropped.Load())

	b.put([]byte(`{"n":-1}`)) // there is room again
	left := 0
	var last []byte
	for event := b.Poll(); event != nil; event = b.Poll() {
		left++
		last = event
	}
	require.Equal(t, busSize-1, left)
	require.JSONEq(t, `{"n":-1}`, string(last))
}
