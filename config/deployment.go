package config

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// What becomes of the messages of steps that are done.
const (
	RetainArchive = "archive" // moved to the queue's archive table, as the published worker does
	RetainDelete  = "delete"
)

// PGMQ is the only messaging backend that there is.
const PGMQ = "pgmq"

// Limits of the settings of a deployment.
const (
	minVisibility = 3 * time.Second
	maxVisibility = 12 * time.Hour
	minPoll       = 10 * time.Millisecond
	maxPoll       = 10 * time.Minute

	maxBatch       = 10_000
	maxConnections = 1000

	minResultSize = 1 << 10
	maxResultSize = 256 << 20 // what PostgreSQL's jsonb takes
)

// OrchestrationClient says how the clients in handlers reach the
// orchestration API of a deployment.
type OrchestrationClient struct {
	URL       string
	Token     string // of "Authorization: Bearer"
	APIKey    string
	KeyHeader string // carries APIKey
	Timeout   time.Duration
}

var ofVisibility = within(int(minVisibility.Seconds()), int(maxVisibility.Seconds()), seconds)

// Upkeep says how connections to a database are kept. What is zero is what the
// database's URL says, or usual.
type Upkeep struct {
	Min         int           // stay open although nothing uses them
	IdleTimeout time.Duration // after which one that is not used is closed
	Lifetime    time.Duration // after which one is closed
	SlowAcquire time.Duration // a wait for one that counts as long
}

// upkeepSettings are those of an Upkeep, whose keys in a deployment's file are in
// a table. Those with a prefix are by default what the others are.
func upkeepSettings(prefix, table, database string, field func(*Config) *Upkeep) []Setting {
	setting := func(key, usage, usual string, from taskerKey) Setting {
		if prefix != "" {
			usual = key
		}
		from.path = table + "." + from.path
		return Setting{
			Key: prefix + key, Usage: fmt.Sprintf(usage, database) + " (default: " + usual + ")",
			env: env("TASKER_" + strings.ToUpper(prefix+key)), tasker: []taskerKey{from},
		}
	}
	length := func(s Setting, of func(*Upkeep) *time.Duration) Setting {
		s.set = duration(func(c *Config) *time.Duration { return of(field(c)) })
		s.show = func(c *Config) any { return orEmpty(*of(field(c))) }
		return s
	}
	fewest := setting("min_connections", "keep at least `N` connections to %s open", "as many as are used", taskerKey{"min_connections", plain})
	fewest.set = whole(func(c *Config) *int { return &field(c).Min }, 0, maxConnections)
	fewest.show = func(c *Config) any { return orEmpty(field(c).Min) }
	return []Setting{
		fewest,
		length(setting("connection_idle_timeout", "close a connection to %s that nothing has used for `DURATION`", "30m", taskerKey{"idle_timeout_seconds", seconds}),
			func(u *Upkeep) *time.Duration { return &u.IdleTimeout }),
		length(setting("connection_lifetime", "close a connection to %s after `DURATION`", "1h", taskerKey{"max_lifetime_seconds", seconds}),
			func(u *Upkeep) *time.Duration { return &u.Lifetime }),
		length(setting("slow_acquire", "count waits for a connection to %s of `DURATION` and longer", "100ms", taskerKey{"slow_acquire_threshold_ms", millis}),
			func(u *Upkeep) *time.Duration { return &u.SlowAcquire }),
	}
}

// deploymentSettings are those of a worker of a Tasker deployment. It is never
// changed.
var deploymentSettings = []Setting{
	{
		Key: "database_url", Usage: "work for the Tasker deployment with the PostgreSQL at `URL`",
		env:    env("DATABASE_URL"),
		tasker: keysOf("common.database.url"),
		set:    text(func(c *Config) *string { return &c.DatabaseURL }, nil),
		show:   func(c *Config) any { return masked(c.DatabaseURL) },
	},
	{
		Key: "namespace", Usage: "claim only steps of the namespace `NAME`; may be repeated (default: those of all templates)",
		list: true, env: []variable{{"TASKER_NAMESPACES", commaList}},
		set:  func(c *Config, v []string) error { c.Namespaces = v; return nil },
		show: func(c *Config) any { return c.Namespaces },
	},
	{
		Key: "visibility_timeout", Usage: "let other workers take over the steps of a dead one after `DURATION`", fallback: "30s",
		env: env("TASKER_VISIBILITY_TIMEOUT"),
		tasker: []taskerKey{
			{"worker.event_systems.worker.timing.visibility_timeout_seconds", ofVisibility},
			{"worker.event_systems.worker.metadata.fallback_poller.visibility_timeout_seconds", ofVisibility},
			{"common.queues.default_visibility_timeout_seconds", ofVisibility},
		},
		set:  durationWithin(func(c *Config) *time.Duration { return &c.VisibilityTimeout }, minVisibility, maxVisibility),
		show: func(c *Config) any { return c.VisibilityTimeout.String() },
	},
	{
		Key: "poll_interval", Usage: "look for steps every `DURATION` even without a notification", fallback: "2s",
		env: env("TASKER_POLL_INTERVAL"),
		tasker: []taskerKey{
			{"worker.event_systems.worker.metadata.fallback_poller.polling_interval_ms", millis},
			{"worker.event_systems.worker.timing.fallback_polling_interval_seconds", seconds},
		},
		set:  durationWithin(func(c *Config) *time.Duration { return &c.PollInterval }, minPoll, maxPoll),
		show: func(c *Config) any { return c.PollInterval.String() },
	},
	{
		Key: "batch_size", Usage: "claim and complete at most `N` steps in one statement", fallback: "256",
		env:    env("TASKER_BATCH_SIZE"),
		tasker: keysOf("worker.event_systems.worker.metadata.fallback_poller.batch_size", "worker.event_systems.worker.processing.batch_size"),
		set:    whole(func(c *Config) *int { return &c.BatchSize }, 1, maxBatch),
		show:   func(c *Config) any { return c.BatchSize },
	},
	{
		Key: "max_connections", Usage: "open at most `N` connections to PostgreSQL, but three at least, one of them for notifications", fallback: "5",
		env:    env("TASKER_MAX_CONNECTIONS"),
		tasker: keysOf("common.database.pool.max_connections"),
		set:    whole(func(c *Config) *int { return &c.MaxConnections }, 1, maxConnections),
		show:   func(c *Config) any { return c.MaxConnections },
	},
	{
		Key: "max_result_size", Usage: "fail steps whose result is larger than `SIZE` (default: 32MiB in a deployment, else 256MiB)",
		env:  env("TASKER_MAX_RESULT_SIZE"),
		set:  size(func(c *Config) *int { return &c.MaxResultSize }, minResultSize, maxResultSize),
		show: func(c *Config) any { return sizeText(c.MaxResultSize) },
	},
	{
		Key: "message_retention", Usage: "`WHAT` becomes of the messages of steps that are done: archive or delete", fallback: RetainArchive,
		env:  env("TASKER_MESSAGE_RETENTION"),
		set:  text(func(c *Config) *string { return &c.MessageRetention }, oneOf(RetainArchive, RetainDelete)),
		show: func(c *Config) any { return c.MessageRetention },
	},
	{
		Key: "handler_timeout", Usage: "end steps of a deployment without timeout_seconds after `DURATION` (default: never)",
		env:    env("TASKER_HANDLER_TIMEOUT"),
		tasker: []taskerKey{{"worker.mpsc_channels.handler_dispatch.handler_timeout_ms", millis}},
		set:    duration(func(c *Config) *time.Duration { return &c.HandlerTimeout }),
		show:   func(c *Config) any { return orEmpty(c.HandlerTimeout) },
	},
	{
		Key: "results_queue", Usage: "`NAME` of the queue that tasker-server reads results from", fallback: "orchestration_step_results",
		env:    env("TASKER_RESULTS_QUEUE"),
		tasker: keysOf("common.queues.orchestration_queues.step_results"),
		set:    text(func(c *Config) *string { return &c.ResultsQueue }, nil),
		show:   func(c *Config) any { return c.ResultsQueue },
	},
	{
		Key: "task_requests_queue", Usage: "`NAME` of the queue that tasker-server reads requests for tasks from", fallback: "orchestration_task_requests",
		env:    env("TASKER_TASK_REQUESTS_QUEUE"),
		tasker: keysOf("common.queues.orchestration_queues.task_requests"),
		set:    text(func(c *Config) *string { return &c.TaskRequestsQueue }, nil),
		show:   func(c *Config) any { return c.TaskRequestsQueue },
	},
	{
		Key: "finalizations_queue", Usage: "`NAME` of the queue that tasker-server finishes tasks by", fallback: "orchestration_task_finalizations",
		env:    env("TASKER_FINALIZATIONS_QUEUE"),
		tasker: keysOf("common.queues.orchestration_queues.task_finalizations"),
		set:    text(func(c *Config) *string { return &c.FinalizationsQueue }, nil),
		show:   func(c *Config) any { return c.FinalizationsQueue },
	},
	{
		Key: "messaging_backend", Usage: "`NAME` of what carries messages: only pgmq is supported", fallback: PGMQ,
		env:    env("TASKER_MESSAGING_BACKEND"),
		tasker: keysOf("common.queues.backend"),
		set:    text(func(c *Config) *string { return &c.MessagingBackend }, nil),
		show:   func(c *Config) any { return c.MessagingBackend },
	},
	{
		Key: "queue_database_url", Usage: "`URL` of the PostgreSQL with the deployment's queues (default: that of --database-url)",
		env:    env("PGMQ_DATABASE_URL"),
		tasker: keysOf("common.pgmq_database.url"),
		set:    text(func(c *Config) *string { return &c.QueueDatabaseURL }, nil),
		show:   func(c *Config) any { return masked(c.QueueDatabaseURL) },
	},
	{
		Key: "queue_max_connections", Usage: "open at most `N` connections to a --queue-database-url (default: --max-connections)",
		env:    env("TASKER_QUEUE_MAX_CONNECTIONS"),
		tasker: keysOf("common.pgmq_database.pool.max_connections"),
		set:    whole(func(c *Config) *int { return &c.QueueMaxConnections }, 1, maxConnections),
		show:   func(c *Config) any { return orEmpty(c.QueueMaxConnections) },
	},
	{
		Key: "worker_type", Usage: "`WORD` that /config shows as the worker's type", fallback: "general",
		env:    env("TASKER_WORKER_TYPE"),
		tasker: keysOf("worker.worker_type"),
		set:    text(func(c *Config) *string { return &c.WorkerType }, nil),
		show:   func(c *Config) any { return c.WorkerType },
	},
	{
		Key: "config_endpoint", Usage: "serve /config", fallback: "true",
		env:    env("TASKER_CONFIG_ENDPOINT"),
		tasker: keysOf("worker.web.config_endpoint_enabled"),
		set:    truth(func(c *Config) *bool { return &c.ConfigEndpoint }),
		show:   func(c *Config) any { return c.ConfigEndpoint },
	},
	{
		Key: "orchestration_url", Usage: "`URL` of the deployment's orchestration API, for clients in handlers", fallback: "http://localhost:8080",
		env:    env("TASKER_ORCHESTRATION_URL"),
		tasker: keysOf("worker.orchestration_client.base_url"),
		set:    text(func(c *Config) *string { return &c.Orchestration.URL }, webAddress),
		show:   func(c *Config) any { return masked(c.Orchestration.URL) },
	},
	{
		Key: "orchestration_token", Usage: "`TOKEN` for the orchestration API",
		env:    env("TASKER_ORCHESTRATION_AUTH_TOKEN", "TASKER_AUTH_TOKEN"),
		tasker: []taskerKey{{"worker.orchestration_client.auth.token", plain}},
		set:    text(func(c *Config) *string { return &c.Orchestration.Token }, nil),
		show:   func(c *Config) any { return hidden(c.Orchestration.Token) },
	},
	{
		Key: "orchestration_api_key", Usage: "API key `SECRET` for the orchestration API",
		env:    env("TASKER_API_KEY"),
		tasker: []taskerKey{{"worker.orchestration_client.auth.key", plain}},
		set:    text(func(c *Config) *string { return &c.Orchestration.APIKey }, nil),
		show:   func(c *Config) any { return hidden(c.Orchestration.APIKey) },
	},
	{
		Key: "orchestration_key_header", Usage: "`NAME` of the header that carries the API key to the orchestration API", fallback: "X-API-Key",
		env:    env("TASKER_API_KEY_HEADER"),
		tasker: keysOf("worker.orchestration_client.auth.header_name"),
		set:    text(func(c *Config) *string { return &c.Orchestration.KeyHeader }, nil),
		show:   func(c *Config) any { return c.Orchestration.KeyHeader },
	},
	{
		Key: "orchestration_timeout", Usage: "wait `DURATION` for the orchestration API", fallback: "30s",
		env:    []variable{{"TASKER_ORCHESTRATION_TIMEOUT_MS", func(text string) []string { return []string{text + "ms"} }}},
		tasker: []taskerKey{{"worker.orchestration_client.timeout_ms", millis}},
		set:    duration(func(c *Config) *time.Duration { return &c.Orchestration.Timeout }),
		show:   func(c *Config) any { return c.Orchestration.Timeout.String() },
	},
}

// CheckDeployment tells whether this is the configuration of a deployment that
// taskerpy can work for. The error is of the user's input, in one line.
func (c *Config) CheckDeployment() error {
	if c.MessagingBackend != PGMQ {
		return fmt.Errorf("%s: the messaging backend %q is not supported: only PGMQ is; set it to %q on server and workers",
			c.Origin("messaging_backend"), c.MessagingBackend, PGMQ)
	}
	return nil
}

// QueuesApart is the URL of the database with the queues where that is another
// one than the database with the tasks, else "".
func (c *Config) QueuesApart() string {
	if c.QueueDatabaseURL == "" || sameDatabase(c.DatabaseURL, c.QueueDatabaseURL) {
		return ""
	}
	return c.QueueDatabaseURL
}

// sameDatabase tells whether two URLs lead to one database, whoever connects.
func sameDatabase(a, b string) bool {
	if a == b {
		return true
	}
	place := func(text string) (string, bool) {
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
			return "", false
		}
		host, port := u.Hostname(), u.Port()
		if q := u.Query(); host == "" && q.Has("host") {
			host, port = q.Get("host"), q.Get("port")
		}
		if port == "" {
			port = "5432"
		}
		if host == "" || host == "127.0.0.1" || host == "::1" {
			host = "localhost"
		}
		return strings.ToLower(host) + ":" + port + u.Path, true
	}
	placeA, okA := place(a)
	placeB, okB := place(b)
	return okA && okB && placeA == placeB
}

func webAddress(value string) error {
	u, err := url.Parse(value)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("%q is not the address of an API; write it as http://localhost:8080", value)
	}
	return nil
}

// whole makes a setter of a field that holds a whole number.
func whole(field func(*Config) *int, least, most int) func(*Config, []string) error {
	return func(c *Config, values []string) error {
		value, err := single(values)
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(value)
		if err != nil || n < least || n > most {
			return fmt.Errorf("%q is not a whole number from %d to %d", value, least, most)
		}
		*field(c) = n
		return nil
	}
}

// durationWithin is duration with limits.
func durationWithin(field func(*Config) *time.Duration, least, most time.Duration) func(*Config, []string) error {
	set := duration(field)
	return func(c *Config, values []string) error {
		if err := set(c, values); err != nil {
			return err
		}
		if d := *field(c); d < least || d > most {
			return fmt.Errorf("%q is not from %s to %s", values[0], least, most)
		}
		return nil
	}
}

// sizeUnits are tried in this order; the first one that divides a size shows it.
var sizeUnits = []struct {
	name  string
	bytes int
}{{"MiB", 1 << 20}, {"KiB", 1 << 10}, {"MB", 1_000_000}, {"KB", 1000}, {"B", 1}}

// size makes a setter of a field that holds a number of bytes.
func size(field func(*Config) *int, least, most int) func(*Config, []string) error {
	return func(c *Config, values []string) error {
		value, err := single(values)
		if err != nil {
			return err
		}
		number, factor := value, 1
		for _, unit := range sizeUnits {
			if rest, ok := strings.CutSuffix(value, unit.name); ok {
				number, factor = strings.TrimSpace(rest), unit.bytes
				break
			}
		}
		n, err := strconv.Atoi(number)
		if err != nil || n < 1 || n > most/factor || n*factor < least {
			return fmt.Errorf("%q is not a size from %s to %s; write for instance 8MiB", value, sizeText(least), sizeText(most))
		}
		*field(c) = n * factor
		return nil
	}
}

// sizeText is a size as it may be written, "" for none.
func sizeText(n int) string {
	for _, unit := range sizeUnits {
		if n > 0 && n%unit.bytes == 0 {
			return strconv.Itoa(n/unit.bytes) + unit.name
		}
	}
	return ""
}
