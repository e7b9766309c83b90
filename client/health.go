package client

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"time"
)

// Health is how a server says that it is: the answer of /health/detailed, of
// either side of a deployment (engine-semantics §9.6).
type Health struct {
	Status    string                 `json:"status"`
	Timestamp time.Time              `json:"timestamp"`
	WorkerID  string                 `json:"worker_id"` // "" from an orchestration server
	Checks    map[string]HealthCheck `json:"checks"`
	// Info is what orchestration servers tell of themselves, SystemInfo what
	// workers do.
	Info       HealthInfo `json:"info"`
	SystemInfo HealthInfo `json:"system_info"`
}

// HealthCheck is how one part of a server is.
type HealthCheck struct {
	Status     string  `json:"status"`
	Message    *string `json:"message"`
	DurationMS float64 `json:"duration_ms"`
}

// HealthInfo tells what a server is. What is not told is empty.
type HealthInfo struct {
	Version          string `json:"version"`
	Environment      string `json:"environment"`
	OperationalState string `json:"operational_state"`
	WorkerType       string `json:"worker_type"`
	// Namespaces are those that a worker has handlers for.
	Namespaces []string `json:"supported_namespaces"`
}

// About is what the server tells of itself, whichever side it is.
func (h Health) About() HealthInfo {
	if h.SystemInfo.Version != "" {
		return h.SystemInfo
	}
	return h.Info
}

// OfWorker tells whether a worker has answered. A taskerpy with an embedded
// engine is one besides.
func (h Health) OfWorker() bool { return h.WorkerID != "" || h.SystemInfo.Version != "" }

// CheckNames are the names of the checks in alphabetical order.
func (h Health) CheckNames() []string { return slices.Sorted(maps.Keys(h.Checks)) }

// Health asks how the server is.
func (c *Client) Health(ctx context.Context) (Answer[Health], error) {
	return ask[Health](ctx, c, http.MethodGet, nil, nil, "health", "detailed")
}

// Ready asks whether the server takes work. why says what it says when it
// does not.
func (c *Client) Ready(ctx context.Context) (ready bool, why string, err error) {
	_, err = ask[Health](ctx, c, http.MethodGet, nil, nil, "health", "ready")
	if refused := (*Error)(nil); errors.As(err, &refused) && refused.Status == http.StatusServiceUnavailable {
		return false, refused.Message, nil
	}
	return err == nil, "", err
}

// Namespaces lists those that a worker has templates of.
func (c *Client) Namespaces(ctx context.Context) ([]string, error) {
	a, err := ask[struct {
		Namespaces []NamespaceSummary `json:"namespaces"`           // of taskerpy
		Supported  []string           `json:"supported_namespaces"` // of other workers
	}](ctx, c, http.MethodGet, nil, nil, "v1", "templates")
	all := a.Value.Supported
	for _, n := range a.Value.Namespaces {
		all = append(all, n.Name)
	}
	return all, err
}

// Address is where the server is, without a password.
func (c *Client) Address() string { return c.shown }
