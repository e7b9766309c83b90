package worker

import (
	"encoding/json"
	"errors"
)

// errNoWorker is the text that programs written for the reference package
// look for (python-api-core §2.2).
var errNoWorker = errors.New("Worker not initialized. Call bootstrap_worker() first.") //lint:ignore ST1005 the reference's text

// native answers what Python asks through tasker_core._tasker_core.
func (o output) native(name string, payload []byte) ([]byte, error) {
	if ok, err := o.line(name, payload); ok {
		return nil, err
	}
	switch name {
	case "is_worker_running":
		return []byte("false"), nil
	case "stop_worker":
		return json.Marshal("Worker system not running")
	case "get_worker_status":
		return json.Marshal(map[string]any{"running": false, "error": "Worker system not initialized"})
	case "bootstrap_worker":
		//lint:ignore ST1005 the reference's form
		return nil, errors.New("Bootstrap failed: a handler runs inside a worker already; programs that poll by themselves need a deployment")
	default:
		return nil, errNoWorker
	}
}
