package run

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/ssegin/ssegin/bench/load"
	"github.com/ssegin/ssegin/bench/process"
	"github.com/ssegin/ssegin/bench/servers"
)

const (
	grace         = 3 * time.Second        // how long a server that blocks is waited for
	quiet         = 5 * time.Second        // after so long without a delivery the rest is lost
	drainTime     = 30 * time.Second       // for what is still on its way at the end
	openTime      = 60 * time.Second       // for all streams to open
	probeCalm     = 100 * time.Millisecond // after so long without a probe none is on its way
	probePatience = 3 * time.Second        // the same after some tries
	settleTries   = 20
	settleStep    = 100 * time.Millisecond
)

// A trial is one run of a workload: a server process, fresh, and as many load
// processes as the streams need.
type trial struct {
	workload Workload
	entry    servers.Entry
	time     time.Duration  // to publish for
	server   *process.Child // for an External: its host, which only publishes
	serving  process.Group  // the processes that serve: those that are measured
	loads    []*process.Child
	result   Result
}

// try runs w on e for about d. What goes wrong is in the result.
func try(ctx context.Context, w Workload, e servers.Entry, d time.Duration) Result {
	t := &trial{workload: w, entry: e, time: d, result: newResult()}
	ctx, cancel := context.WithTimeout(ctx, d+openTime+drainTime+grace)
	defer cancel()
	defer t.stop()
	if err := t.run(ctx); err != nil {
		t.result = newResult()
		t.result.Err = err.Error()
	}
	return t.result
}

func (t *trial) run(ctx context.Context) error {
	if err := t.start(ctx); err != nil {
		return err
	}
	var err error
	switch w := t.workload; {
	case w.Kind == Idle:
		err = t.idle(ctx)
	case w.Kind == Churn:
		err = t.churn(ctx)
	case w.Kind == Replay:
		err = t.replay(ctx)
	case w.Kind == Tokens && t.entry.Tokens:
		err = t.tokens(ctx)
	default:
		if err = t.open(ctx); err == nil {
			err = t.publish(ctx, w.plan(t.time, len(t.loads)))
		}
	}
	if err != nil {
		return err
	}
	peak, err := t.serving.Peak()
	t.result.Values[Peak] = float64(peak)
	return err
}

// start starts the processes.
func (t *trial) start(ctx context.Context) (err error) {
	setup := servers.Setup{Server: t.entry.Name, Topics: t.workload.Topics}
	if t.workload.Kind == Replay {
		setup.History = 2 * returning
	}
	if t.workload.Stalled > 0 {
		setup.SendBuffer = stalledBuffer
	}
	arg, err := json.Marshal(setup)
	if err != nil {
		return err
	}
	if t.server, err = process.Start(serveRole, string(arg)); err != nil {
		return err
	}
	if err := t.server.Call(ctx, "serving", nil, &t.serving); err != nil {
		return err
	}
	for range t.workload.loads() {
		l, err := process.Start(loadRole)
		if err != nil {
			return err
		}
		t.loads = append(t.loads, l)
	}
	return nil
}

func (t *trial) stop() {
	for _, l := range t.loads {
		l.Stop()
	}
	if t.server != nil {
		t.server.Stop()
	}
}

// target is the part of load generator i in the workload's streams.
func (t *trial) target(i int) load.Target {
	w, n := t.workload, len(t.loads)
	target := load.Target{
		Addr:    t.server.Stream,
		Path:    "/events",
		Topics:  servers.TopicNames(w.Topics),
		Streams: (w.Streams + i) / n,
		Stalled: w.Stalled / n,
	}
	if n > 1 { // one address has 28,000 ports
		target.Source = fmt.Sprintf("127.0.0.%d", 2+i)
	}
	return target
}

// open opens all streams and makes sure that events reach them.
func (t *trial) open(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	for i, l := range t.loads {
		if err := t.openOn(ctx, l, t.target(i)); err != nil {
			return err
		}
	}
	_, err := t.probe(ctx, t.workload.Streams)
	return err
}

func (t *trial) openOn(ctx context.Context, l *process.Child, target load.Target) error {
	var opened load.Opened
	if err := l.Call(ctx, "open", target, &opened); err != nil {
		return err
	}
	t.result.Refused += opened.Failed
	if opened.Failed > 0 {
		return fmt.Errorf("%d of %d connections failed", opened.Failed, target.Streams)
	}
	return nil
}

// probe has the server publish probes until so many streams have had one, and
// returns the ID of the last one. There is no other way to know for all
// servers: some send the head only with the first event, and some have it sent
// before the stream takes part. Each try is more patient than the last one: on
// a busy machine, probes upon probes would only keep the server busier.
func (t *trial) probe(ctx context.Context, streams int) (lastID string, err error) {
	calm := probeCalm
	for ready := 0; ready < streams; calm = min(2*calm, probePatience) {
		if err := t.server.Call(ctx, "probe", nil, nil); err != nil {
			return "", fmt.Errorf("%d of %d streams are ready: %w", ready, streams, err)
		}
		ready = 0
		for _, l := range t.loads {
			var now load.Ready
			if err := l.Call(ctx, "ready", load.ReadyWhen{Calm: calm}, &now); err != nil {
				return "", err
			}
			ready += now.Streams
			lastID = now.LastID
		}
	}
	return lastID, nil
}
