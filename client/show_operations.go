package client

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"

	"github.com/tasker-systems/taskerpy/engine"
)

// ShowAudit writes the finished attempts of a step, newest first.
func ShowAudit(w io.Writer, all []engine.StepAudit) error {
	if len(all) == 0 {
		return write(w, "no finished attempts\n")
	}
	var t table
	t.row("#", "RECORDED", "SUCCESS", "TOOK", "TO", "WORKER", "ERROR")
	for i, a := range all {
		took := "-"
		if a.ExecutionTimeMS != nil {
			took = fmt.Sprintf("%d ms", *a.ExecutionTimeMS)
		}
		worker := "-"
		if a.WorkerUUID != nil {
			worker = a.WorkerUUID.String()
		}
		var event struct {
			Data json.RawMessage `json:"data"`
		}
		_ = json.Unmarshal(a.Result, &event) // another server's may be of another form
		t.row(strconv.Itoa(i+1), moment(&a.RecordedAt), yes(a.Success), took, a.ToState, worker, failure(event.Data, 80))
	}
	return t.write(w)
}

// ShowDLQ writes a line for each dead-letter entry.
func ShowDLQ(w io.Writer, all []engine.DLQEntry) error {
	if len(all) == 0 {
		return write(w, "no dead-letter entries\n")
	}
	var t table
	t.row("ENTRY", "TASK", "REASON", "STATUS", "FROM", "SINCE", "RESOLVED BY")
	for _, d := range all {
		t.row(d.DLQEntryUUID.String(), d.TaskUUID.String(), string(d.DLQReason), string(d.ResolutionStatus), d.OriginalState,
			naive(&d.DLQTimestamp), dash(text(d.ResolvedBy)))
	}
	return t.write(w)
}

// ShowDLQEntry writes a dead-letter entry for people.
func ShowDLQEntry(w io.Writer, d engine.DLQEntry) error {
	var f facts
	f.row("dead-letter entry", "")
	f.add("entry", "%s", d.DLQEntryUUID)
	f.add("task", "%s", d.TaskUUID)
	f.add("reason", "%s", string(d.DLQReason))
	f.add("original state", "%s", d.OriginalState)
	f.add("since", "%s", naive(&d.DLQTimestamp))
	f.add("status", "%s", string(d.ResolutionStatus))
	f.add("resolved", "%s", naive(d.ResolutionTimestamp))
	f.add("resolved by", "%s", dash(text(d.ResolvedBy)))
	f.add("notes", "%s", dash(text(d.ResolutionNotes)))
	f.add("updated", "%s", naive(&d.UpdatedAt))
	if err := f.write(w); err != nil {
		return err
	}
	if len(d.TaskSnapshot) == 0 || string(d.TaskSnapshot) == "null" {
		return nil
	}
	if err := write(w, "  task then\n"); err != nil {
		return err
	}
	return WriteJSON(w, d.TaskSnapshot)
}

// ShowDLQStats writes a line for each reason.
func ShowDLQStats(w io.Writer, all []engine.DLQStats) error {
	if len(all) == 0 {
		return write(w, "no dead-letter entries\n")
	}
	var t table
	t.row("REASON", "TOTAL", "PENDING", "RESOLVED", "FAILED", "CANCELLED", "OLDEST", "NEWEST", "MINUTES TO RESOLVE")
	for _, s := range all {
		minutes := "-"
		if s.AvgResolutionTimeMinutes != nil {
			minutes = fmt.Sprintf("%.1f", *s.AvgResolutionTimeMinutes)
		}
		t.row(string(s.DLQReason), strconv.Itoa(s.TotalEntries), strconv.Itoa(s.Pending), strconv.Itoa(s.ManuallyResolved),
			strconv.Itoa(s.PermanentFailures), strconv.Itoa(s.Cancelled), naive(s.OldestEntry), naive(s.NewestEntry), minutes)
	}
	return t.write(w)
}

// ShowInvestigations writes a line for each pending entry.
func ShowInvestigations(w io.Writer, all []engine.Investigation) error {
	if len(all) == 0 {
		return write(w, "nothing to investigate\n")
	}
	var t table
	t.row("SCORE", "ENTRY", "TASK", "NAME", "NAMESPACE", "REASON", "STATE", "MINUTES")
	for _, i := range all {
		t.row(fmt.Sprintf("%.0f", i.PriorityScore), i.DLQEntryUUID.String(), i.TaskUUID.String(), i.TaskName, i.NamespaceName,
			string(i.DLQReason), i.CurrentState, strconv.FormatInt(i.MinutesInDLQ, 10))
	}
	return t.write(w)
}

// ShowStaleTasks writes a line for each task.
func ShowStaleTasks(w io.Writer, all []engine.StaleTask) error {
	if len(all) == 0 {
		return write(w, "no tasks that could get stale\n")
	}
	var t table
	t.row("TASK", "NAME", "NAMESPACE", "STATE", "HEALTH", "MINUTES", "OF", "AGE", "PRIORITY")
	for _, s := range all {
		t.row(s.TaskUUID.String(), s.TaskName, s.NamespaceName, s.CurrentState, s.HealthStatus, strconv.FormatInt(s.TimeInStateMinutes, 10),
			strconv.FormatInt(s.StalenessThresholdMinutes, 10), strconv.FormatInt(s.TaskAgeMinutes, 10), strconv.Itoa(int(s.Priority)))
	}
	return t.write(w)
}

func naive(t *engine.NaiveTime) string {
	if t == nil {
		return "-"
	}
	return moment(&t.Time)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
