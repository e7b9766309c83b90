package config

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// Default is the text of the setting's default, "" for none.
func (s *Setting) Default() string { return s.fallback }

// Generate writes a configuration file with every setting as a comment: what
// it does and its default. Nothing is set in it.
func Generate() []byte {
	var b bytes.Buffer
	b.WriteString("# Settings of taskerpy. Flags and environment variables win over this file;\n# paths are relative to it. Remove a # to change a setting.\n")
	for i := range settings {
		s := &settings[i]
		b.WriteByte('\n')
		if s.Usage != "" {
			fmt.Fprintf(&b, "# %s\n", strings.ReplaceAll(s.Usage, "`", ""))
		}
		fmt.Fprintf(&b, "# Variables: %s\n# %s = %s\n", strings.Join(s.Env(), ", "), s.Key, s.example())
	}
	return b.Bytes()
}

// example is the default as TOML.
func (s *Setting) example() string {
	switch s.show(new(Config)).(type) {
	case bool:
		return strconv.FormatBool(s.fallback == "true")
	case int:
		return s.fallback
	case []string:
		return "[]"
	}
	return strconv.Quote(s.fallback)
}

// NamedFile is a file or folder that a setting names.
type NamedFile struct {
	Key    string
	Path   string
	Origin Origin
}

// NamedFiles lists the files and folders that must exist for the
// configuration to work: not the data file, which is made, and not handlers,
// which may be module names.
func (c *Config) NamedFiles() []NamedFile {
	var all []NamedFile
	for i := range settings {
		s := &settings[i]
		if !s.path || s.arguments || s.Key == "data" {
			continue
		}
		switch v := s.show(c).(type) {
		case string:
			if v != "" && !(s.Key == "auth_public_key" && IsPEM(c.Auth.PublicKey)) {
				all = append(all, NamedFile{s.Key, v, c.Origin(s.Key)})
			}
		case []string:
			for _, path := range v {
				all = append(all, NamedFile{s.Key, path, c.Origin(s.Key)})
			}
		}
	}
	return all
}
