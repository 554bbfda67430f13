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
// more, newcomers queue up faster than that, and the queue lasts for seconds. At the
// entrance, whoever comes while it is free goes in at once, and so nothing stands still
// until one who waits has its turn of the scheduler. Of those who wait only the one who has
// waited longest is woken, and it is the next one until it is in: newcomers may overtake
// it, but not for long, and no others of those who wait do. And who waits outside can go
// away, because the client has.
//
// It is a lock like any other: it is taken before the timeline's, and let go of after it.
type entrance struct {
	mu      *sync.RWMutex // of the timeline
	taken   atomic.Bool
	next    chan struct{} // full while somebody is the next one
	waiting atomic.Bool   // the next one has to be woken
	freed   chan struct{} // holds one wake-up, which may be in vain
}

func newEntrance(mu *sync.RWMutex) entrance {
	return entrance{mu: mu, next: make(chan struct{}, 1), freed: make(chan struct{}, 1)}
}

// enter returns when nobody else is inside. If ctx, which is called by those who have to
// wait, ends before that, it returns why. Nil: it does not end.
func (e *entrance) enter(ctx func() context.Context) error {
	if e.taken.CompareAndSwap(false, true) {
		return nil
	}
	var until context.Context
	var ended <-chan struct{}
	if ctx != nil {
		until = ctx()
		ended = until.Done()
	}
	select {
	case e.next <- struct{}{}:
	case <-ended:
		return context.Cause(until)
	}
	defer func() { <-e.next }()
	e.waiting.Store(true) // before the next look, or nobody might wake it
	defer e.waiting.Store(false)
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
	if !e.waiting.Load() {
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
