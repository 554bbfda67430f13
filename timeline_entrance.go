package ssegin

import (
	"context"
	"sync"
	"sync/atomic"
)

// An entrance is how the lock of a timeline is taken for what each request does once or a
// few times: it joins, waits for the engine, leaves. One goroutine at a time is inside, and
// all others wait outside, not at the lock.
//
// Clients can make as many requests as they like. At the lock they would become its queue,
// which sync.RWMutex serves strictly in the order of coming once it is long: then each
// step, also of those who publish and of live streams, costs a turn of the scheduler or
// more, newcomers queue up faster than that, and the queue lasts for seconds. The
// entrance promises no order, so it has no such queue: whoever comes while it is free goes
// in, and who waits is woken to try again. And who waits outside can go away, because the
// client has.
//
// It is a lock like any other: it is taken before the timeline's, and let go of after it.
type entrance struct {
	mu      *sync.RWMutex // of the timeline
	taken   atomic.Bool
	waiting atomic.Int32
	freed   chan struct{} // holds one wake-up, which may be in vain
}

func newEntrance(mu *sync.RWMutex) entrance {
	return entrance{mu: mu, freed: make(chan struct{}, 1)}
}

// enter returns when nobody else is inside. If ctx, which is called by those who have to
// wait, ends before that, it returns why. Nil: it does not end.
func (e *entrance) enter(ctx func() context.Context) error {
	if e.taken.CompareAndSwap(false, true) {
		return nil
	}
	e.waiting.Add(1) // before the next look, or nobody might wake it
	defer e.waiting.Add(-1)
	var until context.Context
	var ended <-chan struct{}
	if ctx != nil {
		until = ctx()
		ended = until.Done()
	}
	for !e.taken.CompareAndSwap(false, true) {
		select {
		case <-e.freed:
		case <-ended:
			return context.Cause(until)
		}
	}
	return nil
}

func (e *entrance) exit() {
	e.taken.Store(false)
	if e.waiting.Load() == 0 {
		return
	}
	select {
	case e.freed <- struct{}{}:
	default:
	}
}

// Lock takes the timeline's lock, when it is this goroutine's turn.
func (e *entrance) Lock() {
	_ = e.enter(nil)
	e.mu.Lock()
}

// lockFor is Lock, unless ctx ends before it is this goroutine's turn.
func (e *entrance) lockFor(ctx func() context.Context) error {
	if err := e.enter(ctx); err != nil {
		return err
	}
	e.mu.Lock()
	return nil
}

// Unlock is for Lock and lockFor.
func (e *entrance) Unlock() {
	e.mu.Unlock()
	e.exit()
}
