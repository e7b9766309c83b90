package commands

import (
	"context"
	"errors"
	"slices"

	"github.com/spf13/cobra"

	"github.com/tasker-systems/taskerpy/client"
)

// Worker makes the verbs of worker, which ask running workers: list, status
// and health (engine-semantics §10).
func Worker(o Options) []*cobra.Command {
	o.fill()
	return []*cobra.Command{o.workerList(), o.workerStatus(), o.workerHealth()}
}

// workers are the running ones that --url names.
type workers struct {
	o    Options
	urls []string
}

func (w *workers) register(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&w.urls, "url", nil,
		"address of a running worker `URL`; may be repeated (default: TASKER_WORKER_URL, TASKER_ORCHESTRATION_URL, "+client.DefaultURL+")")
}

// look asks the workers how they are, and which namespaces they have. A server
// that is no worker is an error.
func (w *workers) look(ctx context.Context) ([]client.Server, error) {
	urls := w.urls
	if len(urls) == 0 {
		urls = []string{""}
	}
	var all []client.Server
	for _, url := range urls {
		config, err := client.Config{URL: url}.FromWorkerEnv(w.o.Getenv)
		if err != nil {
			return nil, err
		}
		c, err := client.New(config)
		if err != nil {
			return nil, err
		}
		s := look(ctx, c, workerSide)
		if stranger := (*UsageError)(nil); errors.As(s.Err, &stranger) {
			c.Close()
			return nil, stranger
		}
		if s.Namespaces = s.Value.About().Namespaces; s.Err == nil && s.Namespaces == nil {
			if s.Namespaces, s.Err = c.Namespaces(ctx); s.Err != nil {
				s.Why = s.Err.Error()
			}
		}
		c.Close()
		all = append(all, s)
	}
	return all, nil
}

// named keeps the worker of an id; id may be "".
func named(what, id string, all []client.Server) ([]client.Server, error) {
	if id == "" {
		return all, nil
	}
	for _, s := range all {
		if s.Err == nil && s.Value.WorkerID == id {
			return []client.Server{s}, nil
		}
	}
	if err := answered(all); err != nil {
		return nil, err
	}
	var ids []string
	for _, s := range all {
		ids = append(ids, s.Value.WorkerID)
	}
	return nil, usagef("worker %s: no worker %q there, but %q; --url says where to look", what, id, ids)
}

func (o Options) workerList() *cobra.Command {
	w := workers{o: o}
	var namespace string
	cmd := &cobra.Command{Use: "list", Short: "List running workers", Args: arguments()}
	cmd.Flags().StringVarP(&namespace, "namespace", "n", "", "only those with templates of `NAMESPACE`")
	out := outputFlag(cmd)
	w.register(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		all, err := w.look(cmd.Context())
		if err != nil {
			return err
		}
		unreachable := answered(all)
		if namespace != "" {
			all = slices.DeleteFunc(all, func(s client.Server) bool { return !slices.Contains(s.Namespaces, namespace) })
		}
		if err := printServers(cmd, out, all, func(all []client.Server) error { return client.ShowWorkers(cmd.OutOrStdout(), all) }); err != nil {
			return err
		}
		return unreachable
	}
	return cmd
}

func (o Options) workerStatus() *cobra.Command {
	w := workers{o: o}
	cmd := &cobra.Command{Use: "status [WORKER]", Short: "Show a running worker", Args: atMostOne("WORKER")}
	out := outputFlag(cmd)
	w.register(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		all, err := w.look(cmd.Context())
		if err == nil && len(args) > 0 {
			all, err = named("status", args[0], all)
		}
		if err != nil {
			return err
		}
		if err := printServers(cmd, out, all, func(all []client.Server) error { return showHealth(cmd, all) }); err != nil {
			return err
		}
		return answered(all)
	}
	return cmd
}

func (o Options) workerHealth() *cobra.Command {
	w := workers{o: o}
	var everyone bool
	cmd := &cobra.Command{
		Use:   "health [WORKER]",
		Short: "Show how running workers are; exit 1 unless they take work",
		Args:  atMostOne("WORKER"),
	}
	cmd.Flags().BoolVarP(&everyone, "all", "a", false, "all of them, as without WORKER")
	out := outputFlag(cmd)
	w.register(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if everyone && len(args) > 0 {
			return usagef("worker health: --all and the worker %q exclude each other", args[0])
		}
		all, err := w.look(cmd.Context())
		if err == nil && len(args) > 0 {
			all, err = named("health", args[0], all)
		}
		if err != nil {
			return err
		}
		if err := printServers(cmd, out, all, func(all []client.Server) error { return client.ShowWorkers(cmd.OutOrStdout(), all) }); err != nil {
			return err
		}
		return ready(all)
	}
	return cmd
}

// atMostOne asks for none or one.
func atMostOne(name string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return arguments(name)(cmd, args)
	}
}
