package engines

import (
	"context"
	"fmt"
	"time"

	"github.com/ssegin/ssegin/bench/load"
	"github.com/ssegin/ssegin/bench/payload"
	"github.com/ssegin/ssegin/bench/process"
)

// storm lets clients that have missed some events come at once to a process
// that has just begun.
func (a *attempt) storm(ctx context.Context) error {
	s := a.scale
	topics := []string{everyone}
	if err := a.startHubs(ctx, 1, 2*s.Behind, s.Entries); err != nil {
		return err
	}
	hub := a.hubs[0]
	var lastID string
	if err := hub.Call(ctx, "probe", topics, &lastID); err != nil {
		return err
	}
	plan := Plan{Topics: topics, Publishers: 1, Size: a.trial.Size, Events: s.Behind, Time: setUpTime, Rate: 1e9}
	if err := hub.Call(ctx, "publish", plan, nil); err != nil {
		return err
	}
	if a.engine.place().Kind != Memory {
		hub.Stop() // what it asks the engine is not to be counted
		a.hubs = nil
		var err error
		if hub, err = a.startHub(a.trial.History, s.Entries); err != nil {
			return err
		}
	}
	clients, err := process.Start(loadRole)
	if err != nil {
		return err
	}
	a.reader = clients
	target := load.Target{Addr: hub.Stream, Path: "/events", Topics: topics, Streams: s.Clients, LastEventID: lastID, Hold: true}
	var opened load.Opened
	if err := clients.Call(ctx, "open", target, &opened); err != nil {
		return err
	}
	if opened.Failed > 0 {
		return fmt.Errorf("%d of %d connections failed", opened.Failed, s.Clients)
	}
	return a.rush(ctx, hub)
}

// rush lets the hub begin and sends the requests of the connections that are
// open.
func (a *attempt) rush(ctx context.Context, hub *process.Child) error {
	clients := a.reader
	if err := clients.Call(ctx, "start", load.StartCount{}, nil); err != nil {
		return err
	}
	asked, err := a.requests(ctx, nil)
	if err != nil {
		return err
	}
	began := payload.Now()
	if a.engine.place().Kind != Memory {
		if err := hub.Call(ctx, "begin", nil, nil); err != nil {
			return err
		}
	}
	if err := clients.Call(ctx, "ask", nil, nil); err != nil {
		return err
	}
	var r load.Report
	in := load.FinishCount{Published: a.scale.Behind, Quiet: 2 * quiet, Wait: drainTime}
	if err := clients.Call(ctx, "finish", in, &r); err != nil {
		return err
	}
	traffic, err := a.requests(ctx, hub)
	if err != nil {
		return err
	}
	a.result.Events, a.result.Deliveries = a.scale.Behind, r.Deliveries
	a.result.Lost, a.result.Again, a.result.Ended = r.Lost, r.Duplicated+r.Reordered, r.Gone
	v, took := a.result.Values, time.Duration(r.Last-began).Seconds()
	v[Requests], v[EngineMB] = float64(traffic.Requests-asked.Requests), float64(traffic.In)/1e6
	v[ServedMs], v[Deliveries] = took*1e3, float64(r.Deliveries)/took
	return nil
}

// requests returns the traffic of a hub process, nil if it has none yet, and
// how much its engine was asked. NATS is asked over one connection, which counts
// that; Redis counts the commands of all that there are.
func (a *attempt) requests(ctx context.Context, hub *process.Child) (t Traffic, err error) {
	if hub != nil {
		if err := hub.Call(ctx, "traffic", nil, &t); err != nil {
			return t, err
		}
	}
	if redis, ok := a.engine.(*redisServer); ok {
		t.Requests, err = redis.requests()
	}
	return t, err
}
