package gil

import (
	"errors"
	"runtime"

	"github.com/tasker-systems/taskerpy/embed"
)

// RunCommand runs an ordinary python command, c.Argv, on the calling thread
// and returns its exit code. Python owns signals and streams meanwhile. There
// can be no Runtime in the process, before or after.
func RunCommand(c embed.Config) (exitCode int, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var exit embed.ExitError
	if err := embed.Initialize(c); errors.As(err, &exit) {
		return exit.Code, nil
	} else if err != nil {
		return 0, err
	}
	return embed.RunMain(), nil
}
