// Package place says where files are, as people at a terminal want to read it.
package place

import (
	"os"
	"path/filepath"
)

// Near is a path as it is seen from the working directory, if it is below it.
func Near(path string) string {
	here, err := os.Getwd()
	if err != nil {
		return path
	}
	if relative, err := filepath.Rel(here, path); err == nil && filepath.IsLocal(relative) {
		return relative
	}
	return path
}
