package servers

import (
	"sync"
	"time"
)

// A window keeps a publisher from running away from the streams. The load
// generators tell it how far their slowest streams are.
type window struct {
	mu     sync.Mutex
	ackers map[*uint64]struct{}
	moved  chan struct{} // holds one: some acker has told something
}

func newWindow() *window {
	return &window{ackers: make(map[*uint64]struct{}), moved: make(chan struct{}, 1)}
}

// join adds a load generator. It calls ack with the number of the newest event
// that all of its streams have, and end when it is over.
func (w *window) join() (ack func(uint64), end func()) {
	acked := new(uint64)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ackers[acked] = struct{}{}
	return func(n uint64) {
			w.mu.Lock()
			*acked = n
			w.mu.Unlock()
			select {
			case w.moved <- struct{}{}:
			default: // the publisher has not looked yet; it will see this too
			}
		}, func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			delete(w.ackers, acked)
		}
}

// wait returns true when so many load generators have all told of n or more,
// and false when that takes longer than limit.
func (w *window) wait(n, ackers int, limit time.Duration) bool {
	if n <= 0 || w.reached(uint64(n), ackers) {
		return true
	}
	late := time.NewTimer(limit)
	defer late.Stop()
	for !w.reached(uint64(n), ackers) {
		select {
		case <-w.moved:
		case <-late.C:
			return false
		}
	}
	return true
}

func (w *window) reached(n uint64, ackers int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for acked := range w.ackers {
		if *acked >= n {
			ackers--
		}
	}
	return ackers <= 0
}
