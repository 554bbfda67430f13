package ssegintest

import (
	"context"
	"crypto/rand"
	"fmt"
	"iter"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/ssegin/ssegin/eventlog"
)

// logPiece is how many entries one request of a Read gives at most.
const logPiece = 256

// A Log is an eventlog.Log in memory, which the hubs of one process share, as
// those of several processes share an engine. It has the faults of one, too, on
// command. Each of its methods may be called from any goroutine.
//
// A Log starts no goroutine, and never waits with a lock held. In a
// testing/synctest bubble it must be made inside.
type Log struct {
	maxEntries int
	start      uint64
	window     time.Duration

	mu       sync.Mutex
	epoch    string
	entries  []eventlog.Entry  // ascending; holes are deleted entries
	last     uint64            // never below the position of the newest entry
	lastTime time.Time         // of the entry there; zero before the first
	ids      map[string]uint64 // the positions of the messages in recent
	recent   []message         // in the order of their times
	away     error             // of every method, if not nil
	hung     bool              // methods wait
	losing   int               // answers of Append to be lost
	breaks   int               // how often followers were dropped; one that began before is over
	broken   error             // why they were dropped the last time
	changed  chan struct{}     // closed, and made anew, when there may be something to do for who waits
	requests LogRequests
}

// A message is what idempotent appends remember.
type message struct {
	id       string
	position uint64
	at       time.Time
}

var (
	_ eventlog.Log         = (*Log)(nil)
	_ eventlog.TopicReader = (*Log)(nil)
)

// NewLog returns an empty Log.
func NewLog(opts ...LogOption) *Log {
	l := &Log{
		maxEntries: DefaultMaxEntries,
		start:      defaultFirst,
		window:     defaultWindow,
		changed:    make(chan struct{}),
	}
	for _, opt := range opts {
		opt(l)
	}
	l.beginLocked() // nobody else knows it yet
	return l
}

// Append implements eventlog.Log. An entry without a MessageID, as another
// program writes it, is always a new one.
func (l *Log) Append(ctx context.Context, e eventlog.Entry) (eventlog.Receipt, error) {
	if err := l.enterLocked(ctx, &l.requests.Appends); err != nil {
		return eventlog.Receipt{}, err
	}
	defer l.mu.Unlock()
	return l.answerLocked(l.appendLocked(e))
}

// answerLocked is the answer to an append, or that it was lost.
func (l *Log) answerLocked(position uint64) (eventlog.Receipt, error) {
	if l.losing > 0 {
		l.losing--
		return eventlog.Receipt{}, errAnswerLost
	}
	return eventlog.Receipt{Position: position, Epoch: l.epoch}, nil
}

// AppendIf implements eventlog.Log. A hole that Delete has made does not count.
func (l *Log) AppendIf(ctx context.Context, e eventlog.Entry, newest eventlog.Receipt) (eventlog.Receipt, error) {
	if err := l.enterLocked(ctx, &l.requests.Appends); err != nil {
		return eventlog.Receipt{}, err
	}
	defer l.mu.Unlock()
	stands := eventlog.Receipt{Position: l.newestLocked(e.Topic), Epoch: l.epoch}
	holds := newest.Position == stands.Position && (newest.Epoch == "" || newest.Epoch == l.epoch)
	if !holds && !l.knowsLocked(e.MessageID) {
		return eventlog.Receipt{}, &eventlog.ConflictError{Newest: stands}
	}
	return l.answerLocked(l.appendLocked(e))
}

// Follow implements eventlog.Log.
func (l *Log) Follow(ctx context.Context, after uint64, deliver func(eventlog.Entry) error) error {
	l.mu.Lock()
	l.requests.Follows++
	breaks, err := l.breaks, l.away
	l.mu.Unlock()
	if err != nil {
		return err
	}
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		e, changed, err := l.next(after, breaks)
		switch {
		case err != nil:
			return err
		case changed != nil:
			if err := l.await(ctx, changed); err != nil {
				return err
			}
		default:
			if err := deliver(e); err != nil {
				return err
			}
			after = e.Position
		}
	}
}

// Read implements eventlog.Log. It asks for pieces of 256 entries, each of
// which is one of the Requests.
func (l *Log) Read(ctx context.Context, after, until uint64) iter.Seq2[eventlog.Entry, error] {
	return func(yield func(eventlog.Entry, error) bool) {
		for {
			piece, more, err := l.piece(ctx, after, until)
			if err != nil {
				yield(eventlog.Entry{}, err)
				return
			}
			for _, e := range piece {
				if !yield(e, nil) {
					return
				}
				after = e.Position
			}
			if !more {
				return
			}
		}
	}
}

// ReadTopic implements eventlog.TopicReader, in pieces as Read.
func (l *Log) ReadTopic(ctx context.Context, topic string, after, until uint64, last int) iter.Seq2[eventlog.Entry, error] {
	return func(yield func(eventlog.Entry, error) bool) {
		for {
			piece, more, err := l.topicPiece(ctx, topic, after, until, last)
			if err != nil {
				yield(eventlog.Entry{}, err)
				return
			}
			for _, e := range piece {
				if !yield(e, nil) {
					return
				}
				after = e.Position
			}
			if !more {
				return
			}
			if last > 0 {
				last -= len(piece)
			}
		}
	}
}

// Bounds implements eventlog.Log.
func (l *Log) Bounds(ctx context.Context) (eventlog.Bounds, error) {
	if err := l.enterLocked(ctx, &l.requests.Bounds); err != nil {
		return eventlog.Bounds{}, err
	}
	defer l.mu.Unlock()
	return eventlog.Bounds{Epoch: l.epoch, First: l.firstLocked(), Last: l.last, LastTime: l.lastTime}, nil
}

// enterLocked begins a request: it counts it, and fails or waits as the log's
// faults demand. It returns with the lock held, unless it returns an error.
func (l *Log) enterLocked(ctx context.Context, count *int) error {
	l.mu.Lock()
	*count++
	for l.hung && ctx.Err() == nil {
		changed := l.changed
		l.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		l.mu.Lock()
	}
	err := l.away
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		l.mu.Unlock()
	}
	return err
}

// beginLocked begins a life of the log.
func (l *Log) beginLocked() {
	l.epoch = rand.Text()
	l.entries, l.last, l.lastTime = nil, l.start-1, time.Time{}
	l.ids, l.recent = make(map[string]uint64), nil
}

func (l *Log) firstLocked() uint64 {
	if len(l.entries) == 0 {
		return l.last + 1
	}
	return l.entries[0].Position
}

// newestLocked returns the position of the newest entry of a topic, or 0.
func (l *Log) newestLocked(topic string) uint64 {
	for _, e := range slices.Backward(l.entries) {
		if e.Topic == topic {
			return e.Position
		}
	}
	return 0
}

// knowsLocked says whether a message is still remembered.
func (l *Log) knowsLocked(id string) bool {
	now := time.Now()
	for len(l.recent) > 0 && now.Sub(l.recent[0].at) >= l.window {
		delete(l.ids, l.recent[0].id)
		l.recent = l.recent[1:]
	}
	_, known := l.ids[id]
	return known
}

func (l *Log) appendLocked(e eventlog.Entry) uint64 {
	if l.knowsLocked(e.MessageID) {
		return l.ids[e.MessageID]
	}
	now := time.Now().Round(0) // as an engine gives it, without the monotonic clock of this process
	l.last, l.lastTime = l.last+1, now
	e.Position, e.Time, e.Data = l.last, now, slices.Clone(e.Data)
	l.entries = append(l.entries, e)
	l.trimLocked(len(l.entries) - l.maxEntries)
	if e.MessageID != "" {
		l.ids[e.MessageID] = l.last
		l.recent = append(l.recent, message{e.MessageID, l.last, now})
	}
	l.wakeLocked()
	return l.last
}

// trimLocked lets the n oldest entries leave, if n is above 0.
func (l *Log) trimLocked(n int) {
	n = max(0, min(n, len(l.entries)))
	clear(l.entries[:n]) // their data must not live as long as the array
	l.entries = l.entries[n:]
}

// wakeLocked lets all that wait look again.
func (l *Log) wakeLocked() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// next returns the entry that comes after that position, or what to wait for,
// or why a follower that began at that count of breaks cannot go on.
func (l *Log) next(after uint64, breaks int) (e eventlog.Entry, wait <-chan struct{}, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.breaks != breaks {
		return e, nil, l.broken
	}
	i := l.indexLocked(after)
	switch {
	case !l.hung && after > l.last:
		return e, nil, fmt.Errorf("ssegintest: follow after position %d: the log ends at %d", after, l.last)
	case l.hung || i == len(l.entries):
		return e, l.changed, nil
	}
	return ownEntry(l.entries[i]), nil, nil
}

// piece returns what one request of a Read gives, and whether there may be more.
func (l *Log) piece(ctx context.Context, after, until uint64) (piece []eventlog.Entry, more bool, err error) {
	if err := l.enterLocked(ctx, &l.requests.Reads); err != nil {
		return nil, false, err
	}
	defer l.mu.Unlock()
	for _, e := range l.entries[l.indexLocked(after):] {
		if e.Position > until || len(piece) == logPiece {
			break
		}
		piece = append(piece, ownEntry(e))
	}
	return piece, len(piece) == logPiece && piece[logPiece-1].Position < min(until, l.last), nil
}

// topicPiece is piece for ReadTopic.
func (l *Log) topicPiece(ctx context.Context, topic string, after, until uint64, last int) (piece []eventlog.Entry, more bool, err error) {
	if err := l.enterLocked(ctx, &l.requests.Reads); err != nil {
		return nil, false, err
	}
	defer l.mu.Unlock()
	var found []eventlog.Entry
	for _, e := range l.entries[l.indexLocked(after):] {
		if e.Topic == topic && e.Position <= until {
			found = append(found, e)
		}
	}
	if last > 0 {
		found = found[max(0, len(found)-last):]
	}
	for _, e := range found[:min(len(found), logPiece)] {
		piece = append(piece, ownEntry(e))
	}
	return piece, len(found) > len(piece), nil
}

// indexLocked returns how many of the entries are not after that position.
func (l *Log) indexLocked(after uint64) int {
	return sort.Search(len(l.entries), func(i int) bool { return l.entries[i].Position > after })
}

// ownEntry returns e with data that belongs to the receiver.
func ownEntry(e eventlog.Entry) eventlog.Entry {
	e.Data = slices.Clone(e.Data)
	return e
}
