package docs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A named test is `folder.TestName`, `file.py::test_name`, or a script's file.
var named = regexp.MustCompile("`([^`]*(?:\\.Test[A-Z]|::test_|\\.txtar)[^`]*)`")

// definitions finds what a test file defines.
var definitions = regexp.MustCompile(`(?m)^(?:func|    def|def|async def) (\w+)\(`)

// defined are the tests of Go packages, by folder, and of Python files.
type defined map[string]map[string]bool

func (d defined) has(t *testing.T, pattern, name string) bool {
	t.Helper()
	if d[pattern] == nil {
		d[pattern] = map[string]bool{}
		files, err := filepath.Glob(filepath.Join(root, pattern))
		require.NoError(t, err)
		for _, file := range files {
			data, err := os.ReadFile(file)
			require.NoError(t, err)
			for _, m := range definitions.FindAllStringSubmatch(string(data), -1) {
				d[pattern][m[1]] = true
			}
		}
	}
	return d[pattern][name]
}

// conformance is the text of both lists: of the engine, and of workers.
func conformance(t *testing.T) string {
	t.Helper()
	text := ""
	for _, file := range []string{"docs/conformance.md", "docs/conformance-worker.md"} {
		data, err := os.ReadFile(filepath.Join(root, file))
		require.NoError(t, err)
		text += string(data)
	}
	return text
}

func TestEveryTestThatTheConformanceListNamesExists(t *testing.T) {
	all, count := defined{}, 0
	for _, m := range named.FindAllStringSubmatch(conformance(t), -1) {
		name := m[1]
		if name == "folder.TestName" {
			continue
		}
		count++
		switch {
		case strings.HasSuffix(name, ".txtar"):
			require.FileExists(t, filepath.Join(root, name))
		case strings.Contains(name, "::"):
			file, test, _ := strings.Cut(name, "::")
			require.True(t, all.has(t, file, test), name)
		default:
			i := strings.LastIndex(name, ".")
			require.True(t, all.has(t, name[:i]+"/*_test.go", name[i+1:]), name)
		}
	}
	require.Greater(t, count, 200)
}

func TestEveryRowOfTheConformanceListNamesATestOrAReason(t *testing.T) {
	for line := range strings.Lines(conformance(t)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|---") || strings.TrimSpace(cells[1]) == "shown by" {
			continue
		}
		require.Len(t, cells, 2, line)
		shown := strings.TrimSpace(cells[1])
		require.True(t, named.MatchString(shown) || strings.HasSuffix(shown, "."), "%q names no test and gives no reason", line)
	}
}

// The checklist of the worker protocol has twenty items.
func TestEveryItemOfTheWorkersChecklistIsListed(t *testing.T) {
	for item := 1; item <= 20; item++ {
		require.Regexp(t, fmt.Sprintf("(?m)^\\| %d\\. .*`tests/(e2e|workflows)\\.Test", item), conformance(t))
	}
}
