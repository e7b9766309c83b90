package worker

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tasker-systems/taskerpy/template"
)

// maxListed is how many templates a message lists.
const maxListed = 8

// Choose finds the template that reference means, as ChooseTemplate does. The
// error for one that is left out says so.
func (r Report) Choose(reference string) (*template.Template, error) {
	leftOut := matching(r.LeftOut, reference)
	if len(leftOut) == 0 || len(matching(r.Templates, reference)) > 0 {
		return ChooseTemplate(r.Templates, reference)
	}
	t, step := leftOut[0], leftOut[0].Steps[0]
	return nil, fmt.Errorf("task %q: its template %s (%s) is left out: no handler %q for step %s",
		reference, t.Key(), t.Path, step.Handler.Callable, step.Name)
}

// ChooseTemplate finds the template that reference means, written as
// [NAMESPACE/]NAME[@VERSION]. What is left out must not make a difference:
// otherwise the error lists the candidates. The error for an unknown one
// suggests the nearest.
func ChooseTemplate(ts []*template.Template, reference string) (*template.Template, error) {
	found := matching(ts, reference)
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return nil, fmt.Errorf("task %q is ambiguous: it may be %s", reference, listed(found))
	}
	return nil, fmt.Errorf("unknown task %q; %s", reference, instead(ts, reference))
}

// matching are the templates that a reference may mean.
func matching(ts []*template.Template, reference string) []*template.Template {
	namespace, name, version := splitReference(reference)
	var found []*template.Template
	for _, t := range ts {
		if t.Name == name && (namespace == "" || t.Namespace == namespace) && (version == "" || t.Version == version) {
			found = append(found, t)
		}
	}
	return found
}

// splitReference takes NAMESPACE/NAME@VERSION apart; what is missing is "".
func splitReference(reference string) (namespace, name, version string) {
	name = reference
	if i := strings.LastIndexByte(name, '@'); i >= 0 {
		name, version = name[:i], name[i+1:]
	}
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		namespace, name = name[:i], name[i+1:]
	}
	return namespace, name, version
}

// instead suggests something for a reference that no template matches.
func instead(ts []*template.Template, reference string) string {
	namespace, name, version := splitReference(reference)
	var sameName []*template.Template
	var spellings []string
	for _, t := range ts {
		if t.Name == name {
			sameName = append(sameName, t)
		}
		spellings = append(spellings, t.Name)
	}
	if len(sameName) > 0 {
		return "there is " + listed(sameName)
	}
	if near, ok := template.Nearest(name, spellings); ok {
		suggestion := near
		if namespace != "" {
			suggestion = namespace + "/" + suggestion
		}
		if version != "" {
			suggestion += "@" + version
		}
		if _, err := ChooseTemplate(ts, suggestion); err != nil {
			suggestion = near
		}
		return fmt.Sprintf("did you mean %q?", suggestion)
	}
	return "there is " + listed(ts)
}

// listed names templates as "a/b@1.0.0, c/d@1.0.0".
func listed(ts []*template.Template) string {
	var keys []string
	for _, t := range ts {
		keys = append(keys, t.Key())
	}
	slices.Sort(keys)
	if more := len(keys) - maxListed; more > 0 {
		keys = append(keys[:maxListed:maxListed], fmt.Sprintf("and %d more", more))
	}
	if len(keys) == 0 {
		return "none"
	}
	return strings.Join(keys, ", ")
}
