package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// process is a program in a process group of its own, whose output goes to a
// file. It does not outlive this one, however this one ends.
type process struct {
	name   string
	pid    int
	exited chan struct{} // closed once it is gone
	err    error         // how it ended; read it after exited
}

// launch starts a program. The output is appended to the file log.
func launch(name string, command *exec.Cmd, log string, user *owner) (*process, error) {
	file, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log of %s: %w", name, err)
	}
	defer file.Close()
	command.Stdout, command.Stderr = file, file
	command.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:    true,
		Pdeathsig:  syscall.SIGKILL,
		Credential: user.credential(),
	}
	p := &process{name: name, exited: make(chan struct{})}
	started := make(chan error)
	// Its parent, to the kernel, is the thread that started it.
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := command.Start()
		started <- err
		if err != nil {
			return
		}
		p.err = command.Wait()
		close(p.exited)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p.pid = command.Process.Pid
	return p, nil
}

// signal sends a signal to the program, or to its whole group.
func (p *process) signal(signal syscall.Signal, group bool) error {
	select {
	case <-p.exited:
		return fmt.Errorf("%s has ended: %w", p.name, p.ending())
	default:
	}
	pid := p.pid
	if group {
		pid = -pid
	}
	if err := syscall.Kill(pid, signal); err != nil {
		return fmt.Errorf("send %s to %s: %w", signal, p.name, err)
	}
	return nil
}

// pause returns when no thread of the program runs any more.
func (p *process) pause() error {
	if err := p.signal(syscall.SIGSTOP, true); err != nil {
		return err
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		running, err := p.running()
		if err != nil || !running {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s still runs %s after %s", p.name, patience, syscall.SIGSTOP)
		}
	}
}

// running says whether a thread of the program is not stopped.
func (p *process) running() (bool, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.pid))
	if err != nil || len(files) == 0 {
		return false, fmt.Errorf("no threads of %s: %w", p.name, errors.Join(err, p.signal(0, false)))
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // has just ended
		}
		if err != nil {
			return false, err
		}
		// The name, in parentheses, may hold anything; the state follows it.
		after := text[bytes.LastIndexByte(text, ')')+1:]
		if state := bytes.Fields(after); len(state) == 0 || string(state[0]) != "T" {
			return true, nil
		}
	}
	return false, nil
}

// stop sends a signal and waits until the program is gone.
func (p *process) stop(signal syscall.Signal, patience time.Duration) error {
	if err := p.signal(signal, false); err != nil {
		return err
	}
	select {
	case <-p.exited:
		return nil
	case <-time.After(patience):
		p.kill()
		return fmt.Errorf("%s was still there %s after %s", p.name, patience, signal)
	}
}

// kill ends the program and what it started, at once. It may have ended.
func (p *process) kill() {
	// A group whose leader has ended may still have members.
	_ = syscall.Kill(-p.pid, syscall.SIGKILL)
	<-p.exited
}

var errEnded = errors.New("exit status 0")

func (p *process) ending() error {
	if p.err == nil {
		return errEnded
	}
	return p.err
}
