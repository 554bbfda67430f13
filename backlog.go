package ssegin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ssegin/ssegin/internal/pages"
)

// A backlog reads from the engine what is older than the memory of a hub. It
// reads pages that begin at the same positions for everybody and keeps the
// newest few, so that a crowd of clients that come back together costs as many
// requests as one of them.
type backlog struct {
	log   Log
	limit int // bytes of an event
	pages *pages.Cache[pageKey, past]
}

// A pageKey says where a page begins, in one life of the log.
type pageKey struct {
	life     *life
	position uint64
}

const (
	pageEvents = 256
	pageBytes  = 1 << 20 // beyond that a page ends, but not before its third event
	keptPages  = 16
	pageReads  = 4
	pageTime   = 10 * time.Second
)

// pageOf is where the page begins in which everybody looks for a position first.
func pageOf(position uint64) uint64 { return position - position%pageEvents }

// older are events that are older than memory: at least one, or the reason why
// there are none any more.
type older struct {
	events []past
	ended  string // the topic that has ended with the event at the cursor's place; empty: none
	why    Reason
}

// A past is an event that is older than memory.
type past struct {
	at    mark
	time  time.Time
	topic string
	frame []byte // nil: it cannot be sent
	end   bool
}

func newBacklog(log Log, limit int) *backlog {
	b := &backlog{log: log, limit: limit}
	b.pages = pages.New(pages.Limits{Kept: keptPages, Reads: pageReads, Time: pageTime}, b.events)
	return b
}

// after returns events that follow the one at that mark, at least one, or the
// reason why there are none. ended says that the event at the mark was the end of
// that topic. It looks for the mark in the page that begins at begin, and in
// those that follow it.
func (b *backlog) after(ctx context.Context, l *life, at mark, begin uint64) (found older, err error) {
	for {
		events, err := b.page(ctx, pageKey{l, begin})
		if err != nil {
			return older{}, err
		}
		if len(events) == 0 || at.position+1 < events[0].at.position {
			return older{why: ReasonExpired}, nil
		}
		first, last := events[0].at.position, events[len(events)-1].at.position
		if first <= at.position && at.position <= last {
			e := events[at.position-first]
			if !at.is(e.at.check) {
				return older{why: ReasonEpoch}, nil
			}
			if e.end {
				found.ended = e.topic
			}
		}
		switch {
		case at.position < last:
			found.events = events[at.position+1-first:]
			return found, nil
		case last > begin:
			begin = last
		case begin < at.position:
			begin = at.position // beyond a hole that is none for this client
		default:
			return older{why: ReasonExpired}, nil // there is a hole after it
		}
	}
}

// page returns the page that begins there.
func (b *backlog) page(ctx context.Context, begin pageKey) ([]past, error) {
	events, err := b.pages.Get(ctx, begin)
	if unread, ok := errors.AsType[*pages.ReadError](err); ok {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, unread.Err)
	}
	return events, err
}

// events reads a page: a run of events without a hole. It begins, if they are
// still there, with the event at which it was asked to begin, by which a client
// shows that it has seen this log, and with the one before that, which tells a
// hole there from the front of the log. Both are in the page before, too.
func (b *backlog) events(ctx context.Context, begin pageKey) (events []past, err error) {
	bytes := 0
	for e, err := range b.log.Read(ctx, max(begin.position, 2)-2, begin.position+pageEvents) {
		if err != nil {
			return nil, err
		}
		n := len(events)
		if n > 0 && e.Position != events[n-1].at.position+1 || n > 2 && bytes >= pageBytes {
			break
		}
		next := past{at: mark{e.Position, checkOf(&e)}, time: e.Time, topic: e.Topic, end: e.End}
		if block, err := blockOf(&e, b.limit); err == nil {
			next.frame = appendTail(block, begin.life.epoch, next.at)
		}
		bytes += len(next.frame)
		events = append(events, next)
	}
	return events, nil
}

// forget drops all pages: the log has another life.
func (b *backlog) forget() { b.pages.Forget() }

// close ends the reads that go on, and waits for them until ctx ends.
func (b *backlog) close(ctx context.Context) { b.pages.Close(ctx) }
