// Command taskerpy runs Tasker workflows whose step handlers are Python, in
// one process.
package main

import (
	"os"

	"github.com/tasker-systems/taskerpy/cmd/taskerpy/cli"
)

func main() { os.Exit(cli.Run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
