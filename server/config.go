package server

import (
	"cmp"
	"net/http"
	"time"

	"github.com/tasker-systems/taskerpy/server/auth"
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

// configAuth says how clients are known.
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
		Auth:           s.configAuth(),
		DeploymentMode: "embedded",
		Messaging:      messaging{Backend: "memory", Queues: []string{}},
	}
	if s.o.Config != nil {
		c.Configuration = s.o.Config()
	}
	return c, nil
}

func (s *front) configAuth() configAuth {
	c := configAuth{VerificationMethod: "none", AllowedAlgorithms: []string{}}
	if s.auth == nil {
		return c
	}
	o := s.auth.Options()
	c.Enabled, c.APIKeyHeader, c.APIKeyCount = true, &o.APIKeyHeader, len(o.APIKeys)
	if t := o.Tokens; t != nil {
		issuer, audience := cmp.Or(t.Issuer, auth.DefaultIssuer), cmp.Or(t.Audience, auth.DefaultAudience)
		c.VerificationMethod, c.JWTIssuer, c.JWTAudience = "public_key", &issuer, &audience
		if t.Key == nil {
			c.VerificationMethod = "jwks"
		}
		c.StrictValidation, c.AllowedAlgorithms = t.Strict, []string{"RS256"}
	}
	return c
}
