package progress

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/charmbracelet/x/term"
)

// Mode says how progress is shown.
type Mode uint8

// The modes.
const (
	// Auto is Live on a terminal that can move its cursor, and Plain
	// elsewhere.
	Auto Mode = iota
	// Plain writes one line when a step completes, fails or is to be retried.
	Plain
	// Live keeps one line per step up to date in place.
	Live
	// None shows nothing but what Print is given.
	None
)

var modeNames = []string{"auto", "plain", "live", "none"}

// String is the word that Set reads.
func (m Mode) String() string {
	if int(m) >= len(modeNames) {
		return fmt.Sprintf("Mode(%d)", uint8(m))
	}
	return modeNames[m]
}

// Set reads a mode's word, which makes *Mode a flag value.
func (m *Mode) Set(word string) error {
	i := slices.Index(modeNames, word)
	if i < 0 {
		return fmt.Errorf("%q is none of %s", word, strings.Join(modeNames, ", "))
	}
	*m = Mode(i)
	return nil
}

// Type is what usage texts call the value of such a flag.
func (m *Mode) Type() string { return strings.Join(modeNames, "|") }

// Terminal tells whether w is a terminal.
func Terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(f.Fd())
}

// resolve turns Auto into what suits w.
func (m Mode) resolve(w io.Writer, env environment) Mode {
	if m != Auto {
		return m
	}
	if name := env.get("TERM"); Terminal(w) && name != "" && name != "dumb" {
		return Live
	}
	return Plain
}

// environment is a process environment, as "KEY=value".
type environment []string

// get is the value of the last entry for key, as the C library has it.
func (e environment) get(key string) string {
	for _, entry := range slices.Backward(e) {
		if value, ok := strings.CutPrefix(entry, key+"="); ok {
			return value
		}
	}
	return ""
}

// ascii tells whether the terminal can be trusted with ASCII only: its locale
// names another character set, or it is a console whose font has few symbols.
// No locale at all is common in containers and says nothing.
func (e environment) ascii() bool {
	if e.get("TERM") == "linux" {
		return true
	}
	for _, key := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if locale := strings.ToLower(e.get(key)); locale != "" {
			return !strings.Contains(locale, "utf-8") && !strings.Contains(locale, "utf8")
		}
	}
	return false
}
