package config

import (
	"strings"

	"github.com/spf13/pflag"
)

// Flags are the settings given on a command line. The zero value has none.
type Flags struct {
	values map[string][]string
}

// given is nil for a setting that was not given.
func (f *Flags) given(key string) []string {
	if f == nil {
		return nil
	}
	return f.values[key]
}

// Set gives a setting as its flag would.
func (f *Flags) Set(key string, values ...string) {
	if f.values == nil {
		f.values = map[string][]string{}
	}
	f.values[key] = values
}

// Register adds the flags of the settings with these keys to fs.
func (f *Flags) Register(fs *pflag.FlagSet, keys ...string) {
	for _, key := range keys {
		s := setting(key)
		flag := fs.VarPF(&flagValue{flags: f, setting: s}, s.Flag(), "", s.Usage)
		if s.isBool() {
			flag.NoOptDefVal = "true"
		}
	}
}

func (s *Setting) isBool() bool {
	_, ok := s.show(new(Config)).(bool)
	return ok
}

// flagValue is a pflag.Value that checks at once what it is given.
type flagValue struct {
	flags   *Flags
	setting *Setting
}

// String is the default, for --help.
func (v *flagValue) String() string {
	if v.setting == nil { // pflag makes zero values to compare with
		return ""
	}
	return v.setting.fallback
}

// Set takes a value; a list takes one more.
func (v *flagValue) Set(text string) error {
	values := []string{text}
	if v.setting.list {
		values = append(v.flags.given(v.setting.Key), text)
	}
	if err := v.setting.set(new(Config), values); err != nil {
		return err
	}
	v.flags.Set(v.setting.Key, values...)
	return nil
}

// Type names the kind of value, for pflag.
func (v *flagValue) Type() string {
	if v.setting.isBool() {
		return "bool"
	}
	return strings.ToUpper(v.setting.Key)
}
