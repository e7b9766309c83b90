package store

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// applicationID marks the SQLite files that are ours: "task" in ASCII.
const applicationID = 0x7461736b

//go:embed migrations
var migrationFiles embed.FS

// A migration takes the schema from version-1 to version.
type migration struct {
	version int64
	sql     string
}

// migrations returns the embedded migrations, which are named
// NNNN_what_it_does.sql and numbered from 1 without gaps.
func migrations() ([]migration, error) {
	entries, err := fs.ReadDir(migrationFiles, "migrations")
	if err != nil {
		return nil, err
	}
	all := make([]migration, len(entries))
	for i, e := range entries {
		number, _, _ := strings.Cut(e.Name(), "_")
		version, err := strconv.ParseInt(number, 10, 64)
		if err != nil || version != int64(i)+1 {
			return nil, fmt.Errorf("migration %s: expected number %d", e.Name(), i+1)
		}
		sql, err := migrationFiles.ReadFile(path.Join("migrations", e.Name()))
		if err != nil {
			return nil, err
		}
		all[i] = migration{version, string(sql)}
	}
	return all, nil
}

// accept refuses files that are not ours and files of a newer schema than the
// latest known one. It only reads, and returns the version of the schema.
func accept(c *conn, latest int64) (version int64, err error) {
	id, err := c.pragma("application_id")
	if err != nil {
		return 0, err
	}
	version, err = c.pragma("user_version")
	if err != nil {
		return 0, err
	}
	// The schema version counts changes, so 0 means nothing was ever created.
	changes, err := c.pragma("schema_version")
	if err != nil {
		return 0, err
	}
	if id != applicationID && (version != 0 || changes != 0) {
		return 0, fmt.Errorf("it is an SQLite file of another program; choose another path")
	}
	if version > latest {
		return 0, fmt.Errorf("its schema has version %d, this program knows versions up to %d; use a newer taskerpy", version, latest)
	}
	return version, nil
}

// migrate brings the schema of an accepted file up to date, each migration in
// a transaction of its own.
func migrate(c *conn, all []migration) error {
	version, err := accept(c, int64(len(all)))
	if err != nil {
		return err
	}
	for _, m := range all[version:] {
		sql := fmt.Sprintf("BEGIN IMMEDIATE; PRAGMA application_id = %d; PRAGMA user_version = %d;\n%s\nCOMMIT;", applicationID, m.version, m.sql)
		if err := c.script(sql); err != nil {
			return fmt.Errorf("migrate schema to version %d: %w", m.version, err)
		}
	}
	return nil
}
