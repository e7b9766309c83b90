package metrics

import (
	"math"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tasker-systems/taskerpy/postgres"
)

// deploymentNumbers are what a scrape asks a worker of a deployment for. Those
// of the first part have their names, labels and units from the reference.
func deploymentNumbers() []number {
	var all []number
	add := func(kind prometheus.ValueType, name, help string, labels []string, series ...series) {
		desc := prometheus.NewDesc(name, help, labels, nil)
		for _, s := range series {
			all = append(all, number{desc: desc, kind: kind, labels: s.labels, value: s.value})
		}
	}
	counter := func(name, help string, value func(*numbers) float64) {
		add(prometheus.CounterValue, name, help, nil, series{value: value})
	}
	gauge := func(name, help string, value func(*numbers) float64) {
		add(prometheus.GaugeValue, name, help, nil, series{value: value})
	}
	count := func(of func(*numbers) uint64) func(*numbers) float64 {
		return func(n *numbers) float64 { return float64(of(n)) }
	}

	gauge("tasker_worker_db_pool_size", "Open connections to the database, or to both.", ofPools(func(p *postgres.Pool) float64 { return float64(p.Size) }))
	channel := []string{"channel_name", "component"}
	of := func(value func(*channelNumbers) float64, only ...int) (all []series) {
		for i, name := range channelNames {
			if len(only) == 0 || slices.Contains(only, i) {
				all = append(all, series{[]string{name, component}, func(n *numbers) float64 {
					if i == dispatchChannel && !n.dispatches {
						return math.NaN()
					}
					return value(&n.channels()[i])
				}})
			}
		}
		return all
	}
	add(prometheus.GaugeValue, "tasker_worker_channel_health", "0 healthy, 1 degraded, 2 critical.", channel, of((*channelNumbers).health)...)
	add(prometheus.GaugeValue, "tasker_channel_health_status", "0 healthy, 1 degraded, 2 critical.", channel, of((*channelNumbers).health)...)
	add(prometheus.CounterValue, "tasker_channel_messages_sent_total", "What was put into the channel.", channel, of(func(c *channelNumbers) float64 { return float64(c.sent) })...)
	add(prometheus.CounterValue, "tasker_channel_messages_received_total", "What was taken from the channel and done with.", channel,
		of(func(c *channelNumbers) float64 { return float64(c.received) })...)
	add(prometheus.GaugeValue, "tasker_channel_backlog", "What waits in the channel.", channel, of(func(c *channelNumbers) float64 { return float64(c.backlog) })...)
	add(prometheus.GaugeValue, "tasker_channel_buffer_size", "Room in the channel, where it is bounded.", channel,
		of(func(c *channelNumbers) float64 { return float64(c.room) }, dispatchChannel, fastChannel)...)
	add(prometheus.GaugeValue, "tasker_channel_saturation", "Share of the room that is in use, from 0 to 1.", channel,
		of((*channelNumbers).saturation, dispatchChannel, fastChannel)...)
	// The others have no bound, or nothing is claimed beyond it.
	add(prometheus.CounterValue, "tasker_channel_messages_dropped_total", "What a full channel did not take.", channel,
		of(func(c *channelNumbers) float64 { return float64(c.dropped) }, fastChannel)...)
	add(prometheus.CounterValue, "tasker_channel_overflow_events_total", "Times that the channel was found full.", channel,
		of(func(c *channelNumbers) float64 { return float64(c.dropped) }, fastChannel)...)

	add(prometheus.CounterValue, "tasker_steps_results_submitted_total", "Results stored for the server.", []string{"result_type"},
		series{[]string{resultType}, count(func(n *numbers) uint64 { return n.stats.Completed })})
	counter("tasker_step_attempts_total", "Attempts of steps begun by claiming them.", count(func(n *numbers) uint64 { return n.stats.Claimed }))
	add(prometheus.CounterValue, "tasker_messages_sent_total", "Messages sent.", []string{"message_type"},
		series{[]string{typeResult}, count(func(n *numbers) uint64 { return n.stats.Completed })},
		series{[]string{typeEvent}, count(func(n *numbers) uint64 { return n.stats.Published })},
		series{[]string{typeStep}, count(func(n *numbers) uint64 { return n.stats.Swept })})
	add(prometheus.CounterValue, "tasker_messages_received_total", "Messages read.", []string{"message_type"},
		series{[]string{typeStep}, count(func(n *numbers) uint64 { return n.stats.Received })})
	add(prometheus.CounterValue, "tasker_messages_receive_failures_total", "Statements to read messages that failed.", []string{"message_type"},
		series{[]string{typeStep}, count(func(n *numbers) uint64 { return n.stats.ReceiveFailures })})
	add(prometheus.CounterValue, "tasker_messages_send_failures_total", "Messages that could not be sent, each time.", []string{"message_type"},
		series{[]string{typeResult}, count(func(n *numbers) uint64 { return n.stats.SendFailures })},
		series{[]string{typeEvent}, count(func(n *numbers) uint64 { return n.stats.EventSendFailures })})
	add(prometheus.CounterValue, "tasker_messages_archived_total", "Messages that were put aside: archived, or deleted.", []string{"message_type"},
		series{[]string{typeStep}, count(func(n *numbers) uint64 { return n.stats.Archived })})
	counter("tasker_ffi_completion_sends_total", "Results that handlers have handed over.", count(func(n *numbers) uint64 { return n.returned }))
	gauge("tasker_ffi_completion_circuit_state", "0 while results can be stored, 1 while they wait for the database.", func(n *numbers) float64 {
		return 1 - truth(n.healthy)
	})
	gauge("tasker_domain_events_channel_depth", "Attempts of steps whose domain events wait to be published.", func(n *numbers) float64 {
		return float64(n.channels()[eventsChannel].backlog)
	})
	add(prometheus.GaugeValue, "tasker_db_pool_connections", "Connections of the pool.", []string{"pool", "state"},
		slices.Concat(ofEach(func(p *postgres.Pool) float64 { return float64(p.Size - p.Idle) }, "active"),
			ofEach(func(p *postgres.Pool) float64 { return float64(p.Idle) }, "idle"))...)
	add(prometheus.CounterValue, "tasker_db_pool_checkouts_total", "Connections taken from the pool.", []string{"pool"},
		ofEach(func(p *postgres.Pool) float64 { return float64(p.Acquires) })...)
	add(prometheus.CounterValue, "tasker_db_connection_errors_total", "Connections that were not had.", []string{"error_type"},
		series{[]string{"timeout"}, ofPools(func(p *postgres.Pool) float64 { return float64(p.Errors) })},
		series{[]string{"connection_failed"}, ofPools(func(p *postgres.Pool) float64 { return float64(p.Unmade) })})

	gauge("tasker_worker_database_up", "1 while statements go well.", func(n *numbers) float64 { return truth(n.healthy) })
	gauge("tasker_worker_listening", "1 while notifications are heard; else queues are polled.", func(n *numbers) float64 { return truth(n.listens) })
	counter("tasker_worker_listener_reconnects_total", "Times that the connection for notifications broke.", count(func(n *numbers) uint64 { return n.stats.Reconnects }))
	counter("tasker_worker_statement_retries_total", "Statements for results that had to be repeated.", count(func(n *numbers) uint64 { return n.stats.Retries }))
	counter("tasker_worker_claim_batches_total", "Statements that claimed, those that found nothing included.", count(func(n *numbers) uint64 { return n.stats.ClaimBatches }))
	counter("tasker_worker_result_batches_total", "Statements that stored results.", count(func(n *numbers) uint64 { return n.stats.CompleteBatches }))
	counter("tasker_worker_claims_lost_total", "Messages whose step another worker had claimed first.", count(func(n *numbers) uint64 { return n.stats.Lost }))
	counter("tasker_worker_takeovers_total", "Steps taken over from workers that were gone.", count(func(n *numbers) uint64 { return n.stats.Takeovers }))
	counter("tasker_worker_fenced_total", "Steps that were cancelled or taken over while this worker had them.", count(func(n *numbers) uint64 { return n.stats.Fenced }))
	counter("tasker_worker_duplicate_messages_total", "Messages of steps that were finished already.", count(func(n *numbers) uint64 { return n.stats.Duplicates }))
	counter("tasker_worker_undecodable_messages_total", "Messages that name no step.", count(func(n *numbers) uint64 { return n.stats.Undecodable }))
	counter("tasker_worker_swept_messages_total", "Messages that others had forgotten, sent again.", count(func(n *numbers) uint64 { return n.stats.Swept }))
	counter("tasker_worker_overlooked_tasks_total", "Tasks that tasker-server had stopped to work on, and was told of again.", count(func(n *numbers) uint64 { return n.stats.Overlooked }))
	counter("tasker_worker_abandoned_tasks_total", "Tasks that tasker-server had died over while it was enqueuing their steps, or had blocked without a failure, taken up.", count(func(n *numbers) uint64 { return n.stats.Abandoned }))
	counter("tasker_worker_checkpoints_total", "Checkpoints stored.", count(func(n *numbers) uint64 { return n.stats.Checkpoints }))
	counter("tasker_worker_steps_released_total", "Claimed steps handed back unfinished.", count(func(n *numbers) uint64 { return n.stats.Released }))
	gauge("tasker_worker_steps_held", "Steps that are this worker's at the moment.", func(n *numbers) float64 { return float64(n.stats.Held) })
	gauge("tasker_worker_results_waiting", "Results that wait to be stored.", func(n *numbers) float64 { return float64(n.stats.Unstored) })
	return all
}

// ofPools is the sum over all pools.
func ofPools(value func(*postgres.Pool) float64) func(*numbers) float64 {
	return func(n *numbers) (sum float64) {
		for i := range n.pools {
			sum += value(&n.pools[i])
		}
		return sum
	}
}

// ofEach is a series for each pool that there is, with more labels.
func ofEach(value func(*postgres.Pool) float64, labels ...string) (all []series) {
	for i, name := range []postgres.PoolName{postgres.MainPool, postgres.QueuePool} {
		all = append(all, series{append([]string{string(name)}, labels...), func(n *numbers) float64 {
			if i >= len(n.pools) {
				return math.NaN()
			}
			return value(&n.pools[i])
		}})
	}
	return all
}

// series is one of a metric.
type series struct {
	labels []string
	value  func(*numbers) float64 // NaN leaves it out
}
