package progress

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAFrameFillsMoreRowsWhenTheTerminalBecomesNarrower(t *testing.T) {
	t.Parallel()
	l := &live{drawn: []string{"\x1b[32mtwelve cells\x1b[m", "", "short"}}
	for width, rows := range map[int]int{80: 3, 13: 3, 12: 3, 11: 4, 6: 4, 5: 5, 1: 18} {
		require.Equal(t, rows, l.rows(width), "width %d", width)
	}
}
