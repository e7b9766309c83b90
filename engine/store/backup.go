package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// Backup writes a copy of this store to a new file at path: one committed
// state, without free pages. Readers and the writer go on meanwhile, unless
// the store is in memory.
func (s *Store) Backup(ctx context.Context, path string) error {
	if s.path != memory {
		return Backup(ctx, s.path, path)
	}
	return writeCopy(path, func(to string) error {
		s.alone.Lock()
		defer s.alone.Unlock()
		return s.w.vacuumInto(ctx, to)
	})
}

// Backup writes a copy of the file at from to a new file at path, also while
// another process has it open. The error says that from is not a file of this
// package, or that path exists or cannot be written.
func Backup(ctx context.Context, from, path string) error {
	// Opening would make a file that is missing.
	if _, err := os.Stat(from); err != nil {
		return fmt.Errorf("back up %s: %w", from, err)
	}
	return writeCopy(path, func(to string) error {
		c, err := connect(from, url.Values{})
		if err != nil {
			return fmt.Errorf("open %s: %w", from, err)
		}
		id, err := c.pragma("application_id")
		if err == nil && id != applicationID {
			err = errors.New("it is not a data file of taskerpy")
		}
		if err != nil {
			return errors.Join(fmt.Errorf("open %s: %w", from, err), c.close())
		}
		return errors.Join(c.vacuumInto(ctx, to), c.close())
	})
}

func (c *conn) vacuumInto(ctx context.Context, path string) error {
	// An SQL literal, since the driver binds nothing when it is to watch ctx.
	if _, err := c.c.ExecContext(ctx, "VACUUM INTO '"+strings.ReplaceAll(path, "'", "''")+"'", nil); err != nil {
		return fmt.Errorf("copy: %w", cmp.Or(ctx.Err(), err))
	}
	return nil
}

// writeCopy lets write make a file and moves it to path once it is whole and
// on the disk. What exists at path is never touched.
func writeCopy(path string, write func(to string) error) (err error) {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("back up to %s: %w; choose another name or remove it", path, fs.ErrExist)
	}
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("back up to %s: %w", path, err)
	}
	partial := f.Name()
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("back up to %s: %w", path, err), ignoreMissing(os.Remove(partial)))
		}
	}()
	// SQLite writes into an empty file. This handle is for the sync.
	if err = write(partial); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	// A link fails, unlike a rename, when path came into being meanwhile. Not
	// every file system has links.
	switch err = os.Link(partial, path); {
	case err == nil:
		err = os.Remove(partial)
	case !errors.Is(err, fs.ErrExist):
		err = os.Rename(partial, path)
	}
	if err != nil {
		return err
	}
	return syncFolder(dir)
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// syncFolder makes a new name in a folder durable.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
