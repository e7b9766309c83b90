package metrics

import "github.com/prometheus/client_golang/prometheus"

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

	gauge("tasker_worker_db_pool_size", "Open connections to the database.", func(n *numbers) float64 { return float64(n.pool.Size) })
	channel := []string{"channel_name", "component"}
	add(prometheus.GaugeValue, "tasker_worker_channel_health", "0 healthy, 1 degraded, 2 critical.", channel,
		series{[]string{"dispatch", "worker"}, dispatchHealth}, series{[]string{"results", "worker"}, resultsHealth})
	add(prometheus.GaugeValue, "tasker_channel_health_status", "0 healthy, 1 degraded, 2 critical.", channel,
		series{[]string{"dispatch", "worker"}, dispatchHealth}, series{[]string{"results", "worker"}, resultsHealth})
	add(prometheus.GaugeValue, "tasker_channel_backlog", "Steps that wait for a lane, and results that wait to be stored.", channel,
		series{[]string{"dispatch", "worker"}, func(n *numbers) float64 { return float64(n.dispatch.Queued) }},
		series{[]string{"results", "worker"}, func(n *numbers) float64 { return float64(n.stats.Unstored) }})
	add(prometheus.GaugeValue, "tasker_channel_buffer_size", "Steps that may be claimed and unfinished; results have no bound.", channel,
		series{[]string{"dispatch", "worker"}, func(n *numbers) float64 { return float64(n.dispatch.Window) }})
	add(prometheus.GaugeValue, "tasker_channel_saturation", "Share of the buffer that is in use, from 0 to 1.", channel,
		series{[]string{"dispatch", "worker"}, saturation})

	add(prometheus.CounterValue, "tasker_steps_results_submitted_total", "Results stored for the server.", []string{"result_type"},
		series{[]string{resultType}, count(func(n *numbers) uint64 { return n.stats.Completed })})
	counter("tasker_step_attempts_total", "Attempts of steps begun by claiming them.", count(func(n *numbers) uint64 { return n.stats.Claimed }))
	add(prometheus.CounterValue, "tasker_messages_sent_total", "Messages sent.", []string{"message_type"},
		series{[]string{"StepExecutionResult"}, count(func(n *numbers) uint64 { return n.stats.Completed })},
		series{[]string{"DomainEvent"}, count(func(n *numbers) uint64 { return n.stats.Published })},
		series{[]string{"StepMessage"}, count(func(n *numbers) uint64 { return n.stats.Swept })})
	add(prometheus.CounterValue, "tasker_messages_received_total", "Messages read.", []string{"message_type"},
		series{[]string{"StepMessage"}, count(func(n *numbers) uint64 {
			return n.stats.Claimed + n.stats.Lost + n.stats.Duplicates + n.stats.Undecodable
		})})
	counter("tasker_ffi_completion_sends_total", "Results that handlers have handed over.", count(func(n *numbers) uint64 { return n.returned }))
	gauge("tasker_ffi_completion_circuit_state", "0 while results can be stored, 2 while they wait for the database.", func(n *numbers) float64 {
		return 2 * (1 - truth(n.healthy))
	})
	mode := []string{"delivery_mode"}
	byMode := []series{
		{[]string{"durable"}, count(func(n *numbers) uint64 { return n.events.Durable })},
		{[]string{"fast"}, count(func(n *numbers) uint64 { return n.events.Fast })},
		{[]string{"broadcast"}, count(func(n *numbers) uint64 { return n.events.Broadcast })},
	}
	add(prometheus.CounterValue, "tasker_domain_events_dispatched_total", "Domain events that steps gave rise to.", mode, byMode...)
	add(prometheus.CounterValue, "tasker_domain_events_published_total", "Domain events sent to the queue of their namespace (durable) or to subscribers.", mode,
		series{[]string{"durable"}, count(func(n *numbers) uint64 { return n.stats.Published })},
		series{[]string{"fast"}, count(func(n *numbers) uint64 { return n.events.Handled })})
	add(prometheus.CounterValue, "tasker_domain_events_failed_total", "Domain events that could not be published.", []string{"error_type"},
		series{[]string{"publish_failed"}, count(func(n *numbers) uint64 { return n.events.RoutingErrors })})
	counter("tasker_domain_events_dropped_total", "Fast domain events that nobody got because too many waited.", count(func(n *numbers) uint64 {
		return n.events.FastErrors + n.events.Lost
	}))
	add(prometheus.GaugeValue, "tasker_db_pool_connections", "Connections of the pool.", []string{"pool", "state"},
		series{[]string{pool, "active"}, func(n *numbers) float64 { return float64(n.pool.Size - n.pool.Idle) }},
		series{[]string{pool, "idle"}, func(n *numbers) float64 { return float64(n.pool.Idle) }})
	add(prometheus.CounterValue, "tasker_db_pool_checkouts_total", "Connections taken from the pool.", []string{"pool"},
		series{[]string{pool}, func(n *numbers) float64 { return float64(n.pool.Acquires) }})
	add(prometheus.CounterValue, "tasker_db_connection_errors_total", "Waits for a connection that were given up.", []string{"error_type"},
		series{[]string{"timeout"}, func(n *numbers) float64 { return float64(n.pool.Errors) }})

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
	counter("tasker_worker_abandoned_tasks_total", "Tasks that tasker-server had died over while it was enqueuing their steps, taken up.", count(func(n *numbers) uint64 { return n.stats.Abandoned }))
	counter("tasker_worker_checkpoints_total", "Checkpoints stored.", count(func(n *numbers) uint64 { return n.stats.Checkpoints }))
	counter("tasker_worker_steps_released_total", "Claimed steps handed back unfinished.", count(func(n *numbers) uint64 { return n.stats.Released }))
	gauge("tasker_worker_steps_held", "Steps that are this worker's at the moment.", func(n *numbers) float64 { return float64(n.stats.Held) })
	gauge("tasker_worker_results_waiting", "Results that wait to be stored.", func(n *numbers) float64 { return float64(n.stats.Unstored) })
	return all
}

// series is one of a metric.
type series struct {
	labels []string
	value  func(*numbers) float64
}

// dispatchHealth is how the queue between source and lanes is: never more than
// full, because no more is claimed than there is room for. What is stuck makes
// it degraded.
func dispatchHealth(n *numbers) float64 {
	if n.dispatch.Stuck > 0 {
		return 1
	}
	return 0
}

func resultsHealth(n *numbers) float64 {
	switch {
	case n.stats.Unstored >= tooManyResults:
		return 2
	case n.stats.Unstored >= manyResults:
		return 1
	}
	return 0
}

func saturation(n *numbers) float64 {
	if n.dispatch.Window == 0 {
		return 0
	}
	return float64(n.dispatch.Queued+n.dispatch.Running) / float64(n.dispatch.Window)
}
