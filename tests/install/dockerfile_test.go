package install_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// stages are the Dockerfile's, by what follows each FROM.
func stages(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root(t), "Dockerfile"))
	require.NoError(t, err)
	return regexp.MustCompile(`(?m)^FROM `).Split(string(text), -1)[1:]
}

func TestTheImageIsSlimAndRunsAsAnOrdinaryUser(t *testing.T) {
	all := stages(t)
	last := all[len(all)-1]
	require.Regexp(t, `^debian:\w+-slim\n`, last)
	require.Regexp(t, `(?m)^USER taskerpy$`, last)
	for _, compiler := range []string{"gcc", "build-essential", "-dev"} {
		require.NotContains(t, last, compiler)
	}
}

// Debian's name is in both stages, or the binary would look for another Python
// than the image has.
func TestBothStagesAreOfTheSameDebian(t *testing.T) {
	all := stages(t)
	release := regexp.MustCompile(`^debian:(\w+)-slim`).FindStringSubmatch(all[len(all)-1])[1]
	require.Regexp(t, `^golang:[\d.]+-`+release+` AS build\n`, all[0])
}

func TestTheBuildStageCallsOnlyWhatTheMakefileHas(t *testing.T) {
	calls := regexp.MustCompile(`(?m)^RUN make (\S+)`).FindAllStringSubmatch(stages(t)[0], -1)
	require.NotEmpty(t, calls)
	for _, call := range calls {
		cmd := exec.Command("make", "--dry-run", call[1], "DESTDIR=/out")
		cmd.Dir = root(t)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "make %s: %s", call[1], out)
	}
}

func TestWhatTheBuildStageCopiesIsThere(t *testing.T) {
	ignored, err := os.ReadFile(filepath.Join(root(t), ".dockerignore"))
	require.NoError(t, err)
	for _, line := range regexp.MustCompile(`(?m)^COPY ([^-].*)$`).FindAllStringSubmatch(stages(t)[0], -1) {
		names := strings.Fields(line[1])
		for _, name := range names[:len(names)-1] {
			_, err := os.Stat(filepath.Join(root(t), name))
			require.NoError(t, err)
			require.NotContains(t, strings.Split(string(ignored), "\n"), name)
		}
	}
}
