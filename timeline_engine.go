package ssegin

import (
	"context"
	"fmt"
)

// How a timeline follows a log in an engine, and how streams are given what is older than
// memory.

// align makes the timeline fit what the engine has, and returns the position after
// which to follow it. broke says that a new life of the log has begun.
func (t *timeline) align(b Bounds) (after uint64, broke bool) {
	t.mu.Lock()
	unknown := !t.tail.begun || t.memory.unsure // what is at the head, and before it
	after, called, broke := t.tail.align(b)
	if unknown || broke {
		t.doubtLocked()
	}
	audience := t.callLocked(called)
	t.mu.Unlock()
	notify(audience)
	return after, broke
}

// receive takes the next entry of the engine's log, whose block is nil when it
// cannot be sent. See tail.receive.
func (t *timeline) receive(e *Entry, block []byte) (intake, error) {
	t.mu.Lock()
	r, err := t.tail.receive(e, block)
	if r.counts {
		t.published++
	}
	if r.broke {
		t.doubtLocked()
	}
	var muted []*cursor
	if r.fresh && disconnects(e) {
		muted = t.disconnectLocked(e.Topic)
	}
	audience := t.callLocked(r.called)
	if r.called != nil && r.called.name != "" { // or everybody is woken
		if _, others := entryTopics(e); len(others) > 0 {
			audience = t.callOthersLocked(audience, others)
		}
	}
	reach, tell := t.reachLocked()
	t.mu.Unlock()
	notify(audience)
	if tell {
		t.observe(reach)
	}
	dismiss := func() {
		for _, c := range muted {
			c.stream.end(ErrDisconnected)
		}
	}
	if len(muted) <= fewStreams {
		dismiss()
	} else {
		t.run(dismiss)
	}
	return r, err
}

// ask begins an answer of the engine.
func (t *timeline) ask() answer {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.tail.ask()
}

// wait returns when cond holds of the tail, or ctx has ended.
func (t *timeline) wait(ctx context.Context, cond func(*tail) bool) error {
	for {
		moved, err := t.changes(ctx, cond)
		if moved == nil || err != nil {
			return err
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// changes returns what is closed at the next change of the tail, nil if cond holds already.
func (t *timeline) changes(ctx context.Context, cond func(*tail) bool) (<-chan struct{}, error) {
	if t.holds(cond) { // as it mostly does
		return nil, nil
	}
	if err := t.entrance.lockFor(func() context.Context { return ctx }); err != nil {
		return nil, err
	}
	defer t.entrance.Unlock()
	if cond(&t.tail) {
		return nil, nil
	}
	return t.tail.changes(), nil
}

func (t *timeline) holds(cond func(*tail) bool) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return cond(&t.tail)
}

// --- Catching up ---------------------------------------------------------------------

// await lets c wait for a page, and returns after what, in which life of the log; or why
// there is none for it any more, as cursor.interruption says.
func (t *timeline) await(c *cursor) (life *life, at mark, err error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if err = c.interruption(); err == nil {
		c.state = waiting
	}
	return c.life, c.at, err
}

// begin lets c, which has waited for a page, be given what is in it, up to the
// position that it returns: what comes after that will come from memory.
func (t *timeline) begin(c *cursor) (head uint64, err error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if err = c.interruption(); err == nil {
		c.state = catchingUp
	}
	return t.memory.head.position, err
}

// isStrange reports whether events of a page may be of another log than the memory, which
// does not know it yet: they lie before its head, and are newer.
func (t *timeline) isStrange(p *page) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if p == nil || !p.latest.After(t.tail.headTime) {
		return false // as nearly always
	}
	for i := range p.events {
		if e := &p.events[i]; e.at.position <= t.memory.head.position && e.time.After(t.tail.headTime) {
			return true
		}
	}
	return false
}

// move notes what c, which is given what is older than memory, was given last.
func (t *timeline) move(c *cursor, at mark) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	c.at = at
}

// rejoin lets c, which has been given everything up to that mark, go on from
// memory, if that reaches back so far; if not, it needs the next page. The
// engine may have been rolled back since the memory was filled, or since the page was:
// then nobody knows yet which of them is right, and c is to come back later. ends are
// the positions of topics that have ended with the last that c was given of them.
func (t *timeline) rejoin(c *cursor, at mark, ends map[string]uint64) (joined bool, why Reason, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err = c.interruption(); err != nil {
		return false, "", err
	}
	joined, why = t.memory.rejoin(c, at)
	if why == ReasonEpoch {
		return false, "", fmt.Errorf("%w: it has other events than this process", ErrUnavailable)
	}
	if joined {
		t.caughtUpLocked(c)
		for topic, position := range ends {
			t.memory.learn(topic, position)
		}
	}
	return joined, why, nil
}

// place returns the life that the log is in, and how far this process has come in it.
func (t *timeline) place() (now *life, head uint64) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.memory.life, t.memory.head.position
}

// life returns the one that the log is in.
func (t *timeline) life() *life {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.memory.life
}

// floor is how far back memory reaches: what comes after that position is there.
func (t *timeline) floor() uint64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.memory.floor.position
}

// typical is how large an event in memory is on average.
func (t *timeline) typical() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.memory.bytes / max(1, t.memory.count)
}

// caughtUp notes that c, which was behind, needs nothing of the engine any more.
func (t *timeline) caughtUp(c *cursor) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.caughtUpLocked(c)
}

// skip makes a newcomer of c, which can be given no page, and says what it is to be told,
// and what it lacks then.
func (t *timeline) skip(c *cursor, why Reason) (v verdict) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.caughtUpLocked(c)
	if v.reset = t.memory.skip(c, why); v.reset.Reason != "" && t.memory.tail {
		v.wish = t.tail.wish(c, false)
	}
	return v
}
