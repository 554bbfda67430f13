package run

import (
	"context"
	"time"

	"github.com/ssegin/ssegin/bench/load"
	"github.com/ssegin/ssegin/bench/process"
	"github.com/ssegin/ssegin/bench/servers"
)

// publish has the server carry out the plan and takes what the streams got.
func (t *trial) publish(ctx context.Context, plan servers.Plan) error {
	if err := t.startCount(ctx, plan.Window); err != nil {
		return err
	}
	before, err := t.usage()
	if err != nil {
		return err
	}
	var published servers.Published
	if err := t.server.Call(ctx, "publish", plan, &published); err != nil {
		return err
	}
	t.result.Blocked = published.Blocked
	report, err := t.finish(ctx, published.Due)
	if err != nil {
		return err
	}
	return t.take(report, published.First, before)
}

// tokens has the server send to one request, without a hub.
func (t *trial) tokens(ctx context.Context) error {
	target := t.target(0)
	target.Path = "/tokens"
	if err := t.openOn(ctx, t.loads[0], target); err != nil {
		return err
	}
	plan := t.workload.plan(t.time, 1)
	plan.Window = 0 // the connection itself holds the writer back
	plan.Tokens = true
	err := t.publish(ctx, plan)
	t.result.Gone = 0 // such a stream ends with its last token
	return err
}

// replay lets one client see the start of the history and all others come back
// with the ID it has got.
func (t *trial) replay(ctx context.Context) error {
	first := t.target(0)
	first.Streams = 1
	if err := t.openOn(ctx, t.loads[0], first); err != nil {
		return err
	}
	lastID, err := t.probe(ctx, first.Streams)
	if err != nil {
		return err
	}
	plan := servers.Plan{Size: t.workload.Size, Events: returning, Time: openTime}
	if err := t.server.Call(ctx, "publish", plan, nil); err != nil {
		return err
	}
	back := t.target(0)
	back.Hold, back.LastEventID = true, lastID
	if err := t.openOn(ctx, t.loads[0], back); err != nil {
		return err
	}
	if err := t.startCount(ctx, 0); err != nil {
		return err
	}
	before, err := t.usage()
	if err != nil {
		return err
	}
	if err := t.loads[0].Call(ctx, "ask", nil, nil); err != nil {
		return err
	}
	report, err := t.finish(ctx, returning)
	if err != nil {
		return err
	}
	return t.take(report, report.Started, before)
}

// churn lets clients come and go while a few events are published, and then
// counts the goroutines that they have left behind.
func (t *trial) churn(ctx context.Context) error {
	var idle, left servers.Stats
	if err := t.server.Call(ctx, "stats", nil, &idle); err != nil {
		return err
	}
	before, err := t.usage()
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() {
		plan := t.workload.plan(t.time+time.Second, 1) // some servers notice only then that clients are gone
		failed <- t.server.Call(ctx, "publish", plan, nil)
	}()
	var turnover load.Turnover
	err = t.loads[0].Call(ctx, "churn", load.ChurnFor{Target: t.target(0), Time: t.time}, &turnover)
	if err != nil {
		return err
	}
	now, err := t.usage()
	if err != nil {
		return err
	}
	if err := <-failed; err != nil {
		return err
	}
	if err := t.server.Call(ctx, "stats", nil, &left); err != nil {
		return err
	}
	cycles := float64(turnover.Cycles)
	t.result.Refused = turnover.Failed
	t.result.Values[Rate] = cycles / turnover.Took.Seconds()
	t.result.Values[CPU] = now.server.Sub(before.server).CPU.Seconds() / cycles * 1e6
	t.result.Values[LoadCPU] = turnover.CPU.Seconds() / cycles * 1e6
	if !t.entry.External {
		t.result.Values[Goroutines] = float64(left.Goroutines - idle.Goroutines)
	}
	return nil
}

// A usage is what the serving processes have used up and, where that is not the
// same, the process that publishes.
type usage struct{ server, host process.Usage }

func (t *trial) usage() (u usage, err error) {
	if u.server, err = t.serving.Usage(); err != nil {
		return u, err
	}
	u.host, err = t.server.Usage()
	return u, err
}

func (t *trial) startCount(ctx context.Context, window int) error {
	for _, l := range t.loads {
		start := load.StartCount{Acks: t.server.URL("acks"), Step: window / 4}
		if err := l.Call(ctx, "start", start, nil); err != nil {
			return err
		}
	}
	return nil
}

// finish waits for the rest of the published events.
func (t *trial) finish(ctx context.Context, published int) (load.Report, error) {
	var all load.Report
	in := load.FinishCount{Published: published, Quiet: quiet, Wait: drainTime}
	for _, l := range t.loads {
		var one load.Report
		if err := l.Call(ctx, "finish", in, &one); err != nil {
			return all, err
		}
		all.Add(one)
	}
	return all, nil
}

// take works out the values. since is when the first event was sent.
func (t *trial) take(r load.Report, since int64, before usage) error {
	now, err := t.usage()
	if err != nil {
		return err
	}
	used, deliveries := now.server.Sub(before.server), float64(r.Deliveries)
	t.result.Lost, t.result.Duplicated, t.result.Reordered = r.Lost, r.Duplicated, r.Reordered
	t.result.Gone, t.result.Deliveries = r.Gone, r.Deliveries
	if r.Deliveries == 0 {
		return nil
	}
	v := &t.result.Values
	v[Rate] = deliveries / time.Duration(r.Last-since).Seconds()
	v[CPU] = used.CPU.Seconds() / deliveries * 1e6
	if t.entry.External {
		v[HostCPU] = now.host.Sub(before.host).CPU.Seconds() / deliveries * 1e6
	}
	v[Writes] = float64(used.Writes) / deliveries
	v[LoadCPU] = r.CPU.Seconds() / deliveries * 1e6
	if t.workload.Kind == Replay {
		return nil // the events were sent before the clients came
	}
	for measure, q := range map[Measure]float64{P50: 0.5, P99: 0.99, P999: 0.999} {
		v[measure] = r.Latency.Quantile(q).Seconds() * 1e3
	}
	v[Max] = r.Latency.Max.Seconds() * 1e3
	return nil
}
