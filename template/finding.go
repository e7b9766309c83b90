package template

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Position is a place in a file. Lines and columns count from 1, columns in
// characters; 0 means unknown.
type Position struct {
	File         string
	Line, Column int
}

// String gives "file:line:col", leaving out what is unknown.
func (p Position) String() string {
	switch {
	case p.Line == 0:
		return p.File
	case p.Column == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// after tells whether p comes later in the file than q.
func (p Position) after(q Position) bool {
	return cmp.Or(cmp.Compare(p.Line, q.Line), cmp.Compare(p.Column, q.Column)) > 0
}

// Severity of a Finding. Only errors make a template unusable.
type Severity string

// The severities.
const (
	SeverityError   Severity = "error"
	SeverityWarning Severity = "warning"
	SeverityInfo    Severity = "info"
)

// Codes of findings that keep a file from being loaded.
const (
	CodeUnreadable   = "UNREADABLE"
	CodeSyntax       = "SYNTAX"
	CodeDuplicateKey = "DUPLICATE_KEY"
	CodeMissingKey   = "MISSING_KEY"
	CodeWrongType    = "WRONG_TYPE"
	CodeUnknownValue = "UNKNOWN_VALUE"
	CodeUnknownTag   = "UNKNOWN_TAG"
)

// Codes of findings about a loaded template (engine-semantics §1.4, §1.8).
const (
	CodeEmptyName           = "EMPTY_NAME"
	CodeDuplicateStepName   = "DUPLICATE_STEP_NAME"
	CodeSelfDependency      = "SELF_DEPENDENCY"
	CodeMissingDepRef       = "MISSING_DEP_REF"
	CodeEmptyCallable       = "EMPTY_CALLABLE"
	CodeCycleDetected       = "CYCLE_DETECTED"
	CodeDecisionWithoutDep  = "DECISION_WITHOUT_DEPENDENCY"
	CodeBatchConfigMissing  = "BATCH_CONFIG_MISSING"
	CodeInvalidSchema       = "INVALID_SCHEMA"
	CodeDuplicateTemplate   = "DUPLICATE_TEMPLATE"
	CodeNoSteps             = "NO_STEPS"
	CodeNamespaceTooLong    = "NAMESPACE_TOO_LONG"
	CodeNamespaceInvalid    = "NAMESPACE_INVALID"
	CodeVersionNotSemver    = "VERSION_NOT_SEMVER"
	CodeTooLong             = "TOO_LONG"
	CodeOutOfRange          = "OUT_OF_RANGE"
	CodeSchemaNotObject     = "SCHEMA_NOT_OBJECT"
	CodeOrphanStep          = "ORPHAN_STEP"
	CodeNeverCreated        = "NEVER_CREATED"
	CodeUnknownBatchWorker  = "UNKNOWN_BATCH_WORKER"
	CodeUnusedOverride      = "UNUSED_OVERRIDE"
	CodeUnknownKey          = "UNKNOWN_KEY"
	CodeImplicitText        = "IMPLICIT_TEXT"
	CodeNotJSON             = "NOT_JSON"
	CodeDuplicateDependency = "DUPLICATE_DEPENDENCY"
	CodeDuplicateEvent      = "DUPLICATE_EVENT"
	CodeEventNameInvalid    = "EVENT_NAME_INVALID"
	CodePublisherInvalid    = "PUBLISHER_INVALID"
	CodeUnknownAction       = "UNKNOWN_STALENESS_ACTION"
	CodeNoResultSchema      = "NO_RESULT_SCHEMA"
)

// Finding is one thing that is wrong with, or worth saying about, a template.
type Finding struct {
	Code     string
	Severity Severity
	Message  string
	// Remedy says what to do, "" when the message says enough.
	Remedy string
	// Step is the name of the step concerned, "" for the template itself.
	Step string
	Pos  Position
}

// String is one line: "file:line:col: error: message; remedy [CODE]".
func (f Finding) String() string {
	var b strings.Builder
	if place := f.Pos.String(); place != "" {
		b.WriteString(place + ": ")
	}
	fmt.Fprintf(&b, "%s: %s", f.Severity, f.Message)
	if f.Remedy != "" {
		b.WriteString("; " + f.Remedy)
	}
	fmt.Fprintf(&b, " [%s]", f.Code)
	return strings.NewReplacer("\r", " ", "\n", " ").Replace(b.String())
}

// HasErrors tells whether any finding is an error.
func HasErrors(findings []Finding) bool {
	return slices.ContainsFunc(findings, func(f Finding) bool { return f.Severity == SeverityError })
}

// sortFindings orders findings as a reader meets them in the files.
func sortFindings(findings []Finding) {
	slices.SortStableFunc(findings, func(a, b Finding) int {
		return cmp.Or(
			cmp.Compare(a.Pos.File, b.Pos.File),
			cmp.Compare(a.Pos.Line, b.Pos.Line),
			cmp.Compare(a.Pos.Column, b.Pos.Column),
		)
	})
}

// Report is the machine-readable form of a validation (engine-semantics §1.8).
type Report struct {
	Valid     bool            `json:"valid"`
	Findings  []ReportFinding `json:"findings"`
	StepCount int             `json:"step_count"`
	HasCycles bool            `json:"has_cycles"`
}

// ReportFinding is a Finding within a Report. Place is "file:line:col".
type ReportFinding struct {
	Code     string   `json:"code"`
	Severity Severity `json:"severity"`
	Message  string   `json:"message"`
	Step     *string  `json:"step"`
	Place    string   `json:"place,omitempty"`
}

// NewReport sums up the findings about one template; t may be nil when the
// file could not be loaded.
func NewReport(t *Template, findings []Finding) Report {
	r := Report{Valid: !HasErrors(findings), Findings: []ReportFinding{}}
	if t != nil {
		r.StepCount = len(t.Steps)
	}
	for _, f := range findings {
		rf := ReportFinding{Code: f.Code, Severity: f.Severity, Message: f.Message, Place: f.Pos.String()}
		if f.Remedy != "" {
			rf.Message += "; " + f.Remedy
		}
		if f.Step != "" {
			rf.Step = &f.Step
		}
		if f.Code == CodeCycleDetected || f.Code == CodeSelfDependency {
			r.HasCycles = true
		}
		r.Findings = append(r.Findings, rf)
	}
	return r
}
