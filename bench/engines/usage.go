package engines

import (
	"context"
	"runtime"
	"time"

	"github.com/ssegin/ssegin/bench/payload"
	"github.com/ssegin/ssegin/bench/process"
)

// A usage is what everything together has used up.
type usage struct {
	at      int64           // payload.Now
	hubs    []time.Duration // CPU
	engine  time.Duration
	reader  time.Duration // of all clients
	in, out int64         // bytes from the engine to all hubs, and from them to it
}

func (a *attempt) usage(ctx context.Context) (u usage, err error) {
	u.at = payload.Now()
	for _, hub := range a.hubs {
		used, err := hub.Usage()
		if err != nil {
			return u, err
		}
		var t Traffic
		if err := hub.Call(ctx, "traffic", nil, &t); err != nil {
			return u, err
		}
		u.hubs = append(u.hubs, used.CPU)
		u.in += t.In
		u.out += t.Out
	}
	for _, c := range []*process.Child{a.reader, a.bare} {
		if c == nil {
			continue
		}
		used, err := c.Usage()
		if err != nil {
			return u, err
		}
		u.reader += used.CPU
	}
	u.engine, err = a.engine.cpu()
	return u, err
}

// sub is what was used up between before and u.
func (u usage) sub(before usage) usage {
	d := usage{
		at: u.at - before.at, engine: u.engine - before.engine, reader: u.reader - before.reader,
		in: u.in - before.in, out: u.out - before.out,
	}
	for i := range u.hubs {
		d.hubs = append(d.hubs, u.hubs[i]-before.hubs[i])
	}
	return d
}

func (u usage) allHubs() (sum time.Duration) {
	for _, d := range u.hubs {
		sum += d
	}
	return sum
}

// busy is how much of all cores the processes have had, from 0 to 1.
func (u usage) busy() float64 {
	return float64(u.allHubs()+u.engine+u.reader) / float64(u.at) / float64(runtime.NumCPU())
}

// per is d for each of n events, in microseconds.
func per(d time.Duration, n int) float64 { return d.Seconds() * 1e6 / float64(n) }
