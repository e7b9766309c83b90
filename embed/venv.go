package embed

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Python is the interpreter environment that was chosen.
type Python struct {
	Executable string   // becomes sys.executable
	Prefix     string   // the virtualenv's folder; "" outside of one
	Version    string   // of that Python, as far as its files tell
	Origin     string   // what chose it, for people: "--python", "VIRTUAL_ENV", …
	Warnings   []string // one line each
}

// FindPython chooses the Python environment: choice (--python: a virtualenv's
// folder or a python executable), else $VIRTUAL_ENV, else a .venv in one of
// the folders beside (those of the handlers, then the working directory), else
// the Python this binary was built for, in the virtualenv installed with the
// binary if there is one. An environment of another minor version is refused,
// one of another patch version warned about.
func FindPython(ctx context.Context, choice string, beside []string) (Python, error) {
	if choice != "" {
		info, err := os.Stat(choice)
		switch {
		case err != nil:
			return Python{}, fmt.Errorf("--python %s: no such file or folder: %w", choice, ErrUnavailable)
		case info.IsDir():
			return virtualenv(choice, "--python")
		default:
			return executable(ctx, choice)
		}
	}
	if dir := os.Getenv("VIRTUAL_ENV"); dir != "" {
		return virtualenv(dir, "VIRTUAL_ENV")
	}
	for _, dir := range beside {
		venv := filepath.Join(dir, ".venv")
		if _, err := os.Stat(filepath.Join(venv, "pyvenv.cfg")); err == nil {
			return virtualenv(venv, venv)
		}
	}
	if dir := installed(); dir != "" {
		return virtualenv(dir, "installed with taskerpy")
	}
	return Python{Executable: BuiltFor(), Version: RuntimeVersion(), Origin: "the Python taskerpy was built for"}, nil
}

// installed is the virtualenv that `make install` puts beside the binary,
// PREFIX/lib/taskerpy/venv for PREFIX/bin/taskerpy; "" if there is none.
func installed() string {
	exe, err := os.Executable()
	if err == nil {
		exe, err = filepath.EvalSymlinks(exe)
	}
	if err != nil {
		return ""
	}
	dir := filepath.Join(filepath.Dir(exe), "..", "lib", "taskerpy", "venv")
	if _, err := os.Stat(filepath.Join(dir, "pyvenv.cfg")); err != nil {
		return ""
	}
	return dir
}

// virtualenv reads the pyvenv.cfg of dir.
func virtualenv(dir, origin string) (Python, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Python{}, fmt.Errorf("%s: %w: %w", origin, err, ErrUnavailable)
	}
	exe := filepath.Join(dir, "bin", "python")
	cfg, err := readConfig(filepath.Join(dir, "pyvenv.cfg"))
	if errors.Is(err, fs.ErrNotExist) {
		return Python{}, fmt.Errorf("%s: %s is not a virtualenv, it has no pyvenv.cfg; make one with `%s -m venv %s`: %w",
			origin, dir, BuiltFor(), dir, ErrUnavailable)
	}
	if err != nil {
		return Python{}, fmt.Errorf("%s: %w: %w", origin, err, ErrUnavailable)
	}
	if _, err := os.Stat(exe); err != nil {
		return Python{}, fmt.Errorf("%s: %s is missing or points nowhere; make the virtualenv again with `%s -m venv --clear %s`: %w",
			origin, exe, BuiltFor(), dir, ErrUnavailable)
	}
	// venv writes version, virtualenv and uv write version_info.
	version := cfg["version"]
	if version == "" {
		version = cfg["version_info"]
	}
	p := Python{Executable: exe, Prefix: dir, Version: version, Origin: origin}
	return p.checked(dir)
}

// executable takes a python given by its path. A virtualenv around it is told
// by the pyvenv.cfg one folder up, as Python itself does.
func executable(ctx context.Context, path string) (Python, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return Python{}, fmt.Errorf("--python: %w: %w", err, ErrUnavailable)
	}
	prefix := filepath.Dir(filepath.Dir(path))
	if _, err := os.Stat(filepath.Join(prefix, "pyvenv.cfg")); err == nil {
		p, err := virtualenv(prefix, "--python")
		p.Executable = path
		return p, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	// -I -S: this only asks for the version and must not run site files.
	out, err := exec.CommandContext(ctx, path, "-I", "-S", "-c", "import sys; print('%d.%d.%d' % sys.version_info[:3])").Output()
	if err != nil {
		return Python{}, fmt.Errorf("--python %s: it does not run as a Python: %w: %w", path, err, ErrUnavailable)
	}
	p := Python{Executable: path, Version: strings.TrimSpace(string(out)), Origin: "--python"}
	return p.checked(path)
}

// checked compares the environment's version with the embedded one.
func (p Python) checked(place string) (Python, error) {
	runs := RuntimeVersion()
	have := strings.Join(strings.SplitN(p.Version, ".", 4)[:min(3, strings.Count(p.Version, ".")+1)], ".")
	switch {
	case p.Version == "":
		p.Warnings = append(p.Warnings, fmt.Sprintf("%s does not tell its Python version; taskerpy embeds %s", place, runs))
	case minor(have) != minor(runs):
		return Python{}, fmt.Errorf("%s: %s is of Python %s, but this taskerpy embeds Python %s; use a virtualenv of %s, or a taskerpy built with `make PYTHON=python%s`: %w",
			p.Origin, place, have, runs, minor(runs), minor(have), ErrUnavailable)
	case have != runs:
		p.Warnings = append(p.Warnings, fmt.Sprintf("%s is of Python %s, taskerpy embeds %s: its standard library is used with this libpython; make it again with `%s -m venv` if something misbehaves", place, have, runs, BuiltFor()))
	}
	return p, nil
}

// readConfig reads the "key = value" lines of a pyvenv.cfg.
func readConfig(path string) (map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	out := map[string]string{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if key, value, ok := strings.Cut(lines.Text(), "="); ok {
			out[strings.ToLower(strings.TrimSpace(key))] = strings.TrimSpace(value)
		}
	}
	return out, lines.Err()
}
