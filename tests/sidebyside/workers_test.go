package sidebyside_test

import (
	"context"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/tests/built"
	"github.com/tasker-systems/taskerpy/tests/cluster"
)

// Both workers are asked the same over HTTP (worker-protocol §6).
func TestAWorkerAnswersAsThePublishedOneDoes(t *testing.T) {
	binary := built.Binary(t)
	source := filepath.Join(built.Root(), "tests", "sidebyside", "shop")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var both []*api
	for _, start := range []func(c *cluster.Cluster) cluster.Client{
		func(c *cluster.Cluster) cluster.Client { return c.StartReferenceWorker(ctx, source, source).REST },
		func(c *cluster.Cluster) cluster.Client { return c.StartWorker(ctx, binary, source).REST },
	} {
		c := cluster.Start(t, cluster.Options{})
		worker := start(c)
		id := c.CreateTask(ctx, "order", "shop", "1.0.0", map[string]any{"amount": 5})
		require.Equal(t, "complete", c.WaitTask(ctx, id).Status)
		both = append(both, &api{url: worker.URL, known: map[string]string{}})
	}
	requireAllUsed(t, workerAnswers, askBoth(t, ctx, both, workerRequests, workerAnswers))
}

var workerRequests = []request{
	{name: "health", method: "GET", path: "/health"},
	{name: "live", method: "GET", path: "/health/live"},
	{name: "ready", method: "GET", path: "/health/ready"},
	{name: "detailed", method: "GET", path: "/health/detailed"},
	{name: "metrics of the worker", method: "GET", path: "/metrics/worker"},
	{name: "metrics of events", method: "GET", path: "/metrics/events"},
	{name: "config", method: "GET", path: "/config"},
	{name: "templates", method: "GET", path: "/v1/templates"},
	{name: "template", method: "GET", path: "/v1/templates/shop/order/1.0.0"},
	{name: "no template", method: "GET", path: "/v1/templates/shop/ordeal/1.0.0"},
	{name: "validation", method: "POST", path: "/v1/templates/shop/order/1.0.0/validate"},
	{name: "validation of nothing", method: "POST", path: "/v1/templates/shop/ordeal/1.0.0/validate"},
	{name: "no path", method: "GET", path: "/v1/nothing"},
	{name: "no method", method: "PUT", path: "/v1/templates"},
	{name: "cache", method: "GET", path: "/v1/templates?include_cache_stats=true"},
	{name: "templates of nothing", method: "GET", path: "/v1/templates?namespace=shed"},
}

// workerAnswers are the differences that there are to be between the published
// worker and ours.
var workerAnswers = slices.Concat(
	[]explanation{
		{path: "*.body.message", why: "says what is wrong, where, and what to do", unsteady: true},
		{path: "no *.body.request_id", why: "errors can be found in the log", fits: theirs(nil)},
		{path: "validation of nothing.body.request_id", why: "as above", fits: theirs(nil)},
		{path: "*.body", why: "errors have the same form everywhere; some are answered by their framework with nothing", fits: framework},
		{path: "*.kind", why: "as above", fits: framework},
		{path: "*.body.checks.*.message", why: "says what the check looks at"},
		{path: "*.body.system_info.*", why: "says what there is: another version, fewer connections"},
		{path: "*.body.system_info.pool_utilization.*.*", why: "as above; theirs counts no acquisitions"},
		{path: "detailed.body.distributed_cache", why: "there is none"},
		{path: "metrics of the worker.body.metrics.*", why: "tells the queues' depths too", fits: kept},
		{path: "metrics of the worker.body.metrics.*.help", why: "has its own words"},
		{path: "metrics of the worker.body.metrics.*.value", why: "was measured"},
		{path: "metrics of events.body.in_process_bus.ffi_subscriber_count", why: "counts the subscribers there are; theirs is a constant"},
		{path: "config.body.auth.*", why: "tells what is configured: nothing"},
		{path: "config.body.configuration", why: "tells each setting and where it is from", fits: kept},
		{path: "config.body.messaging.queues[]", why: "tells the queues there are; theirs are constants"},
		{path: "config.body.metadata.*", why: "has another version"},
		{path: "config.body.worker_id", why: "each has its name"},
		{path: "templates*.body.template_count", why: "theirs counts what it has looked up"},
		{path: "cache.body.cache_stats.*", why: "as above"},
		{path: "template.body.access_count", why: "theirs has not counted yet", fits: theirs(nil)},
		{path: "template.body.cache_age_seconds", why: "as above", fits: theirs(nil)},
		{path: "template.body.handler_metadata.default_dependent_system", why: "is the template's", fits: theirs(nil)},
		{path: "template.body.template.environment", why: "is the one it runs in; theirs is a constant", fits: theirs("production")},
	},
	unsteady([]explanation{
		{path: "*.body.checks.*.duration_ms", why: "was measured"},
		{path: "cache.body.cache_stats", why: "theirs counts what it has looked up"},
	}),
)
