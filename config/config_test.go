package config

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
)

// load is Load in an empty folder with this environment and file.
func load(t *testing.T, env map[string]string, file string, args ...string) (*Config, error) {
	t.Helper()
	dir := t.TempDir()
	if file != "" {
		require.NoError(t, os.WriteFile(filepath.Join(dir, FileName), []byte(file), 0o600))
	}
	var flags Flags
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	flags.Register(fs, "templates", "listen", "data", "concurrency", "strict", "drain_timeout", "log_level")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	return Load(Sources{Flags: &flags, Env: func(name string) string { return env[name] }, Dir: dir})
}

func mustLoad(t *testing.T, env map[string]string, file string, args ...string) *Config {
	t.Helper()
	c, err := load(t, env, file, args...)
	require.NoError(t, err)
	return c
}

func TestDefaultsApplyWhereNothingIsSet(t *testing.T) {
	c := mustLoad(t, nil, "")
	require.Equal(t, DefaultListen, c.Listen)
	require.Equal(t, DefaultData, c.Data)
	require.Equal(t, 16, c.Concurrency)
	require.Equal(t, 30*time.Second, c.DrainTimeout)
	require.Equal(t, slog.LevelInfo, c.LogLevel)
	for _, e := range c.Entries() {
		require.Equal(t, Default, e.Origin, e.Key)
	}
}

func TestTheFirstSourceThatHasAValueWins(t *testing.T) {
	file := "listen = \"127.0.0.1:1\"\n"
	env := map[string]string{"TASKER_LISTEN": "127.0.0.1:2"}
	for name, c := range map[string]struct {
		got            *Config
		listen, origin string
	}{
		"file":        {mustLoad(t, nil, file), "127.0.0.1:1", "taskerpy.toml:1"},
		"environment": {mustLoad(t, env, file), "127.0.0.1:2", "TASKER_LISTEN"},
		"flag":        {mustLoad(t, env, file, "--listen", "127.0.0.1:3"), "127.0.0.1:3", "--listen"},
	} {
		require.Equal(t, c.listen, c.got.Listen, name)
		require.EqualValues(t, c.origin, c.got.Origin("listen"), name)
	}
}

func TestVariablesOfTheReferenceAreUnderstood(t *testing.T) {
	c := mustLoad(t, map[string]string{
		"PYTHON_HANDLER_PATH": "/app/handlers", "TASKER_TEMPLATE_PATH": "/a:/b", "TASKER_WEB_BIND_ADDRESS": "0.0.0.0:8081",
		"TASKER_ENV": "production", "TASKER_INSTANCE_ID": "pod-7", "RUST_LOG": "sqlx=warn,debug", "DATABASE_URL": "postgres://db/tasker",
	}, "")
	require.Equal(t, []string{"/app/handlers"}, c.Handlers)
	require.Equal(t, []string{"/a", "/b"}, c.Templates)
	require.Equal(t, "0.0.0.0:8081", c.Listen)
	require.Equal(t, "production", c.Environment)
	require.Equal(t, "pod-7", c.WorkerID)
	require.Equal(t, slog.LevelDebug, c.LogLevel)
	require.Equal(t, "postgres://db/tasker", c.DatabaseURL)
}

func TestWorkspacePathGivesTemplatesOnlyWhereItHasSome(t *testing.T) {
	root := t.TempDir()
	require.Empty(t, mustLoad(t, map[string]string{"WORKSPACE_PATH": root}, "").Templates)
	tasks := filepath.Join(root, "config", "tasks")
	require.NoError(t, os.MkdirAll(tasks, 0o755))
	require.Equal(t, []string{tasks}, mustLoad(t, map[string]string{"WORKSPACE_PATH": root}, "").Templates)
}

func TestRustLogWithoutALevelOfItsOwnIsPassedOver(t *testing.T) {
	c := mustLoad(t, map[string]string{"RUST_LOG": "sqlx=warn"}, "")
	require.Equal(t, slog.LevelInfo, c.LogLevel)
	require.Equal(t, Default, c.Origin("log_level"))
}

func TestAFileMayHoldEverySetting(t *testing.T) {
	c := mustLoad(t, nil, `
handlers = ["handlers.py", "shop.steps"]
templates = ["config/tasks"]
python = ".venv"
listen = "127.0.0.1:9000"
allowed_hosts = ["proxy"]
data = ":memory:"
keep = "30d"
staleness = "act"
auth_keys = "keys.toml"
auth_api_key = "sesame"
auth_key_header = "X-Key"
auth_public_key = "public.pem"
auth_jwks_url = "https://idp/keys"
auth_issuer = "idp"
auth_audience = "shop"
auth_strict = true
concurrency = 4
strict = true
environment = "test"
worker_id = "w"
switch_interval = "1ms"
drain_timeout = 5
log_format = "json"
log_level = "debug"
progress = "plain"
database_url = "postgres://db/x"
namespace = ["shop", "stock"]
visibility_timeout = 45
poll_interval = "500ms"
batch_size = 50
max_connections = 10
max_result_size = "8MiB"
message_retention = "delete"
handler_timeout = "2m"
results_queue = "results"
task_requests_queue = "requests"
finalizations_queue = "finalizations"
messaging_backend = "pgmq"
queue_database_url = "postgres://db/x"
queue_max_connections = 11
worker_type = "batch"
config_endpoint = false
orchestration_url = "http://tasker:8080"
orchestration_token = "jwt"
orchestration_api_key = "key"
orchestration_key_header = "X-Orchestration-Key"
orchestration_timeout = "10s"
min_connections = 2
connection_idle_timeout = "4m"
connection_lifetime = "20m"
slow_acquire = "50ms"
queue_min_connections = 1
queue_connection_idle_timeout = "3m"
queue_connection_lifetime = "10m"
queue_slow_acquire = "70ms"
`)
	require.Equal(t, []string{"handlers.py", "shop.steps"}, c.Handlers)
	require.True(t, c.Strict)
	require.Equal(t, time.Millisecond, c.SwitchInterval)
	require.Equal(t, 5*time.Second, c.DrainTimeout, "a number is of seconds")
	require.Equal(t, 30*24*time.Hour, c.Keep)
	require.Equal(t, Auth{
		Keys: "keys.toml", APIKey: "sesame", KeyHeader: "X-Key", PublicKey: "public.pem", JWKSURL: "https://idp/keys", Issuer: "idp", Audience: "shop", Strict: true,
	}, c.Auth)
	require.Equal(t, []string{"shop", "stock"}, c.Namespaces)
	require.Equal(t, 45*time.Second, c.VisibilityTimeout)
	require.Equal(t, 500*time.Millisecond, c.PollInterval)
	require.Equal(t, 50, c.BatchSize)
	require.Equal(t, 10, c.MaxConnections)
	require.Equal(t, 11, c.QueueMaxConnections)
	require.Equal(t, Upkeep{Min: 2, IdleTimeout: 4 * time.Minute, Lifetime: 20 * time.Minute, SlowAcquire: 50 * time.Millisecond}, c.Upkeep)
	require.Equal(t, Upkeep{Min: 1, IdleTimeout: 3 * time.Minute, Lifetime: 10 * time.Minute, SlowAcquire: 70 * time.Millisecond}, c.QueueUpkeep)
	require.Equal(t, 8<<20, c.MaxResultSize)
	require.Equal(t, RetainDelete, c.MessageRetention)
	require.Equal(t, 2*time.Minute, c.HandlerTimeout)
	require.Equal(t, []string{"results", "requests", "finalizations"}, []string{c.ResultsQueue, c.TaskRequestsQueue, c.FinalizationsQueue})
	require.Equal(t, "batch", c.WorkerType)
	require.False(t, c.ConfigEndpoint)
	require.Equal(t, OrchestrationClient{
		URL: "http://tasker:8080", Token: "jwt", APIKey: "key", KeyHeader: "X-Orchestration-Key", Timeout: 10 * time.Second,
	}, c.Orchestration)
	for i, e := range c.Entries() {
		require.Contains(t, string(e.Origin), FileName, "entry %d, %s", i, e.Key)
	}
}

func TestPathsInAFileElsewhereAreRelativeToIt(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "etc", "steps"), 0o755))
	file := filepath.Join(dir, "etc", "worker.toml")
	require.NoError(t, os.WriteFile(file, []byte(`
handlers = ["steps", "shop.steps"]
data = "tasks.db"
templates = ["/srv/templates"]
`), 0o600))
	c, err := Load(Sources{Env: func(string) string { return "" }, File: file})
	require.NoError(t, err)
	require.Equal(t, []string{filepath.Join(dir, "etc", "steps"), "shop.steps"}, c.Handlers)
	require.Equal(t, filepath.Join(dir, "etc", "tasks.db"), c.Data)
	require.Equal(t, []string{"/srv/templates"}, c.Templates)
}

func TestMistakesInAFileAreToldWithTheirPlace(t *testing.T) {
	for file, want := range map[string]string{
		"data = \"x\"\nconcurency = 3\n":   `taskerpy.toml:2: unknown key "concurency"; did you mean "concurrency"?`,
		"log-level = \"info\"\n":           `taskerpy.toml:1: unknown key "log-level"; did you mean "log_level"?`,
		"\n[server]\nlisten = \"x\"\n":     `taskerpy.toml:2: unknown key "server"; there are handlers, `,
		"concurrency = \"many\"\n":         `taskerpy.toml:1: concurrency: "many" is not a whole number from 1 to 4096`,
		"concurrency = 1.5\n":              `taskerpy.toml:1: concurrency: "1.5" is not a whole number from 1 to 4096`,
		"listen = [\"a:1\", \"b:2\"]\n":    `taskerpy.toml:1: listen: want one value`,
		"[data]\npath = \"x\"\n":           `taskerpy.toml:1: data: want a value, not a table`,
		"data = 2026-01-01\n":              `taskerpy.toml:1: data: want a text or a number`,
		"data = \"x\"\nlisten =\n":         `taskerpy.toml:2:9: `,
		"data = \"x\"\ndata = \"y\"\n":     `taskerpy.toml:2:1: `,
		"templates = [[\"a\"], [\"b\"]]\n": `taskerpy.toml:1: templates: want a list of texts, not of lists`,
	} {
		_, err := load(t, nil, file)
		require.ErrorContains(t, err, want, file)
		require.NotContains(t, err.Error(), "\n", file)
	}
}

func TestMistakesInVariablesNameTheVariable(t *testing.T) {
	for name, value := range map[string]string{
		"TASKER_LISTEN": "8083", "TASKER_CONCURRENCY": "0", "TASKER_STRICT": "perhaps", "TASKER_DRAIN_TIMEOUT": "soon",
		"TASKER_LOG_FORMAT": "xml", "TASKER_LOG_LEVEL": "loud", "TASKER_PROGRESS": "bar",
	} {
		_, err := load(t, map[string]string{name: value}, "")
		require.ErrorContains(t, err, name+": "+`"`+value+`" is `)
	}
}

func TestFlagsAreCheckedAtOnce(t *testing.T) {
	_, err := load(t, nil, "", "--concurrency", "-1")
	require.ErrorContains(t, err, `"-1" is not a whole number from 1 to 4096`)
}

func TestAFlagThatMayBeRepeatedCollects(t *testing.T) {
	c := mustLoad(t, map[string]string{"TASKER_TEMPLATE_PATH": "/other"}, "", "--templates", "a", "--templates", "b")
	require.Equal(t, []string{"a", "b"}, c.Templates)
}

func TestABooleanFlagNeedsNoValue(t *testing.T) {
	require.True(t, mustLoad(t, nil, "", "--strict").Strict)
	require.False(t, mustLoad(t, map[string]string{"TASKER_STRICT": "true"}, "", "--strict=false").Strict)
}

func TestANamedFileMustExist(t *testing.T) {
	_, err := Load(Sources{Env: func(string) string { return "" }, Dir: t.TempDir(), File: "no.toml"})
	require.ErrorContains(t, err, "no.toml: no such file")
}

func TestTheFileMayBeNamedByAVariable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mine.toml")
	require.NoError(t, os.WriteFile(file, []byte("concurrency = 3\n"), 0o600))
	c := mustLoad(t, map[string]string{"TASKER_CONFIG": file}, "concurrency = 4\n")
	require.Equal(t, 3, c.Concurrency)
	require.Equal(t, file, c.File)
}

func TestSecretsAreMasked(t *testing.T) {
	for url, want := range map[string]string{
		"postgres://db.example/tasker":                               "postgres://db.example/tasker",
		"postgres://ada:lovelace@db.example:5432/tasker":             "postgres://ada:*****@db.example:5432/tasker",
		"postgres://db/tasker?sslmode=require&password=lovelace":     "postgres://db/tasker?sslmode=require&password=*****",
		"host=db user=ada password=lovelace":                         "*****",
		"postgres://ada:love%zzlace@db/tasker":                       "*****",
		"postgres://ada:lovelace@/tasker?host=/run/postgresql&key=1": "postgres://ada:*****@/tasker?host=/run/postgresql&key=*****",
	} {
		c := mustLoad(t, map[string]string{"DATABASE_URL": url}, "")
		require.Equal(t, url, c.DatabaseURL)
		var shown any
		for _, e := range c.Entries() {
			if e.Key == "database_url" {
				shown = e.Value
			}
		}
		require.Equal(t, want, shown)
	}
}

func TestEverySettingIsCompletelyDescribed(t *testing.T) {
	for _, s := range Settings() {
		require.NotEmpty(t, s.Env(), s.Key)
		if !s.arguments {
			require.NotEmpty(t, s.Usage, s.Key)
		}
	}
}

func TestTheTimeToKeepTasksMayBeInDaysAndWeeks(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"30d": 30 * 24 * time.Hour, "2w": 14 * 24 * time.Hour, "12h": 12 * time.Hour, "1h30m": 90 * time.Minute,
	} {
		require.Equal(t, want, mustLoad(t, map[string]string{"TASKER_KEEP": text}, "").Keep)
	}
	for _, text := range []string{"30", "d", "-1d", "0d", "1.5d", "a month", "9999999999d", "200000d"} {
		_, err := load(t, map[string]string{"TASKER_KEEP": text}, "")
		require.ErrorContains(t, err, `TASKER_KEEP: "`+text+`" is not a time to keep something; write for instance 30d`)
	}
}

func TestTheServersAPIKeyIsHidden(t *testing.T) {
	c := mustLoad(t, map[string]string{"TASKER_SERVER_API_KEY": "sesame"}, "")
	require.Equal(t, "sesame", c.Auth.APIKey)
	for _, e := range c.Entries() {
		require.NotEqual(t, "sesame", e.Value)
	}
}

func TestNobodyIsAskedWhoTheyAreByDefault(t *testing.T) {
	c := mustLoad(t, nil, "")
	require.Equal(t, Auth{KeyHeader: "X-API-Key", Issuer: "tasker-core", Audience: "tasker-api"}, c.Auth)
	require.Zero(t, c.Keep)
	require.Equal(t, StalenessOff, c.Staleness)
}
