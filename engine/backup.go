package engine

import (
	"context"
	"fmt"

	"github.com/tasker-systems/taskerpy/engine/store"
)

// Backup writes everything that is durable now to a new file at path, which an
// engine can open. Tasks run on meanwhile. The error says that path exists or
// cannot be written, or is ErrClosed.
func (e *Engine) Backup(ctx context.Context, path string) error {
	e.reads.RLock()
	defer e.reads.RUnlock()
	if e.fileClosed {
		return fmt.Errorf("back up to %s: %w", path, ErrClosed)
	}
	return e.store.Backup(ctx, path)
}

// BackupFile is Backup of the data file at from, which this or another process
// may have open.
func BackupFile(ctx context.Context, from, path string) error { return store.Backup(ctx, from, path) }
