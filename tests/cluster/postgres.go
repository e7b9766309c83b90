package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// StopMode is how PostgreSQL is told to stop.
type StopMode syscall.Signal

const (
	// Fast ends every connection, rolls back what runs, and shuts down in order.
	Fast = StopMode(syscall.SIGINT)
	// Immediate is like a crash: the next start recovers from the log.
	Immediate = StopMode(syscall.SIGQUIT)
)

// postgres is a PostgreSQL with its data in folder/data.
type postgres struct {
	program  string
	folder   string
	as       *owner
	port     int
	database string // one to connect to for finding out that it runs
	process  *process

	environment []string // what it has besides the usual
}

func (p *postgres) log() string { return filepath.Join(p.folder, "postgres.log") }

// configure writes what options say into the data folder, where ALTER SYSTEM can
// change it.
func (p *postgres) configure(options Options) error {
	settings := map[string]string{
		"fsync":           "on",
		"log_statement":   "none",
		"log_line_prefix": "%m [%p] %a: ",
		"lc_messages":     "C",
		"max_connections": "200",
	}
	if options.NoSync {
		settings["fsync"] = "off"
	}
	if options.LogStatements {
		settings["log_statement"] = "all"
	}
	maps.Copy(settings, options.Postgres)
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&text, "%s = '%s'\n", name, strings.ReplaceAll(settings[name], "'", "''"))
	}
	path := filepath.Join(p.folder, "data", "postgresql.auto.conf")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		return fmt.Errorf("configure PostgreSQL: %w", err)
	}
	return nil
}

// start returns when it can be connected to. Settings are name=value.
func (p *postgres) start(ctx context.Context, settings ...string) error {
	arguments := []string{"-D", filepath.Join(p.folder, "data")}
	for _, setting := range append([]string{
		"listen_addresses=127.0.0.1",
		"port=" + strconv.Itoa(p.port),
		"unix_socket_directories=",
	}, settings...) {
		arguments = append(arguments, "-c", setting)
	}
	command := exec.Command(p.program, arguments...)
	command.Dir = p.folder
	command.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "TZ=UTC"}
	command.Env = append(command.Env, p.environment...)
	process, err := launch("PostgreSQL", command, p.log(), p.as)
	if err != nil {
		return err
	}
	p.process = process
	err = until(ctx, process, func(ctx context.Context) error {
		conn, err := p.connect(ctx, p.database)
		if err != nil {
			return err
		}
		return conn.Close(ctx)
	})
	if err != nil {
		process.kill()
		return fmt.Errorf("%w\n%s", err, tail(p.log()))
	}
	return nil
}

func (p *postgres) stop(mode StopMode) error {
	return p.process.stop(syscall.Signal(mode), patience)
}

func (p *postgres) url(database string) string {
	address := url.URL{
		Scheme: "postgresql",
		User:   url.UserPassword(role, password),
		Host:   "127.0.0.1:" + strconv.Itoa(p.port),
		Path:   "/" + database,
	}
	return address.String()
}

func (p *postgres) connect(ctx context.Context, database string) (*pgx.Conn, error) {
	conn, err := pgx.Connect(ctx, p.url(database))
	if err != nil {
		return nil, fmt.Errorf("connect to PostgreSQL on port %d: %w", p.port, err)
	}
	return conn, nil
}

// until asks again and again whether a process that was started is ready.
func until(ctx context.Context, process *process, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-process.exited:
			return fmt.Errorf("%s ended while starting: %w", process.name, process.ending())
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("%s did not get ready: %w", process.name, ctx.Err()), err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// tail is the end of a log.
func tail(file string) string {
	const most = 16 << 10
	text, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	if len(text) > most {
		return "…" + string(text[len(text)-most:])
	}
	return string(text)
}
