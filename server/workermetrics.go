package server

import (
	"net/http"
	"time"
)

// measures is the answer of GET /metrics/worker.
type measures struct {
	Metrics   map[string]measure `json:"metrics"`
	Timestamp time.Time          `json:"timestamp"`
	WorkerID  string             `json:"worker_id"`
}

type measure struct {
	Value  float64           `json:"value"`
	Type   string            `json:"metric_type"`
	Labels map[string]string `json:"labels"`
	Help   string            `json:"help"`
}

// measures is GET /metrics/worker. What the database does not tell in time is
// left out.
func (w *Worker) measures(r *http.Request) (any, error) {
	all := map[string]measure{}
	add := func(name, kind, help string, value float64) {
		all[name] = measure{Value: value, Type: kind, Labels: map[string]string{}, Help: help}
	}
	add("uptime_seconds", "counter", "Time since the start in seconds", time.Since(w.started).Seconds())
	add("database_pool_size", "gauge", "Open connections to the database", float64(w.o.Deployment.Pool().Size))
	for _, d := range w.queues(r.Context()).depths {
		add("queue_depth_"+d.Namespace, "gauge", "Messages in the queue of the namespace "+d.Namespace, float64(d.Messages))
		add("queue_oldest_message_age_"+d.Namespace, "gauge", "Age of the oldest message of the namespace "+d.Namespace+" in seconds", d.Oldest.Seconds())
	}
	return measures{Metrics: all, Timestamp: time.Now().UTC(), WorkerID: w.id}, nil
}

// eventCounts is GET /metrics/events.
func (w *Worker) eventCounts(*http.Request) (any, error) { return countsOf(w.o.Events(), w.id), nil }

// workerConfiguration is the answer of GET /config.
type workerConfiguration struct {
	Metadata   configMetadata `json:"metadata"`
	WorkerID   string         `json:"worker_id"`
	WorkerType string         `json:"worker_type"`
	Auth       configAuth     `json:"auth"`
	Messaging  messaging      `json:"messaging"`
	// Configuration is what is in effect here; the reference has no such key.
	Configuration any `json:"configuration,omitempty"`
}

// config is GET /config.
func (w *Worker) config(*http.Request) (any, error) {
	queues := []string{}
	for _, namespace := range w.o.Deployment.Namespaces() {
		queues = append(queues, "worker_"+namespace+"_queue")
	}
	return workerConfiguration{
		Metadata: configMetadata{Timestamp: time.Now().UTC(), Environment: w.o.Environment, Version: w.o.Version},
		WorkerID: w.o.WorkerID, WorkerType: w.o.WorkerType, Auth: w.configAuth(),
		Messaging:     messaging{Backend: "pgmq", Queues: append(queues, w.o.ResultsQueue)},
		Configuration: w.o.Config(),
	}, nil
}
