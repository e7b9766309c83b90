// Package config finds out how taskerpy is to run: from flags, then from the
// environment, then from a TOML file, then from a Tasker deployment's own file,
// then from defaults, remembering where each value came from.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// FileName is the file that is read from the working directory when none is
// named.
const FileName = "taskerpy.toml"

// The log formats.
const (
	LogAuto = "auto"
	LogText = "text"
	LogJSON = "json"
)

// What may happen to tasks that stay too long in one state.
const (
	StalenessOff  = "off"
	StalenessWarn = "warn"
	StalenessAct  = "act"
)

// Auth says how clients of the HTTP server are known. Without keys of either
// kind nobody is asked.
type Auth struct {
	Keys             string   // file of API keys with permissions
	APIKey           string   // one that may do everything
	APIKeys          []APIKey // of a deployment's file
	KeyHeader        string   // carries an API key
	PublicKey        string   // file of the key that tokens are checked with, or the key itself, see IsPEM
	JWKSURL          string   // of the keys that tokens are checked with
	Issuer, Audience string   // of tokens
	Strict           bool     // refuse tokens with permissions that do not exist
}

// Config is the effective configuration.
type Config struct {
	Handlers  []string // files, directories and dotted module names
	Templates []string // files and directories; empty: found beside the handlers
	Python    string   // a virtualenv's folder or a python; "": found, see embed.FindPython

	Listen       string   // HOST:PORT of the HTTP server
	AllowedHosts []string // further names under which clients may address it on loopback

	Auth Auth

	Data        string        // path of the SQLite file, or ":memory:"
	Keep        time.Duration // how long finished tasks stay; 0: for ever
	Staleness   string        // StalenessOff, StalenessWarn or StalenessAct
	Concurrency int           // steps inside handlers at once
	Strict      bool          // refuse input that does not match input_schema
	Environment string        // see Overrides; "" is none
	WorkerID    string        // "": host name and process id
	// SwitchInterval is how long a thread may hold the GIL while others wait;
	// 0 keeps Python's own.
	SwitchInterval time.Duration
	DrainTimeout   time.Duration // how long running steps may take to finish at exit

	LogFormat string // LogAuto, LogText or LogJSON
	LogLevel  slog.Level
	Progress  string // a progress.Mode

	// DatabaseURL is the PostgreSQL of a Tasker deployment, for a worker of
	// it. The embedded engine keeps its tasks in Data. What follows is for a
	// worker of a deployment, which CheckDeployment must have accepted.
	DatabaseURL       string
	Namespaces        []string // empty: those of all templates
	VisibilityTimeout time.Duration
	PollInterval      time.Duration
	BatchSize         int
	MaxConnections    int
	MaxResultSize     int           // bytes
	MessageRetention  string        // RetainArchive or RetainDelete
	HandlerTimeout    time.Duration // of steps without timeout_seconds; 0: none

	ResultsQueue, TaskRequestsQueue, FinalizationsQueue string

	MessagingBackend string // only PGMQ will do
	QueueDatabaseURL string // "" is DatabaseURL; see QueuesApart
	// QueueMaxConnections are to QueueDatabaseURL; 0: MaxConnections.
	QueueMaxConnections int
	// QueueUpkeep is of QueueDatabaseURL; what is zero is as in Upkeep.
	Upkeep, QueueUpkeep Upkeep

	WorkerType     string
	ConfigEndpoint bool // serve /config
	Orchestration  OrchestrationClient

	// File is the configuration file that was read, "" for none; TaskerFile is
	// that of the deployment.
	File, TaskerFile string

	origins map[string]Origin
}

// Origin tells where a value came from, for people: "--listen",
// "TASKER_LISTEN", "taskerpy.toml:3", "tasker.toml:worker.worker_id", "default".
type Origin string

// Default is the Origin of what nobody set.
const Default Origin = "default"

// Origin tells where the value of the setting with this key came from.
func (c *Config) Origin(key string) Origin {
	if o, ok := c.origins[key]; ok {
		return o
	}
	return Default
}

// Overrides is the environment whose overrides of templates apply, "" for none.
// TASKER_ENV by itself only names where this runs: it is set in deployments,
// which do not apply overrides (engine-semantics §1.5).
func (c *Config) Overrides() string {
	if c.DatabaseURL != "" || strings.HasSuffix(string(c.Origin("environment")), "TASKER_ENV") {
		return ""
	}
	return c.Environment
}

// Sources are what Load reads.
type Sources struct {
	// Flags are those given on the command line.
	Flags *Flags
	// Env looks up an environment variable; nil means os.Getenv.
	Env func(string) string
	// Dotenv, when not nil, was applied to the environment.
	Dotenv *Dotenv
	// Dir is the working directory, "" the process's own.
	Dir string
	// File is the TOML file to read. "" means TASKER_CONFIG, else FileName in
	// Dir if there is one.
	File string
}

// Load puts the configuration together. Its errors are of the user's input:
// one line that names the flag, variable or file:line at fault.
func Load(s Sources) (*Config, error) {
	if s.Env == nil {
		s.Env = os.Getenv
	}
	c := &Config{origins: map[string]Origin{}}
	file, err := s.file()
	if err != nil {
		return nil, err
	}
	if file != nil {
		c.File = file.path
	}
	tasker, err := s.taskerFile()
	if err != nil {
		return nil, err
	}
	if tasker != nil {
		c.TaskerFile = tasker.path
	}
	for i := range settings {
		if err := c.settle(&settings[i], s, file, tasker); err != nil {
			return nil, err
		}
	}
	tasker.readWeb(c)
	if err := tasker.readAuth(c); err != nil {
		return nil, err
	}
	return c, nil
}

// settle gives one setting its value: that of the first source that has one.
func (c *Config) settle(s *Setting, from Sources, file *document, tasker *taskerFile) error {
	if values := from.Flags.given(s.Key); values != nil {
		place := "--" + s.Flag()
		if s.arguments {
			place = "arguments"
		}
		c.origins[s.Key] = Origin(place)
		return prefixed(place, s.set(c, values))
	}
	for _, v := range s.env {
		text := from.Env(v.name)
		if text == "" {
			continue
		}
		values := v.read(text)
		if len(values) == 0 {
			continue
		}
		place := v.name
		if line := from.Dotenv.place(v.name); line != "" {
			place = line + ": " + place
		}
		c.origins[s.Key] = Origin(place)
		return prefixed(place, s.set(c, values))
	}
	if file != nil {
		if entry, ok := file.entries[s.Key]; ok {
			c.origins[s.Key] = Origin(entry.place)
			values := entry.values
			if s.path {
				values = file.resolve(values, s.arguments)
			}
			return prefixed(entry.place+": "+s.Key, s.set(c, values))
		}
	}
	values, place, err := tasker.of(s)
	if err != nil {
		return err
	}
	if len(values) > 0 {
		c.origins[s.Key] = Origin(place)
		return prefixed(place, s.set(c, values))
	}
	if s.fallback == "" {
		return nil
	}
	return prefixed("default of "+s.Key, s.set(c, []string{s.fallback}))
}

func prefixed(place string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", place, err)
}

// file reads the TOML file; nil when there is none and none was asked for.
func (s Sources) file() (*document, error) {
	path := s.File
	if path == "" {
		path = s.Env("TASKER_CONFIG")
	}
	if path != "" {
		return readDocument(s.Dir, path)
	}
	doc, err := readDocument(s.Dir, FileName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // no file is a fine answer
	}
	return doc, err
}

// inDir makes path relative to dir, the process's working directory when "".
func inDir(dir, path string) string {
	if dir == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}
