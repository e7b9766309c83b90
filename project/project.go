// Package project writes the small project that `taskerpy init` begins with.
package project

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Patterns for each kind of file: a folder's pattern would take __pycache__ along.
//
//go:embed files/*.py files/*.json files/*.txt files/*.md files/gitignore files/templates/*.yaml
var files embed.FS

// Task is the name of the project's task template, and Input the file with an
// input for it.
const (
	Task  = "checkout"
	Input = "order.json"
)

// ErrExists is returned by Write when a file of the project is there already.
var ErrExists = errors.New("already there")

// Write makes the project in dir, which is made when missing, and returns the
// paths it wrote, relative to dir. It overwrites nothing: if any of its files
// exists it writes none and returns ErrExists, naming it.
func Write(dir string) ([]string, error) {
	var names []string
	err := fs.WalkDir(files, "files", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, strings.TrimPrefix(path, "files/"))
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the project's files: %w", err)
	}
	var written, present []string
	for _, name := range names {
		written = append(written, place(name))
		if _, err := os.Lstat(filepath.Join(dir, place(name))); err == nil {
			present = append(present, filepath.Join(dir, place(name)))
		}
	}
	if len(present) > 0 {
		return nil, fmt.Errorf("%s: %w; nothing was written, choose another folder", strings.Join(present, ", "), ErrExists)
	}
	for _, name := range names {
		if err := write(filepath.Join(dir, place(name)), name); err != nil {
			return nil, err
		}
	}
	return written, nil
}

// place is where a file goes: go:embed leaves names with a dot in front out of
// its patterns.
func place(name string) string {
	if name == "gitignore" {
		return ".gitignore"
	}
	return filepath.FromSlash(name)
}

// write puts one file to path, never over another.
func write(path, name string) error {
	data, err := files.ReadFile("files/" + name)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}
