package postgres

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhatTheServerCannotReadIsTold(t *testing.T) {
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for text, why := range map[string]string{
		`{}`:                              "",
		`{"a":[1,-2.5e3,"x\"[[\\",null]}`: "",
		nested(127):                       "",
		nested(128):                       "it is nested more than 127 deep",
		"[" + strings.Repeat(`{"a":[]},`, 200) + "1]": "",
		`"` + strings.Repeat(`[{\"`, 200) + `"`:       "",
		`{"n":` + strings.Repeat("9", 308) + `}`:      "",
		`{"n":` + strings.Repeat("9", 309) + `}`:      "it has a number beyond ±1.8e+308",
		`[-1` + strings.Repeat("0", 400) + `]`:        "it has a number beyond ±1.8e+308",
		`[1e400]`:                                     "it has a number beyond ±1.8e+308",
		`[1e308,1.5E-400,0e999]`:                      "",
		`["\`:                                         "",
		`["`:                                          "",
	} {
		require.Equal(t, why, unreadable([]byte(text), 0), text)
	}
	require.Equal(t, "it is nested more than 124 deep", unreadable([]byte(nested(125)), 3))
	require.Empty(t, unreadable([]byte(nested(124)), 3))
}
