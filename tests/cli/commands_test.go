package cli_test

import (
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// patience is how long a script waits for something that should happen. It is
// only ever used up by a failure.
const patience = 60 * time.Second

// code N COMMAND ARGS… runs a command and wants exactly this exit code.
func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N command args…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

type processesKey struct{}

// processes are those that a script started and has not seen end.
type processes struct {
	env *testscript.Env
	mu  sync.Mutex
	all map[string]*process
}

type process struct {
	cmd   *exec.Cmd
	files []*os.File
	ended chan error
}

func newProcesses(env *testscript.Env) *processes {
	p := &processes{env: env, all: map[string]*process{}}
	env.Defer(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, one := range p.all {
			_ = one.cmd.Process.Kill() // gone is as good
			<-one.ended
		}
	})
	return p
}

func processesOf(ts *testscript.TestScript) *processes {
	p, ok := ts.Value(processesKey{}).(*processes)
	if !ok {
		ts.Fatalf("no processes")
	}
	return p
}

func (p *processes) find(ts *testscript.TestScript, name string) *process {
	p.mu.Lock()
	defer p.mu.Unlock()
	one := p.all[name]
	if one == nil {
		ts.Fatalf("no process %s", name)
	}
	return one
}

// start NAME COMMAND ARGS… starts a process that writes NAME.out and NAME.err.
func start(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: start name command args…")
	}
	p := processesOf(ts)
	name := args[0]
	path, err := exec.LookPath(args[1])
	ts.Check(err)
	cmd := exec.Command(path, args[2:]...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = append([]string{}, p.env.Vars...)
	one := &process{cmd: cmd, ended: make(chan error, 1)}
	for suffix, stream := range map[string]*io.Writer{".out": &cmd.Stdout, ".err": &cmd.Stderr} {
		f, err := os.Create(ts.MkAbs(name + suffix))
		ts.Check(err)
		one.files = append(one.files, f)
		*stream = f
	}
	ts.Check(cmd.Start())
	go func() {
		one.ended <- cmd.Wait()
		for _, f := range one.files {
			_ = f.Close()
		}
	}()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all[name] = one
}

var signals = map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "KILL": syscall.SIGKILL, "USR1": syscall.SIGUSR1}

// signal NAME INT|TERM|KILL|USR1.
func signalProcess(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: signal name INT|TERM|KILL|USR1")
	}
	ts.Check(processesOf(ts).find(ts, args[0]).cmd.Process.Signal(signals[args[1]]))
}

// ended NAME CODE waits for a process. CODE is a number or the name of the
// signal that killed it.
func ended(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: ended name code")
	}
	p := processesOf(ts)
	one := p.find(ts, args[0])
	var err error
	select {
	case err = <-one.ended:
	case <-time.After(patience):
		ts.Fatalf("%s does not end", args[0])
	}
	p.mu.Lock()
	delete(p.all, args[0])
	p.mu.Unlock()
	got := "0"
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = strconv.Itoa(exit.ExitCode())
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			got = status.Signal().String()
		}
	} else {
		ts.Check(err)
	}
	if got != args[1] {
		ts.Fatalf("%s ended with %s, want %s; it said:\n%s", args[0], got, args[1], ts.ReadFile(args[0]+".err"))
	}
}

// await FILE REGEXP waits until a file has the text.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: await file regexp")
	}
	waitFor(ts, args[0], args[1])
}

// waitFor gives the submatches of the text that it waited for.
func waitFor(ts *testscript.TestScript, file, expression string) []string {
	wanted := regexp.MustCompile("(?m)" + expression)
	var data []byte
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		data, _ = os.ReadFile(ts.MkAbs(file)) // it may come later
		if found := wanted.FindSubmatch(data); found != nil {
			out := make([]string, len(found))
			for i, f := range found {
				out[i] = string(f)
			}
			return out
		}
	}
	ts.Fatalf("%s never had %s, but:\n%s", file, expression, data)
	return nil
}

// serving NAME waits until a started taskerpy answers HTTP and sets URL and
// ADDRESS.
func serving(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: serving name")
	}
	url := waitFor(ts, args[0]+".err", `(http://127\.0\.0\.1:\d+)`)[1]
	ts.Setenv("URL", url)
	ts.Setenv("ADDRESS", strings.TrimPrefix(url, "http://"))
}

// request STATUS METHOD PATH [FILE] asks the server at URL, sends a file, and
// gives the answer as stdout.
func request(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 || len(args) > 4 {
		ts.Fatalf("usage: request status method path [file]")
	}
	var body io.Reader
	if len(args) == 4 {
		body = strings.NewReader(ts.ReadFile(args[3]))
	}
	r, err := http.NewRequest(args[1], ts.Getenv("URL")+filepath.Join("/", args[2]), body)
	ts.Check(err)
	r.Header.Set("Content-Type", "application/json")
	client := http.Client{Timeout: patience}
	response, err := client.Do(r)
	ts.Check(err)
	defer func() { _ = response.Body.Close() }()
	_, err = io.Copy(ts.Stdout(), response.Body)
	ts.Check(err)
	if got := strconv.Itoa(response.StatusCode); got != args[0] {
		ts.Fatalf("status %s, want %s", got, args[0])
	}
}
