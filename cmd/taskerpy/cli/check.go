package cli

import (
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/taskerpy/config"
	"github.com/tasker-systems/taskerpy/gil"
	"github.com/tasker-systems/taskerpy/handlers"
	"github.com/tasker-systems/taskerpy/place"
	"github.com/tasker-systems/taskerpy/template"
	"github.com/tasker-systems/taskerpy/worker"
)

func (a *app) checkCommand() *cobra.Command {
	var s settings
	var output string
	cmd := &cobra.Command{
		Use:   "check PATH...",
		Short: "Import handlers, validate templates, match the two; say everything that is wrong",
		Long: `Imports handlers and reads templates as run would, without running anything. What was
found goes to standard output, what is wrong with it to standard error. The exit code is 0
if everything could run, 2 if not.`,
		RunE: func(_ *cobra.Command, args []string) error {
			c, err := s.load(args)
			if err != nil {
				return err
			}
			if len(c.Handlers) == 0 {
				return usagef("check: name handler files, directories or modules, or set PYTHON_HANDLER_PATH")
			}
			if err := a.keepOutput(); err != nil {
				return err
			}
			return a.check(c, output)
		},
	}
	s.register(cmd, "templates", "python", "environment", "log_format", "log_level")
	outputFlag(cmd, &output)
	return cmd
}

// check tells what was found and what is wrong with it.
func (a *app) check(c *config.Config, output string) error {
	l := a.newLogging(c, false)
	r, err := worker.Check(context.Background(), workerConfig(c, l))
	if err != nil {
		return startError(err, worker.Config{}) // without a data file
	}
	if output == config.LogJSON {
		err = a.printJSON(newCheckReport(r))
	} else {
		err = a.printCheck(r)
	}
	if err == nil && template.HasErrors(r.Findings) {
		err = silent(exitUsage)
	}
	return err
}

// checkReport is what `taskerpy check --output json` prints.
type checkReport struct {
	Valid     bool                     `json:"valid"`
	Findings  []template.ReportFinding `json:"findings"`
	Handlers  []handlers.Handler       `json:"handlers"`
	Templates []checkedTemplate        `json:"templates"`
	Python    gil.Info                 `json:"python"`
}

type checkedTemplate struct {
	Namespace string   `json:"namespace"`
	Name      string   `json:"name"`
	Version   string   `json:"version"`
	Steps     []string `json:"steps"`
	File      string   `json:"file"` // "" when inferred from decorators
}

func newCheckReport(r worker.Report) checkReport {
	out := checkReport{
		Valid: !template.HasErrors(r.Findings), Findings: template.NewReport(nil, r.Findings).Findings,
		Handlers: r.Handlers, Templates: []checkedTemplate{}, Python: r.Python,
	}
	if out.Handlers == nil {
		out.Handlers = []handlers.Handler{}
	}
	for _, t := range r.Templates {
		out.Templates = append(out.Templates, checkedTemplate{t.Namespace, t.Name, t.Version, t.StepNames(), t.Path})
	}
	return out
}

func (a *app) printCheck(r worker.Report) error {
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(w, "%s:\n", count(len(r.Handlers), "handler"))
	for _, h := range r.Handlers {
		_, _ = fmt.Fprintf(w, "  %s\t%s\t%s:%d\n", h.Name, h.Kind, place.Near(h.File), h.Line)
	}
	_, _ = fmt.Fprintf(w, "%s:\n", count(len(r.Templates), "template"))
	for _, t := range r.Templates {
		where := place.Near(t.Path)
		if t.Path == "" {
			where = "inferred from decorators"
		}
		_, _ = fmt.Fprintf(w, "  %s\t%s\t%s\n", t.Key(), count(len(t.Steps), "step"), where)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write what was found: %w", err)
	}
	errors := 0
	for _, f := range r.Findings {
		if f.Code == template.CodeNoResultSchema {
			continue // nothing is wrong; JSON has it
		}
		tellFinding(a.err, f)
		if f.Severity == template.SeverityError {
			errors++
		}
	}
	if errors > 0 {
		_, _ = fmt.Fprintf(a.err, "taskerpy: %s\n", count(errors, "error"))
	}
	return nil
}

// count is "1 step", "2 steps".
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
