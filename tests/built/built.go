// Package built gives tests the program as its users have it: a binary, and
// the virtualenv that it runs with.
package built

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// Root is the folder of the project.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// Virtualenv is $VIRTUAL_ENV, or else the project's own.
func Virtualenv() string {
	if dir := os.Getenv("VIRTUAL_ENV"); dir != "" {
		return dir
	}
	return filepath.Join(Root(), ".venv")
}

// Environ is the environment to run the binary in.
func Environ(more ...string) []string {
	return append(append(os.Environ(), "VIRTUAL_ENV="+Virtualenv()), more...)
}

// Binary builds the program into a folder that is gone after the test.
func Binary(t testing.TB) string {
	t.Helper()
	binary, err := Into(t.Context(), t.TempDir())
	require.NoError(t, err)
	return binary
}

// Into builds the program into a folder, for a TestMain.
func Into(ctx context.Context, dir string) (binary string, err error) {
	binary = filepath.Join(dir, "taskerpy")
	command := exec.CommandContext(ctx, "go", "build", "-o", binary, "./cmd/taskerpy")
	command.Dir = Root()
	if out, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return binary, nil
}
