package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gofrs/uuid/v5"
	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/dispatch"
)

// with asks for a linear task with a context.
func with(context string) TaskRequest {
	return TaskRequest{Name: "linear", Namespace: "tests", Version: "1.0.0", Context: json.RawMessage(context)}
}

func keyed(context, key string) TaskRequest {
	r := with(context)
	r.IdempotencyKey = &key
	return r
}

func TestASecondTaskOfTheSameTemplateAndContextIsRefused(t *testing.T) {
	e := open(t, Options{}, linear)
	first := submit(t, e, with(`{"a":1}`))
	_, err := e.Create(t.Context(), with(`{"a":1}`))
	require.ErrorIs(t, err, ErrConflict)
	require.ErrorContains(t, err, "A task with this identity already exists")
	require.ErrorContains(t, err, first.String())
}

func TestWhichContextsAreEqual(t *testing.T) {
	for _, c := range []struct {
		what, one, two string
		same           bool
	}{
		{"key order", `{"a":1,"b":{"c":2,"d":3}}`, `{"b":{"d":3,"c":2},"a":1}`, true},
		{"white space", `{"a":[1,2]}`, " {\n\"a\" : [ 1, 2 ] } ", true},
		{"escapes", `{"a":"é/\n"}`, `{"\u0061":"\u00e9\/\u000a"}`, true},
		{"spelling of a fraction", `{"a":1.5}`, `{"a":15e-1}`, true},
		{"trailing zeros", `{"a":1.5,"b":2.0}`, `{"a":1.500,"b":2.00}`, true},
		{"exponents", `{"a":1e2}`, `{"a":100.0}`, true},
		{"upper case exponents", `{"a":1E+2}`, `{"a":1e2}`, true},
		{"integer and float of one value", `{"a":1}`, `{"a":1.0}`, false},
		{"integers that a float cannot tell apart", `{"a":9007199254740992}`, `{"a":9007199254740993}`, false},
		{"fractions that a float cannot tell apart", `{"a":0.10000000000000000001}`, `{"a":0.1}`, false},
		{"sign", `{"a":-1.5}`, `{"a":1.5}`, false},
		{"array order", `{"a":[1,2]}`, `{"a":[2,1]}`, false},
		{"null and absent", `{"a":null}`, `{}`, false},
		{"number and string", `{"a":1}`, `{"a":"1"}`, false},
		{"nesting", `{"a":[[1],2]}`, `{"a":[[1,2]]}`, false},
		{"case", `{"a":1}`, `{"A":1}`, false},
		{"keys that look dangerous", `{"on_behalf_of":"x","script":1}`, `{}`, false},
	} {
		t.Run(c.what, func(t *testing.T) {
			e := open(t, Options{Path: memory}, linear)
			submit(t, e, with(c.one))
			_, err := e.Create(t.Context(), with(c.two))
			if c.same {
				require.ErrorIs(t, err, ErrConflict)
			} else {
				require.NoError(t, err)
			}
		})
	}
}

func TestIdentityIsTemplateAndContextAlone(t *testing.T) {
	e := open(t, Options{}, linear, strings.Replace(linear, "1.0.0", "2.0.0", 1), strings.Replace(linear, "name: linear", "name: other", 1))
	submit(t, e, with(`{}`))
	parent := newUUID()
	same := TaskRequest{
		Name: "linear", Namespace: "tests", Version: "1.0.0", Context: json.RawMessage(`{}`), Initiator: "me", SourceSystem: "here",
		Reason: "why not", Tags: []string{"x"}, Priority: 9, CorrelationID: &parent, ParentCorrelationID: &parent,
	}
	_, err := e.Create(t.Context(), same)
	require.ErrorIs(t, err, ErrConflict)
	version, name := with(`{}`), with(`{}`)
	version.Version, name.Name = "2.0.0", "other"
	submit(t, e, version)
	submit(t, e, name)
}

func TestAnIdentityStaysTakenWhateverBecomesOfTheTask(t *testing.T) {
	for end, outcome := range map[string]dispatch.Outcome{
		"complete": dispatch.Success, "blocked_by_failures": dispatch.PermanentFailure, "cancelled": 0,
	} {
		t.Run(end, func(t *testing.T) {
			e := open(t, Options{}, dag("linear", "only"))
			id := submit(t, e, with(`{}`))
			if outcome == 0 {
				_, err := e.Cancel(t.Context(), id)
				require.NoError(t, err)
			} else {
				finish(t, e, take(t, e), outcome, 1)
			}
			require.Equal(t, end, await(t, e, id).Status)
			_, err := e.Create(t.Context(), with(`{}`))
			require.ErrorIs(t, err, ErrConflict)

			require.NoError(t, e.Close(t.Context()))
			again := open(t, Options{Path: e.o.Path}, dag("linear", "only"))
			_, err = again.Create(t.Context(), with(`{}`))
			require.ErrorIs(t, err, ErrConflict, "after a restart")
		})
	}
}

func TestOfEqualRequestsAtTheSameTimeOneWins(t *testing.T) {
	e := open(t, Options{}, linear)
	var created, refused atomic.Int32
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			switch _, err := e.Create(t.Context(), with(`{"a":1}`)); {
			case err == nil:
				created.Add(1)
			case errors.Is(err, ErrConflict):
				refused.Add(1)
			}
		})
	}
	wg.Wait()
	require.Equal(t, int32(1), created.Load())
	require.Equal(t, int32(19), refused.Load())
}

func TestEqualRequestsInOneBatchAreToldApart(t *testing.T) {
	e := open(t, Options{}, linear)
	var both []request
	for range 2 {
		s, err := e.submission(with(`{"a":1}`))
		require.NoError(t, err)
		both = append(both, s)
	}
	require.True(t, e.inbox.put(both...))
	require.NoError(t, <-both[0].(*submission).done)
	require.ErrorIs(t, <-both[1].(*submission).done, ErrConflict)
}

func TestAnIdempotencyKeyDecidesInPlaceOfTheContext(t *testing.T) {
	e := open(t, Options{}, linear)
	submit(t, e, keyed(`{"a":1}`, "k1"))
	submit(t, e, keyed(`{"a":1}`, "k2"))
	submit(t, e, with(`{"a":1}`))
	_, err := e.Create(t.Context(), keyed(`{"a":2}`, "k1"))
	require.ErrorIs(t, err, ErrConflict)
}

func TestAnIdempotencyKeyHoldsForItsTemplateOnly(t *testing.T) {
	e := open(t, Options{}, linear, strings.Replace(linear, "1.0.0", "2.0.0", 1))
	submit(t, e, keyed(`{}`, "k"))
	other := keyed(`{}`, "k")
	other.Version = "2.0.0"
	submit(t, e, other)
}

func TestAlwaysUniqueAcceptsTheSameRequestAgain(t *testing.T) {
	e := open(t, Options{AlwaysUnique: true}, linear)
	require.NotEqual(t, submit(t, e, with(`{}`)), submit(t, e, with(`{}`)))
	submit(t, e, keyed(`{}`, "k"))
	_, err := e.Create(t.Context(), keyed(`{}`, "k"))
	require.ErrorIs(t, err, ErrConflict, "a key still decides when given")
}

func TestOnlyRegisteredTemplatesMakeTasks(t *testing.T) {
	e := open(t, Options{}, linear, dag("dynamic"))
	for _, r := range []TaskRequest{
		{Name: "nothing", Namespace: "tests", Version: "1.0.0", Context: json.RawMessage(`{}`)},
		{Name: "linear", Namespace: "elsewhere", Version: "1.0.0", Context: json.RawMessage(`{}`)},
		{Name: "linear", Namespace: "tests", Version: "1.0", Context: json.RawMessage(`{}`)},
		{Name: "dynamic", Namespace: "tests", Version: "1.0.0", Context: json.RawMessage(`{}`)}, // has no steps
	} {
		_, err := e.Create(t.Context(), r)
		require.ErrorIs(t, err, ErrNotFound)
		require.ErrorContains(t, err, r.Namespace+"/"+r.Name+"@"+r.Version)
	}
}

func TestRequestTextsAreChecked(t *testing.T) {
	e := open(t, Options{}, linear)
	long := strings.Repeat("ü", 64) // 128 bytes
	for field, set := range map[string]func(*TaskRequest, string){
		"name": func(r *TaskRequest, s string) { r.Name = s }, "namespace": func(r *TaskRequest, s string) { r.Namespace = s },
		"version": func(r *TaskRequest, s string) { r.Version = s },
	} {
		r := with(`{}`)
		set(&r, " \t")
		_, err := e.Create(t.Context(), r)
		require.ErrorIs(t, err, ErrInvalid)
		require.ErrorContains(t, err, field+" must not be blank")
	}
	n := 0
	for field, set := range map[string]func(*TaskRequest, string){
		"initiator": func(r *TaskRequest, s string) { r.Initiator = s }, "source_system": func(r *TaskRequest, s string) { r.SourceSystem = s },
		"reason": func(r *TaskRequest, s string) { r.Reason = s },
	} {
		n++
		r := with(fmt.Sprintf(`{"n":%d}`, n))
		set(&r, long+"x")
		_, err := e.Create(t.Context(), r)
		require.ErrorIs(t, err, ErrInvalid)
		require.ErrorContains(t, err, field+" has 129 bytes, at most 128")
		set(&r, long)
		submit(t, e, r)
	}
}

func nestedContext(depth int) string {
	return strings.Repeat(`{"a":`, depth) + "1" + strings.Repeat("}", depth)
}

func objectOf(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `%q:1,`, fmt.Sprint("k", i))
	}
	return "{" + strings.TrimSuffix(b.String(), ",") + "}"
}

func arrayOf(n int) string { return "[" + strings.TrimSuffix(strings.Repeat("1,", n), ",") + "]" }

// sized is a context of exactly n bytes.
func sized(n int) string {
	var b strings.Builder
	b.WriteString("{")
	for i := 0; n-b.Len() > 9000; i++ {
		fmt.Fprintf(&b, `"k%d":"%s",`, i, strings.Repeat("x", 8000))
	}
	b.WriteString(`"rest":"`)
	return b.String() + strings.Repeat("y", n-b.Len()-2) + `"}`
}

func TestAContextWithinTheLimitsIsAccepted(t *testing.T) {
	long := strings.Repeat("x", 10000)
	for what, context := range map[string]string{
		"empty": `{}`, "depth": nestedContext(10), "keys": objectOf(1000), "items": `{"a":` + arrayOf(1000) + `}`,
		"string": `{"a":"` + long + `"}`, "key": `{"` + long + `":1}`, "size": sized(1 << 20),
		"white space does not count": sized(1<<20) + strings.Repeat(" ", 100),
	} {
		t.Run(what, func(t *testing.T) { submit(t, open(t, Options{Path: memory}, linear), with(context)) })
	}
}

func TestAContextBeyondTheLimitsIsRefusedWithThePlace(t *testing.T) {
	long := strings.Repeat("x", 10001)
	for what, c := range map[string]struct{ context, message string }{
		"depth":               {nestedContext(11), "context.a.a.a.a.a.a.a.a.a.a: nested more than 10 deep"},
		"depth in arrays":     {`{"a":` + strings.Repeat("[", 10) + strings.Repeat("]", 10) + `}`, "context.a[0][0][0][0][0][0][0][0][0]: nested more than 10 deep"},
		"keys":                {`{"a":[` + objectOf(1001) + `]}`, "context.a[0]: 1001 keys, at most 1000 are allowed"},
		"items":               {`{"a":{"b":` + arrayOf(1001) + `}}`, "context.a.b: 1001 items, at most 1000 are allowed"},
		"string":              {`{"a":[1,"` + long + `"]}`, "context.a[1]: string has 10001 bytes, at most 10000 are allowed"},
		"key":                 {`{"a":{"` + long + `":1}}`, "context.a: key has 10001 bytes, at most 10000 are allowed"},
		"size":                {sized(1<<20 + 1), "context has 1048577 bytes, at most 1048576 are allowed"},
		"array":               {`[]`, "context must be a JSON object"},
		"string at the top":   {`"a"`, "context must be a JSON object"},
		"null":                {`null`, "context must be a JSON object"},
		"no JSON":             {`{"a":}`, "context is not JSON"},
		"nothing":             {``, "context is not JSON"},
		"more than one value": {`{} {}`, "context is not JSON"},
	} {
		t.Run(what, func(t *testing.T) {
			_, err := open(t, Options{Path: memory}, linear).Create(t.Context(), with(c.context))
			require.ErrorIs(t, err, ErrInvalid)
			require.ErrorContains(t, err, c.message)
		})
	}
}

func TestARefusedRequestLeavesNothingBehind(t *testing.T) {
	e := open(t, Options{}, linear)
	_, err := e.Create(t.Context(), with(`[]`))
	require.Error(t, err)
	submit(t, e, with(`{}`))
	_, err = e.Create(t.Context(), with(`{}`))
	require.Error(t, err)
	list, err := e.Tasks(t.Context(), TaskFilter{})
	require.NoError(t, err)
	require.Equal(t, 1, list.Pagination.TotalCount)
	require.Equal(t, 1, e.Stats().OpenTasks)
}

const checked = `
name: linear
namespace_name: tests
version: 1.0.0
input_schema: {type: object, required: [order_id], properties: {order_id: {type: integer}}}
steps:
  - {name: one, handler: {callable: h}}
`

func TestInputThatDoesNotMatchItsSchemaIsAWarning(t *testing.T) {
	var log bytes.Buffer
	e := open(t, Options{Log: slog.New(slog.NewTextHandler(&log, nil))}, checked)
	submit(t, e, with(`{"order_id":"A-1"}`))
	require.NoError(t, e.Close(t.Context()))
	require.Contains(t, log.String(), "level=WARN")
	require.Contains(t, log.String(), "tests/linear@1.0.0")
	require.Contains(t, log.String(), "order_id")
}

func TestStrictInputRefusesWhatDoesNotMatchItsSchema(t *testing.T) {
	e := open(t, Options{StrictInput: true}, checked)
	_, err := e.Create(t.Context(), with(`{"order_id":"A-1"}`))
	require.ErrorIs(t, err, ErrInvalid)
	require.ErrorContains(t, err, "/order_id")
	submit(t, e, with(`{"order_id":1}`))
}

func TestACorrelationIDIsMadeUpWhenNoneIsGiven(t *testing.T) {
	e := open(t, Options{}, linear)
	task, err := e.Submit(t.Context(), with(`{}`))
	require.NoError(t, err)
	require.NotEqual(t, uuid.Nil, task.CorrelationID)
	require.Nil(t, task.ParentCorrelationID)
	given := newUUID()
	request := with(`{"a":1}`)
	request.CorrelationID, request.ParentCorrelationID = &given, &given
	task, err = e.Submit(t.Context(), request)
	require.NoError(t, err)
	require.Equal(t, given, task.CorrelationID)
	require.Equal(t, given, *task.ParentCorrelationID)
}

// The reference drops such keys and rewrites such texts (engine-semantics §2.3).
func TestNothingIsTakenOutOfAContext(t *testing.T) {
	e := open(t, Options{}, linear)
	context := `{"on_behalf_of":"you","once":{"online":1},"script":"<script>alert(1)</script>","eval":[{"function":true}]}`
	request := asked("linear", 1)
	request.Context, request.Tags = json.RawMessage(context), []string{"onward", "<script>"}
	id := submit(t, e, request)
	task := taskOf(t, e, id)
	require.JSONEq(t, context, string(task.Context))
	require.Equal(t, request.Tags, task.Tags)
	require.Contains(t, string(take(t, e).Event), `"on_behalf_of":"you"`)
}
