package cluster

import (
	"context"
	"fmt"
	"os"
	"testing"
)

// ForMain gives run a cluster that a whole package shares, and returns run's
// exit code: for TestMain. It is 0 where Start would skip, and 1 where it would
// fail.
func ForMain(options Options, run func(c *Cluster) int) (code int) {
	ctx, cancel := context.WithCancel(context.Background())
	t := &mainTB{ctx: ctx}
	defer func() {
		cancel()
		for i := len(t.cleanups) - 1; i >= 0; i-- {
			t.cleanups[i]()
		}
		switch end := recover().(type) {
		case nil:
			code = max(code, t.code())
		case mainEnd:
			code = t.code()
		default:
			panic(end)
		}
	}()
	code = run(Start(t, options))
	t.failed = t.failed || code != 0
	return code
}

// mainEnd is how a mainTB leaves.
type mainEnd struct{}

// mainTB is what Start and the cluster's methods need of a test.
type mainTB struct {
	testing.TB
	ctx      context.Context
	cleanups []func()
	failed   bool
}

func (t *mainTB) code() int {
	if t.failed {
		return 1
	}
	return 0
}

func (t *mainTB) Helper()                  {}
func (t *mainTB) Name() string             { return "TestMain" }
func (t *mainTB) Cleanup(f func())         { t.cleanups = append(t.cleanups, f) }
func (t *mainTB) Context() context.Context { return t.ctx }
func (t *mainTB) Failed() bool             { return t.failed }

func (t *mainTB) Logf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

func (t *mainTB) Errorf(format string, args ...any) {
	t.failed = true
	t.Logf(format, args...)
}

func (t *mainTB) FailNow() {
	t.failed = true
	panic(mainEnd{})
}

func (t *mainTB) Skip(args ...any) {
	fmt.Fprintln(os.Stderr, args...)
	panic(mainEnd{})
}
