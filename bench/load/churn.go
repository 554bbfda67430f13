package load

import (
	"context"
	"time"

	"github.com/ssegin/ssegin/bench/payload"
)

// A Turnover is what came of clients that connect, wait for the first byte of
// the body or at least the head, and leave at once, over and over.
type Turnover struct {
	Cycles int
	Failed int
	Took   time.Duration
	CPU    time.Duration
}

// churn is on while a pool turns its streams over.
type churn struct {
	on     bool
	until  int64 // payload.Now at which to stop
	cycles int
}

// cycle ends client i, if its response has begun, and starts it anew.
func (p *Pool) cycle(c *client, i int) {
	switch {
	case c.scan.opened():
		p.churn.cycles++
	case c.scan.ended():
		p.failed++
	default:
		return
	}
	p.hangUp(c)
	p.dial(i)
}

// Churn turns over target.Streams connections at a time for d.
func (p *Pool) Churn(ctx context.Context, target Target, d time.Duration) Turnover {
	var start int64
	var cpu time.Duration
	p.onLoop(func() {
		start, cpu = payload.Now(), cpuTime()
		p.churn = churn{on: true, until: start + int64(d)}
		p.open(target)
	})
	p.waitFor(ctx, func() bool { return payload.Now() > p.churn.until })
	var t Turnover
	p.onLoop(func() {
		p.churn.on = false
		t = Turnover{
			Cycles: p.churn.cycles,
			Failed: p.failed,
			Took:   time.Duration(payload.Now() - start),
			CPU:    cpuTime() - cpu,
		}
		p.reset()
	})
	return t
}
