package ssegin

import (
	"cmp"
	"fmt"
	"time"
)

// How streams come into a timeline, take what is due to them, and leave.

// join registers c and puts it where a client with that last ID goes on. That
// is one step under the lock: what is appended before it is in the log that
// the verdict speaks of, and what is appended after it wakes c, so that there
// is neither a gap nor a duplicate between what is replayed and what is live.
// The rights to the topics were asked for after so many calls of Disconnect; if
// one since then was of these topics, the error is ErrDisconnected. With a log in an
// engine a is what that has said since the client came, nil if it was not asked; where
// the client cannot be judged by what is known, the error is errUnjudged.
func (t *timeline) join(c *cursor, topics []string, asked uint64, lastID string, a *answer) (verdict, error) {
	if err := t.entrance.lockFor(c.context); err != nil {
		return verdict{}, err
	}
	defer t.entrance.Unlock()
	if !t.closed {
		t.trimLocked() // it lets others have the lock in between
	}
	if t.closed {
		return verdict{}, ErrClosed
	}
	if t.memory.tail && !t.tail.judges(lastID, a) {
		return verdict{}, errUnjudged
	}
	if err := t.roomLocked(c); err != nil {
		return verdict{}, err
	}
	v := t.memory.join(c, topics, lastID)
	defer t.tellLocked() // also of who leaves again at once
	switch {
	case t.overtakenLocked(c, asked):
		c.leave(t.memory)
		return verdict{}, ErrDisconnected
	case v.complete && t.memory.tail && c.at.position < t.memory.floor.position && !t.tail.agrees(a):
		c.leave(t.memory) // it would never come back, and no page has shown that it was here
		return verdict{}, errUnjudged
	}
	if t.memory.tail && (isNewcomer(lastID) || v.reset.Reason != "") {
		v.wish = t.tail.wish(c, lastID == idEarliest)
	}
	if v.complete && v.wish == nil {
		c.leave(t.memory)
		return v, nil
	}
	if v.behind {
		if err := t.roomBehindLocked(c); err != nil {
			c.leave(t.memory)
			return verdict{}, err
		}
		t.behind++
		c.behind = true
	}
	t.arrivedLocked(c) // under one lock, or it would count twice for a moment, and another one be refused
	t.countLocked(c.key, 1)
	return v, nil
}

// roomLocked is why there can be no more streams, if there cannot.
func (t *timeline) roomLocked(c *cursor) error {
	self := 0
	if c.arriving {
		self = 1
	}
	if n := t.maxStreams; n > 0 && len(t.streamsLocked())+t.arriving-self >= n {
		return fmt.Errorf("%w: the limit is %d", ErrTooManyStreams, n)
	}
	if n := t.maxStreamsPer; n > 0 && t.perKey[c.key]-self >= n {
		return fmt.Errorf("%w: the limit for each key is %d", ErrTooManyStreams, n)
	}
	return nil
}

// roomBehindLocked is why no more can wait for what the engine has, if they cannot.
func (t *timeline) roomBehindLocked(c *cursor) error {
	n, others := t.maxCatchingUp, t.behind+t.arriving
	if c.arriving {
		others--
	}
	if others >= n {
		return fmt.Errorf("%w: the limit is %d", ErrTooManyCatchingUp, n)
	}
	return nil
}

// countLocked counts one more, or one less, of the streams and requests of that key.
func (t *timeline) countLocked(key string, by int) {
	if t.maxStreamsPer == 0 {
		return
	}
	if t.perKey[key] += by; t.perKey[key] == 0 {
		delete(t.perKey, key)
	}
}

// arrive counts the request of c, which waits for the engine before it joins, until it
// has, or left is called.
func (t *timeline) arrive(c *cursor) (left func(), err error) {
	if err := t.entrance.lockFor(c.context); err != nil {
		return nil, err
	}
	defer t.entrance.Unlock()
	if err := cmp.Or(t.roomLocked(c), t.roomBehindLocked(c)); err != nil {
		return nil, err
	}
	t.arriving++
	c.arriving = true
	t.countLocked(c.key, 1)
	return func() {
		t.entrance.Lock()
		defer t.entrance.Unlock()
		t.arrivedLocked(c)
	}, nil
}

// arrivedLocked notes that the request of c waits for the engine no more.
func (t *timeline) arrivedLocked(c *cursor) {
	if c.arriving {
		c.arriving = false
		t.arriving--
		t.countLocked(c.key, -1)
	}
}

// caughtUpLocked notes that c needs nothing of the engine any more.
func (t *timeline) caughtUpLocked(c *cursor) {
	if c.behind {
		c.behind = false
		t.behind--
	}
}

// leave takes a stream that joined out of the log.
func (t *timeline) leave(c *cursor) {
	t.entrance.Lock()
	defer t.entrance.Unlock()
	t.leaveLocked(c)
}

// leaveAtOnce is leave for a goroutine that serves other streams, too: these do not wait
// for those who wait outside.
func (t *timeline) leaveAtOnce(c *cursor) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.leaveLocked(c)
}

func (t *timeline) leaveLocked(c *cursor) {
	c.leave(t.memory)
	t.tellLocked()
	t.caughtUpLocked(c)
	t.countLocked(c.key, -1)
	t.settleLocked()
}

// spent reports whether all that c follows has ended, and nothing is due to it but
// control events.
func (t *timeline) spent(c *cursor) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if !c.ended() {
		return false
	}
	for _, p := range t.memory.appendDue(c, nil) {
		if p.due() > 1 || !isControl(p.event().frame) {
			return false
		}
	}
	return true
}

// take collects what is due to c. See memory.take.
func (t *timeline) take(c *cursor, b *batch, measure bool) Reset {
	t.mu.RLock()
	defer t.mu.RUnlock()
	reset := t.memory.take(c, b)
	if measure && b.events > 0 {
		b.lag = time.Since(t.memory.born) - b.oldest
	}
	return reset
}
