package ssegintest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/ssegin/ssegin/eventlog"
)

// What a Log's methods return after a fault. Tests see them through errors.Is.
var (
	// ErrAway is what Away(nil) makes every method return.
	ErrAway = errors.New("ssegintest: the log is away")

	// ErrDropped is wrapped by what Follow returns after Drop, Renew and
	// Rollback, and when the log says nothing for 5 seconds after Hang.
	ErrDropped = errors.New("ssegintest: the follower was dropped")

	errAnswerLost = errors.New("ssegintest: the answer was lost")
)

// patience is how long a follower waits for a log that hangs.
const patience = 5 * time.Second

// Away makes every method return err, or ErrAway when that is nil, and drops
// the followers with it, until Back: the engine is out of reach.
func (l *Log) Away(err error) {
	if err == nil {
		err = ErrAway
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.away, l.hung = err, false
	l.dropLocked(err)
}

// Hang makes every method wait until Back or until its context ends: the
// engine accepts requests and says nothing. Followers are dropped after 5
// seconds.
func (l *Log) Hang() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.away, l.hung = nil, true
	l.wakeLocked()
}

// Back ends Away and Hang. What has waited goes on.
func (l *Log) Back() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.away, l.hung = nil, false
	l.wakeLocked()
}

// Drop drops the followers, as when the connection is lost for a moment.
func (l *Log) Drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dropLocked(fmt.Errorf("%w: the connection was lost", ErrDropped))
}

// LoseAnswers makes the next n calls of Append return an error, although the
// entry is kept.
func (l *Log) LoseAnswers(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.losing = n
}

// Renew makes the log anew, as when somebody deletes it in the engine: it has
// another epoch, is empty, counts from its first position again, and has
// forgotten all message IDs. Followers are dropped.
func (l *Log) Renew() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.beginLocked()
	l.dropLocked(fmt.Errorf("%w: the log was made anew", ErrDropped))
}

// Rollback takes back the newest n positions, and the memory of their message
// IDs, as the restore of a backup does: the epoch stays, and the positions are
// given again. It stops at the oldest entry that is still there. Followers are
// dropped.
func (l *Log) Rollback(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	floor := l.firstLocked() - 1
	if back := min(uint64(max(n, 0)), l.last-floor); back > 0 {
		l.last -= back
		l.entries = slices.Clip(l.entries[:l.indexLocked(l.last)])
		l.lastTime = time.Time{} // not known, unless the entry is there
		if n := len(l.entries); n > 0 && l.entries[n-1].Position == l.last {
			l.lastTime = l.entries[n-1].Time
		}
	}
	l.recent = slices.DeleteFunc(l.recent, func(m message) bool {
		lost := m.position > l.last
		if lost {
			delete(l.ids, m.id)
		}
		return lost
	})
	l.dropLocked(fmt.Errorf("%w: the log was rolled back", ErrDropped))
}

// Trim makes the n oldest entries leave, as a limit does. When n is greater
// than their number all leave.
func (l *Log) Trim(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trimLocked(n)
}

// Purge makes all entries leave.
func (l *Log) Purge() { l.Trim(math.MaxInt) }

// Delete takes out the entry at that position, if it is there: a hole, unless
// it is the oldest.
func (l *Log) Delete(position uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = slices.DeleteFunc(l.entries, func(e eventlog.Entry) bool { return e.Position == position })
}

// LogRequests counts what was asked of a Log, with an answer or without.
type LogRequests struct {
	Appends int
	Follows int
	Reads   int // pieces of up to 256 entries
	Bounds  int
}

// Total returns how many requests there were.
func (r LogRequests) Total() int { return r.Appends + r.Follows + r.Reads + r.Bounds }

// Requests returns what was asked of the log since it was made.
func (l *Log) Requests() LogRequests {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.requests
}

// dropLocked ends all that follow now.
func (l *Log) dropLocked(err error) {
	l.breaks++
	l.broken = err
	l.wakeLocked()
}

// await waits for a change, and gives up when the log hangs for too long.
func (l *Log) await(ctx context.Context, changed <-chan struct{}) error {
	var late <-chan time.Time // never, when the log does not hang
	l.mu.Lock()
	if l.hung {
		late = time.After(patience)
	}
	l.mu.Unlock()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-changed:
		return nil
	case <-late:
		return fmt.Errorf("%w: the log has said nothing for %v", ErrDropped, patience)
	}
}
