package config

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// apply puts a .env file into a working directory of its own and applies it.
// The variables are unset again after the test.
func apply(t *testing.T, text string, unset ...string) *Dotenv {
	t.Helper()
	t.Chdir(t.TempDir())
	require.NoError(t, os.WriteFile(DotenvName, []byte(text), 0o600))
	for _, name := range unset {
		t.Setenv(name, "") // restored after the test
		require.NoError(t, os.Unsetenv(name))
	}
	d, err := FindDotenv(".")
	require.NoError(t, err)
	require.NoError(t, d.Apply())
	return d
}

func TestDotenvValuesAreReadAsShellsReadThem(t *testing.T) {
	for text, want := range map[string]string{
		"DOT_A=plain":                             "plain",
		"export DOT_A = spaced out  # a comment":  "spaced out",
		"DOT_A=a#b":                               "a#b",
		"DOT_A=":                                  "",
		"DOT_A= # nothing":                        "",
		`DOT_A='$HOME \n "x"' # literal`:          `$HOME \n "x"`,
		`DOT_A="two\nlines \"quoted\" \\ \$HOME"`: "two\nlines \"quoted\" \\ $HOME",
		"DOT_A=\"over\nlines\"":                   "over\nlines",
		"DOT_B=b\nDOT_A=${DOT_B}-$DOT_B-${DOT_C:-c}-${DOT_C}": "b-b-c-",
		"\ufeffDOT_A=first\r\nDOT_A=last\r\n":                 "last",
		"DOT_A=postgres://u:p@h/d?sslmode=disable":            "postgres://u:p@h/d?sslmode=disable",
	} {
		t.Run(text, func(t *testing.T) {
			d := apply(t, text, "DOT_A", "DOT_B", "DOT_C")
			require.Empty(t, d.Problems)
			got, set := os.LookupEnv("DOT_A")
			require.True(t, set)
			require.Equal(t, want, got)
		})
	}
}

func TestTheRealEnvironmentWinsOverDotenvEvenWhenItIsEmpty(t *testing.T) {
	t.Setenv("DOT_SET", "real")
	t.Setenv("DOT_EMPTY", "")
	apply(t, "DOT_SET=file\nDOT_EMPTY=file\n")
	require.Equal(t, "real", os.Getenv("DOT_SET"))
	require.Empty(t, os.Getenv("DOT_EMPTY"))
}

func TestLinesThatDotenvCannotReadArePassedOver(t *testing.T) {
	d := apply(t, "# comment\n\nnot a line\nDOT_A=\"open\nDOT_B='x' y\n1DOT=2\nDOT_C=c\n", "DOT_A", "DOT_B", "DOT_C")
	require.Equal(t, []string{
		".env:3: want NAME=value; the line is passed over",
		".env:4: the quote \" is not closed; the line is passed over",
		".env:5: there is more after the closing quote; the line is passed over",
		".env:6: want NAME=value; the line is passed over",
	}, d.Problems)
	require.Equal(t, "c", os.Getenv("DOT_C"))
}

func TestDotenvIsLookedForInTheFoldersAbove(t *testing.T) {
	top := t.TempDir()
	below := filepath.Join(top, "a", "b")
	require.NoError(t, os.MkdirAll(filepath.Join(below, DotenvName), 0o700)) // a virtualenv, say
	require.NoError(t, os.WriteFile(filepath.Join(top, DotenvName), []byte("DOT_A=1"), 0o600))
	d, err := FindDotenv(below)
	require.NoError(t, err)
	require.Equal(t, filepath.Join(top, DotenvName), d.Path)
}

func TestTheOriginOfASettingNamesTheLineOfDotenv(t *testing.T) {
	d := apply(t, "\nTASKER_LISTEN=127.0.0.1:7\n", "TASKER_LISTEN")
	c, err := Load(Sources{Dotenv: d})
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:7", c.Listen)
	require.EqualValues(t, ".env:2: TASKER_LISTEN", c.Origin("listen"))
}

func TestAWrongValueOfDotenvIsReportedWithItsPlace(t *testing.T) {
	d := apply(t, "TASKER_LISTEN=nowhere\n", "TASKER_LISTEN")
	_, err := Load(Sources{Dotenv: d})
	require.ErrorContains(t, err, `.env:1: TASKER_LISTEN: "nowhere" is not an address`)
}
