package client

import (
	"fmt"
	"io"
	"strings"
)

// A Server is one server of a deployment as it was found.
type Server struct {
	// Side says which it is: orchestration, worker, or both of them.
	Side    string
	Address string
	Answer[Health]
	Ready bool
	// Why says why it is not ready, or cannot be asked.
	Why        string
	Namespaces []string // of a worker
	// Err is why it cannot be asked.
	Err error
}

// Status is the server's word for how it is.
func (s Server) Status() string {
	if s.Err != nil {
		return "unreachable"
	}
	return s.Value.Status
}

// ShowServers writes a line for each server.
func ShowServers(w io.Writer, all []Server) error {
	var t table
	t.row("SIDE", "STATUS", "READY", "VERSION", "ENVIRONMENT", "WORKER", "ADDRESS")
	for _, s := range all {
		about := s.Value.About()
		t.row(s.Side, s.Status(), yes(s.Ready), dash(about.Version), dash(about.Environment), dash(s.Value.WorkerID), s.Address)
	}
	return t.write(w)
}

// ShowWorkers writes a line for each worker.
func ShowWorkers(w io.Writer, all []Server) error {
	if len(all) == 0 {
		return write(w, "no workers\n")
	}
	var t table
	t.row("WORKER", "STATUS", "READY", "NAMESPACES", "VERSION", "ENVIRONMENT", "ADDRESS")
	for _, s := range all {
		about := s.Value.About()
		t.row(dash(s.Value.WorkerID), s.Status(), yes(s.Ready), dash(strings.Join(s.Namespaces, ", ")),
			dash(about.Version), dash(about.Environment), s.Address)
	}
	return t.write(w)
}

// ShowHealth writes how each part of a server is.
func ShowHealth(w io.Writer, s Server) error {
	var f facts
	f.row(s.Side+" at "+s.Address, "")
	if s.Err != nil {
		f.add("status", "unreachable: %s", s.Why)
		return f.write(w)
	}
	about := s.Value.About()
	f.add("status", "%s", s.Value.Status)
	ready := yes(s.Ready)
	if !s.Ready {
		ready += ": " + s.Why
	}
	f.add("ready", "%s", ready)
	if s.Value.WorkerID != "" {
		f.add("worker", "%s", s.Value.WorkerID)
	}
	if len(s.Namespaces) > 0 {
		f.add("namespaces", "%s", strings.Join(s.Namespaces, ", "))
	}
	f.add("version", "%s", dash(about.Version))
	f.add("environment", "%s", dash(about.Environment))
	if about.OperationalState != "" {
		f.add("state", "%s", about.OperationalState)
	}
	if err := f.write(w); err != nil {
		return err
	}
	var t table
	for _, name := range s.Value.CheckNames() {
		c := s.Value.Checks[name]
		t.rows = append(t.rows, []string{"    " + oneLine(name), oneLine(c.Status), oneLine(text(c.Message))})
	}
	if err := t.write(w); err != nil {
		return fmt.Errorf("write the checks: %w", err)
	}
	return nil
}
