package config

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// TaskerFileVariable names the variable with the path of a deployment's own
// configuration file (worker-protocol §6.1).
const TaskerFileVariable = "TASKER_CONFIG_PATH"

// taskerFile is a configuration file of a Tasker deployment. Only keys that
// settings name are looked at, the rest is not ours.
type taskerFile struct {
	path string
	root map[string]any
	env  func(string) string
}

// taskerKey is where a setting is in such a file, and how its value is written
// for us. read returns nil for a value that says nothing.
type taskerKey struct {
	path string
	read func(f *taskerFile, text string) []string
}

// keysOf are keys whose values are written as ours; the first one present wins.
func keysOf(paths ...string) []taskerKey {
	keys := make([]taskerKey, len(paths))
	for i, path := range paths {
		keys[i] = taskerKey{path, plain}
	}
	return keys
}

func plain(_ *taskerFile, text string) []string   { return []string{text} }
func seconds(_ *taskerFile, text string) []string { return []string{text + "s"} }
func millis(_ *taskerFile, text string) []string  { return []string{text + "ms"} }

// within is read of a whole number that Tasker allows to be less or more than we
// do: then it is what comes next.
func within(least, most int, read func(*taskerFile, string) []string) func(*taskerFile, string) []string {
	return func(f *taskerFile, text string) []string {
		if n, err := strconv.Atoi(text); err == nil && n > 0 {
			text = strconv.Itoa(min(max(n, least), most))
		}
		return read(f, text)
	}
}

// ofAuth is plain for the keys of worker.web.auth, which mean something only
// when it is turned on.
func ofAuth(f *taskerFile, text string) []string {
	if !f.authEnabled() {
		return nil
	}
	return []string{text}
}

// ofAPIKey is ofAuth for the one key that may do everything: it counts where
// there is no list of keys.
func ofAPIKey(f *taskerFile, text string) []string {
	if f.hasAPIKeys() {
		return nil
	}
	return ofAuth(f, text)
}

func (f *taskerFile) hasAPIKeys() bool {
	enabled, _ := f.lookup(taskerAuth + ".api_keys_enabled").(bool)
	list, _ := f.lookup(taskerAuth + ".api_keys").([]any)
	return enabled && len(list) > 0
}

// ofPublicKey is ofAuth for what verifies tokens by a key, ofJWKS for what does
// by a set of keys at a URL.
func ofPublicKey(f *taskerFile, text string) []string {
	if f.usesJWKS() {
		return nil
	}
	return ofAuth(f, text)
}

func ofJWKS(f *taskerFile, text string) []string {
	if !f.usesJWKS() {
		return nil
	}
	return ofAuth(f, text)
}

// usesJWKS tells how tokens are verified. Where the file does not say, a URL is
// meant that stands alone.
func (f *taskerFile) usesJWKS() bool {
	switch f.lookup(taskerAuth + ".jwt_verification_method") {
	case "jwks":
		return true
	case nil:
		url, _ := f.lookup(taskerAuth + ".jwks_url").(string)
		path, _ := f.lookup(taskerAuth + ".jwt_public_key_path").(string)
		key, _ := f.lookup(taskerAuth + ".jwt_public_key").(string)
		return url != "" && path == "" && key == ""
	default:
		return false
	}
}

func (f *taskerFile) authEnabled() bool {
	enabled, _ := f.lookup(taskerAuth + ".enabled").(bool)
	return enabled
}

// withoutWeb is for worker.web.enabled: a server that nobody wants is out of
// everybody else's reach.
func withoutWeb(_ *taskerFile, text string) []string {
	if text != "false" {
		return nil
	}
	return []string{"127.0.0.1:0"}
}

// taskerFile reads the file; nil when there is none.
func (s Sources) taskerFile() (*taskerFile, error) {
	path := s.Env(TaskerFileVariable)
	if path == "" {
		return nil, nil //nolint:nilnil // no file is a fine answer
	}
	f, err := os.Open(inDir(s.Dir, path))
	if err != nil {
		return nil, fmt.Errorf("%s: read the deployment's configuration: %w", TaskerFileVariable, err)
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	if err == nil && len(data) > maxFileSize {
		err = fmt.Errorf("more than %d bytes", maxFileSize)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: read the deployment's configuration %s: %w", TaskerFileVariable, path, err)
	}
	t := &taskerFile{path: path, env: s.Env}
	if err := toml.Unmarshal(data, &t.root); err != nil {
		return nil, explain(path, err)
	}
	return t, nil
}

// lookup is the value at a dotted key, nil if there is none.
func (f *taskerFile) lookup(path string) any {
	var value any = f.root
	for name := range strings.SplitSeq(path, ".") {
		table, ok := value.(map[string]any)
		if !ok {
			return nil
		}
		value = table[name]
	}
	return value
}

// text is the value at a dotted key as a flag would have it; ok is false for
// none, for "" and for a variable that is not set.
func (f *taskerFile) text(path string) (text string, ok bool, err error) {
	value := f.lookup(path)
	if value == nil {
		return "", false, nil
	}
	all, err := texts(value)
	if err == nil && len(all) != 1 {
		err = fmt.Errorf("want one value")
	}
	if err != nil {
		return "", false, fmt.Errorf("%s: %w", f.place(path), err)
	}
	text, set, err := f.substitute(all[0])
	if err != nil {
		return "", false, fmt.Errorf("%s: %w", f.place(path), err)
	}
	return text, set && text != "", nil
}

func (f *taskerFile) place(path string) string { return f.path + ":" + path }

// of finds the values of a setting, and the key that they are from.
func (f *taskerFile) of(s *Setting) (values []string, place string, err error) {
	if f == nil {
		return nil, "", nil
	}
	for _, key := range s.tasker {
		text, ok, err := f.text(key.path)
		if err != nil {
			return nil, "", err
		}
		if !ok {
			continue
		}
		if values := key.read(f, text); len(values) > 0 {
			return values, f.place(key.path), nil
		}
	}
	return nil, "", nil
}

// substituted are the variables that files may name, with the form that their
// values must have.
var substituted = map[string]*regexp.Regexp{
	"DATABASE_URL":                           regexp.MustCompile(`^postgres(ql)?://\S+$`),
	"PGMQ_DATABASE_URL":                      regexp.MustCompile(`^(postgres(ql)?://\S+)?$`),
	"TASKER_ENV":                             regexp.MustCompile(`^[\w-]+$`),
	"TASKER_CONFIG_PATH":                     ofPath,
	"TASKER_TEMPLATE_PATH":                   ofPath,
	"TASKER_JWT_PUBLIC_KEY_PATH":             ofPath,
	"TASKER_JWT_PUBLIC_KEY":                  regexp.MustCompile(`^(-----BEGIN [A-Z ]*PUBLIC KEY-----[\s\S]*)?$`),
	"TASKER_WEB_BIND_ADDRESS":                ofAddress,
	"TASKER_WORKER_GRPC_BIND_ADDRESS":        ofAddress,
	"TASKER_ORCHESTRATION_GRPC_BIND_ADDRESS": ofAddress,
	"RABBITMQ_URL":                           regexp.MustCompile(`^amqps?://\S+$`),
	"TASKER_MESSAGING_BACKEND":               regexp.MustCompile(`^[a-z]+$`),
	"REDIS_URL":                              regexp.MustCompile(`^rediss?://\S+$`),
	"MEMCACHED_URL":                          regexp.MustCompile(`^tcp://\S+$`),
	"TASKER_INSTANCE_ID":                     ofName,
	"TASKER_WORKER_ID":                       ofName,
	"TASKER_INSTANCE_PORT":                   regexp.MustCompile(`^[0-9]{1,5}$`),
}

var (
	ofPath    = regexp.MustCompile(`^[^\x00-\x1f]*$`)
	ofAddress = regexp.MustCompile(`^[\w.:\[\]-]+:[0-9]{1,5}$`)
	ofName    = regexp.MustCompile(`^[\w.:-]+$`)
)

var placeholder = regexp.MustCompile(`\$\{(\w+)(?:(:-)([^}]*))?\}`)

// substitute puts variables in place of ${VAR} and ${VAR:-default}. set is
// false when one of them has neither value nor default. Values are not shown
// in errors: they may be secrets.
func (f *taskerFile) substitute(text string) (out string, set bool, err error) {
	set = true
	out = placeholder.ReplaceAllStringFunc(text, func(found string) string {
		parts := placeholder.FindStringSubmatch(found)
		name := parts[1]
		form, allowed := substituted[name]
		if !allowed {
			if err == nil {
				err = fmt.Errorf("the variable %s is not one that may be used: %s", name, strings.Join(substitutable(), ", "))
			}
			return found
		}
		value := f.env(name)
		switch {
		case value == "" && parts[2] == "":
			set = false
		case value == "":
			return parts[3]
		case !form.MatchString(value) && err == nil:
			err = fmt.Errorf("the value of the variable %s does not look like one: it must match %s", name, form)
		}
		return value
	})
	return out, set, err
}

func substitutable() []string {
	var names []string
	for name := range substituted {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
