package server

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/tasker-systems/taskerpy/server/auth"
)

// operation is what the OpenAPI document tells of a route beyond its method,
// path and permission.
type operation struct {
	id, summary, tag string
	query            []parameter
	body             schema // of the request; nil for none
	// answer is a value of the type that is answered with, or a schema.
	answer any
	// media is what the answer is when it is not JSON.
	media string
	// links tell where to go on from the answer, by name.
	links schema
	// refusals are the statuses of errors beside those that any route has.
	refusals []int
}

// parameter is one of a query.
type parameter struct {
	name, about string
	schema      schema
}

// about is what the document tells of the whole API.
type about struct {
	title, version, description string
	// examples are bodies that create tasks, by template; nil for an API that
	// creates none.
	examples func() schema
}

// openAPI is GET /api-docs/openapi.json.
func (s *front) openAPI(*http.Request) (any, error) {
	d := newDocument(s.refusal(&problem{}))
	if s.about.examples != nil {
		d.examples = s.about.examples()
	}
	if s.auth != nil {
		d.ways = securitySchemes(s.auth.Options())
	}
	for _, r := range s.routes() {
		d.add(r)
	}
	components := schema{"schemas": d.schemas.all}
	if d.ways != nil {
		components["securitySchemes"] = d.ways
	}
	return schema{
		"openapi":    "3.1.0",
		"info":       schema{"title": s.about.title, "version": s.about.version, "description": s.about.description},
		"paths":      d.paths,
		"components": components,
	}, nil
}

// maxExamples is how many templates the document has examples for.
const maxExamples = 20

// taskExamples are the least that creates a task of each template, as far as
// its context may be empty.
func (s *Server) taskExamples() schema {
	all := schema{}
	for _, registered := range s.o.Engine.Templates() {
		t := registered.Template
		if len(all) == maxExamples {
			break
		}
		all[t.Key()] = schema{"value": schema{
			"name": t.Name, "namespace": t.Namespace, "version": t.Version, "context": schema{},
			"initiator": "openapi", "source_system": "openapi", "reason": "example",
		}}
	}
	return all
}

// securitySchemes are the ways to tell who asks.
func securitySchemes(o auth.Options) schema {
	all := schema{}
	if o.Tokens != nil {
		all["token"] = schema{"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
	}
	if len(o.APIKeys) > 0 {
		all["apiKey"] = schema{"type": "apiKey", "in": "header", "name": o.APIKeyHeader}
	}
	return all
}

// document is an OpenAPI document in the making.
type document struct {
	paths   map[string]schema
	schemas *schemas
	ways    schema // to authenticate, by name; nil when nobody has to
	// examples are bodies that create tasks, by template.
	examples schema
	refusal  any // the body of an error
}

func newDocument(refusal any) *document {
	return &document{paths: map[string]schema{}, schemas: newSchemas(), refusal: refusal}
}

// add describes a route.
func (d *document) add(r route) {
	secured := d.ways != nil && r.permission != ""
	o := schema{"operationId": r.about.id, "summary": r.about.summary, "tags": []string{r.about.tag}}
	if parameters := d.parameters(r); len(parameters) > 0 {
		o["parameters"] = parameters
	}
	if r.about.body != nil {
		body := schema{"schema": r.about.body}
		if r.about.id == aboutCreateTask.id && len(d.examples) > 0 {
			body["examples"] = d.examples
		}
		o["requestBody"] = schema{"required": true, "content": schema{"application/json": body}}
	}
	o["responses"] = d.responses(r, secured)
	if secured {
		o["description"] = fmt.Sprintf("Needs the permission %s.", r.permission)
		security := []schema{}
		for _, way := range slices.Sorted(maps.Keys(d.ways)) {
			security = append(security, schema{way: []string{}})
		}
		o["security"] = security
	}
	if d.paths[r.path] == nil {
		d.paths[r.path] = schema{}
	}
	d.paths[r.path][strings.ToLower(r.method)] = o
}

// parameters are those of the path, which are all that is between braces, and
// of the query.
func (d *document) parameters(r route) []schema {
	var all []schema
	for part := range strings.SplitSeq(r.path, "/") {
		name, ok := strings.CutPrefix(part, "{")
		if !ok {
			continue
		}
		name = strings.TrimSuffix(name, "}")
		s := schema{"type": "string", "minLength": 1}
		if slices.Contains([]string{"task", "step", "entry"}, name) {
			s = schema{"type": "string", "format": "uuid"}
		}
		all = append(all, schema{"name": name, "in": "path", "required": true, "schema": s})
	}
	for _, q := range r.about.query {
		all = append(all, schema{"name": q.name, "in": "query", "required": false, "description": q.about, "schema": q.schema})
	}
	return all
}

// responses are the answer and all refusals.
func (d *document) responses(r route, secured bool) schema {
	ok := schema{"description": "OK"}
	if r.about.links != nil {
		ok["links"] = r.about.links
	}
	switch {
	case r.about.media != "":
		ok["content"] = schema{r.about.media: schema{"schema": schema{"type": "string"}}}
	default:
		ok["content"] = schema{"application/json": schema{"schema": d.schemas.of(r.about.answer)}}
	}
	all := schema{"200": ok}
	refusals := append([]int{http.StatusForbidden, http.StatusRequestTimeout, http.StatusInternalServerError, http.StatusServiceUnavailable}, r.about.refusals...)
	if strings.Contains(r.path, "{") || len(r.about.query) > 0 {
		refusals = append(refusals, http.StatusBadRequest)
	}
	if r.about.body != nil {
		refusals = append(refusals, http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity)
	}
	if secured {
		refusals = append(refusals, http.StatusUnauthorized)
	}
	for _, status := range refusals {
		all[strconv.Itoa(status)] = schema{
			"description": http.StatusText(status),
			"content":     schema{"application/json": schema{"schema": d.schemas.of(d.refusal)}},
		}
	}
	return all
}
