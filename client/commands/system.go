package commands

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/taskerpy/client"
)

func (o Options) system() *cobra.Command {
	return group("system", "Show how the servers of a deployment are: orchestration and worker", o.systemHealth(), o.systemInfo())
}

// The sides of a deployment. A taskerpy is both at once.
const (
	orchestrationSide = "orchestration"
	workerSide        = "worker"
	bothSides         = "orchestration and worker"
)

// sides are --orchestration and --worker, and where each is.
type sides struct {
	o                     Options
	orchestration, worker bool
	url                   string
}

func (s *sides) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVarP(&s.orchestration, "orchestration", "o", false, "only the orchestration server")
	f.BoolVarP(&s.worker, "workers", "w", false, "only the worker")
	f.StringVar(&s.url, "url", "", "address of a taskerpy, which is both, `URL` (default: TASKER_ORCHESTRATION_URL and TASKER_WORKER_URL, or "+
		client.DefaultURL+")")
}

// clients gives a client for each side that is wanted, one for both when they
// are at the same address.
func (s *sides) clients() (names []string, all []*client.Client, err error) {
	everything := s.orchestration == s.worker
	for _, side := range []struct {
		name   string
		wanted bool
		fill   func(client.Config, func(string) string) (client.Config, error)
	}{
		{orchestrationSide, everything || s.orchestration, client.Config.FromEnv},
		{workerSide, everything || s.worker, client.Config.FromWorkerEnv},
	} {
		if !side.wanted {
			continue
		}
		config, err := side.fill(client.Config{URL: s.url}, s.o.Getenv)
		if err != nil {
			return nil, nil, err
		}
		c, err := client.New(config)
		if err != nil {
			return nil, nil, err
		}
		if len(all) == 1 && all[0].Address() == c.Address() {
			names[0] = bothSides
			continue
		}
		names, all = append(names, side.name), append(all, c)
	}
	return names, all, nil
}

// look finds out how the servers are. Those that cannot be asked are among
// them.
func (s *sides) look(ctx context.Context) ([]client.Server, error) {
	names, clients, err := s.clients()
	if err != nil {
		return nil, err
	}
	var all []client.Server
	for i, c := range clients {
		all = append(all, look(ctx, c, names[i]))
		c.Close()
	}
	return all, nil
}

// look asks one server. That which should be both sides may be the one of
// tasker-server only, which is no worker either.
func look(ctx context.Context, c *client.Client, side string) client.Server {
	s := client.Server{Side: side, Address: c.Address()}
	if s.Answer, s.Err = c.Health(ctx); s.Err == nil {
		s.Ready, s.Why, s.Err = c.Ready(ctx)
	}
	if s.Err == nil && !s.Value.OfWorker() {
		switch side {
		case bothSides:
			s.Side = orchestrationSide
		case workerSide:
			s.Err = usagef("no worker at %s but an orchestration server; say with TASKER_WORKER_URL or --url where the worker is", s.Address)
		}
	}
	if s.Err != nil {
		s.Why = s.Err.Error()
	}
	return s
}

func (o Options) systemHealth() *cobra.Command {
	s := sides{o: o}
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Show how each part of the servers is; exit 1 unless all take work",
		Args:  arguments(),
	}
	s.register(cmd)
	out := longOutputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		all, err := s.look(cmd.Context())
		if err != nil {
			return err
		}
		if err := printServers(cmd, out, all, func(all []client.Server) error { return showHealth(cmd, all) }); err != nil {
			return err
		}
		return ready(all)
	}
	return cmd
}

func (o Options) systemInfo() *cobra.Command {
	s := sides{o: o}
	cmd := &cobra.Command{Use: "info", Short: "Show what the servers are: versions, environments, addresses", Args: arguments()}
	s.register(cmd)
	out := longOutputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		all, err := s.look(cmd.Context())
		if err != nil {
			return err
		}
		if err := printServers(cmd, out, all, func(all []client.Server) error { return client.ShowServers(cmd.OutOrStdout(), all) }); err != nil {
			return err
		}
		return answered(all)
	}
	return cmd
}

// longOutputFlag adds --output without -o, which means something else there.
func longOutputFlag(cmd *cobra.Command) *output {
	o := asTable
	cmd.Flags().Var(&o, "output", "print a `FORMAT`: table or json")
	return &o
}

// serverReport is a server as JSON.
type serverReport struct {
	Side       string          `json:"side"`
	Address    string          `json:"address"`
	Status     string          `json:"status"`
	Ready      bool            `json:"ready"`
	Message    string          `json:"message,omitempty"`
	Namespaces []string        `json:"namespaces,omitempty"`
	Health     json.RawMessage `json:"health"` // as the server gave it
}

func printServers(cmd *cobra.Command, out *output, all []client.Server, table func([]client.Server) error) error {
	if *out != asJSON {
		return table(all)
	}
	reports := []serverReport{}
	for _, s := range all {
		r := serverReport{s.Side, s.Address, s.Status(), s.Ready, s.Why, s.Namespaces, s.Raw}
		if s.Err != nil {
			r.Health = nil
		}
		reports = append(reports, r)
	}
	return client.ShowJSON(cmd.OutOrStdout(), reports)
}

func showHealth(cmd *cobra.Command, all []client.Server) error {
	for i, s := range all {
		if i > 0 {
			if _, err := fmt.Fprintln(cmd.OutOrStdout()); err != nil {
				return fmt.Errorf("write the answer: %w", err)
			}
		}
		if err := client.ShowHealth(cmd.OutOrStdout(), s); err != nil {
			return err
		}
	}
	return nil
}

// answered is the error of servers that cannot be asked.
func answered(all []client.Server) error {
	var errs []error
	for _, s := range all {
		errs = append(errs, s.Err)
	}
	return errors.Join(errs...)
}

// ready is the error of servers that take no work.
func ready(all []client.Server) error {
	if err := answered(all); err != nil {
		return err
	}
	for _, s := range all {
		if !s.Ready {
			return &FailedError{fmt.Sprintf("%s at %s takes no work: %s", s.Side, s.Address, s.Why)}
		}
	}
	return nil
}
