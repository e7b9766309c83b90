package cluster

import (
	_ "embed" // the base of every configuration
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

//go:embed tasker.toml
var baseConfig []byte

// writeConfig writes a configuration file with some keys, given with dots, changed.
func writeConfig(path string, changes ...map[string]any) error {
	root := map[string]any{}
	if err := toml.Unmarshal(baseConfig, &root); err != nil {
		return fmt.Errorf("tasker.toml: %w", err)
	}
	for _, change := range changes {
		for key, value := range maps.All(change) {
			table := root
			names := strings.Split(key, ".")
			for _, name := range names[:len(names)-1] {
				next, ok := table[name].(map[string]any)
				if !ok {
					next = map[string]any{}
					table[name] = next
				}
				table = next
			}
			table[names[len(names)-1]] = value
		}
	}
	text, err := toml.Marshal(root)
	if err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	return os.WriteFile(path, text, 0o600)
}
