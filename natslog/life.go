package natslog

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/ssegin/ssegin/eventlog"
)

// errMeanwhile is no loss: appended again, under the same message ID, the entry
// is in one life or the other.
var errMeanwhile = errors.New("natslog: the stream was made anew meanwhile")

// Lives are what a Log knows of the lives of its stream. An acknowledgement says
// at which position an entry lies, and not in which life. To ask for that each
// time would cost a second round trip. But a follower has a consumer, which never
// gets from one life into another: an entry that it brings under the message ID
// and the position of the acknowledgement lies in the life of that consumer. It
// comes at about the same time, in any process that follows. Where none does,
// or not soon, the stream is asked: if it was in the same life before the entry
// was sent and after it was acknowledged, that is where the entry lies.
type lives struct {
	mu        sync.Mutex // no other lock is taken under it
	known     string     // the epoch in the newest answer about the stream
	alone     bool       // and that one server keeps it
	followers int        // whose life is certain
	passed    uint64     // the newest position that one of them has brought
	expected  map[string][]*sighting

	// The slot holds one: whoever has it asks for the stream, and it guards the
	// rest.
	slot  chan struct{}
	asked time.Time // when the question was asked last that had an answer
	epoch string    // the answer
}

func newLives() *lives {
	return &lives{expected: make(map[string][]*sighting), slot: make(chan struct{}, 1)}
}

// A sighting is an entry that is appended now, and that a follower may bring.
type sighting struct {
	id   string        // the message ID, as the header has it
	seen chan struct{} // closed when at is set
	at   eventlog.Receipt
}

// note keeps what the stream was just now.
func (l *lives) note(info *jetstream.StreamInfo) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.known, l.alone = epoch(info), info.Config.Replicas <= 1
}

// single says whether one server keeps the stream.
func (l *lives) single() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.alone
}

// expect returns the epoch that the stream had last, and a sighting of the entry
// with that message ID, or nil if nobody follows. It must be given to forget.
func (l *lives) expect(id string) (epoch string, s *sighting) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.followers > 0 && id != "" {
		s = &sighting{id: id, seen: make(chan struct{})}
		l.expected[id] = append(l.expected[id], s)
	}
	return l.known, s
}

func (l *lives) forget(s *sighting) {
	if s == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	others := l.expected[s.id]
	for i, other := range others {
		if other == s {
			others = append(others[:i], others[i+1:]...)
			break
		}
	}
	if l.expected[s.id] = others; len(others) == 0 {
		delete(l.expected, s.id)
	}
}

// follow notes that one more follower is certain of its life, or with -1 one
// less.
func (l *lives) follow(more int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.followers += more
}

// see notes what a follower has brought that is certain of its life.
func (l *lives) see(id string, at eventlog.Receipt) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.passed = at.Position
	for _, s := range l.expected[id] {
		select {
		case <-s.seen: // the same message ID again, long after
		default:
			s.at = at
			close(s.seen)
		}
	}
}

// farBehind is by how many entries a follower may be behind an acknowledgement
// before nobody waits for it.
const farBehind = 256

func (l *lives) near(position uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return position <= l.passed+farBehind
}

// receipt returns where the entry lies that was acknowledged at that position.
// Before it was sent the epoch was that one, and the sighting, if any, was
// expected.
func (l *Log) receipt(ctx context.Context, position uint64, before string, s *sighting) (eventlog.Receipt, error) {
	if s != nil && l.lives.near(position) {
		timer := time.NewTimer(l.timing.sighting)
		defer timer.Stop()
		select {
		case <-s.seen:
			if s.at.Position == position {
				return s.at, nil
			}
		case <-timer.C:
		case <-ctx.Done():
			return eventlog.Receipt{}, context.Cause(ctx)
		}
	}
	after, err := l.life(ctx)
	switch {
	case err != nil:
		return eventlog.Receipt{}, err
	case after != before:
		return eventlog.Receipt{}, errMeanwhile
	}
	return eventlog.Receipt{Position: position, Epoch: after}, nil
}

// life returns the epoch that the stream has now: in the answer to a question
// that is asked after the call. Those who call while one is on its way share the
// next.
func (l *Log) life(ctx context.Context) (string, error) {
	called, s := time.Now(), l.lives
	select {
	case s.slot <- struct{}{}:
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	defer func() { <-s.slot }()
	if called.Before(s.asked) {
		return s.epoch, nil
	}
	asked := time.Now()
	info, err := l.info(ctx)
	if info == nil {
		return "", err
	}
	s.asked, s.epoch = asked, epoch(info) // an unfit stream has a life, too
	return s.epoch, nil
}
