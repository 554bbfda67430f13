package ssegin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ssegin/ssegin/internal/pages"
)

// A backlog reads from the engine what is older than the memory of a hub, in pages
// that all who need them share; see package pages. A crowd of clients that come back
// together, from wherever, so costs about as much as one of them that reads the whole
// log.
type backlog struct {
	log      Log
	limit    int // bytes of an event
	timeline *timeline
	held     atomic.Int64  // bytes that streams hold while they write what is older
	typical  atomic.Int64  // bytes of an event of the page that was read last
	front    atomic.Uint64 // where the log began when the engine said so last

	mu     sync.Mutex             // taken before the lock of a pages.Reader, which is taken before timeline.mu
	life   *life                  // the newest one that is known of
	reader *pages.Reader[*page]   // of that; nil: nobody has asked for a page of it
	past   []*pages.Reader[*page] // of earlier lives; they may have to be waited for
	closed bool
}

const (
	pageEvents  = 256
	pageBytes   = 2 << 20 // beyond that a page ends, but not before its second event
	keptBytes   = 24 << 20
	keptFor     = time.Minute
	keptTrace   = 1 << 20 // positions, of four bytes each
	keptPages   = 1 << 13
	firstReads  = 3
	pageTime    = 10 * time.Second
	pageLinger  = 250 * time.Millisecond
	sweepGather = 250 * time.Millisecond
	sweepRest   = time.Second
	proofFor    = 30 * time.Second // that a client waits for its turn before it is sent away

	// heldBytes is about what all streams hold together while they write what is older:
	// the nearer they come to it, the less each of them takes at once.
	heldBytes  = 16 << 20
	leastBatch = 4 << 10
)

// A page is a run of events without a hole.
type page struct {
	events []past
	topics map[string][]int // indices of the events that can be sent
	latest time.Time        // of the events
	floor  uint64           // of the memory when the page was read
}

// A past is an event that is older than memory.
type past struct {
	at     mark
	time   time.Time
	topic  string
	others []string // topics beside that one
	frame  []byte   // nil: it cannot be sent
	end    bool
}

func newBacklog(log Log, limit int, t *timeline) *backlog {
	return &backlog{log: log, limit: limit, timeline: t, life: &life{}}
}

// A seeker is a stream that looks for the page with the events after its place. It
// belongs to whoever gives the stream its turns.
type seeker struct {
	pages.Waiter[*page]
	topics map[string]bool
	reader *pages.Reader[*page] // that was asked last; nil: none was
	waits  bool                 // for that one
	doubt  *doubt               // what it was given holds only if this is resolved; nil: no

	mu sync.Mutex // no other lock is taken under it
	at mark       // its place; it may be carried on while it waits
}

// newSeeker returns a seeker for c, whose place is still to be proved if it is the
// first one. ready is called from other goroutines, and with locks held, when what it
// waits for is there.
func newSeeker(c *cursor, first bool, ready func()) *seeker {
	k := &seeker{topics: make(map[string]bool, len(c.places))}
	for i := range c.places {
		k.topics[c.places[i].topic.name] = true
	}
	k.Key, k.First, k.Ready = c.key, first, ready
	if !first {
		k.Passes = k.passes
	}
	return k
}

// passes carries the seeker over a page that has nothing for it.
func (k *seeker) passes(p *page) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := len(p.events)
	i, why := p.after(k.at)
	if why != "" || p.events[n-1].at.position >= p.floor || p.ended(i, k.topics) != "" || p.holds(i, k.topics) {
		return false
	}
	k.at = p.events[n-1].at
	return true
}

// place is up to where nothing is due to it.
func (k *seeker) place() mark {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.at
}

// seek lets it begin at that place, unless it waits already.
func (k *seeker) seek(at mark) {
	if k.waits {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.at, k.Position = at, at.position
}

// leave lets it wait no more.
func (k *seeker) leave() {
	if k.waits {
		k.reader.Leave(&k.Waiter)
		k.waits = false
	}
	if k.doubt != nil {
		k.doubt.drop()
		k.doubt = nil
	}
}

// page returns the page with the events after the place of k, at least one, or the
// reason why there are none any more. If it is not ready, k waits for it.
func (b *backlog) page(l *life, k *seeker) (p *page, why Reason, ready bool, err error) {
	r, err := b.readerOf(l)
	if err != nil {
		return nil, "", false, err
	}
	if k.reader != r {
		k.leave()
		k.reader = r
	}
	at := k.place()
	why, known := b.judge(r, at)
	if known && why != "" {
		k.leave()
		return nil, why, true, nil
	}
	p, ready, err = r.Ask(&k.Waiter)
	k.waits = !ready
	if unread, ok := errors.AsType[*pages.ReadError](err); ok {
		return nil, "", false, fmt.Errorf("%w: %w", ErrUnavailable, unread.Err)
	}
	if !ready || err != nil {
		return nil, "", false, err
	}
	at = k.place()
	if _, why = p.after(at); why == "" && k.First && !known && !p.proves(at) {
		why = ReasonExpired
	}
	return p, why, true, nil
}

// judge says what is known of a mark without reading anything: with a reason, that it
// was made up, or is too old.
func (b *backlog) judge(r *pages.Reader[*page], at mark) (why Reason, known bool) {
	switch trace, known := r.Trace(at.position); {
	case at.position+1 < b.front.Load():
		return ReasonExpired, true
	case !known || trace == 0:
		return "", false
	case !at.is(check(trace)):
		return ReasonEpoch, true
	}
	return "", true
}

// knows reports whether the event at that mark was there in that life of the log when
// its page was read. If it has left since then, whoever asks for its page is told.
func (b *backlog) knows(l *life, at mark) bool {
	r, err := b.readerOf(l)
	if err != nil {
		return false
	}
	why, known := b.judge(r, at)
	return known && why == ""
}

// readerOf returns the reader of that life of the log, or pages.ErrStopped if there
// is another one by now.
func (b *backlog) readerOf(l *life) (*pages.Reader[*page], error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return nil, ErrClosed
	case l.number < b.life.number:
		return nil, pages.ErrStopped
	case b.reader == nil || l != b.life:
		b.beginLocked(l)
		b.reader = pages.New(pages.Limits{
			Bytes: keptBytes, Trace: keptTrace, Pages: keptPages, First: firstReads, Extent: pageEvents,
			Time: pageTime, Linger: pageLinger, Gather: sweepGather, Rest: sweepRest, Idle: keptFor,
		}, &source{b, l})
	}
	return b.reader, nil
}

// beginLocked drops all pages of another life of the log. Whoever waits for one looks
// again at what has become of the log.
func (b *backlog) beginLocked(l *life) {
	if b.reader != nil {
		b.reader.Stop()
		b.past = append(b.past[max(0, len(b.past)-8):], b.reader)
	}
	b.life, b.reader = l, nil
}

// begin drops all pages of earlier lives of the log.
func (b *backlog) begin(l *life) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l.number > b.life.number {
		b.beginLocked(l)
	}
}

// close ends the reads that go on, and waits for them until ctx ends.
func (b *backlog) close(ctx context.Context) {
	b.mu.Lock()
	b.closed = true
	b.beginLocked(b.life)
	past := b.past
	b.mu.Unlock()
	for _, r := range past {
		r.Close(ctx)
	}
}

// room is how many bytes a stream may take at once.
func (b *backlog) room() int {
	return int(min(writeBytes, max(leastBatch, (heldBytes-b.held.Load())/256)))
}

// A source reads the pages of one life of the log.
type source struct {
	*backlog
	life *life
}

// Extent implements pages.Source. A page holds few large events, so that the engine is
// not asked for more than is used, and a search for an ID begins near to it.
func (s *source) Extent() uint64 {
	typical := s.typical.Load()
	if typical == 0 {
		typical = int64(s.timeline.typical())
	}
	return uint64(max(1, min(pageEvents, pageBytes/max(1, typical))))
}

// Read implements pages.Source. A page begins, if it is still there, with the event at
// which it was asked to begin, by which a client shows that it has seen this log. That
// is in the page before, too.
func (s *source) Read(ctx context.Context, begin, until uint64) (read pages.Page[*page], err error) {
	p := &page{topics: map[string][]int{}, floor: s.timeline.floor()}
	if read.Bytes, err = s.run(ctx, p, begin, until); err != nil {
		return read, err
	}
	if n := len(p.events); n > 0 && begin > 1 && p.events[0].at.position == begin+1 {
		// What tells a hole there from the front of the log is the event before it.
		before := &page{topics: map[string][]int{}, floor: p.floor}
		if _, err := s.run(ctx, before, begin-1, begin-1); err != nil {
			return read, err
		}
		if len(before.events) > 0 {
			p = before
		}
	}
	read.Content, read.End = p, until
	if n := len(p.events); n > 0 {
		s.typical.Store(int64(max(1, read.Bytes/n)))
		read.End = max(p.events[n-1].at.position, begin+1)
	}
	read.Bytes += len(p.events) * 150 // for what is around the frames
	read.Trace = p.trace(begin, read.End)
	return read, nil
}

// run reads the events from one position up to another into p, as far as there is no
// hole, and returns the bytes of their frames.
func (s *source) run(ctx context.Context, p *page, from, until uint64) (bytes int, err error) {
	for e, err := range s.log.Read(ctx, max(from, 1)-1, until) {
		if err != nil {
			return 0, err
		}
		n := len(p.events)
		if n > 0 && e.Position != p.events[n-1].at.position+1 || n > 1 && bytes >= pageBytes {
			break
		}
		next := past{at: mark{e.Position, checkOf(&e)}, time: e.Time, end: e.End}
		next.topic, next.others = entryTopics(&e)
		if block, err := blockOf(&e, s.limit); err == nil {
			next.frame = appendTail(block, s.life.epoch, next.at)
			p.topics[next.topic] = append(p.topics[next.topic], n)
			for _, topic := range next.others {
				p.topics[topic] = append(p.topics[topic], n)
			}
		}
		if e.Time.After(p.latest) {
			p.latest = e.Time
		}
		bytes += len(next.frame)
		p.events = append(p.events, next)
	}
	return bytes, nil
}

// trace are the checks of the events from one position up to another, without it.
func (p *page) trace(begin, end uint64) []uint32 {
	trace := make([]uint32, end-begin)
	for i := range p.events {
		if at := p.events[i].at; begin <= at.position && at.position < end {
			trace[at.position-begin] = uint32(at.check)
		}
	}
	return trace
}

// after returns the index of the event that follows the one at that mark, or the
// reason why there is none.
func (p *page) after(at mark) (index int, why Reason) {
	n := len(p.events)
	if n == 0 || at.position+1 < p.events[0].at.position {
		return 0, ReasonExpired
	}
	first, last := p.events[0].at.position, p.events[n-1].at.position
	if first <= at.position && at.position <= last && !at.is(p.events[at.position-first].at.check) {
		return 0, ReasonEpoch
	}
	if at.position >= last {
		return 0, ReasonExpired // there is a hole, at it or after it
	}
	return int(at.position + 1 - first), ""
}

// proves reports whether the page, which has what follows that mark, also has the event
// there. If that has left, it may have been another one than the client has seen, and what
// the client lacks is gone. An ID without a check is never proved.
func (p *page) proves(at mark) bool {
	return at.check == 0 || at.position >= p.events[0].at.position
}

// ended is that of these topics that has ended with the event before that index;
// empty if none has.
func (p *page) ended(index int, topics map[string]bool) string {
	if index == 0 || !p.events[index-1].end || !topics[p.events[index-1].topic] {
		return ""
	}
	return p.events[index-1].topic
}

// holds reports whether there is an event of one of these topics from that index on.
func (p *page) holds(index int, topics map[string]bool) bool {
	if len(topics) <= len(p.topics) {
		for topic := range topics {
			if indices := p.topics[topic]; len(indices) > 0 && indices[len(indices)-1] >= index {
				return true
			}
		}
		return false
	}
	for topic, indices := range p.topics {
		if topics[topic] && indices[len(indices)-1] >= index {
			return true
		}
	}
	return false
}

// due returns the indices from one to before another of the events that have these
// topics, in order; of each topic only the newest if newest is set.
func (p *page) due(from, to int, topics map[string]bool, newest bool) (due []int) {
	take := func(indices []int) {
		i, _ := slices.BinarySearch(indices, from)
		j, _ := slices.BinarySearch(indices, to)
		if newest && j > i {
			i = j - 1
		}
		due = append(due, indices[i:j]...)
	}
	if len(topics) <= len(p.topics) {
		for topic := range topics {
			take(p.topics[topic])
		}
	} else {
		for topic, indices := range p.topics {
			if topics[topic] {
				take(indices)
			}
		}
	}
	slices.Sort(due)
	return slices.Compact(due) // an event of several topics is given once
}
