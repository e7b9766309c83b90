package template

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// EventSchemas checks payloads of domain events against the schemas that
// templates declare (engine-semantics §8.2). Each schema is compiled once. The
// zero value is ready to use, by several goroutines at once.
type EventSchemas struct {
	compiled sync.Map // of the schema's text to a *compiledSchema
}

type compiledSchema struct {
	schema  *jsonschema.Schema
	problem *schemaProblem
}

// Check returns every difference between a payload and a declaration's schema.
func (s *EventSchemas) Check(schema, payload json.RawMessage) (differences []InputError) {
	if len(schema) == 0 || string(schema) == "null" {
		return nil
	}
	found, ok := s.compiled.Load(string(schema))
	if !ok {
		var c compiledSchema
		c.schema, c.problem = compileSchema(schema)
		found, _ = s.compiled.LoadOrStore(string(schema), &c)
	}
	c, _ := found.(*compiledSchema)
	if c.problem != nil {
		return []InputError{{Message: "cannot be checked, the schema is invalid: " + c.problem.message}}
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(payload))
	if err != nil {
		return []InputError{{Message: fmt.Sprintf("is not valid JSON: %v", err)}}
	}
	return validate(c.schema, value)
}

// validate explains how a value does not fit a schema.
func validate(schema *jsonschema.Schema, value any) (differences []InputError) {
	defer func() {
		// The validator does not expect numbers with millions of digits.
		if r := recover(); r != nil {
			differences = []InputError{{Message: fmt.Sprintf("cannot be checked: %v", r)}}
		}
	}()
	var invalid *jsonschema.ValidationError
	if err := schema.Validate(value); errors.As(err, &invalid) {
		return explainInput(invalid)
	}
	return nil
}

// Holds tells whether an event of this condition is published for an attempt
// that ended like this (engine-semantics §8.1).
func (c EventCondition) Holds(success, retryable bool) bool {
	switch c {
	case OnAlways:
		return true
	case OnFailure:
		return !success
	case OnRetryableFailure:
		return !success && retryable
	case OnPermanentFailure:
		return !success && !retryable
	default:
		return success
	}
}
