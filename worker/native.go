package worker

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/tasker-systems/taskerpy/domainevent"
	"github.com/tasker-systems/taskerpy/embed"
	"github.com/tasker-systems/taskerpy/template"
)

// errNoWorker is the text that programs written for the reference package
// look for (python-api-core §2.2).
var errNoWorker = errors.New("Worker not initialized. Call bootstrap_worker() first.") //lint:ignore ST1005 the reference's text

// A service answers the native functions that need a worker (python-api-core
// §2.3). Payloads and answers are JSON.
type service interface {
	call(name string, payload []byte) ([]byte, error)
}

// natives answer what Python asks through _taskerpy.call. Only the output is
// needed before the interpreter starts.
type natives struct {
	output
	schemas template.EventSchemas
	records *Records
	// program starts and stops workers on behalf of a Python program; nil in
	// a worker whose steps the lanes run.
	program *Program
	running atomic.Pointer[service]
}

// newNatives makes what answers before there is a worker; c is filled.
func newNatives(c Config) *natives {
	return &natives{output: output{c.Output, c.LogLevel}, records: c.Records}
}

// serve makes s the running worker; nil means there is none.
func (n *natives) serve(s service) {
	if s == nil {
		n.running.Store(nil)
		return
	}
	n.running.Store(&s)
}

func (n *natives) native(name string, payload []byte) ([]byte, error) {
	if ok, err := n.line(name, payload); ok {
		return nil, err
	}
	if answer, ok, err := n.records.native(name, payload); ok {
		return answer, err
	}
	if name == "check_domain_event" {
		return nil, n.checkDomainEvent(payload)
	}
	if n.program != nil {
		switch name {
		case "bootstrap_worker":
			return n.program.bootstrap(payload)
		case "stop_worker":
			return n.program.finish()
		}
	}
	if s := n.running.Load(); s != nil {
		return (*s).call(name, payload)
	}
	switch name {
	case "is_worker_running":
		return []byte("false"), nil
	case "stop_worker":
		return json.Marshal("Worker system not running")
	case "get_worker_status":
		return json.Marshal(map[string]any{"running": false, "error": "Worker system not initialized"})
	default:
		return nil, errNoWorker
	}
}

// publishEvent publishes an event that a program made, and answers its id.
func publishEvent(p *domainevent.Publisher, request []byte) ([]byte, error) {
	var r struct {
		Name    string                     `json:"event_name"`
		Payload json.RawMessage            `json:"payload"`
		Meta    map[string]json.RawMessage `json:"metadata"`
	}
	if err := json.Unmarshal(request, &r); err != nil {
		return nil, fmt.Errorf("publish domain event: %w", err)
	}
	id, err := p.PublishFast(r.Name, r.Payload, r.Meta)
	if err != nil {
		return nil, err
	}
	return json.Marshal(id)
}

// checkDomainEvent refuses a payload that does not fit its event's schema.
func (n *natives) checkDomainEvent(request []byte) error {
	var r struct {
		Schema  json.RawMessage `json:"schema"`
		Payload json.RawMessage `json:"payload"`
	}
	if err := json.Unmarshal(request, &r); err != nil {
		return fmt.Errorf("check domain event: %w", err)
	}
	differences := n.schemas.Check(r.Schema, r.Payload)
	if len(differences) == 0 {
		return nil
	}
	texts := make([]string, len(differences))
	for i, d := range differences {
		texts[i] = d.String()
	}
	return embed.ValueError{Text: "payload does not fit the event's schema: " + strings.Join(texts, "; ")}
}
