package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// DotenvName is the file of environment variables that is looked for.
const DotenvName = ".env"

// Dotenv is a file of environment variables: lines of NAME=value, as shells
// and docker compose read them (python-api-more §13.2).
type Dotenv struct {
	Path string
	// Problems are the lines that were passed over, "FILE:LINE: why".
	Problems []string

	entries []dotenvEntry
	applied map[string]string // by name: where it was read
}

type dotenvEntry struct {
	name, value, place string
}

// FindDotenv reads the .env file of dir or of the nearest folder above that
// has one; nil when there is none. A folder of that name is no such file.
func FindDotenv(dir string) (*Dotenv, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("look for %s: %w", DotenvName, err)
	}
	for {
		path := filepath.Join(dir, DotenvName)
		info, err := os.Stat(path)
		if err == nil && info.Mode().IsRegular() {
			data, err := os.ReadFile(path)
			if err != nil {
				return nil, fmt.Errorf("read the environment: %w", err)
			}
			return parseDotenv(shortest(path), string(data)), nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
			return nil, fmt.Errorf("look for %s: %w", DotenvName, err)
		}
		above := filepath.Dir(dir)
		if above == dir {
			return nil, nil //nolint:nilnil // no file is a fine answer
		}
		dir = above
	}
}

// shortest is the path as a user would write it.
func shortest(path string) string {
	here, err := os.Getwd()
	if err != nil {
		return path
	}
	if near, err := filepath.Rel(here, path); err == nil && !strings.HasPrefix(near, ".."+string(filepath.Separator)) {
		return near
	}
	return path
}

// Apply sets the variables that the process's environment lacks. One that is
// set there, even to nothing, wins.
func (d *Dotenv) Apply() error {
	if d == nil {
		return nil
	}
	d.applied = map[string]string{}
	for _, e := range d.entries {
		if _, set := os.LookupEnv(e.name); set && d.applied[e.name] == "" {
			continue
		}
		if err := os.Setenv(e.name, e.value); err != nil {
			return fmt.Errorf("%s: set %s: %w", e.place, e.name, err)
		}
		d.applied[e.name] = e.place
	}
	return nil
}

// place is where Apply took a variable from, "" if it did not.
func (d *Dotenv) place(name string) string {
	if d == nil {
		return ""
	}
	return d.applied[name]
}

var (
	dotenvStart  = regexp.MustCompile(`^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_.]*)\s*=[ \t]*`)
	dotenvRef    = regexp.MustCompile(`\\\$|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|\$([A-Za-z_][A-Za-z0-9_]*)`)
	dotenvEscape = strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\r`, "\r", `\t`, "\t", `\"`, `"`, `\'`, `'`)
)

// parseDotenv reads what it can: the file may be for other programs, too.
func parseDotenv(path, text string) *Dotenv {
	d := &Dotenv{Path: path}
	text = strings.ReplaceAll(strings.TrimPrefix(text, "\ufeff"), "\r\n", "\n")
	values := map[string]string{}
	for line := 1; text != ""; {
		rest, lines := skipBlank(text)
		if rest == "" {
			break
		}
		text, line = rest, line+lines
		place := fmt.Sprintf("%s:%d", path, line)
		var value string
		var err error
		name := dotenvStart.FindStringSubmatch(firstLine(text))
		if name == nil {
			rest, err = afterLine(text), errors.New("want NAME=value")
		} else {
			value, rest, err = dotenvValue(text[len(name[0]):], values)
		}
		if err != nil {
			d.Problems = append(d.Problems, fmt.Sprintf("%s: %v; the line is passed over", place, err))
			rest = afterLine(text)
		} else {
			values[name[1]] = value
			d.entries = append(d.entries, dotenvEntry{name[1], value, place})
		}
		line += strings.Count(text[:len(text)-len(rest)], "\n")
		text = rest
	}
	return d
}

// skipBlank leaves out empty lines and comments and counts them.
func skipBlank(text string) (rest string, lines int) {
	for text != "" {
		first := strings.TrimSpace(firstLine(text))
		if first != "" && !strings.HasPrefix(first, "#") {
			break
		}
		text = afterLine(text)
		lines++
	}
	return text, lines
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

func afterLine(text string) string {
	_, rest, _ := strings.Cut(text, "\n")
	return rest
}

// dotenvValue reads the value at the start of text. One in quotes may go over
// several lines; single quotes keep everything as it is.
func dotenvValue(text string, earlier map[string]string) (value, rest string, err error) {
	line := firstLine(text)
	switch {
	case line == "" || strings.HasPrefix(line, "#"):
		return "", afterLine(text), nil
	case line[0] == '\'' || line[0] == '"':
		end := closing(text)
		if end < 0 {
			return "", "", fmt.Errorf("the quote %c is not closed", line[0])
		}
		after := strings.TrimSpace(firstLine(text[end+1:]))
		if after != "" && !strings.HasPrefix(after, "#") {
			return "", "", errors.New("there is more after the closing quote")
		}
		value = text[1:end]
		if line[0] == '"' {
			value = dotenvExpand(value, earlier, dotenvEscape.Replace)
		}
		return value, afterLine(text[end+1:]), nil
	}
	if i := strings.Index(line, " #"); i >= 0 {
		line = line[:i]
	}
	return dotenvExpand(strings.TrimSpace(line), earlier, func(s string) string { return s }), afterLine(text), nil
}

// closing is the index of the quote that closes the one at the start, or -1.
func closing(text string) int {
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] == '\\' && text[0] == '"':
			i++
		case text[i] == text[0]:
			return i
		}
	}
	return -1
}

// dotenvExpand puts in the values of $NAME, ${NAME} and ${NAME:-default}: of
// the environment, else of earlier lines. What stands between them goes
// through plain.
func dotenvExpand(text string, earlier map[string]string, plain func(string) string) string {
	var b strings.Builder
	at := 0
	for _, m := range dotenvRef.FindAllStringSubmatchIndex(text, -1) {
		b.WriteString(plain(text[at:m[0]]))
		at = m[1]
		group := func(n int) string {
			if m[2*n] < 0 {
				return ""
			}
			return text[m[2*n]:m[2*n+1]]
		}
		name := group(1) + group(3)
		if name == "" {
			b.WriteByte('$') // it was escaped
			continue
		}
		value, set := os.LookupEnv(name)
		if !set {
			value = earlier[name]
		}
		if value == "" {
			value = group(2)
		}
		b.WriteString(value)
	}
	b.WriteString(plain(text[at:]))
	return b.String()
}
