package postgres

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"
)

// object is a JSON object whose members are not of interest.
type object = map[string]any

// failed brings a failure into the form that the server handles best
// (worker-protocol §3.5, §3.7): its status is exactly "failed", it is retryable
// only if the step's row says so too, and the wait that its template wants, or
// the handler, is asked for in the only way that the server understands.
func (c *claim) failed(result []byte, retryable bool) []byte {
	var r object
	decoder := json.NewDecoder(bytes.NewReader(result))
	decoder.UseNumber() // integers stay as they are
	if err := decoder.Decode(&r); err != nil {
		return c.ownFailure(failure{"unreadable_result", fmt.Sprintf("the failure that the handler reported cannot be read: %v", err), retryable}, "", 0)
	}
	metadata := member(r, "metadata")
	custom := member(metadata, "custom")
	if status, _ := r["status"].(string); status != "" && status != "failed" {
		custom["original_status"] = status
	}
	r["status"], r["success"], r["step_uuid"] = "failed", false, c.stepUUID.String()
	retryable = retryable && c.retryable
	metadata["retryable"] = retryable
	if e, ok := r["error"].(object); ok {
		e["retryable"] = retryable
		// Members that the server leaves out when it has none (§3.5).
		if e["status_code"] == nil {
			delete(e, "status_code")
		}
		if context, _ := e["context"].(object); len(context) == 0 {
			delete(e, "context")
		}
	} else {
		r["error"] = object{"message": "the handler failed without saying why", "error_type": nil, "backtrace": nil, "retryable": retryable}
	}
	if !retryable {
		r["orchestration_metadata"] = nil
	} else if r["orchestration_metadata"] == nil {
		r["orchestration_metadata"] = c.wait()
	}
	out, err := json.Marshal(r)
	if err != nil {
		panic(err) // it was JSON
	}
	return out
}

// member returns the object under a key, made if there is none.
func member(of object, key string) object {
	o, ok := of[key].(object)
	if !ok {
		o = object{}
		of[key] = o
	}
	return o
}

// wait asks for the wait of the step's template after this attempt. The server
// reads whole seconds, and spreads nothing that it is asked for. nil is at
// once, and after the last attempt.
func (c *claim) wait() any {
	if c.attempt >= c.maxAttempts {
		return nil
	}
	seconds := math.Round(c.definition.backoff.Delay(max(c.attempt, 1)).Seconds())
	if seconds < 1 {
		return nil
	}
	return object{
		"headers":       map[string]string{"retry-after": strconv.FormatFloat(seconds, 'f', 0, 64)},
		"error_context": nil, "backoff_hint": nil, "custom": object{},
	}
}

// ownFailure is the result of a step that failed for a reason of ours.
func (c *claim) ownFailure(f failure, workerID string, took time.Duration) []byte {
	retryable := f.retryable && c.retryable
	var wait any
	if retryable && c.definition != nil {
		wait = c.wait()
	}
	out, err := json.Marshal(object{
		"step_uuid": c.stepUUID, "success": false, "status": "failed", "result": nil,
		"metadata": object{
			"execution_time_ms": took.Milliseconds(), "handler_version": nil, "retryable": retryable,
			"completed_at": time.Now().UTC().Format(time.RFC3339Nano), "worker_id": workerID, "worker_hostname": nil, "started_at": nil,
			"custom": object{}, "error_code": nil, "error_type": f.kind, "context": object{},
		},
		"error":                  object{"message": f.message, "error_type": f.kind, "backtrace": nil, "retryable": retryable},
		"orchestration_metadata": wait,
	})
	if err != nil {
		panic(err) // plain values
	}
	return out
}

// storable replaces what JSON text may hold and jsonb refuses, U+0000 and
// halves of surrogate pairs, by the replacement character (worker-protocol
// §1.7). changed says that there was some.
func storable(text []byte) (out []byte, changed bool) {
	if !bytes.Contains(text, []byte(`\u`)) && !bytes.ContainsRune(text, 0) {
		return text, false
	}
	const replacement = `\ufffd`
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			continue
		}
		if i+6 > len(text) || text[i+1] != 'u' {
			i++ // an escape of one character, maybe of a backslash
			continue
		}
		high, ok := unit(text[i:])
		if !ok {
			i++
			continue
		}
		bad := high == 0 || high >= 0xDC00 && high < 0xE000
		length := 6
		if high >= 0xD800 && high < 0xDC00 {
			low, ok := unit(text[min(i+6, len(text)):])
			if ok && low >= 0xDC00 && low < 0xE000 {
				length = 12
			} else {
				bad = true
			}
		}
		if bad {
			if !changed {
				text, changed = bytes.Clone(text), true
			}
			copy(text[i:], replacement)
		}
		i += length - 1
	}
	return text, changed
}

// unit reads a \uXXXX.
func unit(text []byte) (uint64, bool) {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(text[2:6]), 16, 16)
	return n, err == nil
}
