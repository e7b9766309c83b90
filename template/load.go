package template

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Load reads template files, and directories of them recursively (*.yml and
// *.yaml). Its findings are complete: what ParseFile and Validate say about
// each file, and templates defined twice. A file that cannot be loaded is left
// out of the result; one that loads but has errors is in it, so that it can be
// drawn or matched with handlers, and must not be run: see HasErrors.
//
// A YAML file found in a directory that is plainly no template (it has neither
// a steps nor a namespace_name key) is passed over, and so are hidden
// directories and virtual environments. One that cannot be read there is only
// warned about.
func Load(paths ...string) ([]*Template, []Finding) {
	l := &loader{defined: map[string]*Template{}, visited: map[string]bool{}}
	for _, path := range paths {
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			l.directory(path, SeverityError)
		} else {
			l.file(path, true)
		}
	}
	return l.templates, l.findings
}

type loader struct {
	templates []*Template
	findings  []Finding
	defined   map[string]*Template // by Key
	visited   map[string]bool      // real paths, to read nothing twice
}

// directory loads what is in one; unreadable says how bad it is if it cannot
// be searched. What the user did not ask for may well be somebody else's.
func (l *loader) directory(dir string, unreadable Severity) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		l.findings = append(l.findings, Finding{
			Code: CodeUnreadable, Severity: unreadable,
			Message: fmt.Sprintf("cannot be searched for templates: %v", reason(err)), Pos: Position{File: dir},
		})
		return
	}
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		switch {
		case entry.IsDir():
			if !strings.HasPrefix(entry.Name(), ".") && !foreign(path) {
				l.directory(path, SeverityWarning)
			}
		case isYAML(path):
			// Stat follows links: mounted configuration often is links to files.
			if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
				l.file(path, false)
			}
		}
	}
}

// foreign tells directories that hold other people's files.
func foreign(dir string) bool {
	if filepath.Base(dir) == "node_modules" {
		return true
	}
	_, err := os.Stat(filepath.Join(dir, "pyvenv.cfg"))
	return err == nil
}

func isYAML(path string) bool {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".yml", ".yaml":
		return true
	}
	return false
}

// file loads one file; named says that the user asked for this very file.
func (l *loader) file(path string, named bool) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		if abs, err := filepath.Abs(real); err == nil {
			if l.visited[abs] {
				return
			}
			l.visited[abs] = true
		}
	}
	data, finding := readFile(path)
	if finding != nil {
		if info, err := os.Stat(path); !named && err == nil && info.Size() > maxFileSize {
			return
		}
		if !named {
			finding.Severity = SeverityWarning
		}
		l.findings = append(l.findings, *finding)
		return
	}
	root, findings := readDocument(path, data)
	if !named && !meantAsTemplate(root, data) {
		return
	}
	t, findings := decode(path, root, findings)
	if t != nil {
		findings = append(findings, t.Validate()...)
		l.templates = append(l.templates, t)
		if first := l.defined[t.Key()]; first == nil {
			l.defined[t.Key()] = t
		} else {
			findings = append(findings, Finding{
				Code: CodeDuplicateTemplate, Severity: SeverityError, Pos: t.at("name"),
				Message: fmt.Sprintf("template %s is already defined at %s", t.Key(), first.at("name")),
				Remedy:  "remove one of them or change its version",
			})
		}
	}
	sortFindings(findings)
	l.findings = append(l.findings, findings...)
}

// at is where a value of the template is written, as exactly as is known.
func (t *Template) at(path ...any) Position {
	if pos, ok := t.node.at(path...); ok {
		return pos
	}
	return Position{File: t.Path}
}

// templateKey finds a template's keys in a file that is not even YAML.
var templateKey = regexp.MustCompile(`(?m)^["']?(?:steps|namespace_name)["']?[ \t]*:`)

// meantAsTemplate tells whether a file found in a directory is meant to be a
// template; root is nil when it cannot be parsed.
func meantAsTemplate(root *node, data []byte) bool {
	if root == nil {
		return templateKey.Match(data)
	}
	return root.field("steps") != nil || root.field("namespace_name") != nil
}

// Looks tells whether the file at path looks like a task template: for callers
// that choose among files of other kinds.
func Looks(path string) bool {
	data, finding := readFile(path)
	if finding != nil {
		return false
	}
	root, _ := readDocument(path, data)
	return meantAsTemplate(root, data)
}
