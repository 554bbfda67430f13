package run

import (
	"context"
	"time"

	"github.com/ssegin/ssegin/bench/servers"
)

// idle opens the streams and measures what each takes up: as they are, after a
// collection, and in objects and stacks that Go counts.
func (t *trial) idle(ctx context.Context) error {
	before, statsBefore, err := t.collected(ctx)
	if err != nil {
		return err
	}
	if err := t.open(ctx); err != nil {
		return err
	}
	settled, err := t.settle(ctx, func() error { return nil })
	if err != nil {
		return err
	}
	after, statsAfter, err := t.collected(ctx)
	if err != nil {
		return err
	}
	perStream := func(bytes int) float64 { return float64(bytes) / float64(t.workload.Streams) }
	t.result.Values[Settled] = perStream(settled - before)
	t.result.Values[Collected] = perStream(after - before)
	if !t.entry.External {
		t.result.Values[Heap] = perStream(statsAfter.Heap - statsBefore.Heap)
		t.result.Values[Stacks] = perStream(statsAfter.Stacks - statsBefore.Stacks)
	}
	return nil
}

// collected has the server collect its garbage until its memory stays the same.
func (t *trial) collected(ctx context.Context) (memory int, stats servers.Stats, err error) {
	collect := func() error { return t.server.Call(ctx, "gc", nil, nil) }
	if memory, err = t.settle(ctx, collect); err == nil {
		err = t.server.Call(ctx, "stats", nil, &stats)
	}
	return memory, stats, err
}

// settle waits until the server's memory stays the same, and returns it. It
// calls each before each look.
func (t *trial) settle(ctx context.Context, each func() error) (memory int, err error) {
	look := time.NewTicker(settleStep)
	defer look.Stop()
	for range settleTries {
		if err := each(); err != nil {
			return 0, err
		}
		before := memory
		if memory, err = t.serving.Memory(); err != nil {
			return 0, err
		}
		if before > 0 && max(before-memory, memory-before)*200 < memory {
			break
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
	return memory, nil
}
