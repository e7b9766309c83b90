package e2e_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/tasker-systems/taskerpy/tests/built"
	"github.com/tasker-systems/taskerpy/tests/cluster"
)

var (
	program string           // the taskerpy that TestMain has built
	shared  *cluster.Cluster // for tests that leave it as it was, each in a namespace of its own
)

func TestMain(m *testing.M) {
	os.Exit(cluster.ForMain(cluster.Options{}, func(c *cluster.Cluster) int {
		var err error
		if program, err = built.Into(context.Background(), c.Folder()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		shared = c
		return m.Run()
	}))
}
