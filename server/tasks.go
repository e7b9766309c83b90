package server

import (
	"errors"
	"math"
	"net/http"
	"net/url"
	"strconv"

	"github.com/tasker-systems/taskerpy/engine"
	"github.com/tasker-systems/taskerpy/template"
)

const (
	defaultPerPage = 25
	maxPerPage     = 100
)

// createTask is POST /v1/tasks. It answers 200, as the reference does.
func (s *Server) createTask(r *http.Request) (any, error) {
	if s.Draining() {
		return nil, unavailable(retryElsewhere, "draining: no new tasks are taken")
	}
	request, err := readTaskRequest(r)
	if err != nil {
		return nil, err
	}
	t, err := s.o.Engine.Submit(r.Context(), request)
	if errors.Is(err, engine.ErrNotFound) {
		return nil, s.templateNotFound(request.Namespace, request.Name, request.Version, err)
	}
	if err != nil {
		return nil, err
	}
	return taskOf(t), nil
}

// templateNotFound names the template that was probably meant. cause is the
// engine's error; it tells more when the template exists.
func (s *Server) templateNotFound(namespace, name, version string, cause error) error {
	want := (&template.Template{Namespace: namespace, Name: name, Version: version}).Key()
	var known []string
	for _, t := range s.o.Engine.Templates() {
		key := t.Template.Key()
		if key == want {
			return cause
		}
		known = append(known, key)
	}
	if nearest, ok := template.Nearest(want, known); ok {
		return notFound("Task template not found: %s; did you mean %s?", want, nearest)
	}
	return notFound("Task template not found: %s; GET /v1/templates lists those that are registered", want)
}

// listTasks is GET /v1/tasks.
//
// As in the reference, status in the list says completed or pending, from
// whether the task is complete. With true_status=true it is the task's state.
func (s *Server) listTasks(r *http.Request) (any, error) {
	query, err := parseQuery(r)
	if err != nil {
		return nil, err
	}
	f := engine.TaskFilter{
		Namespace: query.Get("namespace"), Status: query.Get("status"),
		Initiator: query.Get("initiator"), SourceSystem: query.Get("source_system"),
	}
	if f.Page, err = intQuery(query, "page", 1, math.MaxInt32); err != nil {
		return nil, err
	}
	if f.PerPage, err = intQuery(query, "per_page", defaultPerPage, maxPerPage); err != nil {
		return nil, err
	}
	trueStatus, err := boolQuery(query, "true_status")
	if err != nil {
		return nil, err
	}
	list, err := s.o.Engine.Tasks(r.Context(), f)
	if err != nil {
		return nil, err
	}
	tasks := make([]engine.Task, len(list.Tasks)) // never null
	for i, t := range list.Tasks {
		t = taskOf(t)
		if !trueStatus {
			t.Status = listStatus(t.Status)
		}
		tasks[i] = t
	}
	list.Tasks = tasks
	return list, nil
}

func listStatus(state string) string {
	if state == engine.TaskComplete.String() {
		return "completed"
	}
	return "pending"
}

// taskOf gives a task lists where it has none: clients expect no null there.
func taskOf(t engine.Task) engine.Task {
	if t.Tags == nil {
		t.Tags = []string{}
	}
	if t.Steps == nil {
		t.Steps = []engine.StepReadiness{}
	}
	return t
}

// getTask is GET /v1/tasks/{task}.
func (s *Server) getTask(r *http.Request) (any, error) {
	id, err := pathUUID(r, "task", codeInvalidUUID)
	if err != nil {
		return nil, err
	}
	t, err := s.o.Engine.Task(r.Context(), id)
	if errors.Is(err, engine.ErrNotFound) {
		return nil, notFound("Task not found: %s", id)
	}
	if err != nil {
		return nil, err
	}
	return taskOf(t), nil
}

// cancelTask is DELETE /v1/tasks/{task} (engine-semantics §7.2).
func (s *Server) cancelTask(r *http.Request) (any, error) {
	id, err := pathUUID(r, "task", codeInvalidUUID)
	if err != nil {
		return nil, err
	}
	t, err := s.o.Engine.Cancel(r.Context(), id)
	switch {
	case errors.Is(err, engine.ErrNotFound):
		return nil, notFound("Task not found: %s", id)
	case errors.Is(err, engine.ErrInvalidState):
		return nil, badRequest("Cannot cancel a completed task: %s", detail(err, engine.ErrInvalidState))
	case err != nil:
		return nil, err
	}
	return taskOf(t), nil
}

func parseQuery(r *http.Request) (url.Values, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, badRequest("read the query: %v", err)
	}
	return query, nil
}

// intQuery reads a number from 1 to most.
func intQuery(query url.Values, name string, fallback, most int) (int, error) {
	return numberQuery(query, name, fallback, 1, most)
}

// numberQuery reads a number from least to most.
func numberQuery(query url.Values, name string, fallback, least, most int) (int, error) {
	text := query.Get(name)
	if !query.Has(name) {
		return fallback, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		return 0, badRequest("%s must be a number from %d to %d; %q is not", name, least, most, text)
	}
	return n, nil
}

// boolQuery reads true or false; absent means false.
func boolQuery(query url.Values, name string) (bool, error) {
	if !query.Has(name) {
		return false, nil
	}
	b, err := strconv.ParseBool(query.Get(name))
	if err != nil {
		return false, badRequest("%s must be true or false; %q is not", name, query.Get(name))
	}
	return b, nil
}
