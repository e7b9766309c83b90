package worker

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/template"
)

func named(keys ...[3]string) []*template.Template {
	var ts []*template.Template
	for _, k := range keys {
		ts = append(ts, &template.Template{Namespace: k[0], Name: k[1], Version: k[2]})
	}
	return ts
}

func TestAReferenceNeedsNoMoreThanMakesADifference(t *testing.T) {
	ts := named([3]string{"shop", "checkout", "1.0.0"}, [3]string{"shop", "refund", "1.0.0"}, [3]string{"shop", "refund", "2.0.0"},
		[3]string{"bank", "transfer", "1.0.0"}, [3]string{"club", "transfer", "1.0.0"})
	for reference, want := range map[string]string{
		"checkout":              "shop/checkout@1.0.0",
		"shop/checkout":         "shop/checkout@1.0.0",
		"checkout@1.0.0":        "shop/checkout@1.0.0",
		"refund@2.0.0":          "shop/refund@2.0.0",
		"club/transfer":         "club/transfer@1.0.0",
		"bank/transfer@1.0.0":   "bank/transfer@1.0.0",
		"shop/refund@1.0.0":     "shop/refund@1.0.0",
		"transfer":              "ambiguous: it may be bank/transfer@1.0.0, club/transfer@1.0.0",
		"shop/refund":           "ambiguous: it may be shop/refund@1.0.0, shop/refund@2.0.0",
		"chekout":               `unknown task "chekout"; did you mean "checkout"?`,
		"shop/chekout@1.0.0":    `did you mean "shop/checkout@1.0.0"?`,
		"shop/chekout@9":        `did you mean "checkout"?`,
		"bank/checkout":         "there is shop/checkout@1.0.0",
		"refund@3.0.0":          "there is shop/refund@1.0.0, shop/refund@2.0.0",
		"something else":        "there is bank/transfer@1.0.0, club/transfer@1.0.0, shop/checkout@1.0.0",
		"shop/transfer@1.0.0":   "there is bank/transfer@1.0.0, club/transfer@1.0.0",
		"Shop/Checkout":         "did you mean",
		"shop/checkout@":        "shop/checkout@1.0.0",
		"club/transfer@0.0.1":   "there is bank/transfer@1.0.0, club/transfer@1.0.0",
		"linear/even/more/deep": "there is",
	} {
		got, err := ChooseTemplate(ts, reference)
		if err != nil {
			require.ErrorContains(t, err, want, reference)
			continue
		}
		require.Equal(t, want, got.Key(), reference)
	}
}

func TestALongListOfTemplatesIsCut(t *testing.T) {
	var keys [][3]string
	for i := range 20 {
		keys = append(keys, [3]string{"n", fmt.Sprintf("task_%02d", i), "1.0.0"})
	}
	_, err := ChooseTemplate(named(keys...), "zzzzzzzzzzzz")
	require.ErrorContains(t, err, "n/task_07@1.0.0, and 12 more")
}
