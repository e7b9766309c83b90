package template_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/template"
)

// shape makes a template of lines "name[:type] [dependency…]".
func shape(t *testing.T, lines ...string) *template.Template {
	t.Helper()
	written := make([]string, len(lines))
	for i, line := range lines {
		name, dependencies, _ := strings.Cut(line, " ")
		name, kind, typed := strings.Cut(name, ":")
		if !typed {
			kind = "standard"
		}
		written[i] = fmt.Sprintf("{name: %q, type: %s, handler: {callable: pkg.%s}, dependencies: [%s]}",
			name, kind, strings.ToUpper(name), strings.Join(strings.Fields(dependencies), ", "))
	}
	return parse(t, steps(written...))
}

func names(tpl *template.Template, indexes []int) string {
	var all []string
	for _, i := range indexes {
		all = append(all, tpl.Steps[i].Name)
	}
	return strings.Join(all, " ")
}

func TestInitialSteps(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		steps []string
		want  string
	}{
		"without decisions: all but convergence and workers": {
			[]string{"split:batchable", "work:batch_worker split", "merge:deferred_convergence work", "beside", "after beside"},
			"split beside after",
		},
		"what waits for a step that is not created is not either": {
			[]string{"split:batchable", "work:batch_worker split", "merge:deferred_convergence work", "report merge", "mail report"},
			"split",
		},
		"with a decision: nothing below it": {
			[]string{"first", "route:decision first", "left route", "right route", "deep left", "beside first"},
			"first route beside",
		},
		"a decision below a decision": {
			[]string{"first", "outer:decision first", "inner:decision outer", "leaf inner"},
			"first outer",
		},
		"a convergence outside of decisions is created": {
			[]string{"first", "route:decision first", "left route", "join:deferred_convergence first"},
			"first route join",
		},
		"but not one that waits for workers": {
			[]string{"first", "route:decision first", "left route", "split:batchable first", "work:batch_worker split", "merge:deferred_convergence work"},
			"first route split",
		},
		"nothing but workers": {[]string{"work:batch_worker"}, ""},
		"nothing":             {nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tpl := parse(t, heading)
			if test.steps != nil {
				tpl = shape(t, test.steps...)
			}
			require.Equal(t, test.want, names(tpl, tpl.InitialSteps()))
		})
	}
}

func TestACycleThatHoldsADecisionIsWalkedOnce(t *testing.T) {
	t.Parallel()
	tpl := shape(t, "a", "d:decision a c", "b d", "c b")
	require.Equal(t, "a", names(tpl, tpl.InitialSteps()))
}

func TestTopologicalOrderBreaksTiesByName(t *testing.T) {
	t.Parallel()
	tpl := shape(t, "z", "end b c", "c a z", "b a", "a")
	require.Equal(t, "a b z c end", names(tpl, tpl.TopoOrder()))
}

func TestStepsOfACycleComeLast(t *testing.T) {
	t.Parallel()
	tpl := shape(t, "x y", "y x", "after y", "a")
	require.Equal(t, "a x y after", names(tpl, tpl.TopoOrder()))
}

func TestALongChainIsNoTrouble(t *testing.T) {
	t.Parallel()
	lines := []string{"s0"}
	for i := range 4000 {
		lines = append(lines, fmt.Sprintf("s%d s%d", i+1, i))
	}
	tpl := shape(t, lines...)
	require.Len(t, tpl.InitialSteps(), 4001)
	require.Equal(t, "s0", tpl.Steps[tpl.TopoOrder()[0]].Name)
	require.False(t, template.HasErrors(tpl.Validate()))
}

func TestNearest(t *testing.T) {
	t.Parallel()
	have := []string{"check_order", "choose_route", "shop.handlers.CheckOrder", "a", "db"}
	for want, expected := range map[string]string{
		"chek_order": "check_order", "CHECK_ORDER": "check_order", "check_ordre": "check_order", "choose_rout": "choose_route",
		"wrong.module.CheckOrder": "shop.handlers.CheckOrder",
		"completely_else":         "", "b": "", "xy": "", "": "",
		"check_order": "", // is there already: the others are far
	} {
		near, ok := template.Nearest(want, have)
		require.Equal(t, expected, near, want)
		require.Equal(t, expected != "", ok, want)
	}
	near, _ := template.Nearest("abcd", []string{"abce", "abcf"})
	require.Equal(t, "abce", near, "the first of equally close ones")
}
