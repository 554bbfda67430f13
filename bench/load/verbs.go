package load

import (
	"context"
	"time"

	"github.com/ssegin/ssegin/bench/payload"
)

// Open replaces the pool's streams by those of target and returns when all are
// connected and, unless held, have sent their request; how many failed.
func (p *Pool) Open(ctx context.Context, target Target) (failed int) {
	p.onLoop(func() {
		p.churn = churn{}
		p.open(target)
	})
	p.waitFor(ctx, func() bool { return p.held+p.asked+p.failed == p.target.Streams })
	p.onLoop(func() { failed = p.target.Streams - p.held - p.asked })
	return failed
}

// Ask sends the requests that were held back. Times count from now.
func (p *Pool) Ask() {
	p.onLoop(func() {
		p.measure.started = payload.Now()
		for i := range p.clients {
			if c := &p.clients[i]; c.state == holding {
				p.ask(c, i)
			}
		}
	})
}

// Ready waits until the probes that were sent have come, which is when nothing
// has come for as long as calm, or until ctx ends. It returns how many streams
// have had one, and the ID of the last.
func (p *Pool) Ready(ctx context.Context, calm time.Duration) (ready int, lastID string) {
	asked := payload.Now()
	p.waitFor(ctx, func() bool { return payload.Now()-max(asked, p.now) > int64(calm) })
	p.onLoop(func() { ready, lastID = p.ready, p.lastID })
	return ready, lastID
}

// Start begins to count. If step is not 0, the pool reports to the address acks
// whenever all streams have received another step events of their one topic.
// The returned function ends that.
func (p *Pool) Start(url string, step int) (end func()) {
	if step == 0 {
		p.onLoop(func() { p.begin(acks{}) })
		return func() {}
	}
	line := openAcks(url)
	p.onLoop(func() {
		p.begin(acks{step: uint64(step), passed: make(map[uint64]int), tell: line.tell})
	})
	return func() {
		p.onLoop(func() { p.measure.acks = acks{} })
		line.close()
	}
}

// Finish waits until all published events have come, nothing has come for
// quiet, or ctx ends, and counts up.
func (p *Pool) Finish(ctx context.Context, published int, quiet time.Duration) Report {
	var expected int
	var since int64
	p.onLoop(func() { expected, since = p.expectedAll(published), payload.Now() })
	p.waitFor(ctx, func() bool {
		return p.measure.deliveries >= expected ||
			payload.Now()-max(since, p.measure.last) > int64(quiet)
	})
	var r Report
	p.onLoop(func() { r = p.report(published) })
	return r
}

// open forgets the streams there are and lets the loop dial new ones.
func (p *Pool) open(target Target) {
	p.reset()
	p.target = target
	p.clients = make([]client, target.Streams)
}

func (p *Pool) reset() {
	for i := range p.clients {
		p.hangUp(&p.clients[i])
	}
	p.clients, p.dialed, p.counts, p.lastID = nil, 0, counts{}, ""
}
