package load

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/ssegin/ssegin/bench/payload"
)

// A Report is what the streams of a pool have received since Start.
type Report struct {
	Deliveries int // events, duplicates included
	Lost       int
	Duplicated int
	Reordered  int
	Gone       int       // streams that the server ended
	Started    int64     // payload.Now of Start or, if that was later, of Ask
	Last       int64     // payload.Now of the last receipt
	Latency    Histogram // from publish to receipt
	CPU        time.Duration
}

// Add adds what the streams of another pool have received.
func (r *Report) Add(other Report) {
	r.Deliveries += other.Deliveries
	r.Lost += other.Lost
	r.Duplicated += other.Duplicated
	r.Reordered += other.Reordered
	r.Gone += other.Gone
	r.Started = max(r.Started, other.Started)
	r.Last = max(r.Last, other.Last)
	r.Latency.Merge(other.Latency)
	r.CPU += other.CPU
}

// A measure counts what is delivered.
type measure struct {
	on         bool
	deliveries int
	latency    Histogram
	started    int64
	last       int64
	cpu        time.Duration // used up when the measure began
	acks       acks
}

// add counts event seq, sent and received at those times.
func (m *measure) add(c *client, seq uint64, now, sent int64) {
	if !m.on {
		return
	}
	m.deliveries++
	m.last = now
	m.latency.Add(time.Duration(now - sent))
	before := c.tally.last
	c.tally.see(seq)
	m.acks.advance(before, c.tally.last)
}

// begin forgets everything counted so far.
func (p *Pool) begin(acks acks) {
	for i := range p.clients {
		p.clients[i].tally = tally{}
	}
	p.measure = measure{on: true, started: payload.Now(), cpu: cpuTime(), acks: acks}
	p.measure.acks.streams = func() int { return p.asked - p.stalled - p.gone }
}

// report counts up, given how many events were published over all topics. The
// stalled streams are left out.
func (p *Pool) report(published int) Report {
	m := &p.measure
	r := Report{
		Deliveries: m.deliveries,
		Gone:       p.gone,
		Started:    m.started,
		Last:       m.last,
		Latency:    m.latency,
		CPU:        cpuTime() - m.cpu,
	}
	for i := range p.clients {
		c := &p.clients[i]
		if p.stalls(i) {
			continue
		}
		r.Lost += c.tally.lost(p.expected(c, published))
		r.Duplicated += c.tally.duplicated
		r.Reordered += c.tally.reordered
	}
	return r
}

// expected is how many of the published events are for c: they go to the topics
// in turn.
func (p *Pool) expected(c *client, published int) uint64 {
	topics := len(p.target.Topics)
	n := published / topics
	if c.topic < published%topics {
		n++
	}
	return uint64(n)
}

// expectedAll is the sum over all streams that read.
func (p *Pool) expectedAll(published int) int {
	total := 0
	for i := range p.clients {
		if !p.stalls(i) {
			total += int(p.expected(&p.clients[i], published))
		}
	}
	return total
}

func cpuTime() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &ts)
	return time.Duration(ts.Nano())
}
