package server

import (
	"net/http"
	"time"
)

// EventStats counts domain events since the start of the process.
type EventStats struct {
	Routed, Durable, Fast, Broadcast uint64 // published, in all and by delivery mode
	FastErrors                       uint64 // of subscribers
	RoutingErrors                    uint64
	Subscribers                      int
	Lost                             uint64 // dropped by a full channel
}

// eventCounts is the answer of GET /metrics/events (engine-semantics §8.5).
// What only the reference has is 0.
type eventCounts struct {
	Router       routerCounts `json:"router"`
	InProcessBus busCounts    `json:"in_process_bus"`
	CapturedAt   time.Time    `json:"captured_at"`
	WorkerID     string       `json:"worker_id"`
}

type routerCounts struct {
	TotalRouted        uint64 `json:"total_routed"`
	DurableRouted      uint64 `json:"durable_routed"`
	FastRouted         uint64 `json:"fast_routed"`
	BroadcastRouted    uint64 `json:"broadcast_routed"`
	FastDeliveryErrors uint64 `json:"fast_delivery_errors"`
	RoutingErrors      uint64 `json:"routing_errors"`
}

type busCounts struct {
	TotalEventsDispatched  uint64 `json:"total_events_dispatched"`
	RustHandlerDispatches  uint64 `json:"rust_handler_dispatches"`
	FFIChannelDispatches   uint64 `json:"ffi_channel_dispatches"`
	RustHandlerErrors      uint64 `json:"rust_handler_errors"`
	FFIChannelDrops        uint64 `json:"ffi_channel_drops"`
	RustSubscriberPatterns int    `json:"rust_subscriber_patterns"`
	RustHandlerCount       int    `json:"rust_handler_count"`
	FFISubscriberCount     int    `json:"ffi_subscriber_count"`
}

// eventCounts is GET /metrics/events.
func (s *Server) eventCounts(*http.Request) (any, error) {
	return countsOf(s.o.Events(), s.o.WorkerID), nil
}

func countsOf(e EventStats, workerID string) eventCounts {
	dispatched := e.Fast + e.Broadcast
	return eventCounts{
		Router: routerCounts{e.Routed, e.Durable, e.Fast, e.Broadcast, e.FastErrors, e.RoutingErrors},
		InProcessBus: busCounts{
			TotalEventsDispatched: dispatched, FFIChannelDispatches: dispatched - min(e.Lost, dispatched), FFIChannelDrops: e.Lost, FFISubscriberCount: e.Subscribers,
		},
		CapturedAt: time.Now().UTC(), WorkerID: workerID,
	}
}
