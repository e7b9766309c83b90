// Package sidebyside_test runs the same tasks with the published worker,
// tasker-py, and with taskerpy, each on a deployment of its own, and compares
// what is in the database afterwards: states, attempts, histories, stored
// results and domain events, field by field. What differs must be explained in
// explained.
package sidebyside_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/tests/built"
	"github.com/tasker-systems/taskerpy/tests/cluster"
)

const patience = time.Minute

// side is one of the two deployments.
type side struct {
	*cluster.Cluster
	name  string
	start func(ctx context.Context, c *cluster.Cluster, project string) (kill func())
}

func TestBothWorkersLeaveTheSame(t *testing.T) {
	projects := packages(t)
	binary := built.Binary(t)
	sides := []*side{
		{name: "tasker-py", start: func(ctx context.Context, c *cluster.Cluster, project string) func() {
			return c.StartReferenceWorker(ctx, filepath.Dir(project), project).Kill
		}},
		{name: "taskerpy", start: func(ctx context.Context, c *cluster.Cluster, project string) func() {
			return c.StartWorker(ctx, binary, project).Kill
		}},
	}
	for _, s := range sides {
		s.Cluster = cluster.Start(t, cluster.Options{})
	}
	used := map[string]bool{}
	for _, p := range cases(projects) {
		t.Run(p.project, func(t *testing.T) {
			var found [2]map[string]any
			var running sync.WaitGroup
			for i, s := range sides {
				running.Go(func() { found[i] = s.run(t, filepath.Join(projects, p.project, p.project), p.tasks) })
			}
			running.Wait()
			if t.Failed() {
				return
			}
			for _, task := range p.tasks {
				t.Run(task.name, func(t *testing.T) {
					compare(t, explained, found[0][task.name], found[1][task.name], used)
				})
			}
		})
	}
	requireAllUsed(t, explained, used)
}

// requireAllUsed fails the test for explanations of what does not differ.
func requireAllUsed(t *testing.T, explained []explanation, used map[string]bool) {
	t.Helper()
	if t.Failed() {
		return
	}
	var unused []string
	for _, e := range explained {
		if !used[e.path] && !e.unsteady {
			unused = append(unused, e.path)
		}
	}
	require.Empty(t, unused, "these explain no difference: remove them")
}

// packages is a folder with each project as a package in a folder of its own,
// without its tests: tasker-py imports whatever it finds.
func packages(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	for _, source := range []string{"tests/python/workflows", "examples"} {
		from := os.DirFS(filepath.Join(built.Root(), source))
		require.NoError(t, fs.WalkDir(from, ".", func(path string, entry fs.DirEntry, err error) error {
			project, file, ok := strings.Cut(path, "/")
			if err != nil || !ok || entry.IsDir() || strings.HasPrefix(file, "test_") || strings.HasSuffix(path, ".pyc") {
				return err
			}
			text, err := fs.ReadFile(from, path)
			if err != nil {
				return err
			}
			to := filepath.Join(folder, project, project)
			if err := os.MkdirAll(to, 0o755); err != nil {
				return err
			}
			return errors.Join(os.WriteFile(filepath.Join(to, file), text, 0o644), os.WriteFile(filepath.Join(to, "__init__.py"), nil, 0o644))
		}))
	}
	return folder
}

// run gives the tasks of a project to a worker, and returns what is known of
// each, by name, when nothing goes on any more.
func (s *side) run(t *testing.T, project string, tasks []task) map[string]any {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := s.For(t)
	defer s.start(ctx, c, project)()
	ids := map[string]string{}
	for _, k := range tasks {
		ids[k.name] = c.CreateTask(ctx, k.template, k.namespace, "1.0.0", k.input)
	}
	all := slices.Collect(maps.Values(ids))
	c.WaitTasks(ctx, all...)
	// Of a task that has failed, steps may still run, and events be published.
	for {
		var busy int
		require.NoError(t, s.DB().QueryRow(ctx, `
			SELECT count(*) FROM tasker.workflow_steps s JOIN tasker.workflow_step_transitions t ON t.workflow_step_uuid = s.workflow_step_uuid AND t.most_recent
			 WHERE s.task_uuid = ANY ($1::uuid[]) AND t.to_state NOT IN ('pending', 'complete', 'error', 'cancelled', 'resolved_manually')`, all).Scan(&busy))
		if busy == 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	found := map[string]any{}
	for _, k := range tasks {
		for {
			found[k.name] = s.read(t, ctx, ids[k.name], k.namespace)
			events, _ := found[k.name].(map[string]any)["events"].([]any)
			if len(events) >= k.events {
				break
			}
			select {
			case <-time.After(10 * time.Millisecond):
			case <-ctx.Done():
				require.Failf(t, "events are not published", "%s: %s has %d of %d", s.name, k.name, len(events), k.events)
			}
		}
	}
	return found
}

// readSQL is all that the tables hold of a task, as JSON.
const readSQL = `
SELECT jsonb_build_object(
  'state', (SELECT to_state FROM tasker.task_transitions WHERE task_uuid = t.task_uuid AND most_recent),
  'complete', t.complete,
  'steps', (SELECT jsonb_object_agg(n.name, to_jsonb(s) - 'workflow_step_uuid' - 'task_uuid' - 'named_step_uuid' || jsonb_build_object(
      'history', (SELECT jsonb_agg(jsonb_build_object('from', x.from_state, 'to', x.to_state) ORDER BY x.sort_key)
                    FROM tasker.workflow_step_transitions x WHERE x.workflow_step_uuid = s.workflow_step_uuid),
      'started', (SELECT jsonb_agg(x.metadata ORDER BY x.sort_key) FROM tasker.workflow_step_transitions x
                   WHERE x.workflow_step_uuid = s.workflow_step_uuid AND x.to_state = 'in_progress'),
      'ended', (SELECT jsonb_agg(x.metadata || jsonb_build_object('event', (x.metadata->>'event')::jsonb) ORDER BY x.sort_key)
                  FROM tasker.workflow_step_transitions x
                 WHERE x.workflow_step_uuid = s.workflow_step_uuid AND x.from_state = 'in_progress'),
      'audit', (SELECT jsonb_agg(to_jsonb(a) - 'recorded_at' ORDER BY a.recorded_at) FROM tasker.workflow_step_result_audit a
                 WHERE a.workflow_step_uuid = s.workflow_step_uuid)))
    FROM tasker.workflow_steps s JOIN tasker.named_steps n USING (named_step_uuid) WHERE s.task_uuid = t.task_uuid))
  FROM tasker.tasks t WHERE t.task_uuid = $1`

func (s *side) read(t *testing.T, ctx context.Context, id, namespace string) map[string]any {
	t.Helper()
	var text []byte
	require.NoError(t, s.DB().QueryRow(ctx, readSQL, id).Scan(&text))
	var found map[string]any
	require.NoError(t, json.Unmarshal(text, &found))
	require.NoError(t, s.DB().QueryRow(ctx, fmt.Sprintf(`
		SELECT coalesce(jsonb_agg(message ORDER BY message->>'event_name'), '[]') FROM pgmq.q_%s_domain_events
		 WHERE message->'metadata'->>'task_uuid' = $1`, strings.ToLower(namespace)), id).Scan(&text))
	var events []any
	require.NoError(t, json.Unmarshal(text, &events))
	found["events"] = events
	return found
}

// compare fails the test for every difference that nothing explains.
func compare(t *testing.T, explained []explanation, theirs, ours any, used map[string]bool) {
	t.Helper()
	var unexplained []string
	walk("", theirs, ours, func(d difference) {
		for _, e := range explained {
			if e.pattern().MatchString(d.path) && (e.fits == nil || e.fits(d)) {
				used[e.path] = true
				return
			}
		}
		unexplained = append(unexplained, d.String())
	})
	if len(unexplained) > 0 {
		t.Errorf("%d differences that nothing explains:\n%s", len(unexplained), strings.Join(unexplained, "\n"))
	}
}

// absent stands for a value that is not there.
type absent struct{}

// difference is one between the two.
type difference struct {
	path         string // dotted; elements of lists are []
	theirs, ours any
}

func (d difference) String() string {
	show := func(v any) string {
		if _, none := v.(absent); none {
			return "(absent)"
		}
		text, err := json.Marshal(v)
		if err != nil {
			return err.Error()
		}
		if len(text) > 300 {
			text = append(text[:300], "…"...)
		}
		return string(text)
	}
	return fmt.Sprintf("%s\n\ttheirs: %s\n\tours:   %s", d.path, show(d.theirs), show(d.ours))
}

// walk tells of every difference between two values of JSON.
func walk(path string, theirs, ours any, tell func(difference)) {
	switch a := theirs.(type) {
	case map[string]any:
		if b, ok := ours.(map[string]any); ok {
			for _, key := range slices.Sorted(maps.Keys(merged(a, b))) {
				x, y := any(absent{}), any(absent{})
				if v, ok := a[key]; ok {
					x = v
				}
				if v, ok := b[key]; ok {
					y = v
				}
				walk(strings.TrimPrefix(path+"."+key, "."), x, y, tell)
			}
			return
		}
	case []any:
		if b, ok := ours.([]any); ok && len(a) == len(b) {
			for i := range a {
				walk(path+"[]", a[i], b[i], tell)
			}
			return
		}
	}
	if !same(theirs, ours) {
		tell(difference{path, theirs, ours})
	}
}

func merged(a, b map[string]any) map[string]any {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

// Of ids and times only the form is compared: they are others in every run.
var forms = []struct {
	pattern *regexp.Regexp
	form    string
}{
	{regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`), "<uuid>"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)`), "<time>"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?`), "<naive time>"},
	{regexp.MustCompile(`\b(\d+_)?[0-9a-f]{8,}\b`), "<id>"},
	{regexp.MustCompile(`_[0-9a-f]{6,}\b`), "_<id>"},
	{regexp.MustCompile(`-[0-9A-F]{8}\b`), "-<id>"},
	{regexp.MustCompile(`\bmgr_\d\b`), "<manager>"},
}

func same(a, b any) bool {
	x, ok := a.(string)
	y, too := b.(string)
	if !ok || !too {
		return reflect.DeepEqual(a, b)
	}
	return formOf(x) == formOf(y)
}

func formOf(s string) string {
	for _, f := range forms {
		s = f.pattern.ReplaceAllString(s, f.form)
	}
	return s
}
