package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/gofrs/uuid/v5"

	"github.com/tasker-systems/taskerpy/engine"
)

// DLQ lists dead-letter entries, newest first, of all statuses if the filter's
// is "".
func (c *Client) DLQ(ctx context.Context, f engine.DLQFilter) (Answer[[]engine.DLQEntry], error) {
	query := url.Values{"limit": {strconv.Itoa(f.Limit)}, "offset": {strconv.Itoa(f.Offset)}}
	if f.Status != "" {
		query.Set("resolution_status", f.Status.Wire())
	}
	return ask[[]engine.DLQEntry](ctx, c, http.MethodGet, query, nil, "v1", "dlq")
}

// DLQOfTask reads the newest dead-letter entry of a task.
func (c *Client) DLQOfTask(ctx context.Context, task uuid.UUID) (Answer[engine.DLQEntry], error) {
	return ask[engine.DLQEntry](ctx, c, http.MethodGet, nil, nil, "v1", "dlq", "task", task.String())
}

// DLQUpdated is the answer to UpdateDLQ.
type DLQUpdated struct {
	Success bool      `json:"success"`
	Message string    `json:"message"`
	Entry   uuid.UUID `json:"dlq_entry_uuid"`
}

// UpdateDLQ changes a dead-letter entry.
func (c *Client) UpdateDLQ(ctx context.Context, entry uuid.UUID, u engine.DLQUpdate) (Answer[DLQUpdated], error) {
	return ask[DLQUpdated](ctx, c, http.MethodPatch, nil, u, "v1", "dlq", "entry", entry.String())
}

// DLQStats counts the dead-letter entries of each reason.
func (c *Client) DLQStats(ctx context.Context) (Answer[[]engine.DLQStats], error) {
	return ask[[]engine.DLQStats](ctx, c, http.MethodGet, nil, nil, "v1", "dlq", "stats")
}

// Investigations lists pending dead-letter entries, the most urgent first.
func (c *Client) Investigations(ctx context.Context, limit int) (Answer[[]engine.Investigation], error) {
	return ask[[]engine.Investigation](ctx, c, http.MethodGet, atMost(limit), nil, "v1", "dlq", "investigation-queue")
}

// StaleTasks lists tasks by how near they are to being stale.
func (c *Client) StaleTasks(ctx context.Context, limit int) (Answer[[]engine.StaleTask], error) {
	return ask[[]engine.StaleTask](ctx, c, http.MethodGet, atMost(limit), nil, "v1", "dlq", "staleness")
}

func atMost(limit int) url.Values { return url.Values{"limit": {strconv.Itoa(limit)}} }

// ParseEntryID reads the uuid of a dead-letter entry as somebody typed it.
func ParseEntryID(text string) (uuid.UUID, error) {
	id, err := uuid.FromString(text)
	if err != nil {
		return uuid.Nil, usagef("%q is not the UUID of a dead-letter entry; `taskerpy dlq list` shows them", abbreviated(text, 60))
	}
	return id, nil
}
