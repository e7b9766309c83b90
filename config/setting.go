package config

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Limits and defaults.
const (
	DefaultListen       = "127.0.0.1:8083"
	DefaultData         = ".taskerpy/taskerpy.db"
	DefaultDrainTimeout = 30 * time.Second

	// Each lane is an OS thread with its own Python stack.
	maxConcurrency = 4096
)

// Setting describes one setting: its key in files, its flag and variables.
type Setting struct {
	Key   string
	Usage string // for --help; the value's name in backquotes

	env       []variable
	fallback  string      // text of the default; "" is the zero value
	list      bool        // may be given more than once
	path      bool        // in a file, relative to the file's folder
	arguments bool        // a command's arguments instead of a flag; may name modules
	tasker    []taskerKey // in a deployment's file; the first one that says something wins

	set  func(c *Config, values []string) error
	show func(c *Config) any // the value as config prints it
}

// Flag is the setting's flag, without the dashes.
func (s *Setting) Flag() string { return strings.ReplaceAll(s.Key, "_", "-") }

// Env lists the variables that the setting is read from, the first one set
// wins.
func (s *Setting) Env() []string {
	names := make([]string, len(s.env))
	for i, v := range s.env {
		names[i] = v.name
	}
	return names
}

// variable is an environment variable. read turns its text into values, nil
// if the variable does not concern the setting after all.
type variable struct {
	name string
	read func(text string) []string
}

func env(names ...string) []variable {
	out := make([]variable, len(names))
	for i, name := range names {
		out[i] = variable{name, func(text string) []string { return []string{text} }}
	}
	return out
}

func commaList(text string) []string { return present(strings.Split(text, ",")) }

func envList(name string) variable {
	return variable{name, func(text string) []string { return present(filepath.SplitList(text)) }}
}

// present leaves out what is blank.
func present(values []string) []string {
	return slices.DeleteFunc(values, func(v string) bool { return strings.TrimSpace(v) == "" })
}

// settings are all there are, in the order in which config prints them. It is
// never changed.
var settings = slices.Concat(commonSettings, deploymentSettings,
	upkeepSettings("", "common.database.pool", "PostgreSQL", func(c *Config) *Upkeep { return &c.Upkeep }),
	upkeepSettings("queue_", "common.pgmq_database.pool", "a queue database", func(c *Config) *Upkeep { return &c.QueueUpkeep }))

// commonSettings are those that do not need a deployment. It is never changed.
var commonSettings = []Setting{
	{
		Key: "handlers", list: true, path: true, arguments: true, env: []variable{envList("PYTHON_HANDLER_PATH")},
		set:  func(c *Config, v []string) error { c.Handlers = v; return nil },
		show: func(c *Config) any { return c.Handlers },
	},
	{
		Key: "templates", Usage: "read templates from the file or folder `DIR`; may be repeated (default: beside the handlers)",
		list: true, path: true, env: []variable{envList("TASKER_TEMPLATE_PATH"), {"WORKSPACE_PATH", workspaceTemplates}},
		set:  func(c *Config, v []string) error { c.Templates = v; return nil },
		show: func(c *Config) any { return c.Templates },
	},
	{
		Key: "python", Usage: "virtualenv `DIR` or a python (default: VIRTUAL_ENV, else .venv beside the handlers or here)",
		path: true, env: env("TASKER_PYTHON"),
		set:  text(func(c *Config) *string { return &c.Python }, nil),
		show: func(c *Config) any { return c.Python },
	},
	{
		Key: "listen", Usage: "`HOST:PORT` of the HTTP server", fallback: DefaultListen,
		env:    env("TASKER_LISTEN", "TASKER_WEB_BIND_ADDRESS"),
		tasker: append([]taskerKey{{"worker.web.enabled", withoutWeb}}, keysOf("worker.web.bind_address")...),
		set:    text(func(c *Config) *string { return &c.Listen }, address),
		show:   func(c *Config) any { return c.Listen },
	},
	{
		Key: "allowed_hosts", Usage: "accept the host `NAME` too for a server on loopback; may be repeated", list: true,
		env:  []variable{{"TASKER_ALLOWED_HOSTS", commaList}},
		set:  func(c *Config, v []string) error { c.AllowedHosts = v; return nil },
		show: func(c *Config) any { return c.AllowedHosts },
	},
	{
		Key: "data", Usage: "keep tasks in the SQLite file `PATH`, or in :memory:", fallback: DefaultData,
		path: true, env: env("TASKER_DATA"),
		set:  text(func(c *Config) *string { return &c.Data }, nil),
		show: func(c *Config) any { return c.Data },
	},
	{
		Key: "keep", Usage: "delete tasks `DURATION` after they were finished, for instance 30d (default: never)",
		env:  env("TASKER_KEEP"),
		set:  days(func(c *Config) *time.Duration { return &c.Keep }),
		show: func(c *Config) any { return orEmpty(c.Keep) },
	},
	{
		Key: "staleness", Usage: "when tasks stay too long in one state, do `WHAT`: off, warn, or act, which puts them to error and in the dead-letter queue",
		fallback: StalenessOff, env: env("TASKER_STALENESS"),
		set:  text(func(c *Config) *string { return &c.Staleness }, oneOf(StalenessOff, StalenessWarn, StalenessAct)),
		show: func(c *Config) any { return c.Staleness },
	},
	{
		Key: "concurrency", Usage: "let at most `N` steps be inside handlers at once", fallback: "16",
		env:    env("TASKER_CONCURRENCY"),
		tasker: []taskerKey{{"worker.mpsc_channels.handler_dispatch.max_concurrent_handlers", within(1, maxConcurrency, plain)}},
		set:    setConcurrency,
		show:   func(c *Config) any { return c.Concurrency },
	},
	{
		Key: "strict", Usage: "refuse task input that does not match the template's input_schema",
		env: env("TASKER_STRICT"), set: truth(func(c *Config) *bool { return &c.Strict }),
		show: func(c *Config) any { return c.Strict },
	},
	{
		Key: "environment", Usage: "run in the environment `NAME`, with the templates' overrides for it (TASKER_ENV: without)",
		env:  env("TASKER_ENV"),
		set:  text(func(c *Config) *string { return &c.Environment }, nil),
		show: func(c *Config) any { return c.Environment },
	},
	{
		Key: "worker_id", Usage: "`NAME` of this process in results (default: host name and process id)",
		env:    env("TASKER_WORKER_ID", "TASKER_INSTANCE_ID"),
		tasker: keysOf("worker.worker_id"),
		set:    text(func(c *Config) *string { return &c.WorkerID }, nil),
		show:   func(c *Config) any { return c.WorkerID },
	},
	{
		Key: "switch_interval", Usage: "let a Python thread hold the GIL for `DURATION` while others wait (default: Python's own, 5ms)",
		env:  env("TASKER_SWITCH_INTERVAL"),
		set:  duration(func(c *Config) *time.Duration { return &c.SwitchInterval }),
		show: func(c *Config) any { return orEmpty(c.SwitchInterval) },
	},
	{
		Key: "drain_timeout", Usage: "let running steps finish for `DURATION` at exit", fallback: DefaultDrainTimeout.String(),
		env:  env("TASKER_DRAIN_TIMEOUT"),
		set:  duration(func(c *Config) *time.Duration { return &c.DrainTimeout }),
		show: func(c *Config) any { return c.DrainTimeout.String() },
	},
	{
		Key: "log_format", Usage: "write logs and handlers' output as `FORMAT`: text, json, or auto, which is json without a terminal and --task", fallback: LogAuto,
		env:  env("TASKER_LOG_FORMAT"),
		set:  text(func(c *Config) *string { return &c.LogFormat }, oneOf(LogAuto, LogText, LogJSON)),
		show: func(c *Config) any { return c.LogFormat },
	},
	{
		Key: "log_level", Usage: "show logs from `LEVEL` on: trace, debug, info, warn or error", fallback: "info",
		env: append(env("TASKER_LOG_LEVEL", "LOG_LEVEL"), variable{"RUST_LOG", rustLevel}), set: setLogLevel,
		show: func(c *Config) any { return levelName(c.LogLevel) },
	},
	{
		Key: "progress", Usage: "show a task's progress in `MODE`: auto, plain, live or none", fallback: "auto",
		env:  env("TASKER_PROGRESS"),
		set:  text(func(c *Config) *string { return &c.Progress }, oneOf("auto", "plain", "live", "none")),
		show: func(c *Config) any { return c.Progress },
	},
	{
		Key: "auth_keys", Usage: "ask clients for an API key of the TOML `FILE`, with the permissions that it gives",
		path: true, env: env("TASKER_AUTH_KEYS"),
		set:  text(func(c *Config) *string { return &c.Auth.Keys }, nil),
		show: func(c *Config) any { return c.Auth.Keys },
	},
	{
		Key: "auth_api_key", Usage: "ask clients for the API key `SECRET`, which may do everything",
		env:    env("TASKER_SERVER_API_KEY"),
		tasker: []taskerKey{{taskerAuth + ".api_key", ofAPIKey}},
		set:    text(func(c *Config) *string { return &c.Auth.APIKey }, nil),
		show:   func(c *Config) any { return hidden(c.Auth.APIKey) },
	},
	{
		Key: "auth_key_header", Usage: "`NAME` of the header that carries an API key", fallback: "X-API-Key",
		env:    env("TASKER_AUTH_KEY_HEADER"),
		tasker: []taskerKey{{taskerAuth + ".api_key_header", ofAuth}},
		set:    text(func(c *Config) *string { return &c.Auth.KeyHeader }, nil),
		show:   func(c *Config) any { return c.Auth.KeyHeader },
	},
	{
		Key: "auth_public_key", Usage: "ask clients for a JSON Web Token signed with the private key of the PEM `FILE`",
		path: true, env: env("TASKER_AUTH_PUBLIC_KEY"),
		tasker: []taskerKey{{taskerAuth + ".jwt_public_key_path", ofPublicKey}, {taskerAuth + ".jwt_public_key", ofPublicKey}},
		set:    text(func(c *Config) *string { return &c.Auth.PublicKey }, nil),
		show: func(c *Config) any {
			if IsPEM(c.Auth.PublicKey) {
				return "(PEM)"
			}
			return c.Auth.PublicKey
		},
	},
	{
		Key: "auth_jwks_url", Usage: "ask clients for a JSON Web Token signed with a key of the JSON Web Key Set at `URL`",
		env:    env("TASKER_AUTH_JWKS_URL"),
		tasker: []taskerKey{{taskerAuth + ".jwks_url", ofJWKS}},
		set:    text(func(c *Config) *string { return &c.Auth.JWKSURL }, nil),
		show:   func(c *Config) any { return masked(c.Auth.JWKSURL) },
	},
	{
		Key: "auth_issuer", Usage: "`ISSUER` that tokens must name", fallback: "tasker-core",
		env:    env("TASKER_AUTH_ISSUER"),
		tasker: []taskerKey{{taskerAuth + ".jwt_issuer", ofAuth}},
		set:    text(func(c *Config) *string { return &c.Auth.Issuer }, nil),
		show:   func(c *Config) any { return c.Auth.Issuer },
	},
	{
		Key: "auth_audience", Usage: "`AUDIENCE` that tokens must name", fallback: "tasker-api",
		env:    env("TASKER_AUTH_AUDIENCE"),
		tasker: []taskerKey{{taskerAuth + ".jwt_audience", ofAuth}},
		set:    text(func(c *Config) *string { return &c.Auth.Audience }, nil),
		show:   func(c *Config) any { return c.Auth.Audience },
	},
	{
		Key: "auth_strict", Usage: "refuse tokens with a permission that does not exist",
		env: env("TASKER_AUTH_STRICT"), tasker: []taskerKey{{taskerAuth + ".strict_validation", ofAuth}},
		set:  truth(func(c *Config) *bool { return &c.Auth.Strict }),
		show: func(c *Config) any { return c.Auth.Strict },
	},
}

// Settings lists all settings.
func Settings() []Setting { return slices.Clone(settings) }

func setting(key string) *Setting {
	for i := range settings {
		if settings[i].Key == key {
			return &settings[i]
		}
	}
	return nil
}

func keys() []string {
	names := make([]string, len(settings))
	for i := range settings {
		names[i] = settings[i].Key
	}
	return names
}

// text makes a setter of a field that holds text.
func text(field func(*Config) *string, check func(string) error) func(*Config, []string) error {
	return func(c *Config, values []string) error {
		value, err := single(values)
		if err == nil && check != nil {
			err = check(value)
		}
		if err == nil {
			*field(c) = value
		}
		return err
	}
}

func single(values []string) (string, error) {
	if len(values) != 1 || values[0] == "" {
		return "", errors.New("want one value")
	}
	return values[0], nil
}

func oneOf(words ...string) func(string) error {
	return func(value string) error {
		if slices.Contains(words, value) {
			return nil
		}
		return fmt.Errorf("%q is none of %s", value, strings.Join(words, ", "))
	}
}

func address(value string) error {
	_, port, err := net.SplitHostPort(value)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return fmt.Errorf("%q is not an address; write HOST:PORT, for instance %s", value, DefaultListen)
	}
	return nil
}

func setConcurrency(c *Config, values []string) error {
	value, err := single(values)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 || n > maxConcurrency {
		return fmt.Errorf("%q is not a whole number from 1 to %d", value, maxConcurrency)
	}
	c.Concurrency = n
	return nil
}

// truth makes a setter of a field that holds a bool.
func truth(field func(*Config) *bool) func(*Config, []string) error {
	return func(c *Config, values []string) error {
		value, err := single(values)
		if err != nil {
			return err
		}
		b, err := strconv.ParseBool(value)
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", value)
		}
		*field(c) = b
		return nil
	}
}

// duration makes a setter of a field that holds a duration; a bare number is
// of seconds.
func duration(field func(*Config) *time.Duration) func(*Config, []string) error {
	return func(c *Config, values []string) error {
		value, err := single(values)
		if err != nil {
			return err
		}
		d, err := time.ParseDuration(value)
		if err != nil {
			d, err = time.ParseDuration(value + "s")
		}
		if err != nil || d < 0 {
			return fmt.Errorf("%q is not a duration; write for instance 500ms, 30s or 5m", value)
		}
		*field(c) = d
		return nil
	}
}

// days is duration that also knows days and weeks, and no bare numbers: 30
// seconds would be a strange time to keep something.
func days(field func(*Config) *time.Duration) func(*Config, []string) error {
	return func(c *Config, values []string) error {
		value, err := single(values)
		if err != nil {
			return err
		}
		d, err := time.ParseDuration(value)
		for unit, length := range map[string]time.Duration{"d": 24 * time.Hour, "w": 7 * 24 * time.Hour} {
			if number, ok := strings.CutSuffix(value, unit); ok {
				var n int64
				if n, err = strconv.ParseInt(number, 10, 32); err == nil && n > int64(math.MaxInt64/length) {
					err = strconv.ErrRange
				}
				d = time.Duration(n) * length
			}
		}
		if err != nil || d <= 0 {
			return fmt.Errorf("%q is not a time to keep something; write for instance 30d, 2w or 12h", value)
		}
		*field(c) = d
		return nil
	}
}

// levels are the names of log levels, of which trace is below debug.
var levels = []struct {
	name  string
	level slog.Level
}{
	{"trace", slog.LevelDebug - 4}, {"debug", slog.LevelDebug}, {"info", slog.LevelInfo}, {"warn", slog.LevelWarn}, {"error", slog.LevelError},
}

func setLogLevel(c *Config, values []string) error {
	value, err := single(values)
	if err != nil {
		return err
	}
	names := make([]string, 0, len(levels))
	for _, l := range levels {
		if strings.EqualFold(value, l.name) || l.level == slog.LevelWarn && strings.EqualFold(value, "warning") {
			c.LogLevel = l.level
			return nil
		}
		names = append(names, l.name)
	}
	return fmt.Errorf("%q is none of %s", value, strings.Join(names, ", "))
}

func levelName(level slog.Level) string {
	for _, l := range levels {
		if l.level == level {
			return l.name
		}
	}
	return level.String()
}

// rustLevel takes the level out of directives such as "info,sqlx=warn": the
// one that is not bound to a module.
func rustLevel(directives string) []string {
	for d := range strings.SplitSeq(directives, ",") {
		d = strings.TrimSpace(d)
		if setLogLevel(new(Config), []string{d}) == nil {
			return []string{d}
		}
	}
	return nil
}

// workspaceTemplates is where a project of the reference keeps its templates.
func workspaceTemplates(root string) []string {
	dir := filepath.Join(root, "config", "tasks")
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil
	}
	return []string{dir}
}
