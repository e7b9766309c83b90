// Package template reads task templates: it parses and validates them, lays
// environment overrides over them, checks task input against their schema and
// draws their graph (engine-semantics §1, §2.5, §10.1).
package template

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Template is one task template. Templates that come from Parse, ParseFile,
// Load or ForEnvironment have every default filled in and are not to be
// changed; they may be used by several goroutines at once. A Template must not
// be copied by value: use ForEnvironment("") for a copy.
type Template struct {
	Name        string
	Namespace   string
	Version     string
	Description string // "" when absent
	Steps       []Step
	// InputSchema is the JSON Schema of the task context, nil when absent.
	InputSchema        json.RawMessage
	Metadata           *Metadata
	SystemDependencies SystemDependencies
	DomainEvents       []DomainEvent
	Lifecycle          *Lifecycle
	// Environments maps the name of an environment to what it overrides.
	Environments map[string]Environment
	// Path is the file the template came from, "" when it was inferred.
	Path string

	input inputCheck
	node  *node // the document, for positions; nil when inferred
}

// Step is one step of a template.
type Step struct {
	Name             string
	Description      string // "" when absent
	Type             StepType
	Handler          Handler
	SystemDependency *string
	// Dependencies are names of other steps, each at most once.
	Dependencies    []string
	Retry           Retry
	TimeoutSeconds  *uint32
	PublishesEvents []EventDeclaration
	BatchConfig     *BatchConfig
	// ResultSchema and Composition are nil when absent.
	ResultSchema json.RawMessage
	Composition  json.RawMessage
	// Pos is where the step is written.
	Pos Position

	node *node // the step's mapping, for positions; nil when inferred
}

// StepType says how orchestration treats a step (engine-semantics §5). The
// empty string means Standard.
type StepType string

// The step types.
const (
	Standard            StepType = "standard"
	Decision            StepType = "decision"
	DeferredConvergence StepType = "deferred_convergence"
	Batchable           StepType = "batchable"
	BatchWorker         StepType = "batch_worker"
)

// Title is the form used in tables: "Standard", "DeferredConvergence".
func (s StepType) Title() string {
	var b strings.Builder
	for word := range strings.SplitSeq(string(s.orStandard()), "_") {
		if word != "" {
			b.WriteString(strings.ToUpper(word[:1]) + word[1:])
		}
	}
	return b.String()
}

func (s StepType) orStandard() StepType {
	if s == "" {
		return Standard
	}
	return s
}

// Handler says what code runs a step.
type Handler struct {
	// Callable is what the handler resolvers look up, typically
	// "module.path.ClassName" or a registered name.
	Callable string `json:"callable"`
	// Method is the entry method; nil means "call".
	Method *string `json:"method"`
	// Resolver names the one resolver to use; nil means the whole chain.
	Resolver *string `json:"resolver"`
	// Initialization is a JSON object handed to the handler as its step
	// configuration. Key order is kept and integers are exact at any size.
	Initialization json.RawMessage `json:"initialization"`
}

// Backoff is a retry strategy.
type Backoff string

// The retry strategies.
const (
	BackoffNone        Backoff = "none"
	BackoffLinear      Backoff = "linear"
	BackoffExponential Backoff = "exponential"
	BackoffFibonacci   Backoff = "fibonacci"
)

// Retry says whether, how often and after what delay a step is run again.
type Retry struct {
	Retryable bool `json:"retryable"`
	// MaxAttempts counts executions: 3 means the handler runs at most three
	// times.
	MaxAttempts uint32  `json:"max_attempts"`
	Backoff     Backoff `json:"backoff"`
	// BackoffBaseMS and MaxBackoffMS are milliseconds; nil leaves the choice
	// to the engine (engine-semantics §4.4).
	BackoffBaseMS *uint64 `json:"backoff_base_ms"`
	MaxBackoffMS  *uint64 `json:"max_backoff_ms"`
}

// DefaultRetry is the policy of a step without a retry key (engine-semantics
// §1.2.2).
func DefaultRetry() Retry {
	base, limit := uint64(1000), uint64(30000)
	r := bareRetry()
	r.BackoffBaseMS, r.MaxBackoffMS = &base, &limit
	return r
}

// bareRetry is the policy of a retry key that sets nothing: unlike an absent
// one it has no delays of its own.
func bareRetry() Retry {
	return Retry{Retryable: true, MaxAttempts: 3, Backoff: BackoffExponential}
}

// EventDeclaration is a domain event that a step publishes when it ends.
type EventDeclaration struct {
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Condition   EventCondition  `json:"condition"`
	Schema      json.RawMessage `json:"schema"`
	Delivery    DeliveryMode    `json:"delivery_mode"`
	Publisher   *string         `json:"publisher"`
}

// EventCondition says on which outcome an event is published.
type EventCondition string

// The event conditions.
const (
	OnSuccess          EventCondition = "success"
	OnFailure          EventCondition = "failure"
	OnRetryableFailure EventCondition = "retryable_failure"
	OnPermanentFailure EventCondition = "permanent_failure"
	OnAlways           EventCondition = "always"
)

// DeliveryMode says how an event travels.
type DeliveryMode string

// The delivery modes.
const (
	DeliverDurable   DeliveryMode = "durable"
	DeliverFast      DeliveryMode = "fast"
	DeliverBroadcast DeliveryMode = "broadcast"
)

// BatchConfig describes the work of a batch worker (engine-semantics §1.2.3).
type BatchConfig struct {
	BatchSize       uint32          `json:"batch_size"`
	Parallelism     uint32          `json:"parallelism"`
	CursorField     string          `json:"cursor_field"`
	WorkerTemplate  string          `json:"worker_template"`
	FailureStrategy FailureStrategy `json:"failure_strategy"`
}

// FailureStrategy is told to batch workers; orchestration does not act on it.
type FailureStrategy string

// The failure strategies.
const (
	ContinueOnFailure FailureStrategy = "continue_on_failure"
	FailFast          FailureStrategy = "fail_fast"
	Isolate           FailureStrategy = "isolate"
)

// Metadata is information for people. Times are RFC 3339 text.
type Metadata struct {
	Author           *string  `json:"author"`
	Tags             []string `json:"tags"`
	DocumentationURL *string  `json:"documentation_url"`
	CreatedAt        *string  `json:"created_at"`
	UpdatedAt        *string  `json:"updated_at"`
}

// SystemDependencies names the systems a template talks to; informational.
type SystemDependencies struct {
	Primary   string   `json:"primary"`
	Secondary []string `json:"secondary"`
}

// DomainEvent documents an event of the template. Publication is driven by
// Step.PublishesEvents alone.
type DomainEvent struct {
	Name        string          `json:"name"`
	Description *string         `json:"description"`
	Schema      json.RawMessage `json:"schema"`
}

// Lifecycle holds limits in minutes, nil when unset (engine-semantics §1.6).
type Lifecycle struct {
	MaxDurationMinutes               *uint32 `json:"max_duration_minutes"`
	MaxWaitingForDependenciesMinutes *uint32 `json:"max_waiting_for_dependencies_minutes"`
	MaxWaitingForRetryMinutes        *uint32 `json:"max_waiting_for_retry_minutes"`
	MaxStepsInProcessMinutes         *uint32 `json:"max_steps_in_process_minutes"`
	// StalenessAction is "dlq", "error" or "none".
	StalenessAction   string `json:"staleness_action"`
	AutoFailOnTimeout *bool  `json:"auto_fail_on_timeout"`
	AutoDLQOnTimeout  *bool  `json:"auto_dlq_on_timeout"`
}

// Environment is what one environment overrides.
type Environment struct {
	Steps []StepOverride
}

// AllSteps is the override name that matches every step.
const AllSteps = "ALL"

// StepOverride changes one step, or every step when Name is AllSteps. Nil
// members change nothing (engine-semantics §1.5).
type StepOverride struct {
	Name string
	// Initialization is a JSON object whose keys are laid over the step's.
	Initialization json.RawMessage
	TimeoutSeconds *uint32
	// Retry replaces the step's whole policy.
	Retry *Retry
	Pos   Position
}

// Key identifies a template among others: "namespace/name@version".
func (t *Template) Key() string {
	return fmt.Sprintf("%s/%s@%s", t.Namespace, t.Name, t.Version)
}

// Step finds a step by name, nil if the template has none of that name.
func (t *Template) Step(name string) *Step {
	for i := range t.Steps {
		if t.Steps[i].Name == name {
			return &t.Steps[i]
		}
	}
	return nil
}

// StepNames lists the names of all steps in template order.
func (t *Template) StepNames() []string {
	names := make([]string, len(t.Steps))
	for i := range t.Steps {
		names[i] = t.Steps[i].Name
	}
	return names
}
