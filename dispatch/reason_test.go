package dispatch

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

// frame is a frame of a traceback with the line of source below it.
func frame(file string, line string) []string {
	return []string{`  File "` + file + `", line ` + line + `, in call`, "    return work()"}
}

// raised is the stored failure of a handler that raised.
func raised(t *testing.T, fault map[string]any, frames ...[]string) []byte {
	t.Helper()
	trace := []string{"Traceback (most recent call last):"}
	for _, f := range frames {
		trace = append(trace, f...)
	}
	if frames != nil {
		message, _ := fault["message"].(string)
		fault["backtrace"] = append(trace, "Raised: "+message)
	}
	data, err := json.Marshal(map[string]any{"success": false, "error": fault})
	require.NoError(t, err)
	return data
}

const (
	ours    = "/root/.cache/taskerpy/stdlib-1f/tasker_core/step_handler/functional.py"
	library = "/srv/venv/lib/python3.12/site-packages/httpx/_client.py"
)

func TestAReasonNamesTheExceptionAndThePlaceInTheUsersCode(t *testing.T) {
	r := ReadReason(raised(t,
		map[string]any{"message": "'name'", "error_type": "handler_error", "context": map[string]any{"exception_type": "KeyError"}},
		frame(ours, "409"), frame("/srv/shop/handlers.py", "17"), frame("/srv/shop/prices.py", "3"), frame(library, "900"), frame("<string>", "1")))
	require.Equal(t, "KeyError: 'name' (/srv/shop/prices.py:3)", r.String())
}

func TestAHandlerInAnInstalledPackageIsThePlaceIfNothingElseIsTheUsers(t *testing.T) {
	r := ReadReason(raised(t, map[string]any{"message": "away", "error_type": "ConnectError"},
		frame(ours, "409"), frame("/srv/venv/lib/python3.12/site-packages/shop/handlers.py", "8"), frame(library, "900"),
		frame("/usr/lib/python3.12/socket.py", "1")))
	require.Equal(t, "ConnectError: away (/srv/venv/lib/python3.12/site-packages/shop/handlers.py:8)", r.String())
}

func TestAnExceptionWithoutAMessageIsNamed(t *testing.T) {
	r := ReadReason(raised(t,
		map[string]any{"message": "Unknown error", "error_type": "handler_error", "context": map[string]any{"exception_type": "AssertionError"}},
		frame("/srv/shop/handlers.py", "20")))
	require.Equal(t, "AssertionError (/srv/shop/handlers.py:20)", r.String())
}

func TestAReasonThatAHandlerReportedIsAsItReportedIt(t *testing.T) {
	for want, fault := range map[string]map[string]any{
		"CardError: declined":     {"message": "declined", "error_type": "CardError"},
		"CardError was raised":    {"message": "CardError was raised", "error_type": "CardError"},
		"declined":                {"message": "declined"},
		"handler_error: declined": {"message": "declined", "error_type": "handler_error", "backtrace": nil, "context": nil},
		"odd":                     {"message": "odd", "error_type": 5, "context": "none", "backtrace": "none"},
		"CardError":               {"error_type": "CardError"},
		"":                        {},
	} {
		require.Equal(t, want, ReadReason(raised(t, fault)).String())
	}
}

func TestATracebackWithinAMessageIsNoPlace(t *testing.T) {
	message := "the child failed:\n  File \"/tmp/child.py\", line 99, in main\nValueError: no"
	r := ReadReason(raised(t, map[string]any{"message": message, "error_type": "ChildError"}, frame("/srv/shop/handlers.py", "5")))
	require.Equal(t, "/srv/shop/handlers.py", r.File)
	require.Equal(t, 5, r.Line)
}

func TestWhatIsNoStoredFailureHasNoReason(t *testing.T) {
	for _, result := range []string{"", "no JSON", "[]", `{"success": true, "error": null}`, `{"success": true, "error": {"message": "before"}}`} {
		require.Zero(t, ReadReason([]byte(result)), result)
	}
}
