package engines

import (
	"sync"
	"sync/atomic"
	"time"
)

// A window keeps the publishers of a process from running away from the
// streams of all processes.
type window struct {
	size  uint64          // 0: no limit
	acked []atomic.Uint64 // by publisher: up to this number all streams have its events

	mu    sync.Mutex
	moved *sync.Cond // acked has, or the time is over
	over  bool
}

// begin gives each publisher so many events that may be on their way.
func (w *window) begin(publishers, size int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.size, w.acked, w.over = uint64(size), make([]atomic.Uint64, publishers), false
	w.moved = sync.NewCond(&w.mu)
}

// end lets nobody wait any more after that time. The returned function makes it
// forget that.
func (w *window) end(at time.Time) (forget func()) {
	timer := time.AfterFunc(time.Until(at), func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.over = true
		w.moved.Broadcast()
	})
	return func() { timer.Stop() }
}

// wait returns true when the publisher's event n may go, and false when the
// time is over before that.
func (w *window) wait(publisher int, n uint64) bool {
	if w.open(publisher, n) {
		return true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for !w.over && !w.open(publisher, n) {
		w.moved.Wait()
	}
	return w.open(publisher, n)
}

func (w *window) open(publisher int, n uint64) bool {
	return w.size == 0 || n <= w.acked[publisher].Load()+w.size
}

// ack takes the newest numbers of all publishers. Before begin it does nothing.
func (w *window) ack(numbers []uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.moved == nil {
		return
	}
	for p := range min(len(w.acked), len(numbers)) {
		w.acked[p].Store(numbers[p])
	}
	w.moved.Broadcast()
}
