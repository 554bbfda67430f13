package engines

import (
	"context"
	"fmt"

	"github.com/ssegin/ssegin/bench/process"
)

// memoryWindow times as many events are on their way in memory, which is faster
// by that.
const memoryWindow = 16

// load has all processes, or the first, publish as fast as their streams, at all
// of them, can follow.
func (a *attempt) load(ctx context.Context) error {
	s, hubs := a.scale, a.trial.Hubs
	if a.engine.place().Kind == Memory {
		s.Window *= memoryWindow
	}
	publishing, each := hubs, s.Publishers
	if a.trial.Kind == fanTrial {
		publishing, each = 1, s.Fan
	}
	onTheWay := publishing * each * s.Window
	if err := a.startHubs(ctx, hubs, 2*onTheWay, max(s.Entries, 2*onTheWay)); err != nil {
		return err
	}
	in := opening{Topics: topicNames(s.Topics), Streams: s.Streams, Publishers: publishing * each}
	acks := counting{Each: each}
	for _, hub := range a.hubs {
		in.Hubs = append(in.Hubs, hub.Stream)
	}
	for _, hub := range a.hubs[:publishing] {
		acks.Acks = append(acks.Acks, hub.URL("acks"))
	}
	if err := a.open(ctx, in); err != nil {
		return err
	}
	if err := a.reader.Call(ctx, "start", acks, nil); err != nil {
		return err
	}
	before, err := a.usage(ctx)
	if err != nil {
		return err
	}
	all, err := publishAll(ctx, a.hubs[:publishing], Plan{
		Topics: in.Topics, Publishers: each, Size: a.trial.Size, Time: s.Time, Window: s.Window,
	})
	if err != nil {
		return err
	}
	var report Report
	if err := a.reader.Call(ctx, "finish", finish{Published: all.Events, Quiet: quiet, Wait: drainTime}, &report); err != nil {
		return err
	}
	now, err := a.usage(ctx)
	if err != nil {
		return err
	}
	a.result.take(report)
	a.result.took(all, report, now.sub(before), hubs, a.trial.Size)
	return nil
}

// publishAll has those hub processes carry out the plan at the same time.
func publishAll(ctx context.Context, hubs []*process.Child, plan Plan) (all Published, err error) {
	each := make([]Published, len(hubs))
	failed := make(chan error)
	for i, hub := range hubs {
		plan.First = i * plan.Publishers
		go func(plan Plan) { failed <- hub.Call(ctx, "publish", plan, &each[i]) }(plan)
	}
	for range hubs {
		if e := <-failed; e != nil {
			err = e
		}
	}
	all.First = each[0].First
	for _, p := range each {
		all.Events = append(all.Events, p.Events...)
		all.First, all.Last = min(all.First, p.First), max(all.Last, p.Last)
		all.Latency.Merge(p.Latency)
	}
	return all, err
}

func topicNames(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("t%d", i)
	}
	return names
}

func total(events []uint64) (n int) {
	for _, e := range events {
		n += int(e)
	}
	return n
}
