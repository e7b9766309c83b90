package install_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v4"

	"github.com/tasker-systems/taskerpy/cmd/taskerpy/cli"
)

type composeFile struct {
	Services map[string]struct {
		Build       any // a folder, or a map
		Command     []string
		Environment map[string]string
		Volumes     []string
		Ports       []string
	}
}

func compose(t *testing.T) composeFile {
	text, err := os.ReadFile(filepath.Join(root(t), "compose.yaml"))
	require.NoError(t, err)
	var c composeFile
	require.NoError(t, yaml.Unmarshal(text, &c))
	return c
}

func TestTheComposeFileHasAWholeDeployment(t *testing.T) {
	c := compose(t)
	for _, service := range []string{"postgres", "migrate", "tasker-server", "worker"} {
		require.Contains(t, c.Services, service)
		build := c.Services[service].Build
		require.NotNil(t, build, service)
		file := filepath.Join(root(t), "Dockerfile")
		if m, ok := build.(map[string]any); ok {
			file = filepath.Join(root(t), m["dockerfile"].(string))
		}
		require.FileExists(t, file, service)
	}
	require.Equal(t, []string{"127.0.0.1:8083:8083"}, c.Services["worker"].Ports)
	for service, s := range c.Services {
		for _, volume := range s.Volumes {
			if from, _, _ := strings.Cut(volume, ":"); strings.HasPrefix(from, "./") {
				_, err := os.Stat(filepath.Join(root(t), from))
				require.NoError(t, err, service)
			}
		}
	}
}

// The command is run with config in the place of run, which takes the same
// flags and says what they mean.
func TestTheComposeFilesWorkerIsConfiguredAsMeant(t *testing.T) {
	worker := compose(t).Services["worker"]
	t.Setenv("TASKERPY_CACHE_DIR", t.TempDir())
	t.Chdir(t.TempDir())
	for name, value := range worker.Environment {
		t.Setenv(name, strings.ReplaceAll(value, "${TASKER_PASSWORD:-tasker}", "sesame"))
	}
	require.True(t, strings.HasPrefix(worker.Environment["DATABASE_URL"], "postgresql://"), "tasker-server refuses others")
	require.Equal(t, "run", worker.Command[0])
	var out, problems bytes.Buffer
	code := cli.Run(append([]string{"config"}, worker.Command[1:]...), strings.NewReader(""), &out, &problems)
	require.Zero(t, code, problems.String())
	require.Regexp(t, `(?m)^database_url +postgresql://tasker:\*+@postgres:5432/tasker +DATABASE_URL$`, out.String())
	require.Regexp(t, `(?m)^listen +0\.0\.0\.0:8083 +--listen$`, out.String())
	require.Regexp(t, `(?m)^orchestration_url +http://tasker-server:8080 +TASKER_ORCHESTRATION_URL$`, out.String())
}

// tasker-server has hardly any defaults, so its file must have every key of the
// one that the end-to-end tests start it with.
func TestTheServersConfigurationIsComplete(t *testing.T) {
	keys := func(name string) []string {
		text, err := os.ReadFile(filepath.Join(root(t), name))
		require.NoError(t, err)
		var tree map[string]any
		require.NoError(t, toml.Unmarshal(text, &tree))
		return leaves("", tree)
	}
	require.Equal(t, keys("tests/cluster/tasker.toml"), keys("deployment/tasker.toml"))
}

func leaves(prefix string, tree map[string]any) []string {
	var all []string
	for name, value := range tree {
		if table, ok := value.(map[string]any); ok {
			all = append(all, leaves(prefix+name+".", table)...)
			continue
		}
		all = append(all, prefix+name)
	}
	slices.Sort(all)
	return all
}

func TestTheDatabaseMakesTheUUIDsThatWereTested(t *testing.T) {
	tested, err := os.ReadFile(filepath.Join(root(t), "tests", "cluster", "uuidv7.sql"))
	require.NoError(t, err)
	shipped, err := os.ReadFile(filepath.Join(root(t), "deployment", "uuidv7.sql"))
	require.NoError(t, err)
	require.Equal(t, string(tested), string(shipped))
}
