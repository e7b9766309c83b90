package metrics

// component is the reference's name of what has the channels.
const component = "worker"

// The channels of a worker of a deployment.
const (
	dispatchChannel = iota // claimed steps, to lanes
	resultsChannel         // what handlers returned, to the database
	eventsChannel          // attempts of steps with domain events, to their publisher
	fastChannel            // fast domain events, to subscribers in the process
	channelCount
)

var channelNames = [channelCount]string{"dispatch", "results", "domain_events", "fast_events"}

// channelNumbers are what a scrape sees of a channel.
type channelNumbers struct {
	sent, received, dropped uint64
	backlog                 int
	room, used              int  // 0 for a channel without a bound
	drops                   bool // what it has no room for
	stuck                   bool // somebody who takes from it does not come back
}

// channels are the numbers of all channels.
func (n *numbers) channels() *[channelCount]channelNumbers {
	d, s, e := &n.dispatch, &n.stats, &n.events
	depth := s.Unpublished + e.Waiting
	return &[channelCount]channelNumbers{
		dispatchChannel: {
			sent: d.Claimed, received: less(d.Claimed, d.Queued), backlog: d.Queued, room: d.Window, used: d.Queued + d.Running, stuck: d.Stuck > 0,
		},
		resultsChannel: {sent: s.Given, received: s.Settled, backlog: s.Unstored},
		eventsChannel:  {sent: s.Publications, received: less(s.Publications, depth), backlog: depth},
		fastChannel: {
			sent: e.Given, received: less(e.Given, e.FastWaiting), dropped: e.FastErrors,
			backlog: e.FastWaiting, room: e.FastRoom, used: e.FastWaiting, drops: true,
		},
	}
}

// less subtracts numbers that were not read at the same moment.
func less(all uint64, waiting int) uint64 { return all - min(all, uint64(max(waiting, 0))) }

// saturation is the share of the room that is in use.
func (c *channelNumbers) saturation() float64 {
	if c.room == 0 {
		return 0
	}
	return float64(c.used) / float64(c.room)
}

// health is 0 healthy, 1 degraded or 2 critical. The dispatcher's channel is
// never more than full, because no more is claimed than there is room for; what
// is stuck makes it degraded.
func (c *channelNumbers) health() float64 {
	switch {
	case c.drops && c.saturation() >= full, c.room == 0 && c.backlog >= tooManyWaiting:
		return 2
	case c.stuck, c.drops && c.saturation() >= nearlyFull, c.room == 0 && c.backlog >= manyWaiting:
		return 1
	}
	return 0
}
