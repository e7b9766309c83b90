package cli

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tasker-systems/taskerpy/config"
	"github.com/tasker-systems/taskerpy/postgres"
	"github.com/tasker-systems/taskerpy/template"
)

// orchestrationTimeout is how long the doctor waits for tasker-server.
const orchestrationTimeout = 3 * time.Second

// aboutDeployment looks at the database that a worker would work with.
func aboutDeployment(c *config.Config, o postgres.Options) []finding {
	var findings []finding
	templates, err := templatesOf(c)
	if err != nil {
		findings = append(findings, finding{"templates", problem, err.Error()})
	} else if len(templates) == 0 {
		findings = append(findings, finding{"templates", warning, "none named: the queues of namespaces are not looked at; name handlers, or templates with --templates"})
	}
	o.Templates = templates
	for _, check := range postgres.Diagnose(context.Background(), o) {
		findings = append(findings, finding{check.Name, statusOf(check.Status), check.Detail})
	}
	return append(findings, aboutOrchestration(c.Orchestration.URL))
}

func statusOf(s postgres.Status) string {
	switch s {
	case postgres.Fine:
		return fine
	case postgres.Warning:
		return warning
	}
	return problem
}

// templatesOf reads the templates that are named, or lie beside the handlers.
func templatesOf(c *config.Config) ([]*template.Template, error) {
	places := c.Templates
	if len(places) == 0 {
		for _, path := range c.Handlers {
			info, err := os.Stat(path)
			switch {
			case err != nil: // a module, or told by run
			case info.IsDir():
				places = append(places, path)
			default:
				places = append(places, filepath.Dir(path))
			}
		}
	}
	if len(places) == 0 {
		return nil, nil
	}
	all, findings := template.Load(places...)
	for _, f := range findings {
		if f.Severity == template.SeverityError {
			return all, fmt.Errorf("%s", f)
		}
	}
	return all, nil
}

// aboutOrchestration asks tasker-server whether it is there. Workers can do
// without: only clients in handlers use its API.
func aboutOrchestration(url string) finding {
	f := finding{Name: "tasker-server"}
	ctx, cancel := context.WithTimeout(context.Background(), orchestrationTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(url, "/")+"/health", nil)
	if err != nil {
		f.Status, f.Detail = warning, fmt.Sprintf("orchestration_url: %v", err)
		return f
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		f.Status, f.Detail = warning, "nothing answers at the orchestration API: start tasker-server, or name it with TASKER_ORCHESTRATION_URL: "+err.Error()
		return f
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		f.Status, f.Detail = warning, fmt.Sprintf("%s answers %s; is that tasker-server?", url, answer.Status)
		return f
	}
	f.Status, f.Detail = fine, url+" is healthy"
	return f
}
