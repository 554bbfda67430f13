package ssegintest

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/ssegin/ssegin/eventlog"
)

// errStopped is the cause with which a case ends a Follow.
var errStopped = errors.New("the case has ended this Follow")

// A tail is one call of Follow that goes on while a case looks at what it
// delivers. It notices when deliver is called as it must not be.
type tail struct {
	cancel context.CancelCauseFunc
	answer func(eventlog.Entry) error // of deliver
	ended  chan struct{}              // closed when Follow has returned

	mu       sync.Mutex
	entries  []eventlog.Entry
	more     chan struct{} // closed at the next entry
	inside   int           // calls of deliver that have not returned
	returned bool          // Follow has
	err      error         // what it returned
	broken   error         // the first rule that was broken
}

// follow starts a tail that takes everything.
func (s *trial) follow(ctx context.Context, log eventlog.Log, after uint64) *tail {
	return s.followWith(ctx, log, after, func(eventlog.Entry) error { return nil })
}

// followWith starts a tail whose deliver returns what answer says.
func (s *trial) followWith(ctx context.Context, log eventlog.Log, after uint64, answer func(eventlog.Entry) error) *tail {
	ctx, cancel := context.WithCancelCause(ctx)
	f := &tail{cancel: cancel, answer: answer, ended: make(chan struct{}), more: make(chan struct{})}
	s.tails = append(s.tails, f)
	go func() {
		defer close(f.ended)
		err := log.Follow(ctx, after, f.deliver)
		f.mu.Lock()
		defer f.mu.Unlock()
		f.returned, f.err = true, err
		if err == nil {
			f.breakLocked(broke(ruleReturn, "Follow returned nil"))
		}
	}()
	return f
}

// deliver notes e. It looks twice whether it is alone, with a chance for others
// in between.
func (f *tail) deliver(e eventlog.Entry) error {
	f.mu.Lock()
	f.inside++
	if f.inside > 1 {
		f.breakLocked(broke(ruleOneAtATime, "deliver was called with position %d while another call had not returned", e.Position))
	}
	if f.returned {
		f.breakLocked(broke(ruleOneAtATime, "deliver was called with position %d after Follow had returned", e.Position))
	}
	f.entries = append(f.entries, e)
	close(f.more)
	f.more = make(chan struct{})
	f.mu.Unlock()

	runtime.Gosched()
	err := f.answer(e)

	f.mu.Lock()
	defer f.mu.Unlock()
	f.inside--
	return err
}

func (f *tail) breakLocked(err error) {
	if f.broken == nil {
		f.broken = err
	}
}

func (f *tail) breach() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.broken
}

func (f *tail) seen() []eventlog.Entry {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.entries)
}

// wait returns what was delivered as soon as that is n entries or more.
func (f *tail) wait(n int, limit time.Duration) ([]eventlog.Entry, error) {
	late := time.NewTimer(limit)
	defer late.Stop()
	for {
		f.mu.Lock()
		entries, more, returned, err := slices.Clone(f.entries), f.more, f.returned, f.err
		f.mu.Unlock()
		switch {
		case len(entries) >= n:
			return entries, nil
		case returned:
			return entries, broke(ruleFollow, "Follow returned %v when it had delivered %d of %d entries, positions %s",
				err, len(entries), n, positions(entries))
		}
		select {
		case <-more:
		case <-f.ended:
		case <-late.C:
			return entries, broke(ruleFollow, "within %v Follow has delivered %d of %d entries, positions %s",
				limit, len(entries), n, positions(entries))
		}
	}
}

// ends waits for Follow to return, and returns its error.
func (f *tail) ends() (returned, err error) {
	select {
	case <-f.ended:
		return f.err, f.breach()
	case <-time.After(prompt):
		return nil, broke(ruleReturn, "Follow has not returned within %v", prompt)
	}
}

// stop ends the tail, and checks that Follow says why.
func (f *tail) stop() error {
	f.cancel(errStopped)
	returned, err := f.ends()
	if err == nil && !errors.Is(returned, errStopped) {
		err = broke(ruleReturn, "the cause of ctx was %q, Follow returned %q", errStopped, returned)
	}
	return err
}

// breaks checks that Follow notices what was done to its log: that it returns
// an error of its own, and has delivered nothing but n entries.
func (f *tail) breaks(n int, what string) error {
	select {
	case <-f.ended:
	case <-time.After(notice):
		return broke(ruleVouch, "%s: Follow has returned no error within %v, and delivered positions %s", what, notice, positions(f.seen()))
	}
	if seen := f.seen(); len(seen) > n {
		return broke(ruleVouch, "%s: Follow went on to deliver positions %s", what, positions(seen[n:]))
	}
	return f.breach()
}
