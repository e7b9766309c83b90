package sidebyside_test

import (
	"regexp"
	"slices"
)

// explanation says why a field differs. In path a * is any name, or any part of one.
type explanation struct {
	path string
	why  string
	fits func(difference) bool // nil for every difference
	// unsteady is what need not differ in every run.
	unsteady bool
}

func (e explanation) pattern() *regexp.Regexp {
	quoted := regexp.QuoteMeta(e.path)
	return regexp.MustCompile(`^` + regexp.MustCompile(`\\\*`).ReplaceAllString(quoted, `[^.\[]*`) + `$`)
}

// The columns of steps that say how a worker runs.
const (
	stored = "steps.*.results."
	ended  = "steps.*.ended[].event.data." // the same in the transition
)

// inResults explains differences in a result, where it is stored and where the
// transition repeats it.
func inResults(path, why string, fits func(difference) bool) []explanation {
	return []explanation{{path: stored + path, why: why, fits: fits}, {path: ended + path, why: why, fits: fits}}
}

// inEvents is inResults for the results that domain events carry.
func inEvents(path, why string, fits func(difference) bool) []explanation {
	return []explanation{
		{path: "events[].payload.execution_result." + path, why: why, fits: fits},
		{path: "events[].payload.task_sequence_step.dependency_results.*." + path, why: why, fits: fits},
	}
}

func unsteady(all []explanation) []explanation {
	for i := range all {
		all[i].unsteady = true
	}
	return all
}

// theirs tells whether tasker-py has this value.
func theirs(want any) func(difference) bool {
	return func(d difference) bool { return d.theirs == want }
}

// lost is what tasker-py does not pass on.
func lost(d difference) bool { return d.theirs == nil || d.theirs == absent{} }

// measured tells whether both have a number.
func measured(d difference) bool {
	_, a := d.theirs.(float64)
	_, b := d.ours.(float64)
	return a && b
}

// explained are the differences that there are to be.
var explained = slices.Concat(
	[]explanation{
		{path: "steps.*.started[].worker_uuid", why: "tells who holds a step, for taking it over when that one is gone", fits: lost},
		{path: "steps.*.ended[].events_of_attempt", why: "goes with events_of_message", fits: lost},
		{path: "steps.*.ended[].events_of_message", why: "tells that events are to be published, for doing that when this worker is gone", fits: lost},
	},
	inResults("metadata.worker_id", "tasker-py gives it in a field that its core does not read", lost),
	unsteady(inResults("metadata.execution_time_ms", "was measured; tasker-py nearly always gives it in a field that its core does not read", measured)),
	inResults("metadata.error_type", "tasker-py has it in error only", lost),
	inResults("metadata.error_code", "tasker-py gives it in a field that its core does not read", lost),
	inResults("metadata.custom.*", "tasker-py loses what handlers put into metadata", lost),
	inResults("status", "tasker-server runs a failed step's task in circles for every other spelling; custom.original_status has tasker-py's",
		func(d difference) bool { return d.ours == "failed" }),
	inResults("error.context", "tasker-py loses what handlers put into a failure's metadata", lost),
	inResults("result.last_cursor", "the example in our package tells how far it got", lost),

	inEvents("metadata.worker_id", "as in results", lost),
	unsteady(inEvents("metadata.execution_time_ms", "as in results", measured)),
	inEvents("metadata.custom.*", "as in results", lost),
	[]explanation{
		{path: "events[].metadata.fired_by", why: publishers, fits: theirs("DefaultDomainEventPublisher")},
		{path: "events[].metadata.publisher", why: publishers, fits: lost},
		{path: "events[].metadata.published_at", why: publishers, fits: lost},
		{path: "events[].metadata.audience", why: publishers, fits: lost},
		{path: "events[].payload.payload.processed_at", why: publishers, fits: nil},
		{path: "events[].payload.payload.status", why: publishers, fits: nil},
		{path: "events[].payload.task_sequence_step.task.task.completed_at", why: "tasker-py leaves it out while there is none", fits: lost},
	},

	inResults("result.order_id", "random", number),

	// tasker-py does not look at handler.method and runs call instead.
	slices.Concat(
		inResults("result.invoked_method", methods, theirs("call")),
		inResults("result.message", methods, theirs("Default call method invoked")),
		inResults("result.input_received", methods, nil),
		inResults("result.original_amount", methods, lost),
		inResults("result.processed_amount", methods, lost),
		inResults("result.processing_fee", methods, lost),
		inResults("result.refund_amount", methods, lost),
		inResults("result.refund_id", methods, lost),
		inResults("result.refund_reason", methods, lost),
		inResults("result.input_validated", methods, lost),
		inResults("result.validated", methods, lost),
	),
)

// number tells whether both have one.
func number(d difference) bool {
	_, ok := d.theirs.(float64)
	_, too := d.ours.(float64)
	return ok && too
}

const publishers = "tasker-py's core does not know of publishers in Python and uses its own"

const methods = "tasker-py runs call, whatever handler.method of the template says"
