package cluster

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Parts says where the parts of a deployment are, as scripts/deployment prints it.
type Parts struct {
	Cache      string // the folder that scripts/deployment keeps them in
	Postgres   string // the folder with PostgreSQL's programs
	PGMQ       string // the folder with the extension's control file and SQL
	Migrations string // the folder with the SQL of the schema
	Server     string // tasker-server
	Reference  string // a Python that has tasker-py
}

// required is set by `make e2e`, where skipping would hide that nothing was tested.
const required = "DEPLOYMENT_REQUIRED"

// Find returns the parts, or skips the test when the environment lacks them;
// with DEPLOYMENT_REQUIRED it fails instead.
func Find(t testing.TB) Parts {
	t.Helper()
	var parts Parts
	var missing []string
	for name, part := range map[string]*string{
		"DEPLOYMENT_CACHE":      &parts.Cache,
		"DEPLOYMENT_POSTGRES":   &parts.Postgres,
		"DEPLOYMENT_PGMQ":       &parts.PGMQ,
		"DEPLOYMENT_MIGRATIONS": &parts.Migrations,
		"DEPLOYMENT_SERVER":     &parts.Server,
		"TASKER_PY_PYTHON":      &parts.Reference,
	} {
		if *part = os.Getenv(name); *part == "" {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return parts
	}
	why := "no deployment to test with: " + strings.Join(missing, ", ") +
		" not set; run `make e2e`, or eval what scripts/deployment prints"
	if os.Getenv(required) != "" {
		require.Fail(t, why)
	}
	t.Skip(why)
	return Parts{}
}

// program is the path of one of PostgreSQL's programs.
func (p Parts) program(name string) string { return filepath.Join(p.Postgres, name) }
