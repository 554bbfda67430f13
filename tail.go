package ssegin

import (
	"errors"
	"fmt"
	"time"
)

// A tail is how a timeline holds the newest part of a log that lies in an engine.
// It is plain data; the timeline's lock guards it.
//
// The engine gives its entries in order. After each loss of touch it gives the
// newest ones of memory again, up to the head, so that they can be compared: under
// the same epoch it may have been rolled back, and then other events are at these
// positions. Where what comes does not follow what was, the log begins another
// life, and every stream is told.
type tail struct {
	memory *memory

	begun     bool          // the memory knows the log's epoch
	ready     bool          // and has had all that there was when the hub began
	inherited uint64        // the last position when the hub began; entries up to it do not count as published
	oldest    uint64        // the oldest position when the engine was asked last
	newest    uint64        // the newest position that the engine has told of
	headTime  time.Time     // of the entry at the head; zero: not known, or there is none
	recheckTo uint64        // entries up to this one, the head, come again to be compared; zero: none do
	skipped   uint64        // entries that could not be sent
	moved     chan struct{} // closed when any of this changes, or the head; nil: nobody waits
}

// rechecked is how many entries are compared after each loss of touch: the last
// one alone could have the fingerprint of another one.
const rechecked = 16

// startEvents is how many of the newest entries a process begins with: as many as it
// may hold, and no more than can be read in a moment.
func startEvents(limit int) uint64 {
	if limit == 0 {
		return mostAtStart
	}
	return uint64(min(limit, mostAtStart))
}

const mostAtStart = 1 << 13

// align makes the memory fit what the engine has, and returns the position after
// which to follow, the topic whose streams are to be woken, and whether another
// life has begun.
func (t *tail) align(b Bounds) (after uint64, called *topic, broke bool) {
	m, epoch := t.memory, epochOf(b.Epoch)
	seen := m.head.position
	emptied := b.Last == seen && b.First > seen
	switch {
	case !t.begun:
		// As much as the memory may hold, for those who come from other processes.
		at, why := max(b.First-1, b.Last-min(b.Last, startEvents(m.retention.all.events))), Reason("")
		if 0 < at && at < b.First && at < b.Last {
			why = ReasonExpired // the entry there has left, so nobody can vouch for what follows
		}
		m.beginLife(epoch, at, why)
		t.begun, t.inherited = true, b.Last
	case epoch != m.life.epoch || b.Last < seen:
		broke = t.breakOff(epoch, b.Last, ReasonEpoch)
	case emptied && !m.unsure && !b.LastTime.Equal(t.headTime):
		broke = t.breakOff(epoch, seen, ReasonEpoch) // the last that was there is another entry than the one at the head
	case b.First > seen+1 || b.First == seen+1 && b.Last > seen && !t.headTime.IsZero():
		broke = t.breakOff(epoch, b.First-1, ReasonExpired) // the entry at the head has left, so nobody can vouch for what follows
	}
	if b.First > b.Last && m.head.position == b.Last {
		t.headTime = b.LastTime
	}
	t.oldest, t.newest = b.First, b.Last
	after, t.recheckTo = m.head.position, 0
	waited := m.unsure
	m.unsure = false
	if b.First <= after && after <= b.Last {
		t.recheckTo = after
		m.unsure = m.head.check == 0
		after = max(b.First, after-min(after, rechecked-1), min(after, m.floor.position+1)) - 1
	}
	t.advance()
	if broke || waited && !m.unsure {
		called = m.topics[""]
	}
	return after, called, broke
}

// An intake is what an entry of the engine was to a timeline.
type intake struct {
	called *topic // whose streams are to be woken; nil: none
	broke  bool   // another life of the log has begun
	counts bool   // it was published since the hub was made
	fresh  bool   // it was not here before
	first  bool   // it is the first one that cannot be sent
}

// receive takes the next entry of the log into the memory. One whose block is nil
// cannot be sent: it takes its position and nothing else. The error says why the
// log cannot be followed any further.
func (t *tail) receive(e *Entry, block []byte) (in intake, err error) {
	m, c := t.memory, checkOf(e)
	if e.Position <= t.recheckTo {
		return t.recheck(e, c)
	}
	missing := t.recheckTo > 0 // the entry at the head is not there, so nobody knows whether it was ours
	t.recheckTo = 0
	switch {
	case e.Position <= m.head.position:
		return in, fmt.Errorf("ssegin: the log gave position %d after %d", e.Position, m.head.position)
	case e.Position > m.head.position+1 || missing:
		in.broke = t.breakOff(m.life.epoch, e.Position-1, ReasonExpired)
	}
	t.headTime = e.Time
	in.fresh, in.counts = true, e.Position > t.inherited
	switch {
	case disconnects(e):
		m.pass(c)
		in.counts = false
	case block == nil:
		m.pass(c)
		t.skipped++
		in.first = t.skipped == 1
	default:
		first, others := entryTopics(e)
		_, in.called = m.append(addition{topic: first, others: others, block: block, end: e.End, check: c})
	}
	if in.broke {
		in.called = m.topics[""]
	}
	t.advance()
	return in, nil
}

// recheck compares an entry that comes again with what memory has at its position,
// or learns what the one at the head is.
func (t *tail) recheck(e *Entry, c check) (intake, error) {
	m := t.memory
	if e.Position < t.recheckTo {
		if e.Position > m.floor.position && m.check(e.Position) != c {
			return t.rolledBack()
		}
		return intake{}, nil
	}
	t.recheckTo = 0
	if !m.meet(c) {
		return t.rolledBack()
	}
	t.headTime = e.Time
	t.advance()
	return intake{called: m.topics[""]}, nil // some may have waited until the head was known
}

// rolledBack ends the life of a log that is another one than before, under the
// same epoch. Until the engine has said where it ends now, nobody is judged.
func (t *tail) rolledBack() (intake, error) {
	m := t.memory
	broke := t.breakOff(m.life.epoch, max(t.newest, m.head.position), ReasonEpoch)
	m.unsure = true
	return intake{called: m.topics[""], broke: broke}, errors.New("ssegin: the log was rolled back: it holds other events than before")
}

// breakOff begins another life of the log.
func (t *tail) breakOff(epoch string, after uint64, why Reason) (broke bool) {
	t.memory.beginLife(epoch, after, why)
	t.ready, t.recheckTo, t.headTime = false, 0, time.Time{}
	return true
}

// advance tells those who wait that something has changed.
func (t *tail) advance() {
	m := t.memory
	t.ready = t.ready || m.head.position >= t.newest && !m.unsure
	if t.moved != nil {
		close(t.moved)
		t.moved = nil
	}
}

// changes is closed at the next change.
func (t *tail) changes() <-chan struct{} {
	if t.moved == nil {
		t.moved = make(chan struct{})
	}
	return t.moved
}

// What one may wait for.

func (t *tail) hasBegun() bool { return t.begun }
func (t *tail) isReady() bool  { return t.ready && t.isSure() }
func (t *tail) isSure() bool   { return !t.memory.unsure }

// has reports whether the log has come to that position, or is another one.
func (t *tail) has(epoch string, position uint64) bool {
	return epoch != t.memory.life.epoch || position <= t.memory.head.position
}

// An answer is what the engine has said that it has, and what was in memory just
// before it was asked.
type answer struct {
	epoch    string // as in our IDs
	last     uint64
	lastTime time.Time // of the entry there; zero: not known

	life     *life
	head     uint64
	headTime time.Time // zero: not known
}

// ask begins an answer.
func (t *tail) ask() answer {
	return answer{life: t.memory.life, head: t.memory.head.position, headTime: t.headTime}
}

// contradicts reports whether the engine has another log than memory.
func (a *answer) contradicts() bool {
	return a.epoch != a.life.epoch || a.last < a.head ||
		a.last == a.head && !a.lastTime.IsZero() && !a.headTime.IsZero() && !a.lastTime.Equal(a.headTime)
}

// outlived reports whether the log has begun another life since the engine was asked,
// so that its answer says nothing of what is here now.
func (t *tail) outlived(a *answer) bool { return t.memory.life != a.life }

// agrees reports whether what is here is all that the engine has said that it has, so
// that what is not here is not in the log. It knows nothing without an answer.
func (t *tail) agrees(a *answer) bool {
	return a != nil && !t.outlived(a) && !a.contradicts() && a.last <= t.memory.head.position
}

// judges reports whether a last event ID can be judged here: because memory vouches
// for it, or because it is known by now that this is the log that the engine has.
func (t *tail) judges(lastID string, a *answer) bool {
	if !t.isReady() {
		return false
	}
	epoch, at, ok := parseID(lastID)
	return !ok || t.memory.vouches(epoch, at) || t.agrees(a)
}
