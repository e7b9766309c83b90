// Package auth decides who may ask a server for what: by JSON Web Tokens and
// by API keys, with the permissions of a Tasker deployment (engine-semantics
// §9.9).
package auth

import (
	"fmt"
	"slices"
	"strings"
)

// Permission allows one kind of request, as in "tasks:create".
type Permission string

// The permissions.
const (
	TasksCreate         Permission = "tasks:create"
	TasksRead           Permission = "tasks:read"
	TasksList           Permission = "tasks:list"
	TasksCancel         Permission = "tasks:cancel"
	TasksContextRead    Permission = "tasks:context_read"
	StepsRead           Permission = "steps:read"
	StepsResolve        Permission = "steps:resolve"
	DLQRead             Permission = "dlq:read"
	DLQUpdate           Permission = "dlq:update"
	DLQStats            Permission = "dlq:stats"
	TemplatesRead       Permission = "templates:read"
	TemplatesValidate   Permission = "templates:validate"
	SystemConfigRead    Permission = "system:config_read"
	SystemHandlersRead  Permission = "system:handlers_read"
	SystemAnalyticsRead Permission = "system:analytics_read"
	WorkerConfigRead    Permission = "worker:config_read"
	WorkerTemplatesRead Permission = "worker:templates_read"
)

// Permissions lists all there are, by resource.
func Permissions() []Permission {
	return []Permission{
		TasksCreate, TasksRead, TasksList, TasksCancel, TasksContextRead,
		StepsRead, StepsResolve,
		DLQRead, DLQUpdate, DLQStats,
		TemplatesRead, TemplatesValidate,
		SystemConfigRead, SystemHandlersRead, SystemAnalyticsRead,
		WorkerConfigRead, WorkerTemplatesRead,
	}
}

// Resource is what the permission is about, as in "tasks".
func (p Permission) Resource() string {
	resource, _, _ := strings.Cut(string(p), ":")
	return resource
}

// Grants are the permissions that somebody has.
type Grants struct {
	everything bool
	single     map[Permission]bool
}

// Everything grants all permissions.
func Everything() Grants { return Grants{everything: true} }

// Allow tells whether the grants hold the permission.
func (g Grants) Allow(p Permission) bool { return g.everything || g.single[p] }

// ParseGrants reads permissions and wildcards such as "tasks:*". What is
// neither is left out and returned as unknown; "*" alone is neither.
func ParseGrants(words []string) (g Grants, unknown []string) {
	g.single = map[Permission]bool{}
	for _, word := range words {
		found := false
		for _, p := range Permissions() {
			if word == string(p) || word == p.Resource()+":*" {
				g.single[p], found = true, true
			}
		}
		if !found {
			unknown = append(unknown, word)
		}
	}
	return g, unknown
}

// unknownError names permissions that do not exist.
func unknownError(unknown []string) error {
	words := make([]string, len(unknown))
	for i, w := range unknown {
		words[i] = fmt.Sprintf("%q", w)
	}
	slices.Sort(words)
	return fmt.Errorf("unknown permission %s; `taskerpy auth show-permissions` lists them", strings.Join(words, ", "))
}
