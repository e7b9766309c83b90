package server

import (
	"net/http"
	"time"
)

// configuration is the answer of GET /config (engine-semantics §9.7). What
// the embedded engine does not have is shown as empty.
type configuration struct {
	Metadata        configMetadata `json:"metadata"`
	Auth            configAuth     `json:"auth"`
	CircuitBreakers struct{}       `json:"circuit_breakers"`
	DatabasePools   struct{}       `json:"database_pools"`
	DeploymentMode  string         `json:"deployment_mode"`
	Messaging       messaging      `json:"messaging"`
	// Configuration is what is in effect here; the reference has no such key.
	Configuration any `json:"configuration,omitempty"`
}

type configMetadata struct {
	Timestamp   time.Time `json:"timestamp"`
	Environment string    `json:"environment"`
	Version     string    `json:"version"`
}

// configAuth says that nobody is asked who they are.
type configAuth struct {
	Enabled            bool     `json:"enabled"`
	VerificationMethod string   `json:"verification_method"`
	JWTIssuer          *string  `json:"jwt_issuer"`
	JWTAudience        *string  `json:"jwt_audience"`
	APIKeyHeader       *string  `json:"api_key_header"`
	APIKeyCount        int      `json:"api_key_count"`
	StrictValidation   bool     `json:"strict_validation"`
	AllowedAlgorithms  []string `json:"allowed_algorithms"`
}

type messaging struct {
	Backend string   `json:"backend"`
	Queues  []string `json:"queues"`
}

// config is GET /config.
func (s *Server) config(*http.Request) (any, error) {
	c := configuration{
		Metadata:       configMetadata{Timestamp: time.Now().UTC(), Environment: s.o.Environment, Version: s.o.Version},
		Auth:           configAuth{VerificationMethod: "none", AllowedAlgorithms: []string{}},
		DeploymentMode: "embedded",
		Messaging:      messaging{Backend: "memory", Queues: []string{}},
	}
	if s.o.Config != nil {
		c.Configuration = s.o.Config()
	}
	return c, nil
}
