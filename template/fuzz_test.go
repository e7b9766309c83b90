package template_test

import (
	"encoding/xml"
	"io"
	"strings"
	"testing"

	"github.com/tasker-systems/taskerpy/template"
)

// FuzzParse reads anything as a template and, when it is one, does everything
// that can be done with it.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		example, overridden, heading, heading + step, "", "---\n", "{}", "[]", "a: &a [*a]", "<<: {a: 1}", "? [x]\n: y", "\t", "!!int x",
		`{"name": "t", "namespace_name": "n", "version": "1.0.0", "steps": [{"name": "\ud83d", "handler": {"callable": "c"}}]}`,
		steps("{name: a, handler: {callable: c}, dependencies: [b]}", "{name: b, type: decision, handler: {callable: c}, dependencies: [a, b]}"),
		steps("{name: a, type: batchable, handler: {callable: c, initialization: {worker_template_name: w}}}", "{name: w, type: batch_worker, handler: {callable: c}, dependencies: [a]}"),
		heading + "input_schema: {$ref: '#', pattern: '(?<n>a)', enum: [1e999999999]}\n" + step,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		tpl, found := template.Parse("f.yaml", data)
		if (tpl == nil) != template.HasErrors(found) {
			t.Fatalf("template %v with findings %v", tpl, found)
		}
		if tpl == nil {
			tellAll(t, found)
			return
		}
		tellAll(t, append(found, tpl.Validate()...))
		back, found := template.Parse("stored", tpl.JSON())
		if back == nil || !tpl.Equal(back) {
			t.Fatalf("not the same once stored: %s\n%v", tpl.JSON(), found)
		}
		for _, i := range append(tpl.InitialSteps(), tpl.TopoOrder()...) {
			_ = tpl.Steps[i]
		}
		for name := range tpl.Environments {
			_ = tpl.ForEnvironment(name).JSON()
		}
		tpl.CheckInput([]byte(`{"a": 1}`))
		draw(t, tpl)
	})
}

func tellAll(t *testing.T, found []template.Finding) {
	for _, f := range found {
		if line := f.String(); strings.ContainsAny(line, "\r\n") || f.Pos.File == "" {
			t.Fatalf("%q", line)
		}
	}
	template.NewReport(nil, found)
}

func draw(t *testing.T, tpl *template.Template) {
	for _, draw := range []func(io.Writer, map[string]string) error{tpl.Text, tpl.Mermaid, tpl.DOT} {
		if err := draw(io.Discard, map[string]string{"a": "complete", "w_1": "error"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := tpl.Markdown(io.Discard); err != nil {
		t.Fatal(err)
	}
	var svg strings.Builder
	if err := tpl.SVG(&svg, nil); err != nil {
		t.Fatal(err)
	}
	d := xml.NewDecoder(strings.NewReader(svg.String()))
	for {
		if _, err := d.Token(); err == io.EOF {
			return
		} else if err != nil {
			t.Fatalf("%v in %s", err, svg.String())
		}
	}
}
