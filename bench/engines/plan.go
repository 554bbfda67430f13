package engines

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ssegin/ssegin/bench/load"
	"github.com/ssegin/ssegin/bench/payload"
)

// A Plan says what one hub process publishes. It has so many publishers, each
// of which waits for the answer to one event before it publishes the next.
type Plan struct {
	Topics     []string      // publisher p sends its event n to topic (p+n) modulo their number
	First      int           // number of its first publisher, over all processes
	Publishers int           //
	Size       int           // bytes of each payload
	Time       time.Duration // for how long
	Rate       float64       // events a second of the process; 0: as fast as it goes
	Events     int           // of each publisher, at most; 0: no limit
	Window     int           // events of each publisher on their way at most; 0: no limit
}

// Published is what became of a plan.
type Published struct {
	Events      []uint64       // of each publisher
	First, Last int64          // payload.Now before the first event and after the last
	Latency     load.Histogram // of publishing, as the publisher sees it
}

// heldUp is how late an event may be before it counts from when it was due: a
// little more than what timers are late by. So an engine that holds up its
// publishers cannot hide the delay of the events that follow.
const heldUp = 2 * time.Millisecond

// maxPublishers is as many as the payload's number has room for.
const (
	maxPublishers = 256
	eventBits     = 32
)

// number makes the one number that a payload carries of the publisher's and the
// event's, which counts from 1.
func number(publisher int, event uint64) uint64 { return uint64(publisher)<<eventBits | event }

func split(number uint64) (publisher int, event uint64) {
	return int(number >> eventBits), number & (1<<eventBits - 1)
}

// A publishFunc publishes data to a topic and returns the event's ID.
type publishFunc func(ctx context.Context, topic string, data []byte) (id string, err error)

func (p Plan) carryOut(ctx context.Context, publish publishFunc, w *window) (Published, error) {
	if p.First+p.Publishers > maxPublishers {
		return Published{}, fmt.Errorf("more than %d publishers", maxPublishers)
	}
	w.begin(p.Publishers, p.Window)
	defer w.end(time.Now().Add(p.Time))()
	all := Published{First: payload.Now()}
	each := make([]publisher, p.Publishers)
	var wg sync.WaitGroup
	for i := range each {
		each[i] = publisher{plan: p, index: i, publish: publish, window: w, start: time.Now()}
		wg.Go(func() { each[i].run(ctx) })
	}
	wg.Wait()
	all.Last = payload.Now()
	var errs []error
	for i := range each {
		all.Events = append(all.Events, each[i].count)
		all.Latency.Merge(each[i].latency)
		errs = append(errs, each[i].err)
	}
	return all, errors.Join(errs...)
}

// A publisher is one of a plan.
type publisher struct {
	plan    Plan
	index   int
	publish publishFunc
	window  *window
	start   time.Time

	count   uint64
	latency load.Histogram
	err     error
}

func (p *publisher) run(ctx context.Context) {
	for {
		late, ok := p.wait()
		if !ok {
			return
		}
		sent := payload.Now()
		due := sent
		if late > heldUp {
			due -= int64(late)
		}
		event := p.count + 1
		who := p.plan.First + p.index
		topic := p.plan.Topics[(who+int(event))%len(p.plan.Topics)]
		_, err := p.publish(ctx, topic, payload.Append(nil, number(who, event), due, p.plan.Size))
		if err != nil {
			p.err = err
			return
		}
		p.count = event
		p.latency.Add(time.Duration(payload.Now() - due))
	}
}

// wait returns when the next event may go, and by how much it is late.
func (p *publisher) wait() (late time.Duration, ok bool) {
	plan := p.plan
	if plan.Events > 0 && p.count >= uint64(plan.Events) {
		return 0, false
	}
	if plan.Rate == 0 {
		return 0, time.Since(p.start) < plan.Time && p.window.wait(p.index, p.count+1)
	}
	// The publishers take turns.
	n := float64(p.count)*float64(plan.Publishers) + float64(p.index)
	due := time.Duration(n / plan.Rate * float64(time.Second))
	if due >= plan.Time {
		return 0, false
	}
	late = time.Since(p.start) - due
	if late < 0 {
		time.Sleep(-late) // until the event is due: this is the pace that was asked for
		late = time.Since(p.start) - due
	}
	return late, true
}
