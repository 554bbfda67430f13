// Package run measures: it starts servers and load generators, gives them the
// workloads, and makes tables and a picture of what came out.
package run

import (
	"time"

	"github.com/ssegin/ssegin/bench/servers"
)

// A Workload is one thing that servers are measured at.
type Workload struct {
	Name  string // for the command line
	Title string // for the tables
	Kind  Kind
	Quick bool // it belongs to the short form

	Streams int
	Loads   int     // processes that the streams are spread over; 0: as many as it takes
	Stalled int     // of the streams: those that do not read
	Topics  int     // the streams are spread over them evenly
	Size    int     // bytes of a payload
	Rate    float64 // events a second over all topics; 0: as fast as it goes
	Events  int     // at most so many; 0: no limit
	Window  int     // events that a publisher without a rate may be ahead of the slowest stream

	// Main is what the summary shows and ratios are given of.
	Main []Measure
}

// Kind says how a workload is carried out.
type Kind string

// The kinds of workloads.
const (
	Publish Kind = "publish" // open the streams, then publish to them
	Tokens  Kind = "tokens"  // one stream, each event flushed
	Churn   Kind = "churn"   // connect and leave, over and over
	Replay  Kind = "replay"  // return with a Last-Event-ID
	Idle    Kind = "idle"    // open the streams and leave them alone
)

const (
	streamsPerLoad = 10_000   // a process may open 20,000 files here
	returning      = 1000     // events that a returning client has missed
	churnRate      = 20       // events a second while clients come and go: some servers notice only then
	stalledBuffer  = 16 << 10 // send buffer where streams stall, so that it is soon full
)

// Workloads are all there are, in the order of the tables.
var Workloads = []Workload{
	{
		Name: "broadcast-100", Title: "Broadcast to 100, saturated",
		Kind: Publish, Streams: 100, Topics: 1, Size: 128, Window: 512, Main: []Measure{Rate},
	},
	{
		Name: "broadcast-1000", Title: "Broadcast to 1,000, saturated", Quick: true,
		Kind: Publish, Streams: 1000, Topics: 1, Size: 128, Window: 256, Main: []Measure{Rate, Memory},
	},
	{
		Name: "broadcast-10000", Title: "Broadcast to 10,000, saturated",
		Kind: Publish, Streams: 10_000, Topics: 1, Size: 128, Window: 64, Main: []Measure{Rate},
	},
	{
		Name: "fixed-100", Title: "Broadcast to 100, 300 events/s",
		Kind: Publish, Streams: 100, Topics: 1, Size: 128, Rate: 300, Main: []Measure{CPU, P99},
	},
	{
		Name: "fixed-1000", Title: "Broadcast to 1,000, 30 events/s",
		Kind: Publish, Streams: 1000, Topics: 1, Size: 128, Rate: 30, Main: []Measure{CPU, P99},
	},
	{
		Name: "fixed-1000-60", Title: "Broadcast to 1,000, 60 events/s", Quick: true,
		Kind: Publish, Streams: 1000, Topics: 1, Size: 128, Rate: 60, Main: []Measure{CPU, P99},
	},
	{
		Name: "fixed-10000", Title: "Broadcast to 10,000, 3 events/s",
		Kind: Publish, Streams: 10_000, Topics: 1, Size: 128, Rate: 3, Main: []Measure{CPU, P99},
	},
	{
		Name: "topics", Title: "1,000 topics of 10 streams, 2,000 events/s",
		Kind: Publish, Streams: 10_000, Topics: 1000, Size: 128, Rate: 2000, Main: []Measure{CPU, P99},
	},
	{
		Name: "tokens", Title: "One stream of tokens, each flushed", Quick: true,
		Kind: Tokens, Streams: 1, Topics: 1, Size: 32, Window: 1024, Main: []Measure{Rate},
	},
	{
		Name: "stalled", Title: "1 % of 1,000 stalled, 60 events/s of 1 KB",
		Kind: Publish, Streams: 1000, Stalled: 10, Topics: 1, Size: 1024, Rate: 60, Main: []Measure{P99},
	},
	{
		Name: "churn", Title: "Connect and leave, 200 at a time",
		Kind: Churn, Streams: 200, Topics: 1, Size: 128, Rate: churnRate, Main: []Measure{Rate},
	},
	{
		Name: "replay", Title: "1,000 clients return for 1,000 events", Quick: true,
		Kind: Replay, Streams: 1000, Topics: 1, Size: 128, Main: []Measure{Rate},
	},
	{
		Name: "idle-10000", Title: "10,000 idle streams",
		Kind: Idle, Streams: 10_000, Topics: 1, Main: []Measure{Memory},
	},
	{
		Name: "idle-18000", Title: "18,000 idle streams",
		Kind: Idle, Streams: 18_000, Topics: 1, Main: []Measure{Memory},
	},
}

// fits reports whether server e can do w at all.
func (w Workload) fits(e servers.Entry) bool {
	switch w.Kind {
	case Replay:
		return e.Replays
	case Tokens:
		return e.Tokens || !e.Batches
	default:
		return true
	}
}

// columns are the measures of w's table.
func (w Workload) columns() []Measure {
	switch w.Kind {
	case Churn:
		return []Measure{Rate, CPU, Goroutines, LoadCPU}
	case Replay:
		return []Measure{Rate, CPU, Writes, Peak, LoadCPU}
	case Tokens:
		return []Measure{Rate, CPU, Writes, P50, P99, P999, Max, LoadCPU}
	case Idle:
		return []Measure{Memory, Peak}
	default:
		return []Measure{Rate, CPU, Writes, P50, P99, P999, Max, Memory, Peak, LoadCPU}
	}
}

// loads is how many load generators there are.
func (w Workload) loads() int {
	if w.Loads > 0 {
		return w.Loads
	}
	return (w.Streams + streamsPerLoad - 1) / streamsPerLoad
}

// plan is what the server is asked to publish in so much time.
func (w Workload) plan(d time.Duration, loads int) servers.Plan {
	return servers.Plan{
		Size: w.Size, Rate: w.Rate, Time: d, Events: w.Events, Window: w.Window, Ackers: loads, Grace: grace,
	}
}
