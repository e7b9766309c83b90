package commands

import (
	"bytes"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/taskerpy/client"
	"github.com/tasker-systems/taskerpy/engine"
	"github.com/tasker-systems/taskerpy/progress"
)

// taskDrawings are the formats of task graph and task visualize. json is none
// of them: it is the answer as it came.
var taskDrawings = []struct {
	name string
	draw func(g *client.Graph, w io.Writer, o drawOptions) error
}{
	{"text", func(g *client.Graph, w io.Writer, o drawOptions) error { return g.Text(w, o.colour) }},
	{"mermaid", func(g *client.Graph, w io.Writer, _ drawOptions) error { return g.Mermaid(w) }},
	{"svg", func(g *client.Graph, w io.Writer, _ drawOptions) error { return g.SVG(w) }},
	{"dot", func(g *client.Graph, w io.Writer, _ drawOptions) error { return g.DOT(w) }},
	{"markdown", func(g *client.Graph, w io.Writer, o drawOptions) error {
		if o.graphOnly {
			return g.Mermaid(w)
		}
		return g.Markdown(w, o.base)
	}},
}

const jsonFormat = "json"

// drawOptions say how to draw.
type drawOptions struct {
	format    string
	base      string // of links; "" for none
	file      string // to write; "" is standard output
	graphOnly bool
	colour    bool
}

func drawingNames() string {
	var names []string
	for _, d := range taskDrawings {
		names = append(names, d.name)
	}
	return strings.Join(append(names, jsonFormat), ", ")
}

func (o Options) taskGraph() *cobra.Command {
	cmd := o.drawCommand("graph TASK", "Draw a task's steps, coloured by their states", "text")
	cmd.Example = `  taskerpy task graph TASK
  taskerpy task graph TASK --format svg > task.svg`
	return cmd
}

func (o Options) taskVisualize() *cobra.Command {
	return o.drawCommand("visualize TASK", "Describe a task: its graph and its steps, as Markdown", "markdown")
}

func (o Options) drawCommand(use, short, format string) *cobra.Command {
	d := drawOptions{format: format}
	cmd := &cobra.Command{Use: use, Short: short, Args: arguments("TASK")}
	f := cmd.Flags()
	f.StringVarP(&d.format, "format", "f", format, "`FORMAT`: "+drawingNames())
	f.StringVar(&d.base, "base-url", "", "link each step to the API at `URL` (markdown)")
	f.StringVarP(&d.file, "output", "o", "", "write to `FILE` instead of standard output")
	f.BoolVar(&d.graphOnly, "graph-only", false, "only the graph (markdown)")
	at := o.connect(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		task, err := client.ParseTaskID(args[0])
		if err != nil {
			return err
		}
		draw := func(client.Answer[engine.TaskSummary], io.Writer) error {
			return usagef("task %s: --format %q is none of %s", cmd.Name(), d.format, drawingNames())
		}
		if d.format == jsonFormat {
			draw = func(a client.Answer[engine.TaskSummary], w io.Writer) error { return client.WriteJSON(w, a.Raw) }
		}
		for _, known := range taskDrawings {
			if known.name == d.format {
				draw = func(a client.Answer[engine.TaskSummary], w io.Writer) error {
					return known.draw(client.NewGraph(a.Value), w, d)
				}
			}
		}
		d.colour = d.file == "" && progress.Terminal(cmd.OutOrStdout()) && o.Getenv("NO_COLOR") == ""
		return at.with(func(c *client.Client) error {
			a, err := c.Summary(cmd.Context(), task)
			if err != nil {
				return err
			}
			var b bytes.Buffer
			if err := draw(a, &b); err != nil {
				return err
			}
			return deliver(cmd, "task "+cmd.Name(), d.file, b.Bytes())
		})
	}
	return cmd
}
