package cluster

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	_ "embed" // the stand-in for uuidv7()
	"encoding/hex"
	"errors"
	"fmt"
	"io"
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

const (
	role     = "tasker" // so that the default search_path finds the schema
	password = "tasker-secret"
	database = "tasker"
	// patience bounds waiting for a part that is well to start or to stop.
	patience = time.Minute
)

// Functions that PostgreSQL has from 18 on; worker-protocol.md §1.1.
//
//go:embed uuidv7.sql
var uuidv7 string

// template returns a data folder with everything in it, to be copied. It is
// made once and then kept in the cache folder.
func template(ctx context.Context, parts Parts, as *owner) (string, error) {
	key, err := templateKey(ctx, parts)
	if err != nil {
		return "", err
	}
	path := filepath.Join(parts.Cache, "postgres-"+key)
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	work, err := as.folder("")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	data, err := makeTemplate(ctx, parts, as, work)
	if err != nil {
		return "", fmt.Errorf("make a database for tests: %w", err)
	}
	// A copy that was interrupted has another name.
	unfinished := path + ".new"
	if err := os.RemoveAll(unfinished); err != nil {
		return "", err
	}
	if err := (*owner)(nil).copyTree(data, unfinished); err != nil {
		return "", err
	}
	return path, os.Rename(unfinished, path)
}

// templateKey is another one whenever a template would be.
func templateKey(ctx context.Context, parts Parts) (string, error) {
	hash := sha256.New()
	version, err := exec.CommandContext(ctx, parts.program("postgres"), "--version").Output()
	if err != nil {
		return "", fmt.Errorf("%s --version: %w", parts.program("postgres"), err)
	}
	fmt.Fprintf(hash, "2 %s %s %s %s %s", version, role, password, database, uuidv7)
	files, err := migrations(parts)
	if err != nil {
		return "", err
	}
	for _, file := range append(files, filepath.Join(parts.PGMQ, "pgmq.control"), filepath.Join(parts.PGMQ, "pgmq.sql")) {
		text, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(hash, "%s %d %s", filepath.Base(file), len(text), text)
	}
	return hex.EncodeToString(hash.Sum(nil))[:16], nil
}

func migrations(parts Parts) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(parts.Migrations, "*.sql"))
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("no migrations in %s", parts.Migrations)
	}
	slices.Sort(files)
	return files, err
}

// makeTemplate makes a data folder inside the folder work.
func makeTemplate(ctx context.Context, parts Parts, as *owner, work string) (data string, err error) {
	data = filepath.Join(work, "data")
	secret := filepath.Join(work, "password")
	if err := os.WriteFile(secret, []byte(password+"\n"), 0o600); err != nil {
		return "", err
	}
	if err := as.own(secret); err != nil {
		return "", err
	}
	initdb := exec.CommandContext(ctx, parts.program("initdb"), "--pgdata", data, "--username", role,
		"--pwfile", secret, "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync")
	initdb.Dir = work
	initdb.SysProcAttr = &syscall.SysProcAttr{Credential: as.credential()}
	if out, err := initdb.CombinedOutput(); err != nil {
		return "", fmt.Errorf("initdb: %w\n%s", err, out)
	}
	program, err := withPGMQ(ctx, parts, work)
	if err != nil {
		return "", fmt.Errorf("add the extension pgmq to PostgreSQL: %w", err)
	}
	postgres := &postgres{program: program, folder: work, as: as, database: "postgres"}
	if postgres.port, err = freePort(); err != nil {
		return "", err
	}
	if err := postgres.start(ctx, "fsync=off"); err != nil {
		return "", err
	}
	err = fill(ctx, parts, postgres)
	return data, errors.Join(err, postgres.stop(Fast))
}

// withPGMQ makes a PostgreSQL that finds the extension, without adding it to the
// one that the machine has: the program looks for its files beside itself.
// Databases do not need the files any more once they have the extension.
func withPGMQ(ctx context.Context, parts Parts, work string) (program string, err error) {
	var folders [3]string // of programs, shared files and libraries
	for i, option := range []string{"--bindir", "--sharedir", "--pkglibdir"} {
		out, err := exec.CommandContext(ctx, parts.program("pg_config"), option).Output()
		if err != nil {
			return "", fmt.Errorf("pg_config %s: %w", option, err)
		}
		folders[i] = strings.TrimSpace(string(out))
	}
	root := filepath.Join(work, "postgresql")
	binaries, shared, libraries := root+folders[0], root+folders[1], root+folders[2]
	if err := linkAll(folders[1], shared, "extension"); err != nil {
		return "", err
	}
	extensions := filepath.Join(shared, "extension")
	if err := linkAll(filepath.Join(folders[1], "extension"), extensions, ""); err != nil {
		return "", err
	}
	if err := linkAll(folders[2], libraries, ""); err != nil {
		return "", err
	}
	control := filepath.Join(parts.PGMQ, "pgmq.control")
	text, err := os.ReadFile(control)
	if err != nil {
		return "", err
	}
	_, after, found := strings.Cut(string(text), "default_version = '")
	version, _, closed := strings.Cut(after, "'")
	if !found || !closed {
		return "", fmt.Errorf("no default_version in %s", control)
	}
	program = filepath.Join(binaries, "postgres")
	if err := os.MkdirAll(binaries, 0o755); err != nil {
		return "", err
	}
	for from, to := range map[string]string{
		parts.program("postgres"):             program,
		control:                               filepath.Join(extensions, "pgmq.control"),
		filepath.Join(parts.PGMQ, "pgmq.sql"): filepath.Join(extensions, "pgmq--"+version+".sql"),
	} {
		if err := copyFile(from, to); err != nil {
			return "", err
		}
	}
	return program, nil
}

// linkAll fills a new folder with links to all that another one has, except one.
func linkAll(from, to, except string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.Name() == except || entry.Name() == "pgmq.control" {
			continue
		}
		if err := os.Symlink(filepath.Join(from, entry.Name()), filepath.Join(to, entry.Name())); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(from, to string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	return errors.Join(err, target.Close())
}

// fill creates the database with all that the job that migrates a deployment
// puts into it.
func fill(ctx context.Context, parts Parts, postgres *postgres) error {
	if err := createDatabase(ctx, postgres); err != nil {
		return fmt.Errorf("create the database: %w", err)
	}
	conn, err := postgres.connect(ctx, database)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, uuidv7); err != nil {
		return fmt.Errorf("create uuidv7(): %w", err)
	}
	// As sqlx, the tool that deployments migrate with, keeps its books.
	if _, err := conn.Exec(ctx, `CREATE TABLE public._sqlx_migrations (
		version bigint PRIMARY KEY, description text NOT NULL,
		installed_on timestamptz NOT NULL DEFAULT now(), success boolean NOT NULL,
		checksum bytea NOT NULL, execution_time bigint NOT NULL)`); err != nil {
		return fmt.Errorf("create the table of migrations: %w", err)
	}
	// Half of what would be copied for every cluster, and used by none.
	for _, sql := range []string{"ALTER DATABASE template0 IS_TEMPLATE false", "DROP DATABASE template0", "DROP DATABASE postgres"} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	files, err := migrations(parts)
	if err != nil {
		return err
	}
	for _, file := range files {
		if err := migrate(ctx, conn, file); err != nil {
			return fmt.Errorf("migration %s: %w", filepath.Base(file), err)
		}
	}
	return nil
}

func createDatabase(ctx context.Context, postgres *postgres) error {
	conn, err := postgres.connect(ctx, postgres.database)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, "CREATE DATABASE "+database)
	return err
}

func migrate(ctx context.Context, conn *pgx.Conn, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	name := strings.TrimSuffix(filepath.Base(file), ".sql")
	number, description, _ := strings.Cut(name, "_")
	version, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return err
	}
	began := time.Now()
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		// Only the simple protocol takes more than one statement.
		if _, err := tx.Exec(ctx, string(text), pgx.QueryExecModeSimpleProtocol); err != nil {
			return err
		}
		sum := sha512.Sum384(text)
		_, err := tx.Exec(ctx, `INSERT INTO public._sqlx_migrations
			(version, description, success, checksum, execution_time) VALUES ($1, $2, true, $3, $4)`,
			version, strings.ReplaceAll(description, "_", " "), sum[:], time.Since(began).Nanoseconds())
		return err
	})
}
