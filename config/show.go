package config

import (
	"net/url"
	"regexp"
	"strings"
	"time"
)

// Entry is one setting as the config command shows it, secrets masked.
type Entry struct {
	Key    string `json:"key"`
	Value  any    `json:"value"`
	Origin Origin `json:"origin"`
}

// Entries lists the effective values of all settings.
func (c *Config) Entries() []Entry {
	out := make([]Entry, len(settings))
	for i := range settings {
		s := &settings[i]
		value := s.show(c)
		if list, ok := value.([]string); ok && list == nil {
			value = []string{}
		}
		out[i] = Entry{s.Key, value, c.Origin(s.Key)}
	}
	return out
}

// orEmpty shows a number or a duration of which zero means that there is none.
func orEmpty[T int | time.Duration](n T) any {
	if n == 0 {
		return ""
	}
	if d, ok := any(n).(time.Duration); ok {
		return d.String()
	}
	return n
}

// mask stands for a secret.
const mask = "*****"

var secretParameter = regexp.MustCompile(`(?i)pass|secret|token|key`)

// hidden hides all of a secret.
func hidden(text string) string {
	if text == "" {
		return ""
	}
	return mask
}

// masked hides the password of a URL, and everything of what is not one.
func masked(text string) string {
	if text == "" {
		return ""
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme == "" || u.Opaque != "" {
		return mask
	}
	query := u.RawQuery
	u.RawQuery, u.Fragment = "", ""
	user := ""
	if u.User != nil {
		user = url.User(u.User.Username()).String()
		if _, has := u.User.Password(); has {
			user += ":" + mask
		}
		user += "@"
		u.User = nil
	}
	shown := strings.Replace(u.String(), "://", "://"+user, 1)
	if query == "" {
		return shown
	}
	parameters := strings.Split(query, "&")
	for i, p := range parameters {
		if name, _, has := strings.Cut(p, "="); has && secretParameter.MatchString(name) {
			parameters[i] = name + "=" + mask
		}
	}
	return shown + "?" + strings.Join(parameters, "&")
}
