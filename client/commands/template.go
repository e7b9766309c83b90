package commands

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v4"

	"github.com/tasker-systems/taskerpy/client"
	"github.com/tasker-systems/taskerpy/template"
)

func (o Options) template() *cobra.Command {
	return group("template", "Show the task templates of a running taskerpy, or of files",
		o.templateList(), o.templateShow(), o.templateGraph(), o.templateVisualize(), o.templateValidate())
}

func (o Options) templateList() *cobra.Command {
	var namespace string
	cmd := &cobra.Command{Use: "list", Short: "List the registered templates", Args: arguments()}
	cmd.Flags().StringVarP(&namespace, "namespace", "n", "", "only those of `NAMESPACE`")
	out, at := outputFlag(cmd), o.connect(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return at.with(func(c *client.Client) error {
			a, err := c.Templates(cmd.Context(), namespace)
			if err != nil {
				return err
			}
			return print(cmd, out, a, func(l client.TemplateList) error { return client.ShowTemplates(cmd.OutOrStdout(), l) })
		})
	}
	return cmd
}

func (o Options) templateShow() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show [NAMESPACE/]NAME[@VERSION]", Short: "Show a registered template and its steps", Args: arguments("NAME"),
	}
	out, at := outputFlag(cmd), o.connect(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return at.with(func(c *client.Client) error {
			a, err := c.Template(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return print(cmd, out, a, func(d client.TemplateDetail) error { return client.ShowTemplate(cmd.OutOrStdout(), d) })
		})
	}
	return cmd
}

// drawings are the formats of graph.
var drawings = []struct {
	name string
	draw func(t *template.Template, w io.Writer) error
}{
	{"text", func(t *template.Template, w io.Writer) error { return t.Text(w, nil) }},
	{"mermaid", func(t *template.Template, w io.Writer) error { return t.Mermaid(w, nil) }},
	{"dot", func(t *template.Template, w io.Writer) error { return t.DOT(w, nil) }},
	{"svg", func(t *template.Template, w io.Writer) error { return t.SVG(w, nil) }},
	{"markdown", func(t *template.Template, w io.Writer) error { return t.Markdown(w) }},
}

// drawing is --format of graph, an index into drawings.
type drawing int

func (d *drawing) String() string { return drawings[*d].name }

func (d *drawing) Set(word string) error {
	for i := range drawings {
		if drawings[i].name == word {
			*d = drawing(i)
			return nil
		}
	}
	return fmt.Errorf("want one of %s", d.Type())
}

func (d *drawing) Type() string {
	var names []string
	for i := range drawings {
		names = append(names, drawings[i].name)
	}
	return strings.Join(names, ", ")
}

func (o Options) templateGraph() *cobra.Command {
	var format drawing
	cmd := &cobra.Command{
		Use:   "graph FILE|-|[NAMESPACE/]NAME[@VERSION]",
		Short: "Draw a template's steps and their dependencies",
		Long: `Draw a template's steps and their dependencies: those of a file (- is standard
input), or of a template that a running taskerpy has registered.`,
		Args: arguments("FILE or NAME"),
		Example: `  taskerpy template graph order_intake.yaml
  taskerpy template graph shop/order_intake --format svg > order_intake.svg`,
	}
	cmd.Flags().VarP(&format, "format", "f", "`FORMAT`: "+format.Type())
	at := o.connect(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		draw := func(t *template.Template) error { return drawings[format].draw(t, cmd.OutOrStdout()) }
		if isFile(args[0]) {
			t, err := readTemplate(cmd, args[0])
			if err != nil {
				return err
			}
			return draw(t)
		}
		return at.with(func(c *client.Client) error {
			a, err := c.Template(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			t, err := a.Value.Definition()
			if err != nil {
				return err
			}
			return draw(t)
		})
	}
	return cmd
}

// isFile tells a file from a template's name: what exists, and what looks
// like nothing else.
func isFile(argument string) bool {
	if argument == "-" || strings.HasSuffix(argument, ".yaml") || strings.HasSuffix(argument, ".yml") || strings.HasSuffix(argument, ".json") {
		return true
	}
	info, err := os.Stat(argument)
	return err == nil && !info.IsDir()
}

// standardInput is what findings call the file that a template was piped from.
const standardInput = "standard input"

// maxTemplate bounds what is read from standard input, in bytes.
const maxTemplate = 4 << 20

func readStandardInput(in io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(in, maxTemplate+1))
	if err != nil {
		return nil, usagef("read standard input: %v", err)
	}
	if len(data) > maxTemplate {
		return nil, usagef("standard input holds more than %d MiB, which no template does", maxTemplate>>20)
	}
	return data, nil
}

// readTemplate reads a template to draw it. Findings that are no obstacle to
// that are told on the way, warnings not at all.
func readTemplate(cmd *cobra.Command, name string) (*template.Template, error) {
	var t *template.Template
	var findings []template.Finding
	if name == "-" {
		data, err := readStandardInput(cmd.InOrStdin())
		if err != nil {
			return nil, err
		}
		t, findings = template.Parse(standardInput, data)
	} else {
		t, findings = template.ParseFile(name)
	}
	if t != nil {
		findings = t.Validate()
	}
	wrong := slices.DeleteFunc(findings, func(f template.Finding) bool { return f.Severity != template.SeverityError })
	if t != nil {
		for _, f := range wrong {
			if _, err := fmt.Fprintln(cmd.ErrOrStderr(), f); err != nil {
				break // nobody reads it
			}
		}
		return t, nil
	}
	if len(wrong) > 1 {
		for _, f := range wrong[:len(wrong)-1] {
			_, _ = fmt.Fprintln(cmd.ErrOrStderr(), f)
		}
	}
	return nil, &UsageError{wrong[len(wrong)-1].String()}
}

func (o Options) templateVisualize() *cobra.Command {
	var annotations, file string
	var graphOnly bool
	cmd := &cobra.Command{
		Use:   "visualize FILE|-",
		Short: "Describe a template: its graph and its steps, as Markdown",
		Long: `Describes a template of a file, or of standard input if that is -, as Markdown: a
Mermaid graph and a table of the steps.

An annotations file is YAML or JSON that maps names of steps to a remark to show on them.`,
		Example: "  taskerpy template visualize order_intake.yaml -o order_intake.md",
		Args:    arguments("FILE"),
	}
	cmd.Flags().StringVarP(&annotations, "annotations", "a", "", "show the remarks of `FILE` on the steps")
	cmd.Flags().StringVarP(&file, "output", "o", "", "write to `FILE` instead of standard output")
	cmd.Flags().BoolVar(&graphOnly, "graph-only", false, "only the graph, as Mermaid")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		t, err := readTemplate(cmd, args[0])
		if err != nil {
			return err
		}
		var view template.View
		if annotations != "" {
			if view.Annotations, err = readAnnotations(cmd, t, annotations); err != nil {
				return err
			}
		}
		draw := t.MarkdownView
		if graphOnly {
			draw = t.MermaidView
		}
		var b bytes.Buffer
		if err := draw(&b, view); err != nil {
			return err
		}
		return deliver(cmd, "template visualize", file, b.Bytes())
	}
	return cmd
}

// deliver writes what was drawn to a file, or to standard output if file is "".
func deliver(cmd *cobra.Command, what, file string, data []byte) error {
	if file != "" {
		if err := os.WriteFile(file, data, 0o644); err != nil {
			return usagef("%s: %v", what, err)
		}
		return nil
	}
	if _, err := cmd.OutOrStdout().Write(data); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}

// readAnnotations reads the remarks on steps. Those on steps that do not exist
// are warned about.
func readAnnotations(cmd *cobra.Command, t *template.Template, name string) (map[string]string, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, usagef("template visualize: --annotations: %v", err)
	}
	var remarks map[string]string
	if err := yaml.Unmarshal(data, &remarks); err != nil {
		return nil, usagef("template visualize: --annotations: %s does not map names of steps to texts: %v", name, err)
	}
	for _, step := range slices.Sorted(maps.Keys(remarks)) {
		if t.Step(step) != nil {
			continue
		}
		hint := ""
		if near, ok := template.Nearest(step, t.StepNames()); ok {
			hint = fmt.Sprintf("; did you mean %q?", near)
		}
		if _, err := fmt.Fprintf(cmd.ErrOrStderr(), "%s: warning: template %s has no step %q%s\n", name, t.Name, step, hint); err != nil {
			break // nobody reads it
		}
	}
	return remarks, nil
}
