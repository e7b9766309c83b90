// Package cluster gives a test a real deployment of Tasker of its own: PostgreSQL
// with PGMQ and the schema, the unmodified tasker-server, and workers of the
// published package to compare with. Nothing is mocked.
//
//	c := cluster.Start(t, cluster.Options{})
//	c.StartReferenceWorker(ctx, handlers, templates) // or a worker of ours, with c.URL()
//	id := c.CreateTask(ctx, "order", "shop", "1.0.0", map[string]any{"n": 1})
//	task := c.WaitTask(ctx, id)
//
// `make e2e` gets the parts (scripts/deployment) and runs the tests that use this
// package; by hand, eval what scripts/environment --dev and then
// scripts/deployment print. Without that Start skips the test, under `make e2e`
// it fails instead.
//
// Starting takes about a second: what initdb and the migrations make is kept in
// the cache folder and copied. PostgreSQL runs as somebody else when the tests
// run as root, and with fsync on. Its statements can be logged and counted
// (Options.LogStatements, Cluster.Statements). The programs are in process
// groups of their own and are killed when the test or its process ends, in
// whatever way; their logs are shown when the test has failed.
//
// Options.QueueDatabase gives the queues a database of their own (QueueURL,
// QueueDB), which CutOffQueues takes away.
//
// The methods for faults are StopPostgres and StartPostgres,
// TerminateConnections, StopServer, KillServer and StartServer, PauseServer and
// ResumeServer. Everything keeps its port.
package cluster
