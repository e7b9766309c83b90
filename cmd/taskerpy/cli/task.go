package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/gofrs/uuid/v5"

	"github.com/tasker-systems/taskerpy/config"
	"github.com/tasker-systems/taskerpy/engine"
	"github.com/tasker-systems/taskerpy/progress"
	"github.com/tasker-systems/taskerpy/template"
	"github.com/tasker-systems/taskerpy/worker"
)

// runTask runs one task and prints what became of it.
func (a *app) runTask(c *config.Config, reference string, input json.RawMessage) error {
	l := a.newLogging(c, false)
	signals, stop := interrupts()
	defer stop()
	var chosen *template.Template
	wc := workerConfig(c, l)
	wc.AlwaysUnique = true // running it twice with the same input is what people do
	// Known before the task is, so that its progress stands in for the log from
	// its first step on.
	correlation, err := uuid.NewV7()
	if err != nil {
		return environment(fmt.Errorf("make a correlation id: %w", err))
	}
	mode := l.progressMode(c.Progress)
	if mode != progress.None {
		wc.Shown = correlation
	}
	wc.Accept = func(r worker.Report) (err error) {
		chosen, err = r.Choose(reference)
		return usage(err)
	}
	w, err := start(wc, signals)
	if err != nil {
		return err
	}
	if open := w.Engine().Stats().OpenTasks; open > 0 {
		l.log.Info("unfinished tasks of earlier runs are taken up", "tasks", open, "data", c.Data)
	}
	s := &session{
		app: a, logging: l, worker: w, template: chosen, mode: mode, correlation: correlation, drainTimeout: c.DrainTimeout,
	}
	failed := s.run(input, signals)
	drained := drain(w, c.DrainTimeout, signals, s.lookAgain)
	if s.interrupted != nil {
		failed = s.concludeInterrupted(drained)
	}
	var stopped *exitError
	switch {
	case drained == nil:
	case failed == nil && errors.As(drained, &stopped) && stopped.code > exitEnvironment:
		return drained // by a signal
	default:
		// Only steps of other tasks can be running: this one's result is out.
		l.log.Warn(drained.Error())
	}
	return failed
}

// session is the run of one task.
type session struct {
	*app
	*logging
	worker      *worker.Worker
	template    *template.Template
	mode        progress.Mode
	correlation uuid.UUID
	// drainTimeout is told to whoever interrupts.
	drainTimeout time.Duration
	// interrupted is nil unless a signal came before the task's end.
	interrupted *interrupted
}

// interrupted is what goes on when a signal has ended the waiting for a task:
// its running steps are shown until the worker is drained.
type interrupted struct {
	signal  os.Signal
	task    uuid.UUID
	display *progress.Progress
	unwatch func()
	shown   chan struct{} // closed when the display has had the last change
	end     chan ending   // of the task, if its last steps finish meanwhile
}

// ending is how a task ended.
type ending struct {
	task    engine.Task
	outcome worker.TaskOutcome
}

// run submits the task, shows its progress, and prints its outcome.
func (s *session) run(input json.RawMessage, signals <-chan os.Signal) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	e := s.worker.Engine()
	// Before the task exists, so that no change is missed.
	changes, unwatch := e.Watch(uuid.Nil)
	defer func() {
		if s.interrupted == nil {
			unwatch()
		}
	}()
	task, err := e.Submit(ctx, engine.TaskRequest{
		Namespace: s.template.Namespace, Name: s.template.Name, Version: s.template.Version, Context: input,
		CorrelationID: &s.correlation, Initiator: "taskerpy", SourceSystem: "cli", Reason: "taskerpy run --task",
	})
	if err != nil {
		return err
	}
	display := s.display(task)
	defer func() {
		if s.interrupted == nil {
			display.Close()
		}
	}()
	settled := make(chan outcome, 1)
	go func() {
		t, err := e.Wait(ctx, task.TaskUUID)
		settled <- outcome{t, err}
	}()
	var end *engine.Task
	for state := task.Status; ; {
		// The task's last changes are behind Wait's answer in the channel.
		if end != nil && (changes == nil || state == end.Status) {
			display.Finish(*end)
			return s.conclude(ctx, *end)
		}
		select {
		case c, ok := <-changes:
			if !ok {
				changes = nil
				continue
			}
			if c.TaskUUID != task.TaskUUID {
				continue
			}
			display.Change(c)
			if c.Step == "" {
				state = c.To
			}
		case o := <-settled:
			if o.err != nil {
				return environment(o.err)
			}
			end = &o.task
		case sig := <-signals:
			s.log.Warn(fmt.Sprintf("%v: running steps finish, for %s at most; another signal exits at once", sig, s.drainTimeout))
			s.interrupted = &interrupted{
				signal: sig, task: task.TaskUUID, display: display, unwatch: unwatch, shown: make(chan struct{}), end: make(chan ending, 1),
			}
			go s.interrupted.show(changes)
			return nil
		}
	}
}

type outcome struct {
	task engine.Task
	err  error
}

// show passes changes of the task on to the display until there are no more.
func (i *interrupted) show(changes <-chan engine.Change) {
	defer close(i.shown)
	if changes == nil {
		return // the watch has ended before
	}
	for c := range changes {
		if c.TaskUUID == i.task {
			i.display.Change(c)
		}
	}
}

// progressMode is how progress is shown beside these logs.
func (l *logging) progressMode(word string) (mode progress.Mode) {
	if l.text == nil && word == "auto" {
		return progress.None // standard error is for JSON
	}
	if err := mode.Set(word); err != nil {
		return progress.Auto // cannot be: the configuration has the same words
	}
	return mode
}

// display begins to show the task.
func (s *session) display(task engine.Task) *progress.Progress {
	p := progress.New(s.err, progress.Options{Mode: s.mode, Title: s.template.Key(), Created: task.CreatedAt, Steps: progress.Steps(s.template)})
	s.console.divert(p.Writer())
	if p.Mode() == progress.Live {
		ids := fmt.Sprintf("task %s, correlation id %s", task.TaskUUID, task.CorrelationID)
		if s.text != nil {
			ids = s.text.paint(faint, ids)
			s.text.isShown(task.TaskUUID.String())
		}
		p.Print(ids)
	}
	p.Start()
	return p
}

// conclude prints what became of the task. The error tells that it failed.
func (s *session) conclude(ctx context.Context, t engine.Task) error {
	sum, err := s.outcome(ctx, t)
	if err != nil {
		return environment(err)
	}
	if err := s.printJSON(sum); err != nil {
		return err
	}
	if succeeded(sum.Status) {
		return nil
	}
	return &exitError{exitFailed, errors.New(s.verdict(sum))}
}

func (s *session) outcome(ctx context.Context, t engine.Task) (worker.TaskOutcome, error) {
	steps, err := s.worker.Engine().Steps(ctx, t.TaskUUID)
	if err != nil {
		return worker.TaskOutcome{}, err
	}
	return worker.Outcome(t, steps)
}

func succeeded(status string) bool {
	return status == engine.TaskComplete.String() || status == engine.TaskResolvedManually.String()
}

// verdict is how the task ended, in a line.
func (s *session) verdict(sum worker.TaskOutcome) string {
	text := fmt.Sprintf("task %s: %s", s.template.Key(), sum.Status)
	if why := sum.Failure(); why != "" && !succeeded(sum.Status) {
		text += ": " + why
	}
	return text
}

// lookAgain finds out whether the steps that finished while the worker drained
// were the last ones of a task that nobody waits for any more.
func (s *session) lookAgain(ctx context.Context) {
	i := s.interrupted
	if i == nil {
		return
	}
	e := s.worker.Engine()
	if e.Sync(ctx) != nil {
		return // the disk; whoever closes the engine says so
	}
	t, settled, err := e.Settled(ctx, i.task)
	if err != nil || !settled {
		return
	}
	if sum, err := s.outcome(ctx, t); err == nil {
		i.end <- ending{t, sum}
	}
}

// concludeInterrupted says what became of a task until the worker was drained,
// or could not be.
func (s *session) concludeInterrupted(drained error) error {
	i, code := s.interrupted, signalled(s.interrupted.signal)
	if drained != nil {
		i.unwatch() // the engine may go on; if it is closed, there are no more changes
	}
	<-i.shown
	i.unwatch()
	select {
	case e := <-i.end:
		i.display.Finish(e.task)
		if err := s.printJSON(e.outcome); err != nil {
			return err
		}
		return &exitError{code, fmt.Errorf("%v: %s", i.signal, s.verdict(e.outcome))}
	default:
		i.display.Close()
		return &exitError{code, fmt.Errorf("%v: task %s is not finished; `taskerpy run` with the same handlers and data file takes it up", i.signal, i.task)}
	}
}

// printJSON writes a result to standard output, numbers and order untouched.
func (a *app) printJSON(value any) error {
	e := json.NewEncoder(a.out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(value); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}
