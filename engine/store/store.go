// Package store keeps the engine's tasks, steps and their history in one
// SQLite file. It knows rows and transactions, and nothing of what they mean.
//
// One goroutine writes, between Begin and Commit; any number of goroutines
// read committed data with Read.
package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/gofrs/uuid/v5"
	"github.com/mattn/go-sqlite3"
)

// A Point is a moment of a transaction at which Options.Fault is called.
type Point string

// The points.
const (
	BeforeCommit Point = "before commit"
	AfterCommit  Point = "after commit"
)

// Options configure a Store.
type Options struct {
	// Fault, when not nil, is called by the writer at the points of each
	// transaction. Its error makes the transaction fail (BeforeCommit) or
	// look failed although it is durable (AfterCommit). For tests.
	Fault func(Point) error
}

// maxReaders bounds the connections that read beside the writer.
const maxReaders = 4

// Store is an open file. Its methods may be called by one goroutine, except
// Read, which any goroutine may call.
type Store struct {
	path  string // as the caller calls the file
	file  string // the same without symbolic links
	fault func(Point) error
	lock  *lock
	w     *conn

	begin, commit, rollback *stmt
	write                   writeStatements

	// alone is held by a transaction and by reads on the writing connection,
	// which is the only one of a database in memory.
	alone   sync.Mutex
	readers chan *Reader // nil in memory; a nil *Reader is one not yet connected
	own     Reader       // on the writing connection
}

// Open opens the file at path, creating it and its folder when missing, and
// brings its schema up to date. path may be ":memory:". The error is
// ErrLocked when the file is open elsewhere; otherwise it says why the file
// cannot be used.
func Open(path string, o Options) (*Store, error) {
	s := &Store{path: path, file: path, fault: o.Fault}
	if err := s.open(); err != nil {
		if unwritable(err) {
			err = fmt.Errorf("it cannot be written: %w; make the file, its folder and what is beside it writable for this user, or choose another path", err)
		}
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), s.Close())
	}
	return s, nil
}

// unwritable tells whether an error says that this user may not write.
func unwritable(err error) bool {
	var e sqlite3.Error
	if !errors.As(err, &e) {
		return errors.Is(err, fs.ErrPermission)
	}
	return e.Code == sqlite3.ErrReadonly || e.Code == sqlite3.ErrPerm || e.SystemErrno == syscall.EACCES
}

func (s *Store) open() error {
	all, err := migrations()
	if err != nil {
		return err
	}
	if s.path != memory {
		if s.file, err = resolve(s.path); err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(s.file), 0o755); err != nil {
			return err
		}
		if s.lock, err = acquire(s.file); err != nil {
			return err
		}
	}
	if s.w, err = connect(s.file, url.Values{"_synchronous": {"FULL"}}); err != nil {
		return err
	}
	// The journal mode is kept in the file: nobody else's is to be changed.
	version, err := accept(s.w, int64(len(all)))
	if err != nil {
		return err
	}
	if s.path != memory {
		if err := tryWriting(s.w, version); err != nil {
			return err
		}
		if err := writeAhead(s.w); err != nil {
			return err
		}
	}
	if err := migrate(s.w, all); err != nil {
		return err
	}
	for sql, st := range map[string]**stmt{"BEGIN IMMEDIATE": &s.begin, "COMMIT": &s.commit, "ROLLBACK": &s.rollback} {
		if *st, err = s.w.prepare(sql); err != nil {
			return err
		}
	}
	if err := s.write.prepare(s.w); err != nil {
		return err
	}
	s.own = Reader{c: s.w}
	if s.path != memory {
		s.readers = make(chan *Reader, maxReaders)
		for range maxReaders {
			s.readers <- nil
		}
	}
	return nil
}

// tryWriting begins to write the version that is there and takes it back. SQLite
// opens what it may not write for reading, and would say so no sooner than with
// the first task.
func tryWriting(c *conn, version int64) error {
	err := c.script(fmt.Sprintf("BEGIN IMMEDIATE; PRAGMA user_version = %d; ROLLBACK", version))
	var e sqlite3.Error
	if errors.As(err, &e) && e.Code == sqlite3.ErrBusy {
		return nil // somebody else writes: an SQLite shell
	}
	return err
}

// writeAhead turns write-ahead logging on, without which readers would wait
// for the writer and the other way round. SQLite does not fail where the file
// system cannot have it; it stays in the mode it was in.
func writeAhead(c *conn) error {
	st, err := c.prepare("PRAGMA journal_mode = WAL")
	if err != nil {
		return err
	}
	var mode string
	if err := st.query(context.Background(), func(r row) error { mode = r.text(0); return nil }); err != nil {
		return fmt.Errorf("turn write-ahead logging on: %w", err)
	}
	if mode != "wal" {
		return fmt.Errorf("its file system cannot have write-ahead logging, the journal mode stays %q; choose a path on a local disk", mode)
	}
	return nil
}

// Close closes the file. No other method may run or be called afterwards,
// except Close, which then does nothing.
func (s *Store) Close() error {
	var errs []error
	if s.readers != nil {
		for range maxReaders {
			if r := <-s.readers; r != nil {
				errs = append(errs, r.c.close())
			}
		}
		s.readers = nil
	}
	if s.w != nil {
		errs = append(errs, s.w.close())
		s.w = nil
	}
	if s.lock != nil {
		errs = append(errs, s.lock.release())
		s.lock = nil
	}
	return errors.Join(errs...)
}

// Begin starts the transaction that Commit or Rollback ends.
func (s *Store) Begin() error {
	s.alone.Lock()
	if _, err := s.begin.exec(); err != nil {
		s.alone.Unlock()
		return fmt.Errorf("begin transaction on %s: %w", s.path, err)
	}
	return nil
}

// Commit makes the transaction durable. After an error it is rolled back, as
// far as the caller can know: a full disk or an I/O error may leave it in
// the file all the same.
func (s *Store) Commit() error {
	err := s.at(BeforeCommit)
	if err == nil {
		_, err = s.commit.exec()
	}
	if err != nil {
		s.Rollback()
		return fmt.Errorf("commit to %s: %w", s.path, err)
	}
	s.alone.Unlock()
	if err := s.at(AfterCommit); err != nil {
		return fmt.Errorf("commit to %s: %w", s.path, err)
	}
	return nil
}

// Rollback gives the transaction up.
func (s *Store) Rollback() {
	// SQLite may have rolled back on its own; then this fails and that is fine.
	_, _ = s.rollback.exec()
	s.alone.Unlock()
}

func (s *Store) at(p Point) error {
	if s.fault == nil {
		return nil
	}
	return s.fault(p)
}

// Read calls f with a Reader that sees one committed state of the file.
func (s *Store) Read(ctx context.Context, f func(*Reader) error) (err error) {
	if s.readers == nil {
		return s.ReadOwn(f)
	}
	var r *Reader
	select {
	case r = <-s.readers:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { s.readers <- r }()
	if r == nil {
		c, err := connect(s.file, url.Values{"_query_only": {"true"}})
		if err != nil {
			return fmt.Errorf("open %s for reading: %w", s.path, err)
		}
		r = &Reader{c: c}
	}
	if err := r.c.run("BEGIN"); err != nil {
		return fmt.Errorf("read %s: %w", s.path, err)
	}
	defer func() { err = errors.Join(err, r.c.run("COMMIT")) }()
	return f(r)
}

// ReadOwn is Read on the writing connection, for the writing goroutine outside
// of a transaction: it waits for no other reader.
func (s *Store) ReadOwn(f func(*Reader) error) error {
	s.alone.Lock()
	defer s.alone.Unlock()
	return f(&s.own)
}

// Identity is Reader.Identity on the writing connection, for the writing
// goroutine outside of a transaction.
func (s *Store) Identity(ctx context.Context, hash []byte) (task uuid.UUID, ok bool, err error) {
	err = s.ReadOwn(func(r *Reader) (err error) {
		task, ok, err = r.Identity(ctx, hash)
		return err
	})
	return task, ok, err
}

// Touch writes something that changes nothing, within a transaction: to see
// whether the file can be written.
func (s *Store) Touch() error {
	version, err := s.w.pragma("user_version")
	if err != nil {
		return err
	}
	return s.w.script(fmt.Sprintf("PRAGMA user_version = %d", version))
}
