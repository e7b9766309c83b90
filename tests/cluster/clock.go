package cluster

import (
	"fmt"
	"path/filepath"
	"time"
)

// skewed is the environment of a program in C whose clock is wrong. Only the
// time of day is: what measures how long something takes is left alone.
func skewed(by time.Duration) ([]string, error) {
	found, err := filepath.Glob("/usr/lib/*/faketime/libfaketime.so.1")
	if err != nil || len(found) == 0 {
		return nil, fmt.Errorf("libfaketime is not installed; scripts/deployment does that")
	}
	return []string{
		"LD_PRELOAD=" + found[0], fmt.Sprintf("FAKETIME=%+ds", int(by.Seconds())), "FAKETIME_DONT_FAKE_MONOTONIC=1",
	}, nil
}
