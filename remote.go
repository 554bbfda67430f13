package ssegin

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"time"
)

// A remote is a hub's log in an engine, as one process sees it. One goroutine
// follows the log and appends what it reads to the hub's memory, so that all
// streams, also those of clients that come back, are served from there. Only
// who missed more than that is given it from the engine; see backlog.
type remote struct {
	hub     *Hub
	log     Log
	backlog *backlog
	ctx     context.Context // ends with the hub
	stop    context.CancelFunc

	// What follows is guarded by Hub.mu.
	begun    bool          // the memory knows the log's epoch
	ready    bool          // and has had all that there was when the hub began
	inherits uint64        // which was up to this position
	last     uint64        // the newest position that the engine has told of
	headTime time.Time     // of the entry at the head; zero: not known, or there is none
	away     time.Time     // since when the engine is out of touch; zero: it is not
	told     bool          // the application knows
	again    uint64        // entries up to this one, the head, come again, to be compared or known; zero: none
	skips    uint64        // entries that could not be sent
	moved    chan struct{} // closed when any of this changes, or the head; nil: nobody waits

	asking chan struct{} // holds one: somebody asks the engine for its last position
	asked  time.Time     // when that was last, and
	answer uint64        // what it was, or
	failed error         // why there was none; all are guarded by asking
}

// How a hub is with an engine that does not answer.
const (
	shortestPause = 50 * time.Millisecond
	longestPause  = 2 * time.Second
	answerTime    = 3 * time.Second        // for one request
	arrivalTime   = 5 * time.Second        // for a client whose ID is ahead of this process
	headStart     = 250 * time.Millisecond // that the follower gets before the engine is asked
	askEvery      = 50 * time.Millisecond  // at the most, whatever clients claim to have seen
	settled       = time.Second            // of following, before the engine counts as back
	compared      = 16                     // entries, after each loss of touch: the last one alone could be another one's twin
)

// startRemote begins to follow the log.
func startRemote(h *Hub, log Log) *remote {
	r := &remote{hub: h, log: log, away: time.Now(), asking: make(chan struct{}, 1)}
	r.ctx, r.stop = context.WithCancel(context.Background())
	r.backlog = newBacklog(log, h.options.maxEventBytes)
	h.log.tail = true
	h.hold() // Shutdown waits for the follower
	go r.run()
	return r
}

// run follows the log until the hub ends, however often that fails.
func (r *remote) run() {
	defer r.hub.release()
	pause := shortestPause
	for {
		began := time.Now()
		err := r.follow()
		if r.ctx.Err() != nil {
			return
		}
		if err == nil {
			err = errors.New("ssegin: the log has ended Follow without an error")
		}
		if time.Since(began) > longestPause {
			pause = shortestPause // it went well for a while
		} else {
			r.lost(err)
		}
		if !sleep(r.ctx, pause/2+rand.N(pause)) {
			return
		}
		pause = min(2*pause, longestPause)
	}
}

// follow follows the log from where the memory ends, until it loses touch.
func (r *remote) follow() error {
	bounds, err := r.bounds(r.ctx)
	if err != nil {
		r.lost(err)
		return err
	}
	after := r.align(bounds)
	called := make(chan struct{})
	timer := time.AfterFunc(settled, func() {
		defer close(called)
		r.found()
	})
	defer func() {
		if !timer.Stop() {
			<-called // nothing of this goes on after Shutdown
		}
	}()
	return r.log.Follow(r.ctx, after, r.deliver)
}

// bounds asks the engine what there is.
func (r *remote) bounds(ctx context.Context) (Bounds, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	return r.log.Bounds(ctx)
}

// align makes the memory fit what the engine has, and returns the position
// after which to follow. Where what comes does not follow what was, the streams
// are told.
func (r *remote) align(b Bounds) (after uint64) {
	h, m := r.hub, r.hub.log
	epoch := epochOf(b.Epoch)
	h.mu.Lock()
	defer h.mu.Unlock()
	seen := m.head.position
	emptied := b.Last == seen && b.First > seen
	switch {
	case !r.begun:
		// As much as the memory may hold, for those who come from other processes.
		m.begin(epoch, max(b.First-1, b.Last-min(b.Last, uint64(m.limits.events))), "")
		r.begun, r.inherits = true, b.Last
	case epoch != m.life.epoch || b.Last < seen:
		r.breakOff(epoch, b.Last, ReasonEpoch)
	case emptied && !m.unsure && !b.LastTime.Equal(r.headTime):
		r.breakOff(epoch, seen, ReasonEpoch) // the last that was there is another entry than the one at the head
	case b.First > seen+1 || b.First == seen+1 && b.Last > seen && !r.headTime.IsZero():
		r.breakOff(epoch, b.First-1, ReasonExpired) // the entry at the head has left, so nobody can vouch for what follows
	}
	if b.First > b.Last && m.head.position == b.Last {
		r.headTime = b.LastTime
	}
	r.last = b.Last
	after, r.again = m.head.position, 0
	waited := m.unsure
	m.unsure = false
	if b.First <= after && after <= b.Last {
		r.again = after
		m.unsure = m.head.check == 0
		after = max(b.First, after-min(after, compared-1), min(after, m.floor.position+1)) - 1
	}
	r.advance()
	if waited && !m.unsure {
		notify(h.call(m.topics[""]))
	}
	return after
}

// breakOff begins a new life of the log, which all streams are told of.
func (r *remote) breakOff(epoch string, after uint64, why Reason) {
	h := r.hub
	h.log.begin(epoch, after, why)
	r.backlog.forget()
	r.ready, r.again, r.headTime = false, 0, time.Time{}
	notify(h.call(h.log.topics[""])) // of everybody; it waits for nobody, so it may be done under the lock
}

// deliver takes the next entry of the log into the memory.
func (r *remote) deliver(e Entry) error {
	block, invalid := blockOf(&e, r.hub.options.maxEventBytes)
	away, skips, err := r.take(&e, block, invalid == nil)
	if skips == 1 {
		r.hub.logger().Warn("ssegin: the log holds an entry that cannot be sent, and is not; Stats counts those that follow",
			"position", e.Position, "topic", clip(e.Topic), "error", invalid)
	}
	if away && err == nil {
		r.found()
	}
	return err
}

// take is deliver, under the hub's lock. It reports whether the engine still
// counts as away, and how many entries were skipped when this one is.
func (r *remote) take(e *Entry, block []byte, valid bool) (away bool, skips uint64, err error) {
	h, m := r.hub, r.hub.log
	c := checkOf(e)
	h.mu.Lock()
	defer h.mu.Unlock()
	if e.Position <= r.again {
		return false, 0, r.compare(e.Position, e.Time, c) // that it gives what was there is no sign that it goes on
	}
	unmet := r.again > 0 // the entry at the head is not there, so nobody knows whether it was ours
	r.again = 0
	switch {
	case e.Position <= m.head.position:
		return false, 0, fmt.Errorf("ssegin: the log gave position %d after %d", e.Position, m.head.position)
	case e.Position > m.head.position+1 || unmet:
		r.breakOff(m.life.epoch, e.Position-1, ReasonExpired)
	}
	r.headTime = e.Time
	if e.Position > r.inherits {
		h.published++
	}
	if !valid {
		m.pass(c)
		r.skips++
		skips = r.skips
	} else {
		_, t := m.append(addition{topic: e.Topic, block: block, end: e.End, check: c})
		notify(h.call(t))
	}
	r.advance()
	return !r.away.IsZero(), skips, nil
}

// compare looks at an entry that the memory has had before, or is to know.
func (r *remote) compare(position uint64, at time.Time, c check) error {
	h, m := r.hub, r.hub.log
	if position < r.again {
		if position > m.floor.position && m.check(position) != c {
			return r.rolledBack()
		}
		return nil
	}
	r.again = 0
	if !m.meet(c) {
		return r.rolledBack()
	}
	r.headTime = at
	r.advance()
	notify(h.call(m.topics[""])) // of those who may wait for this
	return nil
}

// rolledBack ends the life of a log that is another one than before, under the
// same epoch.
func (r *remote) rolledBack() error {
	m := r.hub.log
	r.breakOff(m.life.epoch, max(r.last, m.head.position), ReasonEpoch)
	m.unsure = true // until Bounds has said where it ends now
	return errors.New("ssegin: the log was rolled back: it holds other events than before")
}

// blockOf encodes an entry. Another program may have written it, so it is
// checked like the event that it should have been.
func blockOf(e *Entry, limit int) ([]byte, error) {
	event := Event{Type: e.Type, Retry: e.Retry}
	if e.Data != nil {
		event.Data = e.Data
	}
	if e.Type != typeEnd || !e.End {
		if err := event.check(); err != nil {
			return nil, err
		}
	}
	if e.Topic != "" {
		if err := checkTopic(e.Topic); err != nil {
			return nil, err
		}
	}
	return event.block(maxIDTail, limit)
}

// advance tells those who wait that something has changed. The hub's lock must
// be held.
func (r *remote) advance() {
	m := r.hub.log
	r.ready = r.ready || m.head.position >= r.last && !m.unsure
	if r.moved != nil {
		close(r.moved)
		r.moved = nil
	}
}

// lost notes that the engine is out of touch.
func (r *remote) lost(err error) {
	r.hub.mu.Lock()
	if r.away.IsZero() {
		r.away = time.Now()
	}
	told := r.told
	r.told = true
	r.hub.mu.Unlock()
	if !told {
		r.hub.logger().Warn("ssegin: lost touch with the log; streams stay open, and events follow when it is back", "error", err)
		r.tell(func() { r.hub.options.observer.engineDown(err) })
	}
}

// found notes that the engine is back: it has given an entry, or said for a
// while that there is none.
func (r *remote) found() {
	r.hub.mu.Lock()
	told, since := r.told, r.away
	r.away, r.told = time.Time{}, false
	r.hub.mu.Unlock()
	if told {
		r.hub.logger().Info("ssegin: in touch with the log again")
		r.tell(func() { r.hub.options.observer.engineUp(time.Since(since)) })
	}
}

// tell calls the application's hook. There is no request that a panic could
// end, so it is reported, and the hub goes on.
func (r *remote) tell(hook func()) {
	defer func() {
		if p := recover(); p != nil {
			r.hub.logger().Error("ssegin: panic in a hook of Observer for the engine", "panic", p, "stack", string(debug.Stack()))
		}
	}()
	hook()
}
