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
	Part  Part   // of the summary
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

// A Part is the workloads that the summary shows in one table, by its title.
type Part string

// The parts of the summary.
const (
	Saturated Part = "Broadcast, saturated: events share writes"
	Paced     Part = "Fixed rates and tokens: each event is a write of its own"
	Beyond    Part = "Stalled clients, turnover and replay"
	Memory    Part = "Memory"
)

// Parts are all, in the order of the summary.
var Parts = []Part{Saturated, Paced, Beyond, Memory}

const (
	streamsPerLoad = 10_000   // a process may open 20,000 files here
	returning      = 1000     // events that a returning client has missed
	churnRate      = 300      // events a second while clients come and go: some servers answer or notice only then
	stalledBuffer  = 16 << 10 // send buffer where streams stall, so that it is soon full
)

// Workloads are all there are, in the order of the tables.
var Workloads = []Workload{
	{
		Name: "broadcast-100", Title: "100 streams, 64 ahead", Part: Saturated,
		Kind: Publish, Streams: 100, Topics: 1, Size: 128, Window: 64, Main: []Measure{Rate},
	},
	{
		Name: "broadcast-1000-8", Title: "1,000 streams, 8 ahead", Part: Saturated,
		Kind: Publish, Streams: 1000, Topics: 1, Size: 128, Window: 8, Main: []Measure{Rate},
	},
	{
		Name: "broadcast-1000-64", Title: "1,000 streams, 64 ahead", Part: Saturated, Quick: true,
		Kind: Publish, Streams: 1000, Topics: 1, Size: 128, Window: 64, Main: []Measure{Rate},
	},
	{
		Name: "broadcast-1000-256", Title: "1,000 streams, 256 ahead", Part: Saturated,
		Kind: Publish, Streams: 1000, Topics: 1, Size: 128, Window: 256, Main: []Measure{Rate},
	},
	{
		Name: "broadcast-10000", Title: "10,000 streams, 64 ahead", Part: Saturated,
		Kind: Publish, Streams: 10_000, Topics: 1, Size: 128, Window: 64, Main: []Measure{Rate},
	},
	{
		Name: "fixed-100", Title: "100 streams, 300 events/s", Part: Paced,
		Kind: Publish, Streams: 100, Topics: 1, Size: 128, Rate: 300, Main: []Measure{CPU, P99},
	},
	{
		Name: "fixed-1000", Title: "1,000 streams, 30 events/s", Part: Paced,
		Kind: Publish, Streams: 1000, Topics: 1, Size: 128, Rate: 30, Main: []Measure{CPU, P99},
	},
	{
		Name: "fixed-1000-60", Title: "1,000 streams, 60 events/s", Part: Paced, Quick: true,
		Kind: Publish, Streams: 1000, Topics: 1, Size: 128, Rate: 60, Main: []Measure{CPU, P99},
	},
	{
		Name: "fixed-10000", Title: "10,000 streams, 3 events/s", Part: Paced,
		Kind: Publish, Streams: 10_000, Topics: 1, Size: 128, Rate: 3, Main: []Measure{CPU, P99},
	},
	{
		Name: "topics", Title: "1,000 topics of 10 streams, 2,000 events/s", Part: Paced,
		Kind: Publish, Streams: 10_000, Topics: 1000, Size: 128, Rate: 2000, Main: []Measure{CPU, P99},
	},
	{
		Name: "tokens", Title: "One stream of tokens, each flushed", Part: Paced, Quick: true,
		Kind: Tokens, Streams: 1, Topics: 1, Size: 32, Window: 1024, Main: []Measure{Rate, CPU},
	},
	{
		Name: "stalled", Title: "1 % of 1,000 stalled, 60 events/s of 1 KB", Part: Beyond,
		Kind: Publish, Streams: 1000, Stalled: 10, Topics: 1, Size: 1024, Rate: 60, Main: []Measure{P99},
	},
	{
		Name: "churn", Title: "Connect and leave, 200 at a time", Part: Beyond,
		Kind: Churn, Streams: 200, Topics: 1, Size: 128, Rate: churnRate, Main: []Measure{Rate, CPU},
	},
	{
		Name: "replay", Title: "1,000 clients return for 1,000 events", Part: Beyond, Quick: true,
		Kind: Replay, Streams: 1000, Topics: 1, Size: 128, Main: []Measure{Rate},
	},
	{
		Name: "idle-1000", Title: "1,000 idle streams", Part: Memory, Quick: true,
		Kind: Idle, Streams: 1000, Topics: 1, Main: []Measure{Settled, Collected, Heap, Peak},
	},
	{
		Name: "idle-10000", Title: "10,000 idle streams", Part: Memory,
		Kind: Idle, Streams: 10_000, Topics: 1, Main: []Measure{Settled, Collected, Heap, Peak},
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

// heading is the title of w's own table.
func (w Workload) heading() string {
	if w.Kind == Publish && w.Topics == 1 && w.Stalled == 0 {
		return "Broadcast to " + w.Title
	}
	return w.Title
}

// columns are the measures of w's table.
func (w Workload) columns() []Measure {
	switch w.Kind {
	case Churn:
		return []Measure{Rate, CPU, Goroutines, LoadCPU}
	case Replay:
		return []Measure{Rate, CPU, HostCPU, Writes, Peak, LoadCPU}
	case Tokens:
		return []Measure{Rate, CPU, HostCPU, Writes, P50, P99, P999, Max, LoadCPU}
	case Idle:
		return []Measure{Settled, Collected, Heap, Stacks, Peak}
	default:
		return []Measure{Rate, CPU, HostCPU, Writes, P50, P99, P999, Max, Peak, LoadCPU}
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
