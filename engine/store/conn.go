package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"time"
	"unsafe"

	"github.com/gofrs/uuid/v5"
	"github.com/mattn/go-sqlite3"
)

// conn is one SQLite connection, used by one goroutine at a time. It speaks
// to the driver directly: database/sql would cost more per statement than
// SQLite itself does.
type conn struct {
	c     *sqlite3.SQLiteConn
	stmts map[string]*stmt
}

const (
	// busyTimeout is how long to wait for somebody else's lock on the file,
	// for example of an SQLite shell.
	busyTimeout = 5 * time.Second
	memory      = ":memory:"
)

func connect(path string, params url.Values) (*conn, error) {
	params.Set("_foreign_keys", "on")
	params.Set("_busy_timeout", fmt.Sprint(busyTimeout.Milliseconds()))
	name := memory
	if path != memory {
		abs, err := filepath.Abs(path)
		if err != nil {
			return nil, err
		}
		name = "file:" + (&url.URL{Path: abs}).EscapedPath()
	}
	c, err := (&sqlite3.SQLiteDriver{}).Open(name + "?" + params.Encode())
	if err != nil {
		return nil, err
	}
	return &conn{c: c.(*sqlite3.SQLiteConn), stmts: map[string]*stmt{}}, nil
}

func (c *conn) close() error {
	var errs []error
	for _, s := range c.stmts {
		errs = append(errs, s.s.Close())
	}
	return errors.Join(append(errs, c.c.Close())...)
}

// script runs statements without arguments or rows.
func (c *conn) script(sql string) error {
	_, err := c.c.ExecContext(context.Background(), sql, nil)
	return err
}

// run runs one statement without arguments or rows, prepared the first time.
func (c *conn) run(sql string) error {
	s, err := c.prepare(sql)
	if err != nil {
		return err
	}
	_, err = s.exec()
	return err
}

// prepare returns the statement for sql, preparing it the first time.
func (c *conn) prepare(sql string) (*stmt, error) {
	if s, ok := c.stmts[sql]; ok {
		return s, nil
	}
	prepared, err := c.c.Prepare(sql)
	if err != nil {
		return nil, fmt.Errorf("prepare %q: %w", sql, err)
	}
	s := &stmt{s: prepared.(*sqlite3.SQLiteStmt)}
	s.args = make([]driver.NamedValue, s.s.NumInput())
	for i := range s.args {
		s.args[i].Ordinal = i + 1
	}
	c.stmts[sql] = s
	return s, nil
}

// pragma reads an integer pragma.
func (c *conn) pragma(name string) (int64, error) {
	s, err := c.prepare("PRAGMA " + name)
	if err != nil {
		return 0, err
	}
	var v int64
	return v, s.query(context.Background(), func(r row) error { v = r.int(0); return nil })
}

// stmt is a prepared statement with room for its arguments.
type stmt struct {
	s    *sqlite3.SQLiteStmt
	args []driver.NamedValue
}

// exec runs the statement and returns the number of changed rows.
func (s *stmt) exec(args ...driver.Value) (int64, error) {
	s.bind(args)
	r, err := s.s.ExecContext(context.Background(), s.args)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// query calls f with each row; the row is valid only during the call. The
// driver is given no context that can end, since it would start a goroutine
// for each query; ctx is looked at between rows.
func (s *stmt) query(ctx context.Context, f func(row) error, args ...driver.Value) (err error) {
	s.bind(args)
	rows, err := s.s.QueryContext(context.Background(), s.args)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	r := make(row, len(rows.Columns()))
	for {
		if err := rows.Next(r); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := f(r); err != nil {
			return err
		}
	}
}

func (s *stmt) bind(args []driver.Value) {
	for i := range s.args {
		s.args[i].Value = args[i]
	}
}

// row is one row of a result, read by column number.
type row []driver.Value

func (r row) int(i int) int64 { v, _ := r[i].(int64); return v }

func (r row) text(i int) string { v, _ := r[i].(string); return v }

func (r row) instant(i int) Instant { return Instant(r.int(i)) }

func (r row) uuid(i int) uuid.UUID { v, _ := r[i].([]byte); return uuid.FromBytesOrNil(v) }

// json returns a JSON column's bytes, nil for NULL.
func (r row) json(i int) []byte {
	v, ok := r[i].(string)
	if !ok {
		return nil
	}
	return []byte(v)
}

// blob returns a copy of a blob column, nil for NULL.
func (r row) blob(i int) []byte { v, _ := r[i].([]byte); return v }

// The conversions below give what the driver binds.

func textOf(b []byte) driver.Value {
	if b == nil {
		return nil
	}
	// The driver copies the bytes while binding, so they need not be copied
	// into a string first.
	return unsafe.String(unsafe.SliceData(b), len(b))
}

func instantOf(i Instant) driver.Value {
	if i == 0 {
		return nil
	}
	return int64(i)
}

func optional(n int64, set bool) driver.Value {
	if !set {
		return nil
	}
	return n
}

func nonEmpty(s string) driver.Value {
	if s == "" {
		return nil
	}
	return s
}
