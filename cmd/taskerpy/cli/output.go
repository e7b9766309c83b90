package cli

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// keepOutput keeps standard output for our results alone. Handlers' child
// processes, and extensions in C, write to descriptor 1 whatever sys.stdout is:
// from now on that is standard error, and results go to a duplicate that no
// child inherits. It is called before Python starts.
func (a *app) keepOutput() error {
	if a.out != io.Writer(os.Stdout) {
		return nil // a buffer, which nobody else can reach
	}
	own, err := unix.FcntlInt(uintptr(unix.Stdout), unix.F_DUPFD_CLOEXEC, 3)
	if err == nil {
		a.out = &ownOutput{os.NewFile(uintptr(own), os.Stdout.Name())}
		err = unix.Dup2(unix.Stderr, unix.Stdout)
	}
	if err != nil {
		return environment(fmt.Errorf("keep standard output for results: %w", err))
	}
	return nil
}

// ownOutput is what standard output was when the process began.
type ownOutput struct{ file *os.File }

// Write writes, and ends the process by SIGPIPE if nobody reads any more, as Go
// does for descriptor 1 only.
func (o *ownOutput) Write(data []byte) (int, error) {
	n, err := o.file.Write(data)
	if !errors.Is(err, unix.EPIPE) {
		return n, err
	}
	if err := unix.Dup2(int(o.file.Fd()), unix.Stdout); err != nil {
		return n, fmt.Errorf("give standard output back: %w", err)
	}
	again, err := os.Stdout.Write(data[n:])
	return n + again, err
}
