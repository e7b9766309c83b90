package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/postgres"
	"github.com/tasker-systems/taskerpy/template"
	"github.com/tasker-systems/taskerpy/tests/built"
	"github.com/tasker-systems/taskerpy/tests/cluster"
)

// patients makes databases of a deployment to break, each a copy of the
// cluster's.
type patients struct {
	t *testing.T
	c *cluster.Cluster
	n int
}

func newPatients(t *testing.T) *patients {
	return &patients{t: t, c: cluster.Start(t, cluster.Options{NoServer: true, NoSync: true})}
}

// at is the URL of a database for a role.
func (p *patients) at(database, role, password string) string {
	u, err := url.Parse(p.c.URL())
	require.NoError(p.t, err)
	u.Path = "/" + database
	if role != "" {
		u.User = url.UserPassword(role, password)
	}
	return u.String()
}

// sql runs statements in a database, each on its own.
func (p *patients) sql(database string, statements ...string) {
	p.t.Helper()
	ctx := p.t.Context()
	conn, err := pgx.Connect(ctx, p.at(database, "", ""))
	require.NoError(p.t, err)
	defer func() { require.NoError(p.t, conn.Close(context.WithoutCancel(ctx))) }()
	for _, s := range statements {
		_, err := conn.Exec(ctx, s)
		require.NoError(p.t, err, s)
	}
}

// copy is a new database, broken by statements.
func (p *patients) copy(statements ...string) (database string) {
	p.t.Helper()
	original, err := url.Parse(p.c.URL())
	require.NoError(p.t, err)
	p.n++
	database = fmt.Sprintf("patient_%d", p.n)
	p.sql("template1", fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s", database, strings.TrimPrefix(original.Path, "/")))
	p.sql(database, statements...)
	return database
}

// diagnose is what the doctor finds, by name.
func (p *patients) diagnose(o postgres.Options) map[string]postgres.Check {
	found := map[string]postgres.Check{}
	for _, check := range postgres.Diagnose(p.t.Context(), o) {
		require.NotContains(p.t, check.Detail, p.c.Password())
		require.NotContains(p.t, check.Detail, "\n")
		found[check.Name] = check
	}
	return found
}

func orderTemplate(t *testing.T) []*template.Template {
	parsed, findings := template.Parse("order.yaml", []byte("name: order\nnamespace_name: shop\nversion: 1.0.0\nsteps:\n  - {name: a, handler: {callable: a}}\n"))
	require.False(t, template.HasErrors(findings), findings)
	return []*template.Template{parsed}
}

func TestTheDoctorFindsNothingWrongWithADeployment(t *testing.T) {
	p := newPatients(t)
	for name, check := range p.diagnose(postgres.Options{URL: p.at(p.copy(), "", ""), Templates: orderTemplate(t)}) {
		require.Equal(t, postgres.Fine, check.Status, "%s: %s", name, check.Detail)
	}
}

func TestTheDoctorLooksAtTheDatabaseOfTheQueuesToo(t *testing.T) {
	c := cluster.Start(t, cluster.Options{NoServer: true, NoSync: true, QueueDatabase: true})
	p := &patients{t: t, c: c}
	o := postgres.Options{URL: c.URL(), QueueURL: c.QueueURL(), Templates: orderTemplate(t)}
	found := p.diagnose(o)
	for name, check := range found {
		require.Equal(t, postgres.Fine, check.Status, "%s: %s", name, check.Detail)
	}
	for _, name := range []string{"database", "queue database", "schema", "queue schema", "queues", "pgmq", "uuid", "privileges", "queue privileges"} {
		require.Contains(t, found, name)
	}

	o.QueueMaxConnections = 500
	found = p.diagnose(o)
	require.Equal(t, postgres.Fine, found["connections"].Status)
	require.Equal(t, postgres.Warning, found["queue connections"].Status)
	require.Contains(t, found["queue connections"].Detail, "this worker wants 500: raise max_connections of the server, or lower --queue-max-connections")
	o.QueueMaxConnections = 0

	// The wrong way round.
	o.URL, o.QueueURL = o.QueueURL, o.URL
	found = p.diagnose(o)
	require.Equal(t, postgres.Problem, found["schema"].Status)
	require.Contains(t, found["schema"].Detail, "not the database of a Tasker deployment")
	require.Equal(t, postgres.Problem, found["pgmq"].Status)
	require.Equal(t, postgres.Problem, found["queue schema"].Status)

	o.URL, o.QueueURL = c.URL(), p.at("nowhere", "", "")
	found = p.diagnose(o)
	require.Equal(t, postgres.Fine, found["privileges"].Status)
	require.Equal(t, postgres.Problem, found["queue database"].Status)
	require.Contains(t, found["queue database"].Detail, "has no database nowhere")
}

func TestTheDoctorSaysWhatIsWrongWithADeployment(t *testing.T) {
	p := newPatients(t)
	p.sql("template1", "CREATE ROLE limited LOGIN PASSWORD 'limited'", "CREATE ROLE stranger LOGIN PASSWORD 'stranger'")
	const queues = `SELECT pgmq.create(q) FROM unnest(ARRAY['worker_shop_queue', 'shop_domain_events', 'shop_domain_events_dlq',
		'orchestration_step_results', 'orchestration_task_requests', 'orchestration_task_finalizations']) AS q`
	grants := []string{
		"GRANT USAGE ON SCHEMA tasker, pgmq TO limited", "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA tasker, pgmq TO limited",
		"GRANT SELECT ON ALL SEQUENCES IN SCHEMA pgmq TO limited", "GRANT SELECT ON public._sqlx_migrations TO limited",
	}
	for what, c := range map[string]struct {
		breaks         []string
		role           string
		options        func(o *postgres.Options)
		check          string
		status         postgres.Status
		finds, remedy  string
		everythingElse bool // is fine
	}{
		"no PGMQ": {
			breaks: []string{"DROP SCHEMA pgmq CASCADE"}, check: "pgmq", status: postgres.Problem,
			finds: "PGMQ is not installed", remedy: "CREATE EXTENSION pgmq",
		},
		"an old PGMQ": {
			breaks: []string{"UPDATE pg_extension SET extversion = '1.4.9' WHERE extname = 'pgmq'"}, check: "pgmq", status: postgres.Problem,
			finds: "PGMQ 1.4.9 is too old", remedy: "ALTER EXTENSION pgmq UPDATE",
		},
		"not a deployment": {
			breaks: []string{"DROP SCHEMA tasker CASCADE"}, check: "schema", status: postgres.Problem,
			finds: "not the database of a Tasker deployment", remedy: "run the migrations",
		},
		"a table is gone": {
			breaks: []string{"DROP TABLE tasker.workflow_step_result_audit CASCADE"}, check: "schema", status: postgres.Problem,
			finds: "tasker.workflow_step_result_audit missing", remedy: "run the migrations",
		},
		"a function is gone": {
			breaks: []string{"DROP FUNCTION tasker.pgmq_send_with_notify(text, jsonb, integer) CASCADE"}, check: "schema", status: postgres.Problem,
			finds: "tasker.pgmq_send_with_notify missing", remedy: "run the migrations",
		},
		"a migration has failed": {
			breaks: []string{"UPDATE public._sqlx_migrations SET success = false WHERE version = 20260120000001"}, check: "migrations", status: postgres.Problem,
			finds: "20260120000001 did not succeed", remedy: "run the migrations", everythingElse: true,
		},
		"a migration was not run": {
			breaks: []string{"DELETE FROM public._sqlx_migrations WHERE version = 20260306000001"}, check: "migrations", status: postgres.Problem,
			finds: "20260306000001 not run", remedy: "run the migrations", everythingElse: true,
		},
		"a migration of the future": {
			breaks: []string{"INSERT INTO public._sqlx_migrations SELECT 20991231000000, description, now(), true, checksum, 1 FROM public._sqlx_migrations LIMIT 1"},
			check:  "migrations", status: postgres.Warning, finds: "20991231000000 newer than this worker knows", everythingElse: true,
		},
		"no UUIDs": {
			breaks: []string{"ALTER FUNCTION public.uuidv7() RENAME TO gone"}, check: "uuid", status: postgres.Problem,
			finds: "uuidv7() does not exist", remedy: "create uuidv7() and uuid_generate_v7() in the schema public",
		},
		"queues are missing and the role may not create them": {
			breaks: grants, role: "limited", check: "queues", status: postgres.Problem,
			finds: "worker_shop_queue", remedy: "pgmq.create('worker_shop_queue')",
		},
		"the role may not write transitions": {
			breaks: append(append([]string{queues}, grants...), "REVOKE INSERT ON tasker.workflow_step_transitions FROM limited"), role: "limited",
			check: "privileges", status: postgres.Problem,
			finds: "limited may not do all", remedy: `GRANT INSERT ON tasker.workflow_step_transitions TO "limited"`,
		},
		"the role may not read its queue": {
			breaks: append(append([]string{queues}, grants...), "REVOKE ALL ON pgmq.q_worker_shop_queue FROM limited"), role: "limited",
			check: "privileges", status: postgres.Problem, remedy: `GRANT SELECT, INSERT, UPDATE, DELETE ON pgmq.q_worker_shop_queue TO "limited"`,
		},
		"the role may not send": {
			breaks: append(append([]string{queues}, grants...), "REVOKE EXECUTE ON FUNCTION tasker.pgmq_send_with_notify FROM PUBLIC"), role: "limited",
			check: "privileges", status: postgres.Problem, remedy: `GRANT EXECUTE ON FUNCTION tasker.pgmq_send_with_notify TO "limited"`,
		},
		"the role may do nothing": {
			role: "stranger", check: "privileges", status: postgres.Problem, remedy: `GRANT USAGE ON SCHEMA tasker TO "stranger"`,
		},
		"the role has a name of its own": {
			breaks: append([]string{queues}, grants...), role: "limited",
			check: "session", status: postgres.Warning, remedy: `ALTER ROLE "limited" SET search_path = tasker, public`, everythingElse: true,
		},
		"a namespace that no queue can have": {
			options: func(o *postgres.Options) { o.Templates[0].Namespace = "shop-eu" }, check: "queues", status: postgres.Problem,
			finds: `order.yaml: namespace "shop-eu"`,
		},
		"more connections than there are": {
			options: func(o *postgres.Options) { o.MaxConnections = 500 }, check: "connections", status: postgres.Warning,
			finds: "this worker wants 500", remedy: "raise max_connections", everythingElse: true,
		},
	} {
		t.Run(what, func(t *testing.T) {
			o := postgres.Options{Templates: orderTemplate(t)}
			o.URL = p.at(p.copy(c.breaks...), c.role, c.role)
			if c.options != nil {
				c.options(&o)
			}
			found := p.diagnose(o)
			require.Equal(t, c.status, found[c.check].Status, found)
			require.Contains(t, found[c.check].Detail, c.finds)
			require.Contains(t, found[c.check].Detail, c.remedy)
			for name, check := range found {
				if c.everythingElse && name != c.check {
					require.Equal(t, postgres.Fine, check.Status, "%s: %s", name, check.Detail)
				}
			}
		})
	}
}

func TestTheDoctorSaysWhyADatabaseCannotBeReached(t *testing.T) {
	p := newPatients(t)
	u, err := url.Parse(p.c.URL())
	require.NoError(t, err)
	role := u.User.Username()
	for address, want := range map[string]string{
		p.at("tasker", role, "wrong"):                     "check user and password",
		p.at("no_such_database", "", ""):                  "has no database no_such_database",
		"postgres://u:secret@127.0.0.1:1/tasker":          "connection refused; is PostgreSQL running there?",
		"postgres://u:secret@no-such-host.invalid/tasker": "the host no-such-host.invalid is not known",
		"postgres://u:secret@127.0.0.1:port/tasker":       "write it as postgres://USER:PASSWORD@HOST:5432/DATABASE",
	} {
		found := p.diagnose(postgres.Options{URL: address})
		require.Len(t, found, 1, address)
		require.Equal(t, postgres.Problem, found["database"].Status, address)
		require.Contains(t, found["database"].Detail, want)
		require.NotContains(t, found["database"].Detail, "secret")
	}
}

// forgetful is a pooler that drops the settings that connections ask for. It
// returns its address.
func forgetful(t *testing.T, database string) string {
	return proxy(t, func(client net.Conn) { forget(client, database) })
}

func forget(client net.Conn, database string) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("tcp", database)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	first, err := pgproto3.NewBackend(client, client).ReceiveStartupMessage()
	start, ok := first.(*pgproto3.StartupMessage)
	if err != nil || !ok {
		return
	}
	delete(start.Parameters, "search_path")
	delete(start.Parameters, "TimeZone")
	packet, err := start.Encode(nil)
	if err != nil {
		return
	}
	if _, err := server.Write(packet); err != nil {
		return
	}
	go func() {
		_, _ = io.Copy(client, server)
		_ = client.Close()
	}()
	_, _ = io.Copy(server, client)
}

func TestTheDoctorSeesWhenSettingsOfTheSessionAreLost(t *testing.T) {
	p := newPatients(t)
	u, err := url.Parse(p.at(p.copy("CREATE ROLE forgotten SUPERUSER LOGIN PASSWORD 'forgotten'"), "forgotten", "forgotten"))
	require.NoError(t, err)
	u.Host = forgetful(t, u.Host)
	u.RawQuery = "sslmode=disable"
	found := p.diagnose(postgres.Options{URL: u.String(), Templates: orderTemplate(t)})
	require.Equal(t, postgres.Problem, found["session"].Status, found)
	require.Contains(t, found["session"].Detail, `search_path is`)
	require.Contains(t, found["session"].Detail, "have the pooler track them")
}

func TestTheDoctorsCommandEndsWith3(t *testing.T) {
	p := newPatients(t)
	work, binary := t.TempDir(), program
	doctor := func(database string) (code int, findings map[string]string) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, binary, "doctor", filepath.Join(built.Root(), "examples", "linear"),
			"--database-url", p.at(database, "", ""), "--listen", "127.0.0.1:0", "--output", "json")
		cmd.Dir, cmd.Env = work, built.Environ()
		out, err := cmd.Output()
		if err != nil {
			require.IsType(t, &exec.ExitError{}, err, string(out))
		}
		var report struct {
			Usable   bool
			Findings []struct{ Name, Status, Detail string }
		}
		require.NoError(t, json.Unmarshal(out, &report), string(out))
		findings = map[string]string{}
		for _, f := range report.Findings {
			findings[f.Name] = f.Status + " " + f.Detail
		}
		require.NotContains(t, string(out), p.c.Password())
		return cmd.ProcessState.ExitCode(), findings
	}
	code, findings := doctor(p.copy())
	require.Equal(t, 0, code, findings)
	require.Contains(t, findings["queues"], "ok the worker will create")
	require.Contains(t, findings["queues"], "worker_linear_workflow_py_queue")
	require.Contains(t, findings["tasker-server"], "warning nothing answers")

	code, findings = doctor(p.copy("DROP SCHEMA pgmq CASCADE"))
	require.Equal(t, 3, code)
	require.Contains(t, findings["pgmq"], "problem PGMQ is not installed")
}

// Nothing else is granted to the role than what the doctor asks for.
func TestTheGrantsThatTheDoctorAsksForSuffice(t *testing.T) {
	for what, queues := range map[string][]string{
		"mine":   nil, // the worker creates them
		"theirs": {"worker_theirs_queue", "theirs_domain_events", "theirs_domain_events_dlq"},
	} {
		t.Run(what, func(t *testing.T) {
			p := newProject(t, shared, what, chain(2, "steps.Work")...)
			role := "granted_" + what
			run := func(statement string) {
				_, err := p.DB().Exec(t.Context(), statement)
				require.NoError(t, err, statement)
			}
			run("CREATE ROLE " + role + " LOGIN PASSWORD 'granted'")
			for _, q := range queues {
				run("SELECT pgmq.create('" + q + "')")
			}
			u, err := url.Parse(p.URL())
			require.NoError(t, err)
			u.User = url.UserPassword(role, "granted")
			grant := regexp.MustCompile(`GRANT [A-Z, ]+ ON [^;\n]+ TO "` + role + `"`)
			for asked := true; asked; {
				command := exec.CommandContext(t.Context(), program, "doctor", "--database-url", u.String(), "--templates", p.templates)
				command.Env, command.Dir = built.Environ(), t.TempDir()
				out, _ := command.CombinedOutput() // its exit code is of everything else too
				wanted := grant.FindAllString(string(out), -1)
				asked = len(wanted) > 0
				for _, statement := range wanted {
					run(statement)
				}
			}
			w := start(t, []string{"DATABASE_URL=" + u.String()},
				"run", filepath.Join(built.Root(), "tests", "e2e", "handlers"), "--templates", p.templates)
			w.await(t, "the worker is ready", func() bool { return w.api.Get(t.Context(), "/health/ready", nil) == nil })
			p.requireDone([]string{p.create("flow", nil)})
			require.Eventually(t, func() bool { return len(seriesOf(t, w.api, "tasker_worker_queue_depth")) > 0 }, patience, 10*time.Millisecond)
			require.NoError(t, w.Process.Signal(syscall.SIGTERM))
			w.end(t)
		})
	}
}
