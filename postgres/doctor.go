package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Status is how a Check ended.
type Status string

// The statuses. A worker can run with warnings, but not with a problem.
const (
	Fine    Status = "ok"
	Warning Status = "warning"
	Problem Status = "problem"
)

// Check is one thing that Diagnose looked at.
type Check struct {
	Name   string
	Status Status
	// Detail says what was found and, unless that is fine, what to do about it.
	Detail string
}

const (
	// diagnoseTimeout bounds a whole diagnosis.
	diagnoseTimeout = 30 * time.Second
	// oldestPostgres is the oldest PostgreSQL that works (worker-protocol §1.1).
	oldestPostgres = 150000
)

// oldestPGMQ has the columns that the protocol needs.
var oldestPGMQ = [2]int{1, 5}

// Diagnose looks at everything in a database, or in both, that a worker with
// these options needs. It changes nothing. A database that cannot be reached has
// one Check. The names of those that there are twice begin with "queue" for the
// database of the queues.
func Diagnose(ctx context.Context, o Options) []Check {
	o.fill()
	ctx, cancel := context.WithTimeout(ctx, diagnoseTimeout)
	defer cancel()
	if o.QueueURL == "" {
		d := &diagnosis{o: o, steps: true, messages: true}
		d.of(ctx, o.URL)
		return d.checks
	}
	steps, messages := &diagnosis{o: o, steps: true}, &diagnosis{o: o, messages: true}
	steps.of(ctx, o.URL)
	messages.of(ctx, o.QueueURL)
	return append(steps.checks, messages.checks...)
}

// diagnosis is a Diagnose of a database under way.
type diagnosis struct {
	o               Options
	steps, messages bool // what the database is for
	conn            *pgx.Conn
	user            string
	checks          []Check
}

// of looks at the database at a URL.
func (d *diagnosis) of(ctx context.Context, url string) {
	c, err := ParseURL(url)
	if err != nil {
		d.add("database", Problem, "%v; write it as postgres://USER:PASSWORD@HOST:5432/DATABASE", err)
		return
	}
	if d.conn, err = pgx.ConnectConfig(ctx, c.ConnConfig); err != nil {
		d.add("database", Problem, "%s", unreachable(c.ConnConfig, err))
		return
	}
	d.user = c.ConnConfig.User
	defer func() { _ = d.conn.Close(context.WithoutCancel(ctx)) }() // nothing is lost with it
	d.add("database", Fine, "connected to %s on %s as %s", c.ConnConfig.Database, hostOf(c.ConnConfig), d.user)
	for _, look := range []struct {
		name   string
		at     func(ctx context.Context) error
		wanted bool
	}{
		{"postgresql", d.version, true},
		{"connections", d.connections, true},
		{"session", d.session, true},
		{"notifications", d.notifications, d.messages},
		{"schema", d.schema, true},
		{"migrations", d.migrations, true},
		{"pgmq", d.pgmq, d.messages},
		{"uuid", d.uuid, d.steps},
		{"queues", d.queues, d.messages},
		{"privileges", d.privileges, true},
	} {
		if !look.wanted {
			continue
		}
		if err := look.at(ctx); err != nil {
			d.add(look.name, Problem, "cannot be looked at: %v", err)
		}
	}
}

// ofQueuesAlone are the checks whose names tell which database they are of by
// themselves.
var ofQueuesAlone = []string{"notifications", "pgmq", "queues"}

func (d *diagnosis) add(name string, status Status, format string, args ...any) {
	if !d.steps && !slices.Contains(ofQueuesAlone, name) {
		name = "queue " + name
	}
	detail := strings.Join(strings.Fields(fmt.Sprintf(format, args...)), " ") // in one line
	d.checks = append(d.checks, Check{name, status, detail})
}

func hostOf(c *pgx.ConnConfig) string { return fmt.Sprintf("%s:%d", c.Host, c.Port) }

// unreachable says why a connection failed and what to do.
func unreachable(c *pgx.ConnConfig, err error) string {
	var unknown *net.DNSError
	place := hostOf(c)
	switch code(err) {
	case "28P01", "28000":
		return fmt.Sprintf("%s refuses the user %s: %s; check user and password, and pg_hba.conf of the server", place, c.User, reasonOf(err))
	case "3D000":
		return fmt.Sprintf("%s has no database %s; create it and run the migrations of the deployment, or correct the URL", place, c.Database)
	case "42501":
		return fmt.Sprintf("%s may not connect to %s: GRANT CONNECT ON DATABASE %s TO %s", c.User, c.Database, ident(c.Database), ident(c.User))
	case "53300":
		return fmt.Sprintf("%s has no connection left: raise max_connections of the server, or lower --max-connections of the workers", place)
	case "57P03":
		return fmt.Sprintf("%s is starting or stopping; try again", place)
	case "08P01":
		return fmt.Sprintf("%s refuses settings at the start of a session (%s): a pooler must pass on search_path and TimeZone, or connect to PostgreSQL itself", place, reasonOf(err))
	}
	switch {
	case errors.As(err, &unknown):
		return fmt.Sprintf("the host %s is not known; correct the URL or the name service", c.Host)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("%s does not answer; check host, port and firewalls", place)
	}
	return fmt.Sprintf("cannot connect to %s: %s; is PostgreSQL running there?", place, reasonOf(err))
}

// reasonOf is the innermost error: what is around it repeats the connection.
func reasonOf(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Message
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err.Error()
	}
	return err.Error()
}

func ident(name string) string { return pgx.Identifier{name}.Sanitize() }

func (d *diagnosis) version(ctx context.Context) error {
	var number int
	var text string
	var standby bool
	err := d.conn.QueryRow(ctx, `SELECT current_setting('server_version_num')::int, current_setting('server_version'), pg_is_in_recovery()`).
		Scan(&number, &text, &standby)
	switch {
	case err != nil:
		return err
	case number < oldestPostgres:
		d.add("postgresql", Problem, "PostgreSQL %s is too old; at least 15 is needed", text)
	case standby:
		d.add("postgresql", Problem, "PostgreSQL %s is a standby, which takes no changes; connect to the primary", text)
	default:
		d.add("postgresql", Fine, "PostgreSQL %s", text)
	}
	return nil
}

func (d *diagnosis) connections(ctx context.Context) error {
	var most, used int
	wanted, flag := d.o.MaxConnections, "--max-connections"
	if !d.steps {
		wanted, flag = d.o.QueueMaxConnections, "--queue-max-connections"
	}
	wanted = max(wanted, fewestConnections)
	err := d.conn.QueryRow(ctx, `SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
		(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')`).Scan(&most, &used)
	switch {
	case err != nil:
		return err
	case most-used < wanted:
		d.add("connections", Warning, "%d of %d connections are in use, and this worker wants %d: raise max_connections of the server, or lower %s", used, most, wanted, flag)
	default:
		d.add("connections", Fine, "%d of %d in use, this worker wants at most %d", used, most, wanted)
	}
	return nil
}

// session looks at what has become of the settings that every connection asks
// for: poolers may drop them.
func (d *diagnosis) session(ctx context.Context) error {
	var path, zone string
	if err := d.conn.QueryRow(ctx, `SELECT current_setting('search_path'), current_setting('TimeZone')`).Scan(&path, &zone); err != nil {
		return err
	}
	var wrong []string
	if schemas := strings.Split(strings.ReplaceAll(path, " ", ""), ","); len(schemas) < 2 || schemas[0] != "tasker" || schemas[1] != "public" {
		wrong = append(wrong, fmt.Sprintf("search_path is %q instead of tasker, public", path))
	}
	if zone != "UTC" {
		wrong = append(wrong, fmt.Sprintf("TimeZone is %q instead of UTC", zone))
	}
	if len(wrong) > 0 {
		d.add("session", Problem, "%s: something between drops the settings of connections; have the pooler track them, or connect to PostgreSQL itself", strings.Join(wrong, ", "))
		return nil
	}
	// The server asks for no settings: its role's own ones have to do.
	var own string
	err := d.conn.QueryRow(ctx, `SELECT COALESCE((SELECT c FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole,
		unnest(s.setconfig) AS c WHERE r.rolname = current_user AND c LIKE 'search_path=%' LIMIT 1), '')`).Scan(&own)
	if err != nil {
		return err
	}
	if d.user != "tasker" && !strings.Contains(own, "tasker") {
		d.add("session", Warning, `search_path and TimeZone are as wanted here; tasker-server, if it connects as %s too, needs: ALTER ROLE %s SET search_path = tasker, public`, d.user, ident(d.user))
		return nil
	}
	d.add("session", Fine, "search_path %s, TimeZone %s", path, zone)
	return nil
}

// notifications sends itself one: a pooler that lends connections for single
// transactions loses it.
func (d *diagnosis) notifications(ctx context.Context) error {
	const channel = "taskerpy_doctor"
	if _, err := d.conn.Exec(ctx, "LISTEN "+channel); err != nil {
		return err
	}
	if _, err := d.conn.Exec(ctx, `SELECT pg_notify($1, '')`, channel); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if _, err := d.conn.WaitForNotification(limited); err != nil {
		if ctx.Err() == nil && pgconn.Timeout(err) {
			d.add("notifications", Warning, "LISTEN hears nothing: a pooler lends connections for single transactions; connect to PostgreSQL itself, or steps wait for the poll every %s", d.o.Poll)
			return d.reconnect(ctx)
		}
		return err
	}
	d.add("notifications", Fine, "LISTEN hears NOTIFY")
	return nil
}

// reconnect replaces the connection, which a timeout has closed.
func (d *diagnosis) reconnect(ctx context.Context) error {
	conn, err := pgx.ConnectConfig(ctx, d.conn.Config())
	if err != nil {
		return err
	}
	d.conn = conn
	return nil
}

// neededTables are the tables of the schema with what a worker does to them
// (worker-protocol §1.4).
var neededTables = []struct{ name, does string }{
	{"task_namespaces", "SELECT, INSERT, UPDATE"},
	{"named_tasks", "SELECT, INSERT, UPDATE"},
	{"named_steps", "SELECT"},
	{"tasks", "SELECT"},
	{"workflow_steps", "SELECT, UPDATE"},
	{"workflow_step_edges", "SELECT"},
	{"workflow_step_transitions", "SELECT, INSERT, UPDATE"},
	{"task_transitions", "SELECT, INSERT, UPDATE"},
	{"workflow_step_result_audit", "INSERT"},
}

// neededFunctions are those that a worker calls, by schema and name.
var neededFunctions = []string{
	"tasker.pgmq_send_with_notify", "tasker.extract_queue_namespace", "pgmq.send", "pgmq.archive", "pgmq.delete", "pgmq.set_vt", "pgmq.metrics",
}

// present are the names among those asked for that the query finds.
func (d *diagnosis) present(ctx context.Context, query string, names []string) (missing []string, err error) {
	rows, err := d.conn.Query(ctx, query, names)
	if err != nil {
		return nil, err
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if !slices.Contains(found, name) {
			missing = append(missing, name)
		}
	}
	return missing, nil
}

// The catalogues are asked instead of to_regclass, which fails where a schema
// may not be used.
const (
	tablesSQL    = `SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname || '.' || c.relname = ANY($1)`
	functionsSQL = `SELECT DISTINCT n.nspname || '.' || p.proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname || '.' || p.proname = ANY($1)`
)

const runMigrations = "run the migrations of the deployment (those of tasker-server 0.1.8)"

func (d *diagnosis) schema(ctx context.Context) error {
	var tables, functions, there []string
	if d.steps {
		for _, t := range neededTables {
			tables = append(tables, "tasker."+t.name)
		}
		there = append(there, fmt.Sprintf("%d tables", len(tables)))
	}
	if d.messages {
		functions = []string{"tasker.pgmq_send_with_notify", "tasker.extract_queue_namespace"}
		there = append(there, "the functions for messages")
	}
	missing, err := d.present(ctx, tablesSQL, tables)
	if err != nil {
		return err
	}
	gone, err := d.present(ctx, functionsSQL, functions)
	if err != nil {
		return err
	}
	missing = append(missing, gone...)
	switch {
	case len(missing) == len(tables)+len(functions):
		d.add("schema", Problem, "this is not the database of a Tasker deployment: %s, or correct the URL", runMigrations)
	case len(missing) > 0:
		d.add("schema", Problem, "%s missing: %s", strings.Join(missing, ", "), runMigrations)
	default:
		d.add("schema", Fine, "%s are there", strings.Join(there, " and "))
	}
	return nil
}

// The versions of the schema that the protocol is of.
var (
	messageMigrations = []int64{20250810140001, 20250826180921}
	stepMigrations    = []int64{20260110000001, 20260110000002, 20260110000003, 20260120000001, 20260125000001, 20260306000001}
)

// neededMigrations are those that the database must have. It may have the others
// too.
func (d *diagnosis) neededMigrations() (needed []int64) {
	if d.messages {
		needed = append(needed, messageMigrations...)
	}
	if d.steps {
		needed = append(needed, stepMigrations...)
	}
	return needed
}

func (d *diagnosis) migrations(ctx context.Context) error {
	var schema *string
	var readable bool
	err := d.conn.QueryRow(ctx, `SELECT n.nspname, has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relname = '_sqlx_migrations' ORDER BY n.nspname = 'public' DESC LIMIT 1`).Scan(&schema, &readable)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		d.add("migrations", Warning, "not recorded: there is no table _sqlx_migrations, so nobody knows which were run")
		return nil
	case err != nil:
		return err
	case !readable:
		d.add("migrations", Warning, "%s may not read %s._sqlx_migrations, so it is not known which were run", d.user, *schema)
		return nil
	}
	rows, err := d.conn.Query(ctx, `SELECT version, success FROM `+pgx.Identifier{*schema, "_sqlx_migrations"}.Sanitize()+` ORDER BY version`)
	if err != nil {
		return err
	}
	type migration struct {
		Version int64
		Success bool
	}
	run, err := pgx.CollectRows(rows, pgx.RowToStructByPos[migration])
	if err != nil {
		return err
	}
	var missing, failed, newer []string
	done := map[int64]bool{}
	for _, m := range run {
		done[m.Version] = m.Success
		if !m.Success {
			failed = append(failed, fmt.Sprint(m.Version))
		}
		if m.Version > slices.Max(stepMigrations) {
			newer = append(newer, fmt.Sprint(m.Version))
		}
	}
	for _, version := range d.neededMigrations() {
		if _, known := done[version]; !known {
			missing = append(missing, fmt.Sprint(version))
		}
	}
	switch {
	case len(failed) > 0:
		d.add("migrations", Problem, "%s did not succeed: repair the database, then %s", strings.Join(failed, ", "), runMigrations)
	case len(missing) > 0:
		d.add("migrations", Problem, "%s not run: %s", strings.Join(missing, ", "), runMigrations)
	case len(newer) > 0:
		d.add("migrations", Warning, "%s newer than this worker knows: run its tests before you rely on it", strings.Join(newer, ", "))
	default:
		d.add("migrations", Fine, "all %d were run", len(d.neededMigrations()))
	}
	return nil
}

func (d *diagnosis) pgmq(ctx context.Context) error {
	var version *string
	var schema bool
	err := d.conn.QueryRow(ctx, `SELECT (SELECT extversion FROM pg_extension WHERE extname = 'pgmq'),
		EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = 'pgmq')`).Scan(&version, &schema)
	if err != nil {
		return err
	}
	if !schema {
		d.add("pgmq", Problem, "PGMQ is not installed: install it on the server and run CREATE EXTENSION pgmq in this database as a superuser")
		return nil
	}
	missing, err := d.present(ctx, functionsSQL, []string{"pgmq.create", "pgmq.send", "pgmq.archive", "pgmq.delete", "pgmq.set_vt", "pgmq.metrics"})
	if err != nil {
		return err
	}
	switch {
	case len(missing) > 0:
		d.add("pgmq", Problem, "%s missing: install PGMQ 1.5 or later, or run ALTER EXTENSION pgmq UPDATE", strings.Join(missing, ", "))
	case version == nil:
		d.add("pgmq", Fine, "installed without being an extension, so its version is not known")
	case olderThan(*version, oldestPGMQ):
		d.add("pgmq", Problem, "PGMQ %s is too old: install 1.5 or later and run ALTER EXTENSION pgmq UPDATE", *version)
	default:
		d.add("pgmq", Fine, "PGMQ %s", *version)
	}
	return nil
}

func olderThan(version string, least [2]int) bool {
	var major, minor int
	if _, err := fmt.Sscanf(version, "%d.%d", &major, &minor); err != nil {
		return false // not written as versions are: nothing is known against it
	}
	return major < least[0] || major == least[0] && minor < least[1]
}

// uuid calls what the columns' defaults call.
func (d *diagnosis) uuid(ctx context.Context) error {
	var id string
	err := d.conn.QueryRow(ctx, `SELECT uuid_generate_v7()::text`).Scan(&id)
	switch code(err) {
	case "":
		if err != nil {
			return err
		}
		d.add("uuid", Fine, "uuid_generate_v7() works")
	case "42883":
		d.add("uuid", Problem, "%s: on PostgreSQL 18 or with the extension pg_uuidv7 there is one; otherwise create uuidv7() and uuid_generate_v7() in the schema public", reasonOf(err))
	case "42501":
		d.add("uuid", Problem, "%s: GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA tasker, public TO %s", reasonOf(err), ident(d.user))
	default:
		return err
	}
	return nil
}

// queueNames are the queues that a worker with these options needs.
func (d *diagnosis) queueNames() ([]string, error) {
	s := &Source{o: d.o}
	if err := s.chooseQueues(); err != nil {
		return nil, err
	}
	names := []string{d.o.ResultsQueue, d.o.TaskRequestsQueue, d.o.FinalizationsQueue}
	for _, q := range s.queues {
		names = append(names, q.name, eventsQueue(q.namespace), eventsQueue(q.namespace)+"_dlq")
	}
	return names, nil
}

// may tells whether the user has a privilege, given as an SQL expression.
func (d *diagnosis) may(ctx context.Context, expression string, args ...any) (yes bool, err error) {
	err = d.conn.QueryRow(ctx, `SELECT COALESCE(`+expression+`, false)`, args...).Scan(&yes)
	return yes, err
}

func (d *diagnosis) queues(ctx context.Context) error {
	names, err := d.queueNames()
	if err != nil {
		d.add("queues", Problem, "%v", err)
		return nil
	}
	registry, err := d.may(ctx, `(SELECT has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'pgmq' AND c.relname = 'meta')`)
	if err != nil {
		return err
	}
	if !registry {
		d.add("queues", Problem, "%s may not read the list of queues: GRANT USAGE ON SCHEMA pgmq TO %s; GRANT SELECT ON pgmq.meta TO %s", d.user, ident(d.user), ident(d.user))
		return nil
	}
	missing, err := d.present(ctx, `SELECT queue_name FROM pgmq.meta WHERE queue_name = ANY($1)`, names)
	if err != nil {
		return err
	}
	if len(missing) == 0 {
		d.add("queues", Fine, "all %d queues exist", len(names))
		return nil
	}
	create, err := d.may(ctx, `has_schema_privilege('pgmq', 'CREATE') AND has_table_privilege('pgmq.meta', 'INSERT')`)
	if err != nil {
		return err
	}
	if create {
		d.add("queues", Fine, "the worker will create %s", strings.Join(missing, ", "))
		return nil
	}
	var calls []string
	for _, name := range missing {
		calls = append(calls, fmt.Sprintf("pgmq.create('%s')", name))
	}
	d.add("queues", Problem, "%s missing, and %s may not create queues: run SELECT %s as the owner of the schema pgmq, or GRANT CREATE ON SCHEMA pgmq TO %s; GRANT INSERT ON pgmq.meta TO %s",
		strings.Join(missing, ", "), d.user, strings.Join(calls, ", "), ident(d.user), ident(d.user))
	return nil
}

// privilege is one that is asked about.
type privilege struct{ kind, object, does string }

// privileges finds out what the user lacks, of what is there.
func (d *diagnosis) privileges(ctx context.Context) error {
	names, err := d.queueNames()
	if err != nil {
		names = nil // told by queues
	}
	wanted := []privilege{{"schema", "tasker", "USAGE"}}
	if d.messages {
		wanted = append(wanted, privilege{"schema", "pgmq", "USAGE"}, privilege{"table", "pgmq.meta", "SELECT"})
	}
	if d.steps {
		for _, t := range neededTables {
			wanted = append(wanted, privilege{"table", "tasker." + t.name, t.does})
		}
	}
	if d.messages {
		for _, name := range names {
			name = strings.ToLower(name)
			wanted = append(wanted, privilege{"table", "pgmq.q_" + name, "SELECT, INSERT, UPDATE, DELETE"}, privilege{"table", "pgmq.a_" + name, "SELECT, INSERT"},
				privilege{"sequence", "pgmq.q_" + name + "_msg_id_seq", "SELECT"}) // for pgmq.metrics
		}
		for _, f := range neededFunctions {
			wanted = append(wanted, privilege{"function", f, "EXECUTE"})
		}
	}
	var lacking []string
	for _, p := range wanted {
		does, err := d.lacks(ctx, p)
		if err != nil {
			return err
		}
		if len(does) == 0 {
			continue
		}
		on := p.object
		if p.kind != "table" {
			on = strings.ToUpper(p.kind) + " " + on
		}
		lacking = append(lacking, fmt.Sprintf("GRANT %s ON %s TO %s", strings.Join(does, ", "), on, ident(d.user)))
	}
	if len(lacking) > 0 {
		d.add("privileges", Problem, "%s may not do all that a worker does: run %s", d.user, strings.Join(lacking, "; "))
		return nil
	}
	d.add("privileges", Fine, "%s may do all that a worker does", d.user)
	return nil
}

// lacks are the privileges of p that the user does not have; none on what does
// not exist, which other checks tell of.
func (d *diagnosis) lacks(ctx context.Context, p privilege) (does []string, err error) {
	queries := map[string]string{
		"schema": `SELECT has_schema_privilege(oid, $2) FROM pg_namespace WHERE nspname = $1`,
		"table": `SELECT has_table_privilege(c.oid, $2) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
			WHERE n.nspname || '.' || c.relname = $1`,
		"sequence": `SELECT has_sequence_privilege(c.oid, $2) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
			WHERE n.nspname || '.' || c.relname = $1`,
		"function": `SELECT bool_and(has_function_privilege(p.oid, $2)) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
			WHERE n.nspname || '.' || p.proname = $1`,
	}
	for one := range strings.SplitSeq(p.does, ", ") {
		var has *bool
		err := d.conn.QueryRow(ctx, queries[p.kind], p.object, one).Scan(&has)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return nil, err
		}
		if has != nil && !*has {
			does = append(does, one)
		}
	}
	return does, nil
}
