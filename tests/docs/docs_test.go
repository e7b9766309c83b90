// Package docs_test runs the examples in the documentation: every "console"
// block, line by line, and every Python and YAML block as far as it is whole.
package docs_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/template"
	"github.com/tasker-systems/taskerpy/tests/built"
)

var root = built.Root()

// block is a fenced block of a document.
type block struct {
	language, text string
	line           int
}

func blocks(t *testing.T, file string) []block {
	t.Helper()
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	var all []block
	var open *block
	for i, line := range strings.Split(string(data), "\n") {
		switch {
		case open == nil && strings.HasPrefix(line, "```"):
			open = &block{language: strings.TrimPrefix(line, "```"), line: i + 1}
		case open != nil && line == "```":
			all = append(all, *open)
			open = nil
		case open != nil:
			open.text += line + "\n"
		}
	}
	require.Nil(t, open, "a block of %s is not closed", file)
	return all
}

// documents lists the Markdown files of the project, but for those of
// virtualenvs and the like.
func documents(t *testing.T) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "git", "-C", root, "ls-files", "*.md").Output()
	require.NoError(t, err)
	var all []string
	for _, name := range strings.Fields(string(out)) {
		all = append(all, filepath.Join(root, name))
	}
	require.NotEmpty(t, all)
	return all
}

// command is one line after "$ " and the output that the document shows.
type command struct{ line, output string }

func commands(text string) []command {
	var all []command
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "$ "); ok {
			all = append(all, command{line: strings.TrimSpace(rest)})
		} else if len(all) > 0 {
			all[len(all)-1].output += line
		}
	}
	return all
}

// pattern makes an expression of shown output, in which "..." within a line
// stands for anything in it, and a line "..." for any lines.
func pattern(shown string) *regexp.Regexp {
	var b strings.Builder
	b.WriteString(`(?m)\A`)
	for line := range strings.Lines(shown) {
		if strings.TrimSpace(line) == "..." {
			b.WriteString(`(?:.*\n)*?`)
			continue
		}
		b.WriteString(strings.ReplaceAll(regexp.QuoteMeta(line), regexp.QuoteMeta("..."), ".*"))
	}
	b.WriteString(`\z`)
	return regexp.MustCompile(b.String())
}

func TestConsoleBlocksShowWhatHappens(t *testing.T) {
	bin := filepath.Dir(built.Binary(t))
	ran := 0
	for _, file := range documents(t) {
		dir := t.TempDir()
		require.NoError(t, os.CopyFS(filepath.Join(dir, "examples"), os.DirFS(filepath.Join(root, "examples"))))
		shell := &session{dir: dir, env: built.Environ("PATH=" + bin + ":" + os.Getenv("PATH"))}
		for _, b := range blocks(t, file) {
			if b.language != "console" {
				continue
			}
			for _, c := range commands(b.text) {
				ran++
				got := shell.run(t, c.line)
				require.Regexp(t, pattern(c.output), got, "%s:%d: $ %s", file, b.line, c.line)
			}
		}
	}
	require.NotZero(t, ran)
}

// session is a shell whose folder lasts from one command to the next.
type session struct {
	dir string
	env []string
}

func (s *session) run(t *testing.T, line string) string {
	t.Helper()
	var out bytes.Buffer
	command := exec.CommandContext(context.WithoutCancel(t.Context()), "bash", "-c", line+"\npwd >&3")
	command.Dir, command.Env, command.Stdout, command.Stderr = s.dir, s.env, &out, &out
	r, w, err := os.Pipe()
	require.NoError(t, err)
	command.ExtraFiles = []*os.File{w}
	require.NoError(t, command.Run(), out.String())
	require.NoError(t, w.Close())
	var where bytes.Buffer
	_, err = where.ReadFrom(r)
	require.NoError(t, err)
	s.dir = strings.TrimSpace(where.String())
	return out.String()
}

func TestYAMLBlocksAreValidTemplates(t *testing.T) {
	for _, b := range blocks(t, filepath.Join(root, "README.md")) {
		if b.language == "yaml" {
			_, findings := template.Parse("README.md", []byte(b.text))
			require.False(t, template.HasErrors(findings), "README.md:%d: %v", b.line, findings)
		}
	}
}

func TestLinksLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)\)`)
	for _, file := range documents(t) {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, m := range link.FindAllStringSubmatch(string(data), -1) {
			_, err := os.Stat(filepath.Join(filepath.Dir(file), m[1]))
			require.NoError(t, err, "%s: %s", file, m[0])
		}
	}
}

// The documents and the sources: what a message tells users to write must work
// too.
func TestFlagsThatAreNamedExist(t *testing.T) {
	ofOthers := []string{"--enable-shared", "--dev"} // Python's configure, scripts/environment
	known := flags(t)
	named := regexp.MustCompile("[`'\" (]" + `(--[a-z][a-z-]+)`)
	out, err := exec.CommandContext(t.Context(), "git", "-C", root, "ls-files", "README.md", "docs", "cmd", "config", "postgres", "worker").Output()
	require.NoError(t, err)
	for _, name := range strings.Fields(string(out)) {
		if strings.HasSuffix(name, "_test.go") || strings.HasSuffix(name, ".py") {
			continue
		}
		data, err := os.ReadFile(filepath.Join(root, name))
		require.NoError(t, err)
		n := 0
		for line := range strings.Lines(string(data)) {
			n++
			for _, m := range named.FindAllStringSubmatch(line, -1) {
				if !slices.Contains(ofOthers, m[1]) {
					assert.True(t, known[m[1]], "%s:%d: there is no flag %s", name, n, m[1])
				}
			}
		}
	}
}

// flags are those of all commands.
func flags(t *testing.T) map[string]bool {
	t.Helper()
	flag := regexp.MustCompile(`(?m)^ +(?:-\w, )?(--[a-z][a-z-]+)`)
	command := regexp.MustCompile(`(?m)^  ([a-z][a-z-]*) `)
	all := map[string]bool{}
	binary := built.Binary(t)
	var visit func(path ...string)
	visit = func(path ...string) {
		out, err := exec.CommandContext(t.Context(), binary, append([]string{"help"}, path...)...).Output()
		require.NoError(t, err, path)
		text := string(out)
		for _, m := range flag.FindAllStringSubmatch(text, -1) {
			all[m[1]] = true
		}
		if _, rest, ok := strings.Cut(text, "Available Commands:\n"); ok {
			list, _, _ := strings.Cut(rest, "\n\n")
			for _, m := range command.FindAllStringSubmatch(list, -1) {
				if m[1] != "help" {
					visit(append(slices.Clone(path), m[1])...)
				}
			}
		}
	}
	visit()
	require.NotEmpty(t, all)
	return all
}
