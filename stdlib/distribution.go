package stdlib

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// distribution is what the sources need to be checked and installed by
// themselves.
//
//go:embed pyproject.toml _taskerpy.pyi
var distribution embed.FS

// packages are the folders of a distribution.
var packages = []string{"tasker_core", "taskerpy_host"}

// mark is a file by which an earlier distribution is known.
const mark = "_taskerpy.pyi"

// ErrForeign is returned by WriteDistribution when a folder that it would
// replace is not one that it wrote.
var ErrForeign = errors.New("not written by taskerpy")

// WriteDistribution makes dir a Python project with the sources, for editors,
// type checkers and pip. An earlier one in dir is replaced; other files in dir
// are left alone. It returns how many files it wrote.
func WriteDistribution(dir string) (int, error) {
	_, err := os.Lstat(filepath.Join(dir, mark))
	marked := err == nil
	for _, name := range append([]string{"pyproject.toml"}, packages...) {
		path := filepath.Join(dir, name)
		if _, err := os.Lstat(path); err == nil && !marked {
			return 0, fmt.Errorf("%s: %w", path, ErrForeign)
		}
	}
	for _, name := range packages {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return 0, fmt.Errorf("replace %s: %w", filepath.Join(dir, name), err)
		}
	}
	written := 0
	for _, files := range []embed.FS{distribution, sources} {
		err := fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			written++
			return copyTo(filepath.Join(dir, filepath.FromSlash(path)), files, path)
		})
		if err != nil {
			return 0, err
		}
	}
	return written, nil
}

func copyTo(target string, files embed.FS, path string) error {
	data, err := files.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read embedded %s: %w", path, err)
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return fmt.Errorf("make %s: %w", filepath.Dir(target), err)
	}
	if err := os.WriteFile(target, data, 0o644); err != nil {
		return fmt.Errorf("write %s: %w", target, err)
	}
	return nil
}
