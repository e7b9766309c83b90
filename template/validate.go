package template

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits of a Tasker deployment, in characters.
const (
	maxNamespace       = 29 // so that the queue name worker_<namespace>_queue stays short
	maxTemplateName    = 64
	maxVersion         = 16
	maxDescription     = 255
	maxStepName        = 128
	maxCallable        = 500
	maxBatchName       = 255
	maxAttemptsRange   = 100
	minBackoffBase     = 100
	minMaxBackoff      = 1000
	maxBackoffRange    = 3_600_000
	maxBatchSize       = 100_000
	maxParallelism     = 1000
	maxWaitingMinutes  = 10_080
	maxDurationMinutes = 43_200
)

var (
	namespacePattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	semverPattern    = regexp.MustCompile(`^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$`)
	eventPattern     = regexp.MustCompile(`^[a-z0-9_]+(\.[a-z0-9_]+)+$`)
	publisherPattern = regexp.MustCompile(`^[a-zA-Z_]\w*((::|\.)[a-zA-Z_]\w*)*$`)
)

// Validate says everything that is wrong with a template or worth a warning,
// in the order of the file (engine-semantics §1.4, §1.8). A template with an
// error among the findings must not be run.
func (t *Template) Validate() []Finding {
	v := &validator{t: t, links: t.links()}
	v.identity()
	v.lifecycle()
	v.schemas()
	names := t.StepNames()
	known := make(map[string]bool, len(names))
	for _, name := range names {
		known[name] = true
	}
	seen := map[string]*Step{}
	for i := range t.Steps {
		s := &t.Steps[i]
		v.naming(s, seen)
		v.dependencies(s, names, known)
		v.handling(s)
		v.events(s)
		v.batch(s)
	}
	v.cycles()
	v.shape()
	v.overrides(names)
	sortFindings(v.findings)
	return v.findings
}

type validator struct {
	t        *Template
	links    links
	findings []Finding
}

func (v *validator) add(severity Severity, code string, step string, pos Position, remedy, format string, args ...any) {
	v.findings = append(v.findings, Finding{
		Code: code, Severity: severity, Message: fmt.Sprintf(format, args...),
		Remedy: remedy, Step: step, Pos: pos,
	})
}

// stepAt is at for a value of a step.
func (v *validator) stepAt(s *Step, path ...any) Position {
	if pos, ok := s.node.at(path...); ok {
		return pos
	}
	if s.Pos != (Position{}) {
		return s.Pos
	}
	return Position{File: v.t.Path}
}

func (v *validator) identity() {
	t := v.t
	for _, item := range []struct {
		key, value string
		limit      int
	}{
		{"name", t.Name, maxTemplateName},
		{"namespace_name", t.Namespace, 0},
		{"version", t.Version, maxVersion},
	} {
		if strings.TrimSpace(item.value) == "" {
			v.add(SeverityError, CodeEmptyName, "", v.t.at(item.key), "", "the template's %s is empty", item.key)
		}
		v.length("the template's "+item.key, "", item.value, item.limit, v.t.at(item.key))
	}
	v.length("the template's description", "", t.Description, maxDescription, v.t.at("description"))

	switch length := utf8.RuneCountInString(t.Namespace); {
	case t.Namespace == unusable || strings.TrimSpace(t.Namespace) == "":
	case length > maxNamespace:
		v.add(SeverityWarning, CodeNamespaceTooLong, "", v.t.at("namespace_name"), "",
			"namespace %s has %d characters; a Tasker deployment allows %d", abbreviated(t.Namespace), length, maxNamespace)
	case !namespacePattern.MatchString(t.Namespace):
		v.add(SeverityWarning, CodeNamespaceInvalid, "", v.t.at("namespace_name"), "use letters, digits and _ only, no digit first",
			"namespace %s is not a name that a Tasker deployment allows", abbreviated(t.Namespace))
	}
	if t.Version != unusable && strings.TrimSpace(t.Version) != "" && !semverPattern.MatchString(t.Version) {
		v.add(SeverityWarning, CodeVersionNotSemver, "", v.t.at("version"), "write it as MAJOR.MINOR.PATCH",
			"version %s is not a semantic version", abbreviated(t.Version))
	}
	if len(t.Steps) == 0 {
		v.add(SeverityWarning, CodeNoSteps, "", v.t.at("steps"), "", "the template has no steps, so no task can be made from it")
	}
}

func (v *validator) length(what, step, value string, limit int, pos Position) {
	if n := utf8.RuneCountInString(value); limit > 0 && n > limit {
		v.add(SeverityWarning, CodeTooLong, step, pos, "",
			"%s has %d characters; a Tasker deployment stores %d", what, n, limit)
	}
}

func (v *validator) inRange(what, step string, value, low, high uint64, pos Position) {
	if value < low || value > high {
		v.add(SeverityWarning, CodeOutOfRange, step, pos, "", "%s is %d, outside of %d to %d", what, value, low, high)
	}
}

func (v *validator) lifecycle() {
	l := v.t.Lifecycle
	if l == nil {
		return
	}
	for _, item := range []struct {
		key   string
		value *uint32
		limit uint64
	}{
		{"max_duration_minutes", l.MaxDurationMinutes, maxDurationMinutes},
		{"max_waiting_for_dependencies_minutes", l.MaxWaitingForDependenciesMinutes, maxWaitingMinutes},
		{"max_waiting_for_retry_minutes", l.MaxWaitingForRetryMinutes, maxWaitingMinutes},
		{"max_steps_in_process_minutes", l.MaxStepsInProcessMinutes, maxWaitingMinutes},
	} {
		if item.value != nil {
			v.inRange("lifecycle: "+item.key, "", uint64(*item.value), 1, item.limit, v.t.at("lifecycle", item.key))
		}
	}
	actions := []string{"dlq", "error", "none"}
	if l.StalenessAction != "" && !slices.Contains(actions, l.StalenessAction) {
		v.add(SeverityWarning, CodeUnknownAction, "", v.t.at("lifecycle", "staleness_action"),
			"use one of "+strings.Join(actions, ", "), "lifecycle: staleness_action %s is unknown", abbreviated(l.StalenessAction))
	}
}

// schema checks that a schema can be compiled. The path leads to it, from the
// template or from step s when that is not nil.
func (v *validator) schema(raw json.RawMessage, what string, s *Step, path ...any) {
	if raw == nil {
		return
	}
	_, problem := compileSchema(raw)
	if problem == nil {
		return
	}
	root, pos, step := v.t.node, v.t.at(path...), ""
	if s != nil {
		root, pos, step = s.node, v.stepAt(s, path...), s.Name
	}
	if n := root.descend(path...); n != nil {
		pos = n.follow(problem.tokens)
	}
	at := ""
	if len(problem.tokens) > 0 {
		at = pointer(problem.tokens) + " "
	}
	v.add(SeverityError, CodeInvalidSchema, step, pos, "", "%s is not a valid JSON Schema: %s%s", what, at, problem.message)
}

func (v *validator) schemas() {
	v.schema(v.t.InputSchema, "input_schema", nil, "input_schema")
	for i, e := range v.t.DomainEvents {
		v.schema(e.Schema, "schema of domain event "+abbreviated(e.Name), nil, "domain_events", i, "schema")
	}
}

func (v *validator) naming(s *Step, seen map[string]*Step) {
	pos := v.stepAt(s, "name")
	if strings.TrimSpace(s.Name) == "" {
		v.add(SeverityError, CodeEmptyName, s.Name, pos, "", "a step has an empty name")
		return
	}
	if first := seen[s.Name]; first != nil {
		at := ""
		if first.Pos.Line > 0 {
			at = fmt.Sprintf(", first on line %d", first.Pos.Line)
		}
		v.add(SeverityError, CodeDuplicateStepName, s.Name, pos, "rename one of them",
			"two steps are named %s%s", abbreviated(s.Name), at)
		return
	}
	seen[s.Name] = s
	v.length("step name "+abbreviated(s.Name), s.Name, s.Name, maxStepName, pos)
}

func (v *validator) dependencies(s *Step, names []string, known map[string]bool) {
	for i, name := range s.Dependencies {
		pos := v.dependencyAt(s, i)
		switch {
		case name == s.Name:
			v.add(SeverityError, CodeSelfDependency, s.Name, pos, "remove it", "step %s depends on itself", abbreviated(name))
		case !known[name]:
			remedy := ""
			if near, ok := Nearest(name, names); ok && near != s.Name {
				remedy = fmt.Sprintf("did you mean %s?", abbreviated(near))
			}
			v.add(SeverityError, CodeMissingDepRef, s.Name, pos, remedy,
				"step %s depends on %s, which is no step of this template", abbreviated(s.Name), abbreviated(name))
		}
	}
	if s.Type == Decision && len(s.Dependencies) == 0 {
		v.add(SeverityError, CodeDecisionWithoutDep, s.Name, v.stepAt(s, "name"), "let it depend on the step whose result it judges",
			"decision step %s has no dependencies", abbreviated(s.Name))
	}
}

// dependencyAt is where the i-th dependency of a step is written. Repeated
// names were dropped when the step was read, so it is looked up by name.
func (v *validator) dependencyAt(s *Step, i int) Position {
	for _, key := range []string{"dependencies", "depends_on"} {
		f := s.node.field(key)
		if f == nil {
			continue
		}
		for _, item := range f.value.items {
			if item.raw == s.Dependencies[i] {
				return item.pos
			}
		}
	}
	return v.stepAt(s)
}

func (v *validator) handling(s *Step) {
	what := "step " + abbreviated(s.Name)
	if strings.TrimSpace(s.Handler.Callable) == "" {
		v.add(SeverityError, CodeEmptyCallable, s.Name, v.stepAt(s, "handler", "callable"), "name the class or function that runs it",
			"%s has an empty handler.callable", what)
	}
	v.length("handler.callable of "+what, s.Name, s.Handler.Callable, maxCallable, v.stepAt(s, "handler", "callable"))
	v.inRange("retry of "+what+": max_attempts", s.Name, uint64(s.Retry.MaxAttempts), 1, maxAttemptsRange,
		v.stepAt(s, "retry", "max_attempts"))
	if base := s.Retry.BackoffBaseMS; base != nil {
		v.inRange("retry of "+what+": backoff_base_ms", s.Name, *base, minBackoffBase, maxBackoffRange, v.stepAt(s, "retry", "backoff_base_ms"))
	}
	if limit := s.Retry.MaxBackoffMS; limit != nil {
		v.inRange("retry of "+what+": max_backoff_ms", s.Name, *limit, minMaxBackoff, maxBackoffRange, v.stepAt(s, "retry", "max_backoff_ms"))
	}
	if s.ResultSchema == nil {
		v.add(SeverityInfo, CodeNoResultSchema, s.Name, v.stepAt(s, "name"), "", "%s has no result_schema", what)
		return
	}
	v.schema(s.ResultSchema, "result_schema of "+what, s, "result_schema")
	var top struct {
		Type any `json:"type"`
	}
	if json.Unmarshal(s.ResultSchema, &top) == nil && top.Type != "object" {
		v.add(SeverityWarning, CodeSchemaNotObject, s.Name, v.stepAt(s, "result_schema"), "",
			"result_schema of %s does not have the type object", what)
	}
}

func (v *validator) events(s *Step) {
	seen := map[string]bool{}
	for i, e := range s.PublishesEvents {
		what := fmt.Sprintf("event %s of step %s", abbreviated(e.Name), abbreviated(s.Name))
		pos := v.stepAt(s, "publishes_events", i, "name")
		if seen[e.Name] {
			v.add(SeverityWarning, CodeDuplicateEvent, s.Name, pos, "", "%s is declared twice", what)
		}
		seen[e.Name] = true
		if e.Name != unusable && !eventPattern.MatchString(e.Name) {
			v.add(SeverityWarning, CodeEventNameInvalid, s.Name, pos, "write it as area.thing.happened",
				"%s: the name should be lower-case words joined by dots", what)
		}
		if e.Publisher != nil && !publisherPattern.MatchString(*e.Publisher) {
			v.add(SeverityWarning, CodePublisherInvalid, s.Name, v.stepAt(s, "publishes_events", i, "publisher"), "",
				"%s: publisher %s is not a class name", what, abbreviated(*e.Publisher))
		}
		v.schema(e.Schema, "schema of "+what, s, "publishes_events", i, "schema")
	}
}

// batch finds batch sections that cannot work (engine-semantics §5.4).
func (v *validator) batch(s *Step) {
	if c := s.BatchConfig; c != nil {
		what := "batch_config of step " + abbreviated(s.Name)
		v.inRange(what+": batch_size", s.Name, uint64(c.BatchSize), 1, maxBatchSize, v.stepAt(s, "batch_config", "batch_size"))
		v.length(what+": cursor_field", s.Name, c.CursorField, maxBatchName, v.stepAt(s, "batch_config", "cursor_field"))
		v.length(what+": worker_template", s.Name, c.WorkerTemplate, maxBatchName, v.stepAt(s, "batch_config", "worker_template"))
		v.inRange(what+": parallelism", s.Name, uint64(c.Parallelism), 1, maxParallelism, v.stepAt(s, "batch_config", "parallelism"))
	}
	switch s.Type {
	case BatchWorker:
		if s.BatchConfig == nil && slices.ContainsFunc(v.t.Steps, func(s Step) bool { return s.Type == Batchable }) {
			v.add(SeverityError, CodeBatchConfigMissing, s.Name, v.stepAt(s, "name"), "add one",
				"batch worker %s has no batch_config, so no batch can be created from it", abbreviated(s.Name))
		}
	case Batchable:
		var init struct {
			Worker any `json:"worker_template_name"`
		}
		if json.Unmarshal(s.Handler.Initialization, &init) != nil {
			return
		}
		name, ok := init.Worker.(string)
		if !ok {
			return
		}
		if worker := v.t.Step(name); worker != nil && worker.Type == BatchWorker {
			return
		}
		v.add(SeverityWarning, CodeUnknownBatchWorker, s.Name, v.stepAt(s, "handler", "initialization", "worker_template_name"), "",
			"step %s names %s as its worker, which is no batch_worker step of this template", abbreviated(s.Name), abbreviated(name))
	}
}

func (v *validator) cycles() {
	for _, cycle := range v.links.cycles() {
		s := &v.t.Steps[cycle[0]]
		next := v.t.Steps[cycle[1]].Name
		names := make([]string, 0, len(cycle)+1)
		for _, i := range append(cycle, cycle[0]) {
			names = append(names, v.t.Steps[i].Name)
		}
		v.add(SeverityError, CodeCycleDetected, s.Name, v.dependencyAt(s, slices.Index(s.Dependencies, next)),
			"remove one of these dependencies", "steps wait for each other: %s", strings.Join(names, " → "))
	}
}

// shape warns about steps that stand apart or are never created.
func (v *validator) shape() {
	creators := slices.ContainsFunc(v.t.Steps, func(s Step) bool { return s.Type == Decision || s.Type == Batchable })
	for i := range v.t.Steps {
		s := &v.t.Steps[i]
		if len(v.t.Steps) > 1 && len(s.Dependencies) == 0 && len(v.links.dependents[i]) == 0 {
			v.add(SeverityWarning, CodeOrphanStep, s.Name, v.stepAt(s, "name"), "",
				"step %s depends on nothing and nothing depends on it", abbreviated(s.Name))
		}
		if !creators && (s.Type == DeferredConvergence || s.Type == BatchWorker) {
			v.add(SeverityWarning, CodeNeverCreated, s.Name, v.stepAt(s, "name"), "",
				"%s step %s is never created: the template has neither a decision nor a batchable step", s.Type, abbreviated(s.Name))
		}
	}
}

func (v *validator) overrides(names []string) {
	for envName, env := range v.t.Environments {
		for _, o := range env.Steps {
			if o.Name == AllSteps || o.Name == unusable || slices.Contains(names, o.Name) {
				continue
			}
			remedy := ""
			if near, ok := Nearest(o.Name, append([]string{AllSteps}, names...)); ok {
				remedy = fmt.Sprintf("did you mean %s?", abbreviated(near))
			}
			v.add(SeverityWarning, CodeUnusedOverride, "", o.Pos, remedy,
				"environment %s overrides %s, which is no step of this template", abbreviated(envName), abbreviated(o.Name))
		}
	}
}
