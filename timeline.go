package ssegin

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// A timeline is the log of a hub as this process has it: the newest events, the
// cursors that follow them, and who is still to be woken. It knows no hub, no
// engine, no Gin and no HTTP.
//
// Its lock guards all of that, also the fields of memory, topic, cursor, place and
// tail, which are plain data. Only the methods here and in timeline_topics.go take it. They hold it
// for as long as the work on that data takes: no other lock is taken, nobody is
// waited for and nobody is woken while it is held, so it may be taken under every
// other lock of this package.
//
// A method that moves nothing but the caller's own cursor holds the lock for
// reading: only the stream moves its cursor, and whoever else changes or reads one
// holds the lock for writing.
type timeline struct {
	maxStreams    int // set once, like the next one; zero: no limit
	maxStreamsPer int
	observe       func(reach time.Duration) // nil: nobody wants to know
	maxCatchingUp int

	mu        sync.RWMutex // no other lock is taken under it
	memory    *memory
	tail      tail           // of a log in an engine
	perKey    map[string]int // streams by the key of WithMaxStreamsPer, and requests that wait for the engine
	arriving  int            // requests that wait for the engine before they join
	behind    int            // streams that wait for what is older than memory, or are given it
	closed    bool           // nothing joins and nothing is appended any more
	closing   chan struct{}  // closed when that is so
	published uint64         // events in the log since the hub was made
	reached   time.Duration  // when observe was called last, since the log was born

	called  ring[*topic] // topics whose streams are still to be woken
	calling bool         // a goroutine wakes them

	disconnects  ring[string] // the newest topics given to disconnect, for requests that are on their way
	disconnected uint64       // how many there were in all, and how often they were not known

	// Shutdown waits until there are no streams, and these are zero, too.
	held    int           // by streams that leave, until their callbacks have returned, and by the follower of a log
	helpers int           // goroutines that end by themselves, once there is nothing for them to do
	drained chan struct{} // closed when that is so
}

func newTimeline(o *hubOptions) *timeline {
	t := &timeline{
		maxStreams:    o.maxStreams,
		maxStreamsPer: o.maxStreamsPer,
		maxCatchingUp: orDefault(o.maxCatchingUp, defaultMaxCatchingUp),
		observe:       guarded(o, "Observer.Reach", o.observer.Reach),
		memory:        newMemory(o.retention()),
		perKey:        map[string]int{},
		closing:       make(chan struct{}),
		drained:       make(chan struct{}),
	}
	t.tail.memory = t.memory
	t.memory.tail = o.log != nil
	t.memory.audience = o.audience()
	return t
}

// --- Publishing ----------------------------------------------------------------------

// append gives the event the next position and wakes the streams of its topic. It
// returns its ID, and whether it is new: an event that is there already is not
// appended again.
func (t *timeline) append(a addition) (id string, fresh bool, err error) {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return "", false, ErrClosed
	}
	id, topic := t.memory.append(a)
	if topic == nil {
		t.mu.Unlock()
		return id, false, nil
	}
	audience := t.callLocked(topic)
	if len(a.others) > 0 {
		audience = t.callOthersLocked(audience, a.others)
	}
	t.published++
	reach, tell := t.reachLocked()
	t.mu.Unlock()
	notify(audience)
	if tell {
		t.observe(reach)
	}
	return id, true, nil
}

// fewStreams are woken by the publisher itself: starting a goroutine for them
// would cost as much.
const fewStreams = 32

// callLocked returns the cursors that the caller is to wake once it has let go of
// the lock. For a topic with many streams these are none: a goroutine wakes them, so
// that publishing takes the same time whatever the number of streams, and so that
// what is published while it is at it is covered by its next round instead of a
// round for each event.
func (t *timeline) callLocked(called *topic) []*cursor {
	if called == nil {
		return nil
	}
	if len(called.cursors) <= fewStreams {
		return called.audience()
	}
	t.queueLocked(called)
	return nil
}

// callOthersLocked returns audience, which has been lent out, and the cursors of more
// topics. Where these are many together, the goroutine wakes them, too.
func (t *timeline) callOthersLocked(audience []*cursor, names []string) []*cursor {
	audience = slices.Clone(audience)
	for _, name := range names {
		topic := t.memory.topics[name]
		switch {
		case topic == nil || len(topic.cursors) == 0:
		case len(audience)+len(topic.cursors) <= fewStreams:
			audience = append(audience, topic.cursors...)
		default:
			t.queueLocked(topic)
		}
	}
	return audience
}

// queueLocked leaves the streams of a topic to the goroutine that wakes.
func (t *timeline) queueLocked(called *topic) {
	if !called.called {
		called.called = true
		t.called.push(called)
	}
	if !t.calling {
		t.calling = true
		t.helpers++
		go t.wake()
	}
}

// wake wakes the streams of the topics that were called, until there are none.
func (t *timeline) wake() {
	for {
		t.mu.Lock()
		if t.called.length == 0 {
			t.calling = false
			t.helpers--
			t.settleLocked()
			t.mu.Unlock()
			return
		}
		called := t.called.pop()
		called.called = false
		audience := called.audience()
		t.mu.Unlock()
		notify(audience)
	}
}

func notify(audience []*cursor) {
	for _, c := range audience {
		c.waker.notify()
	}
}

// --- Streams -------------------------------------------------------------------------

// join registers c and puts it where a client with that last ID goes on. That
// is one step under the lock: what is appended before it is in the log that
// the verdict speaks of, and what is appended after it wakes c, so that there
// is neither a gap nor a duplicate between what is replayed and what is live.
// The rights to the topics were asked for after so many calls of Disconnect; if
// one since then was of these topics, the error is ErrDisconnected. With a log in an
// engine a is what that has said since the client came, nil if it was not asked; where
// the client cannot be judged by what is known, the error is errUnjudged.
func (t *timeline) join(c *cursor, topics []string, asked uint64, lastID string, a *answer) (verdict, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
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
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := cmp.Or(t.roomLocked(c), t.roomBehindLocked(c)); err != nil {
		return nil, err
	}
	t.arriving++
	c.arriving = true
	t.countLocked(c.key, 1)
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
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
	t.mu.Lock()
	defer t.mu.Unlock()
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

// rememberedDisconnects bounds what is known of the topics given to Disconnect.
// A request that more of them have overtaken is asked again, whatever they were.
const rememberedDisconnects = 1000

// disconnect mutes the cursors of that topic and returns them.
func (t *timeline) disconnect(name string) (muted []*cursor) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.disconnectLocked(name)
}

func (t *timeline) disconnectLocked(name string) (muted []*cursor) {
	if topic := t.memory.topics[name]; topic != nil {
		muted = slices.Clone(topic.cursors)
	}
	for _, c := range muted {
		c.state = mute
	}
	t.disconnected++
	if t.disconnects.push(name); t.disconnects.length > rememberedDisconnects {
		t.disconnects.pop()
	}
	return muted
}

// doubtLocked is for when nobody knows which topics were given to disconnect at other
// processes: where the log begins for this one, or has a gap. Requests that are on their
// way have to be asked again, whatever their topics. Streams with topics end when they
// are told of the gap; see cursor.resume.
func (t *timeline) doubtLocked() {
	t.disconnects = ring[string]{}
	t.disconnected++
}

// isMute reports whether nothing more is due to c.
func (t *timeline) isMute(c *cursor) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return c.state == mute
}

// isInterrupted reports whether the log has begun another life since c joined.
func (t *timeline) isInterrupted(c *cursor) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return c.state == interrupted
}

// disconnections is how many calls of disconnect there were. Whoever asks for the
// rights of a client reads it before that, and gives it to join.
func (t *timeline) disconnections() uint64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.disconnected
}

// overtakenLocked reports whether one of the topics of c was given to disconnect
// after there were asked calls of it.
func (t *timeline) overtakenLocked(c *cursor, asked uint64) bool {
	since := t.disconnected - asked
	if since > uint64(t.disconnects.length) {
		return len(c.places) > 1
	}
	for i := t.disconnects.length - int(since); i < t.disconnects.length; i++ {
		if topic := t.memory.topics[*t.disconnects.at(i)]; topic != nil && c.place(topic) != nil {
			return true
		}
	}
	return false
}

// --- Catching up ---------------------------------------------------------------------

// await lets c wait for a page, and returns after what, in which life of the log;
// or the reason why no page will do any more; or why its stream is to end.
func (t *timeline) await(c *cursor) (life *life, at mark, why Reason, err error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if why, err = c.interruption(t.memory); why == "" && err == nil {
		c.state = waiting
	}
	return c.life, c.at, why, err
}

// begin lets c, which has waited for a page, be given what is in it, up to the
// position that it returns: what comes after that will come from memory.
func (t *timeline) begin(c *cursor) (head uint64, why Reason, err error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if why, err = c.interruption(t.memory); why == "" && err == nil {
		c.state = catchingUp
	}
	return t.memory.head.position, why, err
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
	if why, err = c.interruption(t.memory); why != "" || err != nil {
		return false, why, err
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

// isLive reports whether c goes on from memory, although it was behind: it has been
// told of a gap.
func (t *timeline) isLive(c *cursor) bool {
	t.mu.RLock()
	is := c.state == live
	t.mu.RUnlock()
	if is {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.caughtUpLocked(c)
	}
	return is
}

// skip moves c, which can be given no page, to the head.
func (t *timeline) skip(c *cursor, why Reason) Reset {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.caughtUpLocked(c)
	return t.memory.skip(c, why)
}

// --- The engine ----------------------------------------------------------------------

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
		t.mu.Lock()
		if cond(&t.tail) {
			t.mu.Unlock()
			return nil
		}
		moved := t.tail.changes()
		t.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// --- The end -------------------------------------------------------------------------

// hold keeps Shutdown from returning before release is called.
func (t *timeline) hold() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.held++
}

func (t *timeline) release() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.held--
	t.settleLocked()
}

// run runs f on a goroutine of its own, which Shutdown waits for. f ends by itself
// when there are no streams.
func (t *timeline) run(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.helpers++
	go func() {
		defer func() {
			t.mu.Lock()
			defer t.mu.Unlock()
			t.helpers--
			t.settleLocked()
		}()
		f()
	}()
}

// settleLocked tells Shutdown when there is nothing left to wait for.
func (t *timeline) settleLocked() {
	if !t.closed || len(t.streamsLocked())+t.held+t.helpers > 0 {
		return
	}
	select {
	case <-t.drained: // it knows; what came after that has ended again
	default:
		close(t.drained)
	}
}

// close lets nothing join and nothing be appended any more. It returns the streams
// that are to end, to the first caller only.
func (t *timeline) close() []*cursor {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil
	}
	t.closed = true
	close(t.closing)
	streams := slices.Clone(t.streamsLocked())
	t.settleLocked()
	return streams
}

// rest returns what Shutdown still waits for: streams, and callbacks or the
// follower.
func (t *timeline) rest() (streams []*cursor, held int) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return slices.Clone(t.streamsLocked()), t.held
}

func (t *timeline) isClosed() bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.closed
}

// stats adds the figures of the timeline.
func (t *timeline) stats(s *Stats) {
	t.mu.Lock() // not RLock: streams move their cursors under that
	defer t.mu.Unlock()
	t.trimLocked() // or Reach would promise what the next stream is not given
	s.Streams = len(t.streamsLocked())
	s.Topics = len(t.memory.topics) - 1 // without that of broadcasts
	s.Ends = len(t.memory.ends.byName)
	s.Published = t.published
	s.HistoryEvents = t.memory.count
	s.HistoryBytes = t.memory.bytes
	s.Skipped = t.tail.skipped
	s.Closed = t.closed
	s.Reach = time.Since(t.memory.born) - t.memory.reach
	s.CatchingUp, s.Arriving = t.behind, t.arriving
	s.Behind, s.Lag = t.memory.behind()
}

// streamsLocked are the cursors of all streams.
func (t *timeline) streamsLocked() []*cursor { return t.memory.topics[""].cursors }
