package commands

import (
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/taskerpy/client"
	"github.com/tasker-systems/taskerpy/template"
)

func (o Options) templateValidate() *cobra.Command {
	var strict bool
	cmd := &cobra.Command{
		Use:   "validate FILE|DIR|-...",
		Short: "Say what is wrong with template files",
		Long: `Says everything that is wrong with template files, and what is worth a warning; of
folders, with all templates in them; - is standard input. Findings go to standard error,
a line for each template to standard output. The exit code is 1 if there is an error, and
with --strict if there is a warning.

taskerpy check also looks whether the handlers exist.`,
		Example: `  taskerpy template validate order_intake.yaml
  taskerpy template validate templates --strict --format json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return arguments("FILE")(cmd, args)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&strict, "strict", false, "take warnings for errors")
	out := outputFlag(cmd)
	cmd.Flags().Var(out, "format", "the same as --output")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		v, err := validate(cmd.InOrStdin(), args)
		if err != nil {
			return err
		}
		if err := v.print(cmd, out); err != nil {
			return err
		}
		errors, warnings := v.count(template.SeverityError), v.count(template.SeverityWarning)
		if errors > 0 || strict && warnings > 0 || len(v.Templates) == 0 {
			return &FailedError{fmt.Sprintf("template validate: %s, %s in %s",
				plural(errors, "error"), plural(warnings, "warning"), plural(len(v.Templates), "template"))}
		}
		return nil
	}
	return cmd
}

// validation is what `template validate --output json` prints.
type validation struct {
	Valid     bool                `json:"valid"`
	Templates []validatedTemplate `json:"templates"`

	findings []template.Finding
}

// validatedTemplate is one file with the report of engine-semantics §1.8.
type validatedTemplate struct {
	File     string `json:"file"`
	Template string `json:"template,omitempty"` // namespace/name@version, "" of a file that cannot be loaded
	template.Report
}

func validate(in io.Reader, args []string) (validation, error) {
	var files []string
	var loaded []*template.Template
	v := validation{Templates: []validatedTemplate{}}
	for _, arg := range args {
		if arg != "-" {
			files = append(files, arg)
			continue
		}
		data, err := readStandardInput(in)
		if err != nil {
			return v, err
		}
		t, findings := template.Parse(standardInput, data)
		if t != nil {
			t.Path, findings = standardInput, t.Validate()
			loaded = append(loaded, t)
		}
		v.findings = append(v.findings, findings...)
	}
	ts, findings := template.Load(files...)
	loaded, v.findings = append(loaded, ts...), append(v.findings, findings...)
	v.Valid = !template.HasErrors(v.findings) && len(loaded) > 0

	about := func(file string) (of []template.Finding) {
		for _, f := range v.findings {
			if f.Pos.File == file {
				of = append(of, f)
			}
		}
		return of
	}
	for _, t := range loaded {
		v.Templates = append(v.Templates, validatedTemplate{t.Path, t.Key(), template.NewReport(t, about(t.Path))})
	}
	for _, f := range v.findings {
		known := slices.ContainsFunc(v.Templates, func(r validatedTemplate) bool { return r.File == f.Pos.File })
		if !known {
			v.Templates = append(v.Templates, validatedTemplate{f.Pos.File, "", template.NewReport(nil, about(f.Pos.File))})
		}
	}
	return v, nil
}

func (v validation) count(s template.Severity) (n int) {
	for _, f := range v.findings {
		if f.Severity == s {
			n++
		}
	}
	return n
}

func (v validation) print(cmd *cobra.Command, out *output) error {
	if *out == asJSON {
		return client.ShowJSON(cmd.OutOrStdout(), v)
	}
	for _, f := range v.findings {
		if f.Severity == template.SeverityInfo {
			continue // nothing is wrong; JSON has it
		}
		if _, err := fmt.Fprintln(cmd.ErrOrStderr(), f); err != nil {
			return fmt.Errorf("write the findings: %w", err)
		}
	}
	for _, t := range v.Templates {
		verdict := "ok"
		switch {
		case !t.Valid:
			verdict = "invalid"
		case slices.ContainsFunc(t.Findings, func(f template.ReportFinding) bool { return f.Severity == template.SeverityWarning }):
			verdict = "ok, with warnings"
		}
		about := t.File
		if t.Template != "" {
			about += fmt.Sprintf(": %s, %s", t.Template, plural(t.StepCount, "step"))
		}
		if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", about, verdict); err != nil {
			return fmt.Errorf("write the answer: %w", err)
		}
	}
	return nil
}

// plural is "1 error", "2 errors".
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
