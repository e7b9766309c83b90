package server

import (
	"encoding/json"
	"reflect"
	"strings"
	"time"

	"github.com/gofrs/uuid/v5"

	"github.com/tasker-systems/taskerpy/engine"
	"github.com/tasker-systems/taskerpy/template"
)

// schema is a JSON Schema, or another object of an OpenAPI document.
type schema = map[string]any

// schemas makes JSON Schemas of Go types. Structs become schemas of their own,
// by name.
type schemas struct {
	all  schema
	made map[reflect.Type]string
}

func newSchemas() *schemas { return &schemas{all: schema{}, made: map[reflect.Type]string{}} }

// of is the schema of a value's type, or the value itself if it is a schema.
func (s *schemas) of(value any) schema {
	if given, ok := value.(schema); ok {
		return given
	}
	return s.ofType(reflect.TypeOf(value))
}

const (
	// naivePattern is how engine.NaiveTime is written.
	naivePattern = `^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?$`
	// existingPattern is naivePattern for requests: of times that exist, but
	// for leap days, which no pattern can tell.
	existingPattern = `^[0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))` +
		`T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?$`
)

func (s *schemas) ofType(t reflect.Type) schema {
	switch t {
	case reflect.TypeFor[time.Time]():
		return schema{"type": "string", "format": "date-time"}
	case reflect.TypeFor[engine.NaiveTime]():
		return schema{"type": "string", "pattern": naivePattern}
	case reflect.TypeFor[uuid.UUID]():
		return schema{"type": "string", "format": "uuid"}
	case reflect.TypeFor[json.RawMessage]():
		return schema{}
	case reflect.TypeFor[template.Template]():
		return schema{"type": "object"}
	case reflect.TypeFor[engine.DLQReason]():
		return schema{"type": "string", "enum": []string{"StalenessTimeout", "MaxRetriesExceeded", "DependencyCycleDetected", "WorkerUnavailable", "ManualDlq"}}
	case reflect.TypeFor[engine.DLQStatus]():
		return schema{"type": "string", "enum": []string{"Pending", "ManuallyResolved", "PermanentlyFailed", "Cancelled"}}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return schema{"anyOf": []schema{s.ofType(t.Elem()), {"type": "null"}}}
	case reflect.Slice:
		return schema{"type": "array", "items": s.ofType(t.Elem())}
	case reflect.Map:
		return schema{"type": "object", "additionalProperties": s.ofType(t.Elem())}
	case reflect.Struct:
		return s.ofStruct(t)
	case reflect.String:
		return schema{"type": "string"}
	case reflect.Bool:
		return schema{"type": "boolean"}
	case reflect.Float64:
		return schema{"type": "number"}
	case reflect.Interface:
		return schema{}
	default: // an integer
		return schema{"type": "integer"}
	}
}

// ofStruct puts the struct's schema with the others and refers to it.
func (s *schemas) ofStruct(t reflect.Type) schema {
	if t.Name() == "" {
		return s.object(t)
	}
	name, ok := s.made[t]
	if !ok {
		name = strings.ToUpper(t.Name()[:1]) + t.Name()[1:]
		s.made[t] = name
		s.all[name] = s.object(t)
	}
	return schema{"$ref": "#/components/schemas/" + name}
}

func (s *schemas) object(t reflect.Type) schema {
	properties, required := schema{}, []string{}
	s.fields(t, properties, &required)
	return schema{"type": "object", "properties": properties, "required": required}
}

func (s *schemas) fields(t reflect.Type, properties schema, required *[]string) {
	for f := range t.Fields() {
		tag, named := f.Tag.Lookup("json")
		name, options, _ := strings.Cut(tag, ",")
		switch {
		case name == "-":
		case f.Anonymous && !named:
			s.fields(f.Type, properties, required)
		default:
			properties[name] = s.ofType(f.Type)
			if options != "omitempty" {
				*required = append(*required, name)
			}
		}
	}
}
