// Package eventlog is the seam between a hub and the engine in which its events
// lie when several processes share them: NATS JetStream, Redis Streams, or
// whatever else keeps an ordered, bounded log.
//
// A [Log] is small and dumb on purpose. It stores entries, numbers them, and
// gives them back in order. The hub (package ssegin) does everything else, once
// for all engines: it checks and encodes events, retries appends, follows the
// log with one goroutine for each process, keeps the newest entries in memory,
// bounds what it asks for, judges the IDs of clients that come back, and tells
// streams of gaps.
//
// Whoever writes a Log runs ssegintest.TestLog over it, which checks each rule
// below.
package eventlog

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"
)

// A Log is an ordered log of entries in an engine. It is shared by any number
// of hubs in any number of processes, and its methods may be called from any
// number of goroutines.
//
// # Positions
//
// The log gives each entry a position, counted up by exactly 1 in the order of
// the log, from any start above 0. All processes see the same entries in the
// same order at the same positions. Old entries leave at the front only. Where
// an entry is missing in the middle, because somebody has deleted it in the
// engine, the hub tells its streams that there is a gap.
//
// # Epochs
//
// The epoch names one life of the log. It is any text that was not used before
// and is the same in all processes; it changes when the log is made anew, so
// that no old position is taken for a new one. A log that was rolled back, to a
// backup or to a replica that lagged, may keep its epoch: the hub notices by
// what the entries say of themselves.
//
// # Errors
//
// A Log does not retry. It returns the first error as soon as it has it, and
// wraps what the engine said. When a context ends, what was given it returns
// soon, whatever the engine does. The hub tries again, with pauses, and in the
// meantime says in its Stats that it has lost touch. An error that no retry
// can mend wraps [ErrRefused], or is a [ConflictError].
//
// # What an engine may have besides
//
// A Log that is a [TopicReader], too, reads the entries of one topic without
// those of the others.
type Log interface {
	// Append puts e at the end and returns where it lies, once the engine says
	// that it is kept, with whatever durability the engine is set to. It sets
	// nothing of e, ignores e.Position and e.Time, and does not keep e.Data.
	//
	// It is atomic and idempotent: an error means that it is not known whether
	// e is in the log, and the same e.MessageID, appended again within the time
	// that the engine remembers it (minutes), is there once: Append then
	// returns the receipt of the first. e.MessageID is never empty.
	//
	// The epoch of the receipt is that of the life in which the entry lies, also
	// when the log is made anew in that very moment: whoever reads the entry at
	// that position finds it under that epoch. A Log that cannot vouch for that
	// returns an error.
	Append(ctx context.Context, e Entry) (Receipt, error)

	// AppendIf appends e as Append does, on one condition: newest says where the
	// newest entry of e.Topic is. Its position is 0 if the log holds none of that
	// topic, and if its epoch is not empty, the log has to be in that life. So a
	// producer that gives back the receipt of its last append each time is the
	// only one that writes to its topic, or is told that it is not; and
	// Receipt{} begins a topic that nobody has begun.
	//
	// An entry of several topics is one of the topic SeveralTopics here, and of none
	// of its Topics: it is judged by the newest of several topics, whichever these
	// are, and it is not the newest of any of them.
	//
	// Judging and appending are one step: of any number that name the same
	// newest entry at the same time, one succeeds. Entries of other topics do
	// not matter. Where the condition does not hold nothing is appended, and the
	// error is a *ConflictError, which says what stands. A message that was
	// appended already is answered with its receipt before the condition is
	// judged, whatever has followed it.
	//
	// Only what the log holds counts: when the newest entry of a topic has left
	// at the front, there is none, as if there had never been one, and whoever
	// names it is refused. So what shall keep others out for longer than the log
	// reaches back must be appended again in time. An entry that somebody has
	// deleted in the middle may count or not. After a rollback the condition is
	// judged by what is there now: whoever names an entry that is gone is
	// refused, unless another of the same topic has come to lie at its position.
	AppendIf(ctx context.Context, e Entry, newest Receipt) (Receipt, error)

	// Follow calls deliver with every entry after that position, in order,
	// first those that are there and then each new one soon after it was
	// appended, until ctx ends, deliver returns an error, or it cannot go on. It
	// calls deliver from one goroutine at a time, never after it has returned,
	// and does not use e.Data again. It returns the cause of ctx, the error of
	// deliver, or its own, never nil.
	//
	// When entries after that position have left, it begins with the oldest
	// there is. It returns an error as soon as it cannot vouch that the next
	// entry follows the last one in the same life of the log: after it lost its
	// connection for a moment, when the log was made anew or rolled back, so
	// also when that position is after the newest entry, when the engine says
	// nothing for some seconds. The hub then asks for Bounds and follows again.
	Follow(ctx context.Context, after uint64, deliver func(Entry) error) error

	// Read gives the entries after one position and up to another, in order, as
	// far as they are still there: what has left at the front is left out. It
	// asks the engine in pieces of bounded size. It ends after the first error.
	Read(ctx context.Context, after, until uint64) iter.Seq2[Entry, error]

	// Bounds says what there is now, as the engine has it, not from a memory of
	// the Log's own. Where the log does not exist, it is made.
	Bounds(ctx context.Context) (Bounds, error)
}

// An Entry is one event in a log, in its parts, so that other programs can
// write to the log, too.
type Entry struct {
	Position uint64    // given by the log
	Time     time.Time // when the log took it, by the engine's clock; it never changes

	Topic string // any text without CR, LF or NUL, up to 1 KiB; "" is everybody
	Type  string // any text without CR, LF or NUL
	Data  []byte // any bytes; nil, which is not the same as empty, means no data
	Retry time.Duration
	End   bool // the last event of its topic

	// Topics are those of an entry of several topics, each once; Topic is SeveralTopics
	// then. An entry of one topic has none. Everybody ("") is not one of several: an
	// entry that says so is given to nobody.
	Topics []string

	// MessageID tells this entry from all others, and an append that is tried
	// again from a new one. It is any text without CR, LF or NUL, up to 1 KiB,
	// and empty only for entries that another program has written.
	MessageID string
}

// SeveralTopics is the Topic of an entry that has several. No stream follows it, so that
// a program that does not know Entry.Topics gives the entry to nobody. Whoever reads by
// topic finds the entries of several topics under this one.
const SeveralTopics = "ssegin.several"

// Bounds are what a log holds.
type Bounds struct {
	Epoch string
	First uint64 // position of the oldest entry; Last+1 when there is none
	Last  uint64 // position of the newest entry that there ever was in this life; one below the start before the first

	// LastTime is the Time of the entry at Last, also when that has left; it is
	// zero before the first entry of this life. By it the hub tells an empty log
	// that stayed as it was from one that was rolled back, filled again up to the
	// same position, and emptied. An engine that does not know it any more
	// returns zero, and the hub's streams are told of a gap that may be none.
	LastTime time.Time
}

// A Receipt says where an entry lies.
type Receipt struct {
	Position uint64
	Epoch    string // of the life of the log in which it lies
}

// A ConflictError is what AppendIf returns when its condition does not hold.
// Nothing was appended, and trying again as it was will not help.
type ConflictError struct {
	// Newest is the newest entry of the topic, with position 0 if the log holds
	// none, in the log's present life. To be the next it can be given to
	// AppendIf as it is.
	Newest Receipt
}

// Error says where the newest entry is.
func (e *ConflictError) Error() string {
	if e.Newest.Position == 0 {
		return "the log holds no entry of the topic"
	}
	return fmt.Sprintf("the newest entry of the topic is at position %d", e.Newest.Position)
}

// A TopicReader reads by topic. A Log has it if its engine finds the entries of a
// topic without going through those of all others.
type TopicReader interface {
	// ReadTopic gives the entries of that topic after one position and up to
	// another, in order, as Read does; if last is above 0, no more than that
	// many, the newest of them. It asks the engine in pieces of bounded size, and
	// with last it keeps up to that many entries until it gives them. It ends
	// after the first error.
	//
	// What it gives was in the log, at these positions, and nothing that was
	// acknowledged before the call is left out, unless it has left at the front
	// or was deleted. But positions between are those of other topics, so that
	// it cannot vouch that nothing was deleted in the middle, nor that the log is
	// still the one that the positions are of: a hole in one topic shows only to
	// those who read all of them. Whoever must not miss one compares with what
	// Read or Follow has given, or asks for Bounds before and after: nothing has
	// left while the oldest entry is not after the first position.
	ReadTopic(ctx context.Context, topic string, after, until uint64, last int) iter.Seq2[Entry, error]
}

// ErrRefused is wrapped by errors of Append that no retry can mend: the entry
// is larger than the engine takes, the credentials do not allow it.
var ErrRefused = errors.New("the log refuses the entry")
