// Package stdlib holds the Python sources that travel in the binary:
// tasker_core, which handlers import, and taskerpy_host, the Python half of
// the host. They are written to a folder named after their content, so that
// tracebacks show real lines and compiled files are kept between runs.
package stdlib

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Patterns instead of folders: a folder pattern leaves out files that begin
// with an underscore and takes __pycache__ along.
//
//go:embed tasker_core/*.py tasker_core/*.pyi tasker_core/py.typed
//go:embed tasker_core/*/*.py tasker_core/*/*/*.py
//go:embed taskerpy_host/*.py
var sources embed.FS

// FS gives the sources, rooted at the folder that belongs on sys.path.
func FS() fs.FS { return sources }

// Extract makes sure that the sources stand in a folder of this user and
// returns it. The folder is $TASKERPY_CACHE_DIR, else the user's cache folder,
// else the temporary folder; the first that can be written is taken. A file
// that differs from the embedded one is written again.
func Extract() (string, error) {
	name, err := contentName()
	if err != nil {
		return "", err
	}
	var failures []error
	for _, base := range bases() {
		dir := filepath.Join(base, name)
		if err := extractTo(dir); err != nil {
			failures = append(failures, err)
			continue
		}
		return dir, nil
	}
	return "", fmt.Errorf("no folder for the embedded Python sources, set TASKERPY_CACHE_DIR to a writable one: %w", errors.Join(failures...))
}

func bases() []string {
	var out []string
	if dir := os.Getenv("TASKERPY_CACHE_DIR"); dir != "" {
		out = append(out, dir)
	}
	if dir, err := os.UserCacheDir(); err == nil {
		out = append(out, filepath.Join(dir, "taskerpy"))
	}
	return append(out, filepath.Join(os.TempDir(), fmt.Sprintf("taskerpy-%d", os.Getuid())))
}

// contentName names the folder after the hash of everything in it.
func contentName() (string, error) {
	h := sha256.New()
	err := walk(func(path string, data []byte) error {
		fmt.Fprintf(h, "%s\x00%d\x00", path, len(data))
		h.Write(data)
		return nil
	})
	return "stdlib-" + hex.EncodeToString(h.Sum(nil))[:16], err
}

func walk(visit func(path string, data []byte) error) error {
	return fs.WalkDir(sources, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := sources.ReadFile(path)
		if err != nil {
			return fmt.Errorf("read embedded %s: %w", path, err)
		}
		return visit(path, data)
	})
}

// extractTo fills dir. Code is going to be run from there, so it must belong
// to this user and be closed to writing by others.
func extractTo(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make %s: %w", dir, err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("look at %s: %w", dir, err)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || int(st.Uid) != os.Getuid() || !info.IsDir() || info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s does not belong to this user alone", dir)
	}
	return walk(func(path string, data []byte) error {
		target := filepath.Join(dir, filepath.FromSlash(path))
		if have, err := os.ReadFile(target); err == nil && bytes.Equal(have, data) {
			return nil
		}
		return replace(target, data)
	})
}

// replace writes beside the target and renames, so that another process which
// starts at this moment sees the old file or the new one, never half of one.
func replace(target string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
		return fmt.Errorf("make %s: %w", filepath.Dir(target), err)
	}
	f, err := os.CreateTemp(filepath.Dir(target), ".write-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", target, err)
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), target)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("write %s: %w", target, err)
	}
	return nil
}
