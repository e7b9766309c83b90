package template

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// maxFileSize bounds what is read as a template, in bytes.
const maxFileSize = 4 << 20

// ParseFile reads one template file; see Parse.
func ParseFile(path string) (*Template, []Finding) {
	data, finding := readFile(path)
	if finding != nil {
		return nil, []Finding{*finding}
	}
	return Parse(path, data)
}

func readFile(path string) ([]byte, *Finding) {
	fail := func(format string, args ...any) ([]byte, *Finding) {
		return nil, &Finding{
			Code: CodeUnreadable, Severity: SeverityError,
			Message: fmt.Sprintf(format, args...), Pos: Position{File: path},
		}
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return fail("cannot be read: %v", reason(err))
	case info.IsDir():
		return fail("is a directory, not a template file")
	case info.Size() > maxFileSize:
		return fail("is larger than %d MiB, which no template is", maxFileSize>>20)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return fail("cannot be read: %v", reason(err))
	}
	return data, nil
}

// reason is err without the path that the finding names already.
func reason(err error) error {
	if e := new(os.PathError); errors.As(err, &e) {
		return e.Err
	}
	return err
}

// Parse reads a template from YAML or JSON; name stands for the file in
// positions. It never panics. The findings tell of syntax and type errors and
// of ignored keys and the like. Whenever one of them is an error the template
// is nil, and then the findings also hold what Validate says about the parts
// that could be read; otherwise call Validate for that.
func Parse(name string, data []byte) (*Template, []Finding) {
	root, findings := readDocument(name, data)
	return decode(name, root, findings)
}

// decode makes a template of a document and of what was found reading it.
func decode(name string, root *node, findings []Finding) (*Template, []Finding) {
	if root == nil {
		return nil, findings
	}
	d := &decoder{findings: findings}
	t := d.template(root)
	if t != nil {
		t.Path = name
	}
	if HasErrors(d.findings) {
		if t != nil {
			d.findings = append(d.findings, t.Validate()...)
		}
		t = nil
	}
	sortFindings(d.findings)
	return t, d.findings
}

func (d *decoder) template(root *node) *Template {
	if root.kind != kindMap {
		d.report(SeverityError, CodeWrongType, "", root.pos, "", "a template must be a map with the keys name, namespace_name, version and steps, not %s", root.describe())
		return nil
	}
	o := d.object(root, "template", "")
	t := &Template{
		Name:               o.needText("name"),
		Namespace:          o.needText("namespace_name"),
		Version:            o.needText("version"),
		Description:        o.textOr("description", ""),
		Metadata:           d.metadata(o.get("metadata")),
		SystemDependencies: d.systemDependencies(o.get("system_dependencies")),
		DomainEvents:       []DomainEvent{},
		InputSchema:        o.raw("input_schema"),
		Steps:              []Step{},
		Environments:       map[string]Environment{},
		Lifecycle:          d.lifecycle(o.get("lifecycle")),
		node:               root,
	}
	for i, item := range o.list("domain_events") {
		if e, ok := d.domainEvent(item, i); ok {
			t.DomainEvents = append(t.DomainEvents, e)
		}
	}
	for i, item := range o.list("steps") {
		if s, ok := d.step(item, i); ok {
			t.Steps = append(t.Steps, s)
		}
	}
	if envs := d.object(o.get("environments"), "environments", ""); envs != nil {
		for _, f := range envs.n.fields {
			if f.value.kind != kindNull {
				t.Environments[f.key] = d.environment(f.value, f.key)
			}
		}
	}
	o.asked = append(o.asked, "task_handler") // an older format's key, often still there
	o.finish()
	return t
}

func (d *decoder) metadata(n *node) *Metadata {
	if n == nil {
		return nil
	}
	o := d.object(n, "metadata", "")
	if o == nil {
		return nil
	}
	m := &Metadata{
		Author:           o.optText("author"),
		Tags:             o.texts("tags"),
		DocumentationURL: o.optText("documentation_url"),
		CreatedAt:        o.time("created_at"),
		UpdatedAt:        o.time("updated_at"),
	}
	o.finish()
	return m
}

// time reads an RFC 3339 time and keeps it as text.
func (o *object) time(key string) *string {
	s := o.optText(key)
	if s == nil {
		return nil
	}
	normal := strings.Replace(strings.ToUpper(*s), " ", "T", 1)
	if _, err := time.Parse(time.RFC3339, normal); err != nil {
		o.wrongType(key, o.n.field(key).value, "an RFC 3339 time such as 2026-01-31T08:30:00Z", "")
	}
	return s
}

func (d *decoder) systemDependencies(n *node) SystemDependencies {
	s := SystemDependencies{Primary: "default", Secondary: []string{}}
	if o := d.object(n, "system_dependencies", ""); o != nil {
		s.Primary = o.textOr("primary", s.Primary)
		s.Secondary = o.texts("secondary")
		o.finish()
	}
	return s
}

func (d *decoder) domainEvent(n *node, index int) (DomainEvent, bool) {
	o := d.object(n, fmt.Sprintf("domain_events[%d]", index), "")
	if o == nil {
		return DomainEvent{}, false
	}
	e := DomainEvent{
		Name:        o.needText("name"),
		Description: o.optText("description"),
		Schema:      o.raw("schema"),
	}
	o.finish()
	return e, true
}

func (d *decoder) lifecycle(n *node) *Lifecycle {
	if n == nil {
		return nil
	}
	o := d.object(n, "lifecycle", "")
	if o == nil {
		return nil
	}
	l := &Lifecycle{
		MaxDurationMinutes:               o.optUint32("max_duration_minutes"),
		MaxWaitingForDependenciesMinutes: o.optUint32("max_waiting_for_dependencies_minutes"),
		MaxWaitingForRetryMinutes:        o.optUint32("max_waiting_for_retry_minutes"),
		MaxStepsInProcessMinutes:         o.optUint32("max_steps_in_process_minutes"),
		StalenessAction:                  o.textOr("staleness_action", "dlq"),
		AutoFailOnTimeout:                o.optBool("auto_fail_on_timeout"),
		AutoDLQOnTimeout:                 o.optBool("auto_dlq_on_timeout"),
	}
	o.finish()
	return l
}

func (d *decoder) step(n *node, index int) (Step, bool) {
	// The name first: every other message about the step uses it.
	name := fmt.Sprintf("steps[%d]", index)
	what := name
	if f := n.field("name"); f != nil && f.value.kind == kindString && f.value.text != "" {
		name = f.value.text
		what = fmt.Sprintf("step %s", abbreviated(name))
	}
	o := d.object(n, what, name)
	if o == nil {
		return Step{}, false
	}
	s := Step{Name: name, Pos: n.pos, node: n}
	if given := o.needText("name"); given != unusable {
		s.Name = given
	}
	s.Description = o.textOr("description", "")
	s.Type = enum(o, o.get("type", "step_type"), "type", Standard,
		Standard, Decision, DeferredConvergence, Batchable, BatchWorker)
	s.Handler = d.handler(o, o.need("handler"))
	s.SystemDependency = o.optText("system_dependency")
	s.Dependencies = d.dependencies(o)
	s.Retry = DefaultRetry()
	if retry := o.get("retry"); retry != nil {
		s.Retry = d.retry(retry, "retry of "+what, name)
	}
	s.TimeoutSeconds = o.optUint32("timeout_seconds")
	s.PublishesEvents = []EventDeclaration{}
	for i, item := range o.list("publishes_events") {
		if e, ok := d.event(item, fmt.Sprintf("publishes_events[%d] of %s", i, what), name); ok {
			s.PublishesEvents = append(s.PublishesEvents, e)
		}
	}
	s.BatchConfig = d.batchConfig(o.get("batch_config"), "batch_config of "+what, name)
	s.ResultSchema = o.raw("result_schema")
	s.Composition = o.raw("composition")
	// Keys of the template itself that people also write on steps, in vain.
	o.asked = append(o.asked, "lifecycle", "metadata", "custom_events")
	o.finish()
	return s, true
}

// dependencies drops repeated names: storage keeps an edge only once
// (engine-semantics §2.5).
func (d *decoder) dependencies(o *object) []string {
	names := []string{}
	for i, item := range o.list("dependencies", "depends_on") {
		name, ok := o.text(fmt.Sprintf("dependencies[%d]", i), item)
		if !ok {
			continue
		}
		if slices.Contains(names, name) {
			d.report(SeverityWarning, CodeDuplicateDependency, o.step, item.pos, "remove one of them",
				"%s lists dependency %s twice", o.what, abbreviated(name))
			continue
		}
		names = append(names, name)
	}
	return names
}

func (d *decoder) handler(step *object, n *node) Handler {
	h := Handler{Callable: unusable, Initialization: json.RawMessage("{}")}
	if n == nil {
		return h
	}
	if n.kind == kindString {
		step.wrongType("handler", n, "a map", fmt.Sprintf("write {callable: %s}", n.text))
		return h
	}
	o := d.object(n, "handler of "+step.what, step.step)
	if o == nil {
		return h
	}
	h.Callable = o.needText("callable")
	h.Method = o.optText("method")
	h.Resolver = o.optText("resolver")
	if init := o.initialization(); init != nil {
		h.Initialization = init
	}
	o.finish()
	return h
}

func (o *object) initialization() json.RawMessage {
	n := o.get("initialization")
	if n == nil {
		return nil
	}
	if n.kind != kindMap {
		o.wrongType("initialization", n, "a map", "")
		return nil
	}
	return n.json()
}

func (d *decoder) retry(n *node, what, step string) Retry {
	r := bareRetry()
	o := d.object(n, what, step)
	if o == nil {
		return r
	}
	r.Retryable = o.boolOr("retryable", r.Retryable)
	if attempts := o.optUint32("max_attempts"); attempts != nil {
		r.MaxAttempts = *attempts
	}
	r.Backoff = enum(o, o.get("backoff"), "backoff", r.Backoff,
		BackoffNone, BackoffLinear, BackoffExponential, BackoffFibonacci)
	r.BackoffBaseMS = o.optUint64("backoff_base_ms")
	r.MaxBackoffMS = o.optUint64("max_backoff_ms")
	o.finish()
	return r
}

func (d *decoder) event(n *node, what, step string) (EventDeclaration, bool) {
	if n.kind == kindString {
		d.report(SeverityError, CodeWrongType, step, n.pos, "write it as {name, description, schema}",
			"%s must be a map, not %s", what, n.describe())
		return EventDeclaration{}, false
	}
	o := d.object(n, what, step)
	if o == nil {
		return EventDeclaration{}, false
	}
	e := EventDeclaration{
		Name:        o.needText("name"),
		Description: o.needText("description"),
		Condition: enum(o, o.get("condition"), "condition", OnSuccess,
			OnSuccess, OnFailure, OnRetryableFailure, OnPermanentFailure, OnAlways),
		Schema: o.needSchema("schema"),
		Delivery: enum(o, o.get("delivery_mode"), "delivery_mode", DeliverDurable,
			DeliverDurable, DeliverFast, DeliverBroadcast),
		Publisher: o.optText("publisher"),
	}
	o.finish()
	return e, true
}

func (d *decoder) batchConfig(n *node, what, step string) *BatchConfig {
	if n == nil {
		return nil
	}
	o := d.object(n, what, step)
	if o == nil {
		return nil
	}
	c := &BatchConfig{
		BatchSize:      o.needUint32("batch_size"),
		Parallelism:    o.needUint32("parallelism"),
		CursorField:    o.needText("cursor_field"),
		WorkerTemplate: o.needText("worker_template"),
		FailureStrategy: enum(o, o.need("failure_strategy"), "failure_strategy", ContinueOnFailure,
			ContinueOnFailure, FailFast, Isolate),
	}
	o.finish()
	return c
}

func (d *decoder) environment(n *node, name string) Environment {
	var env Environment
	what := fmt.Sprintf("environment %s", abbreviated(name))
	o := d.object(n, what, "")
	if o == nil {
		return env
	}
	for i, item := range o.list("steps") {
		where := fmt.Sprintf("steps[%d] of %s", i, what)
		so := d.object(item, where, "")
		if so == nil {
			continue
		}
		override := StepOverride{
			Name:           so.needText("name"),
			TimeoutSeconds: so.optUint32("timeout_seconds"),
			Pos:            item.pos,
		}
		if handler := d.object(so.get("handler"), "handler of "+where, ""); handler != nil {
			override.Initialization = handler.initialization()
			handler.finish()
		}
		if retry := so.get("retry"); retry != nil {
			r := d.retry(retry, "retry of "+where, "")
			override.Retry = &r
		}
		so.finish()
		env.Steps = append(env.Steps, override)
	}
	o.finish()
	return env
}
