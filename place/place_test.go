package place_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/place"
)

func TestAFileBelowTheWorkingDirectoryIsSeenFromThere(t *testing.T) {
	here := t.TempDir()
	t.Chdir(here)
	require.Equal(t, filepath.Join("handlers", "pay.py"), place.Near(filepath.Join(here, "handlers", "pay.py")))
}

func TestAFileElsewhereKeepsItsPath(t *testing.T) {
	t.Chdir(t.TempDir())
	elsewhere := filepath.Join(t.TempDir(), "pay.py")
	require.Equal(t, elsewhere, place.Near(elsewhere))
}
