package config

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// shipped is what a deployment's file has with the values that it ships with.
const shipped = `
[common._docs.database]
description = "not for programs"
[common.database]
url = "${DATABASE_URL:-postgresql://localhost/tasker}"
[common.database.pool]
max_connections = 25
min_connections = 5
acquire_timeout_seconds = 10
idle_timeout_seconds = 300
max_lifetime_seconds = 1800
slow_acquire_threshold_ms = 90
[common.pgmq_database]
url = "${PGMQ_DATABASE_URL:-}"
[common.queues]
backend = "${TASKER_MESSAGING_BACKEND:-pgmq}"
default_visibility_timeout_seconds = 30
[common.queues.rabbitmq]
url = "${RABBITMQ_URL:-amqp://guest:guest@localhost:5672/%2F}"
[common.queues.orchestration_queues]
task_requests = "orchestration_task_requests"
task_finalizations = "orchestration_task_finalizations"
step_results = "orchestration_step_results"
[orchestration.web]
bind_address = "0.0.0.0:8080"
[worker]
worker_id = "worker-default-001"
worker_type = "general"
[worker.event_systems.worker.timing]
visibility_timeout_seconds = 31
[worker.event_systems.worker.processing]
batch_size = 21
[worker.event_systems.worker.metadata.fallback_poller]
polling_interval_ms = 1000
batch_size = 20
visibility_timeout_seconds = 32
[worker.mpsc_channels.handler_dispatch]
max_concurrent_handlers = 10
handler_timeout_ms = 30000
[worker.orchestration_client]
base_url = "http://tasker:8080"
timeout_ms = 20000
[worker.orchestration_client.auth]
type = "api_key"
key = "sesame"
header_name = "X-Key"
[worker.web]
enabled = true
bind_address = "${TASKER_WEB_BIND_ADDRESS:-0.0.0.0:8081}"
config_endpoint_enabled = false
[worker.web.auth]
enabled = false
jwt_issuer = "tasker-worker"
jwt_audience = "worker-api"
jwt_public_key_path = "${TASKER_JWT_PUBLIC_KEY_PATH:-}"
api_key_header = "X-API-Key"
`

// deployment is Load with a deployment's file of this text.
func deployment(t *testing.T, env map[string]string, text string) (*Config, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "tasker.toml")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	all := map[string]string{TaskerFileVariable: file}
	for name, value := range env {
		all[name] = value
	}
	return load(t, all, "")
}

func mustDeploy(t *testing.T, env map[string]string, text string) *Config {
	t.Helper()
	c, err := deployment(t, env, text)
	require.NoError(t, err)
	return c
}

func TestTheFileOfADeploymentConfiguresItsWorker(t *testing.T) {
	c := mustDeploy(t, nil, shipped)
	require.Equal(t, "postgresql://localhost/tasker", c.DatabaseURL)
	require.Equal(t, 25, c.MaxConnections)
	require.Equal(t, Upkeep{Min: 5, IdleTimeout: 5 * time.Minute, Lifetime: 30 * time.Minute, SlowAcquire: 90 * time.Millisecond}, c.Upkeep)
	require.Zero(t, c.QueueUpkeep)
	require.Equal(t, 31*time.Second, c.VisibilityTimeout)
	require.Equal(t, time.Second, c.PollInterval)
	require.Equal(t, 20, c.BatchSize)
	require.Equal(t, 10, c.Concurrency)
	require.Equal(t, 30*time.Second, c.HandlerTimeout)
	require.Equal(t, "0.0.0.0:8081", c.Listen)
	require.Equal(t, "worker-default-001", c.WorkerID)
	require.Equal(t, "general", c.WorkerType)
	require.False(t, c.ConfigEndpoint)
	require.Equal(t, OrchestrationClient{URL: "http://tasker:8080", APIKey: "sesame", KeyHeader: "X-Key", Timeout: 20 * time.Second}, c.Orchestration)
	require.Empty(t, c.QueueDatabaseURL)
	require.NoError(t, c.CheckDeployment())
	require.Equal(t, Auth{KeyHeader: "X-API-Key", Issuer: "tasker-core", Audience: "tasker-api"}, c.Auth, "auth is not enabled")
}

func TestAValueOfADeploymentsFileNamesItsKey(t *testing.T) {
	c := mustDeploy(t, nil, shipped)
	require.Equal(t, Origin(c.TaskerFile+":worker.mpsc_channels.handler_dispatch.max_concurrent_handlers"), c.Origin("concurrency"))
	require.Equal(t, Origin(c.TaskerFile+":common.database.url"), c.Origin("database_url"))
	require.Equal(t, Default, c.Origin("max_result_size"))
}

func TestADeploymentsFileComesAfterOurOwn(t *testing.T) {
	dir := t.TempDir()
	tasker := filepath.Join(dir, "tasker.toml")
	require.NoError(t, os.WriteFile(tasker, []byte(shipped), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, FileName), []byte("concurrency = 4\nbatch_size = 9\n"), 0o600))
	env := map[string]string{TaskerFileVariable: "tasker.toml", "TASKER_BATCH_SIZE": "7"}
	c, err := Load(Sources{Env: func(name string) string { return env[name] }, Dir: dir})
	require.NoError(t, err)
	require.Equal(t, 4, c.Concurrency)
	require.Equal(t, 7, c.BatchSize)
	require.Equal(t, 25, c.MaxConnections)
}

func TestVariablesAreSubstituted(t *testing.T) {
	c := mustDeploy(t, map[string]string{"TASKER_WEB_BIND_ADDRESS": ""}, `
[worker]
worker_id = "w-${TASKER_INSTANCE_ID:-1}"
[worker.web]
bind_address = "${TASKER_WEB_BIND_ADDRESS:-127.0.0.1:9}"
`)
	require.Equal(t, "127.0.0.1:9", c.Listen)
	require.Equal(t, "w-1", c.WorkerID)
}

func TestAVariableWithoutValueAndDefaultLeavesTheSettingAlone(t *testing.T) {
	c := mustDeploy(t, nil, "[common.database]\nurl = \"${DATABASE_URL}\"\n")
	require.Empty(t, c.DatabaseURL)
	require.Equal(t, Default, c.Origin("database_url"))
}

func TestMistakesInADeploymentsFileNameItsKey(t *testing.T) {
	for text, want := range map[string]string{
		"[common.database]\nurl = \"${HOME}\"\n":                                       ":common.database.url: the variable HOME is not one that may be used: DATABASE_URL, ",
		"[worker.web]\nbind_address = \"${TASKER_INSTANCE_PORT}\"\n":                   ":worker.web.bind_address: the value of the variable TASKER_INSTANCE_PORT does not look like one: it must match ",
		"[worker.mpsc_channels.handler_dispatch]\nmax_concurrent_handlers = \"few\"\n": `:worker.mpsc_channels.handler_dispatch.max_concurrent_handlers: "few" is not a whole number from 1 to 4096`,
		"[common.queues]\nbackend = [\"a\", \"b\"]\n":                                  ":common.queues.backend: want one value",
		"[common\n": ":1:8: ",
	} {
		_, err := deployment(t, map[string]string{"TASKER_INSTANCE_PORT": "a b"}, text)
		require.ErrorContains(t, err, want, text)
		require.NotContains(t, err.Error(), "\n", text)
	}
}

func TestADeploymentsFileThatIsNamedMustExist(t *testing.T) {
	_, err := load(t, map[string]string{TaskerFileVariable: "no.toml"}, "")
	require.ErrorContains(t, err, "TASKER_CONFIG_PATH: read the deployment's configuration: open ")
}

func TestOnlyPGMQIsSupported(t *testing.T) {
	c := mustDeploy(t, map[string]string{"DATABASE_URL": "postgres://db/tasker"}, "[common.queues]\nbackend = \"rabbitmq\"\n")
	require.ErrorContains(t, c.CheckDeployment(), `tasker.toml:common.queues.backend: the messaging backend "rabbitmq" is not supported: only PGMQ is`)
	c = mustLoad(t, map[string]string{"TASKER_MESSAGING_BACKEND": "rabbitmq"}, "")
	require.ErrorContains(t, c.CheckDeployment(), `TASKER_MESSAGING_BACKEND: the messaging backend "rabbitmq" is not supported`)
}

func TestTheQueuesMayBeInADatabaseOfTheirOwn(t *testing.T) {
	for _, same := range []string{"postgres://ada:1@db/tasker", "postgresql://bob@db:5432/tasker?sslmode=disable", ""} {
		c := mustLoad(t, map[string]string{"DATABASE_URL": "postgres://ada:1@db/tasker", "PGMQ_DATABASE_URL": same}, "")
		require.Empty(t, c.QueuesApart(), same)
	}
	for _, other := range []string{"postgres://ada:1@db/queues", "postgres://ada:1@db2/tasker", "postgres://ada:1@db:5433/tasker"} {
		c := mustLoad(t, map[string]string{"DATABASE_URL": "postgres://ada:1@db/tasker", "PGMQ_DATABASE_URL": other}, "")
		require.NoError(t, c.CheckDeployment())
		require.Equal(t, other, c.QueuesApart())
	}
	c := mustDeploy(t, map[string]string{"DATABASE_URL": "postgres://db/tasker"}, "[common.pgmq_database]\nurl = \"postgres://db/queues\"\n")
	require.Equal(t, "postgres://db/queues", c.QueuesApart())
}

func TestAQueueDatabaseMayHaveAPoolOfAnotherSize(t *testing.T) {
	require.Zero(t, mustDeploy(t, nil, "[common.database.pool]\nmax_connections = 9\n").QueueMaxConnections)
	c := mustDeploy(t, nil, "[common.database.pool]\nmax_connections = 9\n[common.pgmq_database.pool]\nmax_connections = 15\nmin_connections = 3\n")
	require.Equal(t, 9, c.MaxConnections)
	require.Equal(t, 15, c.QueueMaxConnections)
	require.Equal(t, Upkeep{Min: 3}, c.QueueUpkeep)
	require.Equal(t, Origin(c.TaskerFile+":common.pgmq_database.pool.max_connections"), c.Origin("queue_max_connections"))
}

func TestAWorkerWithoutWebIsOutOfReach(t *testing.T) {
	c := mustDeploy(t, nil, "[worker.web]\nenabled = false\nbind_address = \"0.0.0.0:8081\"\n")
	require.Equal(t, "127.0.0.1:0", c.Listen)
}

func TestClientsAreAskedAsADeploymentsFileSays(t *testing.T) {
	c := mustDeploy(t, map[string]string{"TASKER_JWT_PUBLIC_KEY_PATH": "/etc/tasker/public.pem"}, `
[worker.web.auth]
enabled = true
jwt_issuer = "tasker-worker"
jwt_audience = "worker-api"
jwt_public_key_path = "${TASKER_JWT_PUBLIC_KEY_PATH:-}"
strict_validation = true
api_key_header = "X-Worker-Key"
api_keys_enabled = true
[[worker.web.auth.api_keys]]
key = "sesame"
description = "dashboard"
permissions = ["worker:config_read", "templates:*"]
`)
	require.Equal(t, Auth{
		PublicKey: "/etc/tasker/public.pem", Issuer: "tasker-worker", Audience: "worker-api", Strict: true, KeyHeader: "X-Worker-Key",
		APIKeys: []APIKey{{Key: "sesame", Description: "dashboard", Permissions: []string{"worker:config_read", "templates:*"}}},
	}, c.Auth)
}

func TestAPublicKeyMayBeInTheEnvironment(t *testing.T) {
	const pem = "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----\n"
	c := mustDeploy(t, map[string]string{"TASKER_JWT_PUBLIC_KEY": pem}, "[worker.web.auth]\nenabled = true\n")
	require.Equal(t, pem, c.Auth.PublicKey)
	require.True(t, IsPEM(c.Auth.PublicKey))
	require.EqualValues(t, "TASKER_JWT_PUBLIC_KEY", c.Origin("auth_public_key"))
}

func TestKeysOfTokensMayComeFromAURL(t *testing.T) {
	c := mustDeploy(t, nil, "[worker.web.auth]\nenabled = true\njwt_verification_method = \"jwks\"\njwks_url = \"https://idp/keys\"\n")
	require.Equal(t, "https://idp/keys", c.Auth.JWKSURL)
	require.Contains(t, string(c.Origin("auth_jwks_url")), "tasker.toml:worker.web.auth.jwks_url")
}

// Leaving out what is not supported would let everybody in.
func TestAuthThatNobodyCouldPassIsRefused(t *testing.T) {
	for _, nothing := range []string{"", "api_keys_enabled = true\n", "jwt_verification_method = \"public_key\"\njwks_url = \"https://idp/keys\"\n"} {
		_, err := deployment(t, nil, "[worker.web.auth]\nenabled = true\n"+nothing)
		require.ErrorContains(t, err, "nothing says whom to let in: set jwt_public_key_path", nothing)
	}
}

func TestTheOneKeyForEverythingCountsWhereThereIsNoListOfKeys(t *testing.T) {
	const one = "[worker.web.auth]\nenabled = true\napi_key = \"sesame\"\n"
	require.Equal(t, "sesame", mustDeploy(t, nil, one).Auth.APIKey)
	c := mustDeploy(t, nil, one+"api_keys_enabled = true\n[[worker.web.auth.api_keys]]\nkey = \"listed\"\n")
	require.Empty(t, c.Auth.APIKey)
	require.Equal(t, []APIKey{{Key: "listed"}}, c.Auth.APIKeys)
}

func TestTokensAreVerifiedInTheWayThatTheFileNames(t *testing.T) {
	const both = "[worker.web.auth]\nenabled = true\njwt_public_key_path = \"/public.pem\"\njwks_url = \"https://idp/keys\"\n"
	environment := map[string]string{"TASKER_JWT_PUBLIC_KEY_PATH": "/other.pem"}
	for text, want := range map[string]Auth{
		both: {PublicKey: "/public.pem"},
		both + "jwt_verification_method = \"public_key\"\n": {PublicKey: "/public.pem"},
		both + "jwt_verification_method = \"jwks\"\n":       {JWKSURL: "https://idp/keys"},
	} {
		c := mustDeploy(t, environment, text)
		require.Equal(t, want, Auth{PublicKey: c.Auth.PublicKey, JWKSURL: c.Auth.JWKSURL}, text)
	}
}

func TestTokensAreVerifiedStrictlyUnlessTheFileSaysOtherwise(t *testing.T) {
	const enabled = "[worker.web.auth]\nenabled = true\napi_key = \"sesame\"\n"
	require.True(t, mustDeploy(t, nil, enabled).Auth.Strict)
	require.False(t, mustDeploy(t, nil, enabled+"strict_validation = false\n").Auth.Strict)
	require.False(t, mustDeploy(t, map[string]string{"TASKER_AUTH_STRICT": "false"}, enabled).Auth.Strict)
	require.False(t, mustDeploy(t, nil, "").Auth.Strict)
}

// Files of deployments have that variable in them, so it is set although the
// server is not wanted.
func TestAServerThatTheFileTurnsOffIsOutOfReach(t *testing.T) {
	const off = "[worker.web]\nenabled = false\nbind_address = \"${TASKER_WEB_BIND_ADDRESS:-0.0.0.0:8081}\"\n"
	c := mustDeploy(t, map[string]string{"TASKER_WEB_BIND_ADDRESS": "0.0.0.0:8083"}, off)
	require.Equal(t, "127.0.0.1:0", c.Listen)
	require.EqualValues(t, c.TaskerFile+":worker.web.enabled", c.Origin("listen"))
	require.Equal(t, "0.0.0.0:8084", mustDeploy(t, map[string]string{"TASKER_LISTEN": "0.0.0.0:8084"}, off).Listen)
}

func TestValuesThatTaskerAllowsAreTakenAsFarAsTheyGo(t *testing.T) {
	c := mustDeploy(t, nil, "[worker.event_systems.worker.timing]\nvisibility_timeout_seconds = 1\n[worker.mpsc_channels.handler_dispatch]\nmax_concurrent_handlers = 10000\n")
	require.Equal(t, 3*time.Second, c.VisibilityTimeout)
	require.Equal(t, 4096, c.Concurrency)
}

func TestSizesHaveUnits(t *testing.T) {
	for text, want := range map[string]int{"4096": 4096, "8MiB": 8 << 20, "100 KB": 100_000, "256MiB": 256 << 20} {
		require.Equal(t, want, mustLoad(t, map[string]string{"TASKER_MAX_RESULT_SIZE": text}, "").MaxResultSize, text)
	}
	for _, text := range []string{"1", "257MiB", "8GiB", "many", "-1", "9999999999999MiB"} {
		_, err := load(t, map[string]string{"TASKER_MAX_RESULT_SIZE": text}, "")
		require.ErrorContains(t, err, `TASKER_MAX_RESULT_SIZE: "`+text+`" is not a size from 1KiB to 256MiB`)
	}
}

func TestTimesOfADeploymentHaveLimits(t *testing.T) {
	for name, value := range map[string]string{"TASKER_VISIBILITY_TIMEOUT": "1s", "TASKER_POLL_INTERVAL": "1ms"} {
		_, err := load(t, map[string]string{name: value}, "")
		require.ErrorContains(t, err, name+`: "`+value+`" is not from `)
	}
}
