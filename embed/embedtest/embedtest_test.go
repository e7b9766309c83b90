package embedtest_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/embed/embedtest"
)

func TestMain(m *testing.M) { embedtest.Main(m) }

func TestLoadFromAString(t *testing.T) {
	handlers := embedtest.Load(t, `
from tasker_core.step_handler import inputs, step_handler

@step_handler("greet")
@inputs("name")
def greet(name, context):
    return {"text": f"Hello {name}"}
`)
	require.Equal(t, []string{"greet"}, handlers.Names)
	result := handlers.Run(t, "greet", embedtest.Input{Context: map[string]any{"name": "Ada"}})
	require.True(t, result.Success, "%+v", result.Error)
	require.Equal(t, "Hello Ada", result.Value["text"])
}

func TestLoadFromAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "shop.py")
	require.NoError(t, os.WriteFile(file, []byte(`
from tasker_core import StepHandler

class Charge(StepHandler):
    handler_name = "charge"

    def call(self, context):
        order = context.get_dependency_result("order")
        return self.success({"charged": order["total"] * context.step_config["factor"]})
`), 0o600))
	handlers := embedtest.Load(t, file)
	result := handlers.Run(t, "charge", embedtest.Input{
		Dependencies: map[string]any{"order": map[string]any{"total": 21}},
		Config:       map[string]any{"factor": 2},
	})
	require.True(t, result.Success, "%+v", result.Error)
	require.EqualValues(t, "42", result.Value["charged"])
}

func TestAFailingHandlerGivesItsError(t *testing.T) {
	handlers := embedtest.Load(t, `
from tasker_core import StepHandler
from tasker_core.errors import PermanentError

class Refuse(StepHandler):
    handler_name = "refuse"

    def call(self, context):
        raise PermanentError("no such order")
`)
	result := handlers.Run(t, "refuse", embedtest.Input{})
	require.False(t, result.Success)
	require.Equal(t, "no such order", result.Error.Message)
	require.Equal(t, "PermanentError", result.Error.Type)
	require.False(t, result.Error.Retryable)
}

func TestWhatAHandlerPrintsIsKeptWithItsStep(t *testing.T) {
	handlers := embedtest.Load(t, `
from tasker_core import StepHandler

class Talk(StepHandler):
    handler_name = "talk"

    def call(self, context):
        print("on my way")
        return self.success({})
`)
	embedtest.Output()
	handlers.Run(t, "talk", embedtest.Input{})
	lines := embedtest.Output()
	require.Len(t, lines, 1)
	require.Equal(t, "on my way", lines[0].Text)
	require.Equal(t, "talk", lines[0].Step)
}
