package engines

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ssegin/ssegin/bench/load"
)

// A Measure is one figure of a trial.
type Measure string

// What is measured. Times of events are in milliseconds, from publish to
// receipt unless it says publish; CPU is in microseconds an event.
const (
	EventRate  Measure = "events/s"     // in the log
	Deliveries Measure = "deliveries/s" // to streams
	MegaBytes  Measure = "MB/s"         // of payloads in the log
	WireIn     Measure = "wire B"       // from the engine to each hub process, an event
	WireOut    Measure = "wire B out"   // from the publishing process to the engine, an event

	PublishP50 Measure = "publish p50" // as the publisher sees it
	PublishP99 Measure = "publish p99"
	ReceiptP50 Measure = "p50" // at a stream
	ReceiptP99 Measure = "p99"
	BareP50    Measure = "bare p50"
	BareP99    Measure = "bare p99"
	RatioP50   Measure = "p50 ratio"
	RatioP99   Measure = "p99 ratio"

	HubCPU       Measure = "hub CPU"       // of all hub processes together
	AllCPU       Measure = "CPU"           // of all processes together
	PublisherCPU Measure = "publisher CPU" // of a process that publishes all and follows
	FollowerCPU  Measure = "follower CPU"  // of one that only follows, with one stream
	EngineCPU    Measure = "engine CPU"
	ReaderCPU    Measure = "client CPU"
	Busy         Measure = "busy %" // of all cores

	Requests Measure = "requests"
	EngineMB Measure = "MB" // from the engine
	ServedMs Measure = "all served"
)

// A Result is what came out of a trial once, or the medians of several rounds.
type Result struct {
	Values     map[Measure]float64
	Events     int
	Deliveries int

	Lost, Again, Unordered, Different, Resets, Ended int
	Err                                              string // why there are no values
}

func newResult() Result { return Result{Values: make(map[Measure]float64)} }

// take adds what receivers were given, and what should not have happened.
func (r *Result) take(report Report) {
	r.Deliveries += report.Deliveries
	r.Lost += report.Lost
	r.Again += report.Again
	r.Unordered += report.Unordered
	r.Different += report.Different
	r.Resets += report.Resets
	r.Ended += report.Ended
}

// took works out the values of a load trial.
func (r *Result) took(p Published, report Report, used usage, hubs, size int) {
	events := total(p.Events)
	r.Events = events
	if events == 0 {
		return
	}
	v := r.Values
	v[EventRate] = float64(events) / time.Duration(p.Last-p.First).Seconds()
	v[MegaBytes] = v[EventRate] * float64(size) / 1e6
	v[Deliveries] = float64(report.Deliveries) / time.Duration(report.Last-p.First).Seconds()
	v[WireIn] = float64(used.in) / float64(events) / float64(hubs)
	v[WireOut] = float64(used.out) / float64(events)
	v[PublishP50], v[PublishP99] = quantiles(p.Latency)
	v[ReceiptP50], v[ReceiptP99] = quantiles(report.Latency)
	v[HubCPU], v[EngineCPU] = per(used.allHubs(), events), per(used.engine, events)
	v[ReaderCPU] = per(used.reader, events)
	v[AllCPU] = v[HubCPU] + v[EngineCPU] + v[ReaderCPU]
	if hubs > 1 {
		v[FollowerCPU] = per(used.allHubs()-used.hubs[0], events) / float64(hubs-1)
	}
	v[Busy] = 100 * used.busy()
}

// compared works out the values of a latency trial.
func (r *Result) compared(p Published, streams, bare Report, used usage) {
	r.Events = total(p.Events)
	v := r.Values
	v[PublishP50], v[PublishP99] = quantiles(p.Latency)
	v[ReceiptP50], v[ReceiptP99] = quantiles(streams.Latency)
	if bare.Deliveries > 0 {
		v[BareP50], v[BareP99] = quantiles(bare.Latency)
		v[RatioP50], v[RatioP99] = v[ReceiptP50]/v[BareP50], v[ReceiptP99]/v[BareP99]
	}
	v[PublisherCPU], v[EngineCPU] = per(used.hubs[0], r.Events), per(used.engine, r.Events)
	if len(used.hubs) > 1 {
		v[FollowerCPU] = per(used.hubs[1], r.Events)
	}
}

func quantiles(h load.Histogram) (p50, p99 float64) {
	return h.Quantile(0.5).Seconds() * 1e3, h.Quantile(0.99).Seconds() * 1e3
}

// median takes the median of each value, and the sum of all events, deliveries
// and faults.
func median(rounds []Result) Result {
	m := newResult()
	var errs []string
	values := make(map[Measure][]float64)
	for _, r := range rounds {
		m.Events += r.Events
		m.take(Report{
			Deliveries: r.Deliveries, Lost: r.Lost, Again: r.Again,
			Unordered: r.Unordered, Different: r.Different, Resets: r.Resets, Ended: r.Ended,
		})
		if r.Err != "" && !slices.Contains(errs, r.Err) {
			errs = append(errs, r.Err)
		}
		for measure, value := range r.Values {
			values[measure] = append(values[measure], value)
		}
	}
	for measure, of := range values {
		slices.Sort(of)
		m.Values[measure] = (of[(len(of)-1)/2] + of[len(of)/2]) / 2
	}
	m.Err = strings.Join(errs, "; ")
	return m
}

// faults says what should not have happened.
func (r Result) faults() string {
	var faults []string
	for _, f := range []struct {
		n    int
		what string
	}{
		{r.Lost, "lost"},
		{r.Again, "twice or late"},
		{r.Unordered, "with IDs that do not go up"},
		{r.Different, "streams unlike those of other processes"},
		{r.Resets, "resets"},
		{r.Ended, "streams cut off"},
	} {
		if f.n > 0 {
			faults = append(faults, fmt.Sprintf("%d %s", f.n, f.what))
		}
	}
	if r.Err != "" {
		faults = append(faults, "failed: "+r.Err)
	}
	return strings.Join(faults, ", ")
}
