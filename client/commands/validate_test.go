package commands_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// files writes templates into a folder of their own.
func files(t *testing.T, texts map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range texts {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	return dir
}

const (
	oddVersion = "name: odd\nnamespace_name: shop\nversion: one\nsteps:\n  - {name: only, handler: {callable: h}}\n"
	cyclic     = `name: cyclic
namespace_name: shop
version: 1.0.0
steps:
  - {name: a, handler: {callable: h}, dependencies: [b]}
  - {name: b, handler: {callable: h}, dependencies: [a]}
`
)

func TestTemplatesAreValidated(t *testing.T) {
	t.Parallel()
	dir := files(t, map[string]string{"good.yaml": shopTemplate, "odd.yaml": oddVersion, "cyclic.yaml": cyclic, "broken.yaml": "steps: [\n"})
	in := func(name string) string { return filepath.Join(dir, name) }

	out, errs, err := run(t, "", "template", "validate", in("good.yaml"))
	require.NoError(t, err)
	require.Equal(t, in("good.yaml")+": shop/order_intake@1.2.0, 2 steps: ok\n", out)
	require.Empty(t, errs)

	out, errs, err = run(t, "", "template", "validate", in("odd.yaml"))
	require.NoError(t, err)
	require.Contains(t, out, "ok, with warnings")
	require.Contains(t, errs, in("odd.yaml")+":3:10: warning: ")

	out, errs, err = run(t, "", "template", "validate", dir)
	require.EqualError(t, err, "template validate: 2 errors, 1 warning in 4 templates")
	require.Contains(t, out, "cyclic.yaml: shop/cyclic@1.0.0, 2 steps: invalid\n")
	require.Contains(t, out, "broken.yaml: invalid\n")
	require.Contains(t, errs, "[CYCLE_DETECTED]")
}

func TestStrictTakesWarningsForErrors(t *testing.T) {
	t.Parallel()
	dir := files(t, map[string]string{"odd.yaml": oddVersion})
	_, _, err := run(t, "", "template", "validate", dir, "--strict")
	var coded interface{ ExitCode() int }
	require.ErrorAs(t, err, &coded)
	require.Equal(t, 1, coded.ExitCode())
}

func TestAValidationAsJSON(t *testing.T) {
	t.Parallel()
	dir := files(t, map[string]string{"cyclic.yaml": cyclic})
	for _, format := range []string{"--format", "--output"} {
		out, errs, err := run(t, shopTemplate, "template", "validate", dir, "-", format, "json")
		require.Error(t, err)
		require.Empty(t, errs)
		var report struct {
			Valid     bool
			Templates []struct {
				File, Template string
				Valid          bool
				StepCount      int  `json:"step_count"`
				HasCycles      bool `json:"has_cycles"`
				Findings       []struct{ Code, Severity, Place string }
			}
		}
		require.NoError(t, json.Unmarshal([]byte(out), &report))
		require.False(t, report.Valid)
		require.Len(t, report.Templates, 2)
		require.Equal(t, "standard input", report.Templates[0].File)
		require.True(t, report.Templates[0].Valid)
		second := report.Templates[1]
		require.Equal(t, "shop/cyclic@1.0.0", second.Template)
		require.False(t, second.Valid)
		require.True(t, second.HasCycles)
		require.Equal(t, 2, second.StepCount)
		codes := map[string]string{}
		for _, f := range second.Findings {
			codes[f.Code] = f.Severity
			require.Contains(t, f.Place, "cyclic.yaml:")
		}
		require.Equal(t, "error", codes["CYCLE_DETECTED"])
	}
}

func TestWhatIsThereToValidateMustExist(t *testing.T) {
	t.Parallel()
	why, code := refused(t, "template", "validate")
	require.Equal(t, 2, code)
	require.Contains(t, why, "FILE is missing")
	_, errs, err := run(t, "", "template", "validate", "nowhere.yaml")
	require.Error(t, err)
	require.Contains(t, errs, "nowhere.yaml: error: ")
	_, _, err = run(t, "", "template", "validate", t.TempDir())
	require.ErrorContains(t, err, "in 0 templates")
}

func TestATemplateIsDescribedAsMarkdown(t *testing.T) {
	t.Parallel()
	dir := files(t, map[string]string{"shop.yaml": shopTemplate, "notes.yaml": "check_order: slow today\nchek_order: none\n"})
	out, _, err := run(t, "", "template", "visualize", filepath.Join(dir, "shop.yaml"))
	require.NoError(t, err)
	require.Contains(t, out, "# order_intake\n\n```mermaid\ngraph TD\n")
	require.Contains(t, out, "| close_order | Standard | shop.Close | check_order |")

	out, errs, err := run(t, shopTemplate, "template", "visualize", "-", "--graph-only", "-a", filepath.Join(dir, "notes.yaml"))
	require.NoError(t, err)
	require.NotContains(t, out, "```")
	require.Contains(t, out, "slow today")
	require.Contains(t, out, ":::annotated")
	require.Contains(t, errs, `notes.yaml: warning: template order_intake has no step "chek_order"; did you mean "check_order"?`)

	file := filepath.Join(dir, "shop.md")
	out, _, err = run(t, "", "template", "visualize", filepath.Join(dir, "shop.yaml"), "-o", file)
	require.NoError(t, err)
	require.Empty(t, out)
	written, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Contains(t, string(written), "## Step Details")
}

func TestAnnotationsThatAreNone(t *testing.T) {
	t.Parallel()
	dir := files(t, map[string]string{"shop.yaml": shopTemplate, "notes.yaml": "- a\n"})
	for _, notes := range []string{"notes.yaml", "nothing.yaml"} {
		why, code := refused(t, "template", "visualize", filepath.Join(dir, "shop.yaml"), "-a", filepath.Join(dir, notes))
		require.Equal(t, 2, code)
		require.Contains(t, why, notes)
	}
}
