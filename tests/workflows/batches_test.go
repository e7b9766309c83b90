package workflows_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// csvInput asks for a file of the project to be analysed.
func csvInput(file string, more ...string) map[string]any {
	input := map[string]any{"csv_file_path": filepath.Join(projects, "csv_batch", file)}
	if len(more) == 1 {
		input["analysis_mode"] = more[0]
	}
	return input
}

// resultOf reads a step's result.
func resultOf(t *testing.T, o outcome, name string, into any) {
	t.Helper()
	require.Contains(t, o.Steps, name)
	require.NoError(t, json.Unmarshal(o.Steps[name].Result, into), name)
}

func TestAFileOfAThousandRowsIsCutIntoFiveBatches(t *testing.T) {
	for _, mode := range []string{"inventory", "pricing"} {
		t.Run(mode, func(t *testing.T) {
			inBothFamilies(t, func(t *testing.T, f family) {
				o := runTask(t, "csv_batch", "csv_product_inventory_analyzer"+f.suffix, csvInput("products.csv", mode))
				workers := make([]string, 5)
				for i := range workers {
					workers[i] = fmt.Sprintf("process_csv_batch%s_%03d", f.suffix, i+1)
				}
				requireComplete(t, o, append(f.named("analyze_csv", "aggregate_csv_results"), workers...)...)

				var analysis struct {
					Outcome json.RawMessage `json:"batch_processing_outcome"`
					Meta    struct {
						Mode string `json:"analysis_mode"`
						Size int    `json:"batch_size"`
					} `json:"batch_metadata"`
				}
				resultOf(t, o, "analyze_csv"+f.suffix, &analysis)
				requireLike(t, fmt.Sprintf(`{"type": "create_batches", "worker_template_name": "process_csv_batch%s", "worker_count": 5, "total_items": 1000,
				  "cursor_configs": [
				    {"batch_id": "001", "start_cursor": 0, "end_cursor": 200, "batch_size": 200},
				    {"batch_id": "002", "start_cursor": 200, "end_cursor": 400, "batch_size": 200},
				    {"batch_id": "003", "start_cursor": 400, "end_cursor": 600, "batch_size": 200},
				    {"batch_id": "004", "start_cursor": 600, "end_cursor": 800, "batch_size": 200},
				    {"batch_id": "005", "start_cursor": 800, "end_cursor": 1000, "batch_size": 200}]}`, f.suffix), string(analysis.Outcome), "the outcome")
				require.Equal(t, mode, analysis.Meta.Mode)
				require.Equal(t, 200, analysis.Meta.Size)

				for i, worker := range workers {
					requireBatch(t, o, worker, i*200)
				}
				var total struct {
					Processed int     `json:"total_processed"`
					Succeeded int     `json:"total_succeeded"`
					Failed    int     `json:"total_failed"`
					Workers   int     `json:"worker_count"`
					Value     float64 `json:"total_inventory_value"`
					Nested    struct {
						Processed int     `json:"total_processed"`
						Value     float64 `json:"total_inventory_value"`
						Workers   int     `json:"worker_count"`
					} `json:"result"`
				}
				resultOf(t, o, "aggregate_csv_results"+f.suffix, &total)
				require.Equal(t, []int{1000, 1000, 0, 5}, []int{total.Processed, total.Succeeded, total.Failed, total.Workers})
				require.InDelta(t, 35588047.00, total.Value, 0.005)
				require.Equal(t, 1000, total.Nested.Processed)
				require.Equal(t, 5, total.Nested.Workers)
				require.InDelta(t, total.Value, total.Nested.Value, 0)
			})
		})
	}
}

// requireBatch checks what a worker made of the 200 rows after the given one.
func requireBatch(t *testing.T, o outcome, worker string, after int) {
	t.Helper()
	var batch struct {
		Processed int `json:"items_processed"`
		Succeeded int `json:"items_succeeded"`
		Failed    int `json:"items_failed"`
		Cursor    int `json:"last_cursor"`
		Rows      []struct {
			Row     int     `json:"row_number"`
			Product string  `json:"product_id"`
			Value   float64 `json:"inventory_value"`
			Price   float64
			Stock   int
		} `json:"results"`
	}
	resultOf(t, o, worker, &batch)
	require.Equal(t, []int{200, 200, 0, after + 200}, []int{batch.Processed, batch.Succeeded, batch.Failed, batch.Cursor}, worker)
	require.Len(t, batch.Rows, 200, worker)
	sum := 0.0
	for i, row := range batch.Rows {
		require.Equal(t, after+i+1, row.Row, worker)
		require.InDelta(t, row.Price*float64(row.Stock), row.Value, 1e-9, worker)
		sum += row.Value
	}
	require.InDelta(t, 7117609.40, sum, 0.005, worker)
	first, hundredth := batch.Rows[0], batch.Rows[99]
	require.InDelta(t, 989.01, first.Value, 1e-9)
	require.Equal(t, 99, first.Stock)
	require.InDelta(t, 8709.33, hundredth.Value, 1e-9)
	require.Equal(t, 67, hundredth.Stock)
}

func TestAnEmptyFileEndsTheClassBasedWorkflowAfterItsAnalyzer(t *testing.T) {
	t.Parallel()
	o := runTask(t, "csv_batch", "csv_product_inventory_analyzer_py", csvInput("products_empty.csv"))
	requireComplete(t, o, "analyze_csv_py")
	requireResult(t, o, "analyze_csv_py", fmt.Sprintf(
		`{"batch_processing_outcome": {"type": "no_batches"}, "reason": "No data rows", "csv_file_path": %q, "file_exists": true}`,
		filepath.Join(projects, "csv_batch", "products_empty.csv")))
}

func TestAnEmptyFileGivesTheFunctionalWorkflowOnePlaceholder(t *testing.T) {
	t.Parallel()
	o := runTask(t, "csv_batch", "csv_product_inventory_analyzer_dsl_py", csvInput("products_empty.csv"))
	requireComplete(t, o, "analyze_csv_dsl_py", "process_csv_batch_dsl_py_000", "aggregate_csv_results_dsl_py")
	requireResult(t, o, "analyze_csv_dsl_py", `{"batch_processing_outcome": {"type": "no_batches"}, "reason": "empty_dataset"}`)
	var total struct {
		Processed int     `json:"total_processed"`
		Value     float64 `json:"total_inventory_value"`
	}
	resultOf(t, o, "aggregate_csv_results_dsl_py", &total)
	require.Zero(t, total.Processed)
	require.Zero(t, total.Value)
}

func TestAMissingFileIsNoError(t *testing.T) {
	t.Parallel()
	o := runTask(t, "csv_batch", "csv_product_inventory_analyzer_py", map[string]any{"csv_file_path": "/no/such/file.csv"})
	requireComplete(t, o, "analyze_csv_py")
	requireResult(t, o, "analyze_csv_py",
		`{"batch_processing_outcome": {"type": "no_batches"}, "reason": "File not found", "csv_file_path": "/no/such/file.csv", "file_exists": false}`)
}

// checkpointSteps are the names of the checkpoint workflow in a family: its
// class-based form does without a suffix.
func checkpointSteps(f family) (task, analyze, worker, aggregate string) {
	if f == classBased {
		return "checkpoint_yield_test", "analyze_items", "checkpoint_yield_batch_", "aggregate_results"
	}
	return "checkpoint_yield_test_dsl", "analyze_items_dsl_py", "checkpoint_yield_batch_dsl_py_", "aggregate_results_dsl_py"
}

func TestWorkGoesOnFromItsCheckpoints(t *testing.T) {
	for _, c := range []struct {
		name                         string
		input                        map[string]any
		total, sum, yields, attempts int
	}{
		{"a hundred items in four parts", map[string]any{"total_items": 100, "items_per_checkpoint": 25}, 100, 5050, 4, 1},
		{"fifty items in ten parts", map[string]any{"total_items": 50, "items_per_checkpoint": 5}, 50, 1275, 10, 1},
		{"fewer items than a part", map[string]any{"total_items": 10, "items_per_checkpoint": 20}, 10, 55, 0, 1},
		{"a failure on the way", map[string]any{"total_items": 100, "items_per_checkpoint": 20, "fail_after_items": 50, "fail_on_attempt": 1},
			100, 5050, 5, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBothFamilies(t, func(t *testing.T, f family) {
				task, analyze, worker, aggregate := checkpointSteps(f)
				worker += "001"
				o := runTask(t, "checkpoint_yield", task, c.input)
				require.Equal(t, "python_e2e_checkpoint_yield", o.Namespace)
				require.Equal(t, "complete", o.Status, o.stderr)
				requireSteps(t, o, analyze, worker, aggregate)
				require.Equal(t, c.attempts, o.Steps[worker].Attempts)
				var batch struct {
					Processed int `json:"items_processed"`
					Succeeded int `json:"items_succeeded"`
					Meta      struct {
						Sum    int      `json:"running_total"`
						Items  []string `json:"item_ids"`
						Cursor int      `json:"final_cursor"`
						Yields int      `json:"checkpoints_used"`
					} `json:"batch_metadata"`
				}
				resultOf(t, o, worker, &batch)
				require.Equal(t, []int{c.total, c.total, c.sum, c.total, c.yields},
					[]int{batch.Processed, batch.Succeeded, batch.Meta.Sum, batch.Meta.Cursor, batch.Meta.Yields})
				items := make([]string, c.total)
				for i := range items {
					items[i] = fmt.Sprintf("item_%04d", i)
				}
				require.Equal(t, items, batch.Meta.Items, "each once, in order")
				requireResult(t, o, aggregate, fmt.Sprintf(
					`{"total_processed": %d, "running_total": %d, "item_count": %d, "checkpoints_used": %d, "worker_count": 1,
					  "test_passed": true, "scenario": "with_batches"}`, c.total, c.sum, c.total, c.yields))
			})
		})
	}
}

func TestNoItemsGiveOnePlaceholderAndAnAggregateOfNothing(t *testing.T) {
	inBothFamilies(t, func(t *testing.T, f family) {
		task, analyze, worker, aggregate := checkpointSteps(f)
		reason := map[family]string{classBased: "no_items_to_process", functional: "empty_dataset"}[f]
		o := runTask(t, "checkpoint_yield", task, map[string]any{"total_items": 0, "items_per_checkpoint": 10})
		requireComplete(t, o, analyze, worker+"000", aggregate)
		requireResult(t, o, analyze, fmt.Sprintf(`{"batch_processing_outcome": {"type": "no_batches"}, "reason": %q}`, reason))
		requireResult(t, o, worker+"000",
			`{"batch_id": "000", "no_op": true, "processed_count": 0, "message": "No batches to process", "processed_at": `+instant+`}`)
		var got map[string]any
		resultOf(t, o, aggregate, &got)
		require.EqualValues(t, 0, got["worker_count"])
		require.Equal(t, "no_batches", got["scenario"])
		require.EqualValues(t, 0, got["total_processed"])
		require.EqualValues(t, 0, got["running_total"])
		require.Equal(t, true, got["test_passed"])
		require.Contains(t, []any{nil, 0.0}, got["checkpoints_used"])
	})
}

func TestAPermanentFailureAfterACheckpointIsNotRetried(t *testing.T) {
	inBothFamilies(t, func(t *testing.T, f family) {
		task, analyze, worker, aggregate := checkpointSteps(f)
		worker += "001"
		o := runTask(t, "checkpoint_yield", task, map[string]any{
			"total_items": 100, "items_per_checkpoint": 25, "fail_after_items": 30, "permanent_failure": true,
		})
		require.Equal(t, "blocked_by_failures", o.Status)
		require.Equal(t, 1, o.exitCode)
		requireSteps(t, o, analyze, worker, aggregate)
		failed := o.Steps[worker]
		require.Equal(t, "error", failed.State)
		require.Equal(t, 1, failed.Attempts)
		require.Equal(t, "permanent_error", failed.Error.ErrorType)
		require.Equal(t, "Injected permanent failure after 30 items", failed.Error.Message)
		require.False(t, failed.Error.Retryable)
		require.Equal(t, "pending", o.Steps[aggregate].State)
		if f == classBased {
			require.Subset(t, failed.Error.Context, map[string]any{"items_processed": 30.0, "cursor_at_failure": 30.0, "failure_type": "permanent"})
		}
		require.Equal(t, "complete", o.Steps[analyze].State)
	})
}
