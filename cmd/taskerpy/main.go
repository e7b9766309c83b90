// Command taskerpy runs Tasker workflows whose step handlers are Python, in
// one process.
package main

import (
	"os"
	"runtime"

	"github.com/tasker-systems/taskerpy/cmd/taskerpy/cli"
)

// The kernel gives signals to the first thread when it can: `taskerpy python`
// is to run there, as the python command does.
func init() { runtime.LockOSThread() }

func main() { os.Exit(cli.Run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
