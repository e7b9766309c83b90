// Package cli_test runs the command line as its users do: each script in
// testdata starts taskerpy as processes of their own, on real Python and real
// files.
package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tasker-systems/taskerpy/cmd/taskerpy/cli"
	"github.com/tasker-systems/taskerpy/embed"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"taskerpy": func() { os.Exit(cli.Run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
	})
}

func TestScripts(t *testing.T) {
	venv, err := filepath.Abs(virtualenv())
	if err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = t.TempDir()
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("VIRTUAL_ENV", venv)
			env.Setenv("PYTHON", embed.BuiltFor())
			// Compiled once for all scripts, as for a user.
			env.Setenv("TASKERPY_CACHE_DIR", filepath.Join(cache, "taskerpy"))
			env.Setenv("NO_COLOR", "1")
			// Of bare.py in problems.txtar: Python 3.10 says that a decorator is in
			// the line of what it decorates.
			env.Setenv("DECORATOR_AT", "4")
			if strings.HasPrefix(embed.RuntimeVersion(), "3.10.") {
				env.Setenv("DECORATOR_AT", "5")
			}
			// The default port may be taken, by another script or another program.
			env.Setenv("TASKER_LISTEN", "127.0.0.1:0")
			env.Values[processesKey{}] = newProcesses(env)
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"code": code, "start": start, "signal": signalProcess, "ended": ended, "await": await, "serving": serving, "request": request,
		},
	})
}

// virtualenv is the one that the tests run with.
func virtualenv() string {
	if dir := os.Getenv("VIRTUAL_ENV"); dir != "" {
		return dir
	}
	return filepath.Join("..", "..", ".venv")
}
