package commands_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gofrs/uuid/v5"
	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/tasker-systems/taskerpy/client/commands"
	"github.com/tasker-systems/taskerpy/dispatch"
	"github.com/tasker-systems/taskerpy/engine"
	"github.com/tasker-systems/taskerpy/server"
	"github.com/tasker-systems/taskerpy/template"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("database/sql.(*DB).connectionOpener"))
}

// run gives what a command line writes, and its error.
func run(t *testing.T, in string, args ...string) (out, errs string, err error) {
	t.Helper()
	root := &cobra.Command{Use: "taskerpy", SilenceErrors: true, SilenceUsage: true}
	root.AddCommand(commands.New(commands.Options{
		Input: func(argument string) (json.RawMessage, error) {
			if !json.Valid([]byte(argument)) {
				return nil, errors.New("--input: not JSON")
			}
			return json.RawMessage(argument), nil
		},
		Getenv: func(string) string { return "" },
	})...)
	var stdout, stderr bytes.Buffer
	root.SetIn(strings.NewReader(in))
	root.SetOut(&stdout)
	root.SetErr(&stderr)
	root.SetArgs(args)
	err = root.ExecuteContext(t.Context())
	return stdout.String(), stderr.String(), err
}

// refused runs a command line that must fail, and gives why and its exit code.
func refused(t *testing.T, args ...string) (string, int) {
	t.Helper()
	out, _, err := run(t, "", args...)
	require.Error(t, err)
	require.Empty(t, out)
	var coded interface{ ExitCode() int }
	require.True(t, errors.As(err, &coded), "%T: %v", err, err)
	require.NotContains(t, err.Error(), "\n")
	return err.Error(), coded.ExitCode()
}

const shopTemplate = `
name: order_intake
namespace_name: shop
version: 1.2.0
description: Takes an order
steps:
  - {name: check_order, description: Looks at it, handler: {callable: shop.Check}, retry: {max_attempts: 4}}
  - {name: close_order, handler: {callable: shop.Close}, dependencies: [check_order], retry: {retryable: false}}
`

// shop is a real engine behind a real server.
type shop struct {
	t      *testing.T
	engine *engine.Engine
	url    string
}

func open(t *testing.T) *shop {
	t.Helper()
	e, err := engine.Open(t.Context(), engine.Options{Path: ":memory:"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close(context.Background())) })
	for _, yaml := range []string{shopTemplate, strings.Replace(shopTemplate, "1.2.0", "2.0.0", 1), strings.Replace(shopTemplate, "order_intake", "invoice", 1)} {
		tpl, findings := template.Parse("t.yaml", []byte(yaml))
		require.NotNil(t, tpl, findings)
		require.NoError(t, e.Register(t.Context(), tpl))
	}
	s := server.New(server.Options{Engine: e})
	require.NoError(t, s.Start(t.Context(), "127.0.0.1:0"))
	t.Cleanup(func() { require.NoError(t, s.Stop(context.Background())) })
	return &shop{t: t, engine: e, url: "http://" + s.Addr()}
}

// ask runs a command line that must succeed.
func (s *shop) ask(args ...string) string {
	s.t.Helper()
	out, _, err := run(s.t, "", append(args, "--url", s.url)...)
	require.NoError(s.t, err)
	return out
}

// create makes a task and gives its uuid.
func (s *shop) create(input string) string {
	s.t.Helper()
	var task engine.Task
	out := s.ask("task", "create", "-n", "shop", "--name", "order_intake", "-v", "1.2.0", "-i", input, "-o", "json")
	require.NoError(s.t, json.Unmarshal([]byte(out), &task))
	return task.TaskUUID.String()
}

// work completes steps until the task is settled; fail names one that fails.
func (s *shop) work(task, fail string) {
	s.t.Helper()
	ctx, stop := context.WithCancel(s.t.Context())
	done := make(chan error, 1)
	go func() {
		for {
			steps, err := s.engine.Claim(ctx, 8)
			if err != nil {
				done <- err
				return
			}
			for _, step := range steps {
				result := dispatch.Result{
					Outcome: dispatch.Success, Started: time.Now(),
					JSON: []byte(`{"success":true,"status":"completed","result":{"sum":123456789012345678901234567890,"a":"<&>"}}`),
				}
				if step.Name == fail {
					result.Outcome = dispatch.PermanentFailure
					result.JSON = dispatch.FailureResult(dispatch.Failure{Step: step, Message: "no\nstock", ErrorType: "PermanentError"})
				}
				s.engine.Complete(step, result)
			}
		}
	}()
	id, err := uuid.FromString(task)
	require.NoError(s.t, err)
	_, err = s.engine.Wait(s.t.Context(), id)
	stop()
	require.NoError(s.t, err)
	require.ErrorIs(s.t, <-done, context.Canceled)
}

var (
	uuids = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)
	times = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ`)
)

// still replaces what differs from run to run.
func still(out string) string {
	return times.ReplaceAllString(uuids.ReplaceAllString(out, "UUID"), "TIME")
}

func text(s string) string { return strings.TrimPrefix(s, "\n") }

func TestTaskCreateShowsTheTask(t *testing.T) {
	t.Parallel()
	s := open(t)
	require.Equal(t, text(`
order_intake
  task            UUID
  namespace       shop
  version         1.2.0
  status          initializing
  execution       has_ready_steps
  steps           0 of 2 complete (0%), 2 pending, 1 ready
  health          healthy
  recommended     execute_ready_steps
  priority        7
  created         TIME
  updated         TIME
  completed       -
  initiator       tasker-ctl (cli): CLI task creation
  tags            a, b
  correlation id  UUID
`), withStatus(still(s.ask("task", "create", "--namespace", "shop", "--name", "order_intake", "--version", "1.2.0", "--input", `{"order_id": 1}`,
		"--priority", "7", "--tag", "a", "--tag", "b", "--description", "ignored"))))
}

// withStatus hides how far the engine has come in the meantime.
func withStatus(out string) string {
	out = regexp.MustCompile(`status( +)\w+`).ReplaceAllString(out, "status${1}initializing")
	out = regexp.MustCompile(`execution( +)\w+`).ReplaceAllString(out, "execution${1}has_ready_steps")
	out = regexp.MustCompile(`recommended( +)\w+`).ReplaceAllString(out, "recommended${1}execute_ready_steps")
	return regexp.MustCompile(`complete \(0%\).*`).ReplaceAllString(out, "complete (0%), 2 pending, 1 ready")
}

func TestTaskCreateSendsTheCorrelationIDThatIsGiven(t *testing.T) {
	t.Parallel()
	const id = "0190d0a0-0000-7000-8000-000000000001"
	out := open(t).ask("task", "create", "-n", "shop", "--name", "order_intake", "-v", "1.2.0", "-i", "{}", "-c", id)
	require.Contains(t, out, "correlation id  "+id+"\n")
}

func TestTaskCreateMakesACorrelationID(t *testing.T) {
	t.Parallel()
	s := open(t)
	a, b := s.ask("task", "get", s.create(`{"n": 1}`), "-o", "json"), s.ask("task", "get", s.create(`{"n": 2}`), "-o", "json")
	ids := regexp.MustCompile(`"correlation_id": "(.*)"`)
	require.NotEqual(t, ids.FindString(a), ids.FindString(b))
}

func TestTaskGetAndStepsOfACompleteTask(t *testing.T) {
	t.Parallel()
	s := open(t)
	task := s.create(`{"order_id": 1}`)
	s.work(task, "")
	out := still(s.ask("task", "get", task))
	require.Contains(t, out, "\n  status          complete\n  execution       all_complete\n  steps           2 of 2 complete (100%)\n")
	require.Contains(t, out, "\n  completed       TIME\n")
	require.Equal(t, text(`
STEP         STATE     ATTEMPTS  DEPENDENCIES     READY  RETRY  UUID                                  ERROR
check_order  complete  1 of 4    none             no     yes    UUID
close_order  complete  1 of 3    1 of 1 complete  no     no     UUID
`), still(s.ask("task", "steps", task)))
}

func TestTaskStepsShowsWhyAStepFailed(t *testing.T) {
	t.Parallel()
	s := open(t)
	task := s.create(`{"order_id": 1}`)
	s.work(task, "check_order")
	out := s.ask("task", "steps", task)
	require.Regexp(t, `check_order +error +1 of 4 +none +no +yes +[0-9a-f-]+ +PermanentError: no stock\n`, out)
	require.Contains(t, s.ask("task", "get", task), "0 of 2 complete (0%), 1 failed, 1 pending")
}

func TestTaskStepShowsOneStepByNameOrUUID(t *testing.T) {
	t.Parallel()
	s := open(t)
	task := s.create(`{"order_id": 1}`)
	s.work(task, "")
	byName := s.ask("task", "step", task, "close_order")
	require.Equal(t, text(`
close_order
  step            UUID
  task            UUID
  state           complete
  attempts        1 of 3
  dependencies    1 of 1 complete
  ready           no
  retry eligible  no
  last attempt    TIME
  last failure    -
  next retry      -
  created         TIME
  completed       TIME
  result
{
  "sum": 123456789012345678901234567890,
  "a": "<&>"
}
`), still(byName))
	id := regexp.MustCompile(`step +(\S+)`).FindStringSubmatch(byName)[1]
	require.Equal(t, byName, s.ask("task", "step", task, id))
}

func TestTaskListShowsStatesAndHowManyMoreThereAre(t *testing.T) {
	t.Parallel()
	s := open(t)
	require.Equal(t, "no tasks\n", s.ask("task", "list"))
	done, failed := s.create(`{"order_id": 1}`), s.create(`{"order_id": 2}`)
	s.work(done, "")
	_ = failed
	out := still(s.ask("task", "list", "--status", "complete", "--namespace", "shop"))
	require.Contains(t, out, "TASK                                  NAME          VERSION  NAMESPACE  STATUS    STEPS  CREATED\n")
	require.Contains(t, out, "order_intake  1.2.0    shop       complete  2/2    TIME\n")
	require.Equal(t, "no tasks\n", s.ask("task", "list", "-n", "elsewhere"))
	require.Contains(t, s.ask("task", "list", "-l", "1"), "\nand 1 more; --limit shows more of them\n")
	require.Contains(t, s.ask("task", "list", "-s", "complete", "-o", "json"), `"status": "complete"`)
}

func TestTaskCancel(t *testing.T) {
	t.Parallel()
	s := open(t)
	task := s.create(`{"order_id": 1}`)
	require.Equal(t, "task "+task+" is cancelled\n", s.ask("task", "cancel", task))
	message, code := refused(t, "task", "cancel", task, "--url", s.url)
	require.True(t, strings.HasPrefix(message, "cancel task: Cannot cancel a completed task"), message)
	require.Equal(t, 2, code)
}

func TestATaskIsShownAsItIsAfterItsCancellation(t *testing.T) {
	t.Parallel()
	const id = "0190d0a0-0000-7000-8000-000000000001"
	// tasker-server says how execution stood.
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status := "cancelled"
		if r.Method == http.MethodDelete {
			status = "waiting_for_dependencies"
		}
		_, _ = fmt.Fprintf(w, `{"task_uuid": %q, "status": %q}`, id, status)
	}))
	t.Cleanup(s.Close)
	out, _, err := asked(t, nil, "task", "cancel", id, "--url", s.URL)
	require.NoError(t, err)
	require.Equal(t, "task "+id+" is cancelled\n", out)
}

func TestAStateThatTheServerCannotListByIsToldAsSuch(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = w.Write([]byte(`{"error": {"code": "DATABASE_ERROR", "message": "Database operation failed"}}`))
	}))
	t.Cleanup(s.Close)
	_, code, err := asked(t, nil, "task", "list", "--status", "error", "--url", s.URL)
	require.EqualError(t, err, `Database operation failed; tasker-server lists tasks that are completed or pending, not "error"`)
	require.Equal(t, 2, code)
	_, code, err = asked(t, nil, "task", "list", "--status", "completed", "--url", s.URL)
	require.EqualError(t, err, "Database operation failed")
	require.Equal(t, 3, code)
}

func TestJSONIsTheServersAnswerIndented(t *testing.T) {
	t.Parallel()
	s := open(t)
	task := s.create(`{"big": 123456789012345678901234567890, "a": "<&>"}`)
	out := s.ask("task", "get", task, "--output", "json")
	require.True(t, json.Valid([]byte(out)))
	require.Contains(t, out, "\n  \"context\": {\n    \"big\": 123456789012345678901234567890,\n    \"a\": \"<&>\"\n  },\n")
	for _, args := range [][]string{{"task", "steps", task}, {"task", "step", task, "check_order"}, {"task", "list"}, {"template", "list"}, {"template", "show", "invoice"}} {
		require.True(t, json.Valid([]byte(s.ask(append(args, "-o", "json")...))), args)
	}
}

func TestTemplateListAndShow(t *testing.T) {
	t.Parallel()
	s := open(t)
	require.Equal(t, text(`
NAME          VERSION  NAMESPACE  STEPS  DESCRIPTION
invoice       1.2.0    shop       2      Takes an order
order_intake  1.2.0    shop       2      Takes an order
order_intake  2.0.0    shop       2      Takes an order
`), s.ask("template", "list"))
	require.Equal(t, "no templates\n", s.ask("template", "list", "-n", "elsewhere"))
	require.Equal(t, text(`
order_intake
  namespace    shop
  version      2.0.0
  description  Takes an order

STEP         TYPE      HANDLER     DEPENDENCIES  ATTEMPTS  DESCRIPTION
check_order  standard  shop.Check  -             up to 4   Looks at it
close_order  standard  shop.Close  check_order   1
`), s.ask("template", "show", "shop/order_intake@2.0.0"))
}

func TestATemplateThatIsNotThereOrNotClear(t *testing.T) {
	t.Parallel()
	s := open(t)
	for reference, want := range map[string]string{
		"order_intake":      `template "order_intake" is ambiguous: it may be shop/order_intake@1.2.0, shop/order_intake@2.0.0`,
		"order_intak@2.0.0": `unknown template "order_intak@2.0.0"; did you mean shop/order_intake@2.0.0?`,
		"invoyce":           `unknown template "invoyce"; did you mean shop/invoice@1.2.0?`,
		"other/invoice":     `unknown template "other/invoice"; did you mean shop/invoice@1.2.0?`,
		"zzzzzzzz":          `unknown template "zzzzzzzz"; there is shop/invoice@1.2.0, shop/order_intake@1.2.0, shop/order_intake@2.0.0`,
	} {
		message, code := refused(t, "template", "show", reference, "--url", s.url)
		require.Equal(t, want, message)
		require.Equal(t, 2, code)
	}
}

func TestTemplateGraphOfARegisteredTemplate(t *testing.T) {
	t.Parallel()
	s := open(t)
	require.Equal(t, "shop/invoice@1.2.0\ncheck_order\n└─ close_order\n", s.ask("template", "graph", "invoice"))
}

func TestTemplateGraphOfAFileInEveryFormat(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "t.yaml")
	require.NoError(t, os.WriteFile(file, []byte(shopTemplate), 0o600))
	for format, begins := range map[string]string{
		"text": "shop/order_intake@1.2.0\n", "mermaid": "graph TD\n", "dot": "digraph ", "svg": "<svg ", "markdown": "# order_intake\n",
	} {
		out, errs, err := run(t, "", "template", "graph", file, "--format", format)
		require.NoError(t, err)
		require.Empty(t, errs)
		require.True(t, strings.HasPrefix(out, begins), out)
	}
}

func TestTemplateGraphOfStandardInput(t *testing.T) {
	t.Parallel()
	out, _, err := run(t, shopTemplate, "template", "graph", "-")
	require.NoError(t, err)
	require.Equal(t, "shop/order_intake@1.2.0\ncheck_order\n└─ close_order\n", out)
}

func TestTemplateGraphDrawsWhatHasErrorsAndTellsThem(t *testing.T) {
	t.Parallel()
	out, errs, err := run(t, strings.Replace(shopTemplate, "[check_order]", "[check_order, gone]", 1), "template", "graph", "-")
	require.NoError(t, err)
	require.Contains(t, out, "└─ close_order\n")
	require.Equal(t, "standard input:8:86: error: step \"close_order\" depends on \"gone\", which is no step of this template [MISSING_DEP_REF]\n", errs)
}

func TestTemplateGraphOfWhatIsNoTemplate(t *testing.T) {
	t.Parallel()
	out, errs, err := run(t, "name: x\nsteps: 5\n", "template", "graph", "-")
	require.Empty(t, out)
	require.Equal(t, text(`
standard input:1:1: error: template: key namespace_name is missing [MISSING_KEY]
standard input:1:1: error: template: key version is missing [MISSING_KEY]
`), errs)
	require.EqualError(t, err, "standard input:2:8: error: template: steps must be a list, not a whole number (5) [WRONG_TYPE]")
	message, code := refused(t, "template", "graph", "gone.yaml")
	require.Equal(t, "gone.yaml: error: cannot be read: no such file or directory [UNREADABLE]", message)
	require.Equal(t, 2, code)
}

func TestWhatTheServerRefusesIsToldInOneLine(t *testing.T) {
	t.Parallel()
	s := open(t)
	unknown := "0190d0a0-0000-7000-8000-00000000dead"
	for want, args := range map[string][]string{
		"create task: Task template not found: shop/order_intak@1.2.0; did you mean shop/order_intake@1.2.0?": {
			"task", "create", "--name", "order_intak", "-n", "shop", "-v", "1.2.0", "-i", "{}",
		},
		"Task not found: " + unknown:              {"task", "get", unknown},
		"cancel task: Task not found: " + unknown: {"task", "cancel", unknown},
	} {
		message, code := refused(t, append(args, "--url", s.url)...)
		require.Equal(t, want, message)
		require.Equal(t, 2, code)
	}
	message, _ := refused(t, "task", "steps", unknown, "--url", s.url)
	require.Equal(t, "Task not found: "+unknown, message, "and not: no steps")
	message, _ = refused(t, "task", "step", unknown, "a", "--url", s.url)
	require.Equal(t, "Task not found: "+unknown, message)
	task := s.create("{}")
	message, code := refused(t, "task", "step", task, "chek_order", "--url", s.url)
	require.Equal(t, `task `+task+` has no step "chek_order"; did you mean "check_order"?`, message)
	require.Equal(t, 2, code)
	message, code = refused(t, "task", "create", "--name", "order_intake", "-n", "shop", "-v", "1.2.0", "-i", "{}", "--url", s.url)
	require.Contains(t, message, "identity")
	require.Equal(t, 2, code)
}

func TestCommandLinesThatAreWrong(t *testing.T) {
	t.Parallel()
	for want, args := range map[string]string{
		"task create: --name is missing; `taskerpy template list` shows the templates":                       "task create --input {}",
		"task create: --input is missing; write --input '{}' for none":                                       "task create --name n",
		`task create: --correlation-id "x" is not a UUID`:                                                    "task create --name n -i {} -c x",
		`task create: unexpected argument "x"`:                                                               "task create x",
		"task get: TASK is missing; `taskerpy task get --help` says how":                                     "task get",
		`task get: unexpected argument "b"`:                                                                  "task get a b",
		"\"a\" is not the UUID of a task; `taskerpy task list` shows them":                                   "task get a",
		"task step: STEP is missing; `taskerpy task step --help` says how":                                   "task step a",
		"task list: --limit must be at least 1, not 0":                                                       "task list -l 0",
		`unknown command "task creat"; did you mean "create"?`:                                               "task creat",
		"unknown command \"template paint\"; `taskerpy template --help` lists them":                          "template paint",
		`"ftp://h" is not the address of a taskerpy: the scheme is "ftp"; write it as http://127.0.0.1:8083`: "template list --url ftp://h",
	} {
		message, code := refused(t, strings.Fields(args)...)
		require.Equal(t, want, message)
		require.Equal(t, 2, code)
	}
}

func TestFlagsThatHaveNoSuchValue(t *testing.T) {
	t.Parallel()
	_, _, err := run(t, "", "task", "list", "--output", "yaml")
	require.ErrorContains(t, err, "want one of table, json")
	_, _, err = run(t, "", "template", "graph", "-", "-f", "png")
	require.ErrorContains(t, err, "want one of text, mermaid, dot, svg, markdown")
}

func TestInputThatIsRefusedByItsReader(t *testing.T) {
	t.Parallel()
	_, _, err := run(t, "", "task", "create", "--name", "n", "--input", "{")
	require.EqualError(t, err, "--input: not JSON")
}

func TestWhatServersSayCannotControlTheTerminal(t *testing.T) {
	t.Parallel()
	s := open(t)
	tpl, findings := template.Parse("t.yaml", []byte(strings.Replace(shopTemplate, "Takes an order", `"\e[2J\nhi"`, 1)))
	require.NotNil(t, tpl, findings)
	require.NoError(t, s.engine.Register(t.Context(), tpl))
	out := s.ask("template", "list")
	require.NotContains(t, out, "\x1b")
	require.Contains(t, out, "[2J hi\n")
}

func TestWithoutASubcommandThereIsHelp(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"task", "template"} {
		out, _, err := run(t, "", name)
		require.NoError(t, err)
		require.Contains(t, out, "Available Commands:")
	}
}
