// Package pages reads a log for all who are behind in it, page by page, so that
// what is read depends on how long the log is, and hardly on how many they are or
// where each of them stands. It knows nothing of what is in a page.
//
// Who waits for a page is a Waiter, which needs no goroutine. One whose place is still to be proved gets its
// page in turn; all others move together, in sweeps from the oldest wanted
// position upwards: a page that was read serves everybody in it, those for whom it
// has nothing are carried over it without being woken. A sweep that has just begun
// goes back to whoever comes below it, because a crowd does not come in one moment;
// who comes later waits for the next sweep, or finds the page among those that are
// kept.
package pages

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// ErrStopped is what waiters get from a Reader that was stopped.
var ErrStopped = errors.New("pages: the reader was stopped")

// A Source is a log whose pages hold a P.
type Source[P any] interface {
	// Read returns the page that begins at that position, and goes no further than
	// until.
	Read(ctx context.Context, begin, until uint64) (Page[P], error)

	// Extent is how many positions a page is to have, of entries like those that were
	// read last. Where it is not known where pages begin, those with as many as
	// Limits.Extent begin at a multiple of that, which all who are near to each other
	// have in common; one of large entries, with fewer, begins where it is wanted.
	Extent() uint64
}

// A Page is what was read.
type Page[P any] struct {
	Content P
	Bytes   int      // that the content takes
	End     uint64   // the page answers for the positions from its beginning to here, without this one; see Reader.Ask
	Trace   []uint32 // of those positions: what is kept of the page when its content has left
}

// Limits are what a Reader may use. All of them must be positive.
type Limits struct {
	Bytes  int           // of the pages that are kept
	Trace  int           // positions of which a trace is kept
	Pages  int           // pages of which a trace is kept
	First  int           // reads at a time for those whose place is to be proved; a sweep has one more
	Extent uint64        // positions of a page
	Time   time.Duration // that a read may take
	Linger time.Duration // that a read may go on when nobody waits for it any more: it leaves its trace
	Gather time.Duration // that a sweep waits at the most, before it begins, for those whose place is still to be proved
	Rest   time.Duration // that a sweep waits at the most, because the one before it took as long
	Idle   time.Duration // that pages are kept when nobody needs them
}

// A Reader reads the pages of a log. Its methods may be called from any goroutine.
type Reader[P any] struct {
	source Source[P]
	limits Limits
	ctx    context.Context
	stop   context.CancelFunc // ends the reads that go on

	running sync.WaitGroup

	mu      sync.Mutex // what Source.Extent takes may be taken under it
	known   shelf[P]
	waiting queue[P]
	reads   []*reading
	sweep   uint64 // where it is
	stopped bool

	back      time.Time     // until then the sweep goes back to whoever comes below it
	busy      time.Duration // that this sweep has read
	ended     time.Time     // when it has read its last page
	gathering uint64        // the serial of the last one that the next sweep waits for; zero: there is no sweep to begin
	gathered  *time.Timer
	used      uint64 // the clock of known at the last look for what is idle
	idle      *time.Timer
}

// A reading is a page that is being read.
type reading struct {
	begin, until uint64
	sweeps       bool
	began        time.Time
	cancel       context.CancelFunc
	watched      bool // somebody looks whether it is still waited for
	dropped      bool
}

func (r *reading) covers(position uint64) bool {
	return r.begin <= position && position < r.until && !r.dropped
}

// A ReadError says why a page was not read.
type ReadError struct{ Err error }

func (e *ReadError) Error() string { return "page not read: " + e.Err.Error() }

// Unwrap returns the error of the read.
func (e *ReadError) Unwrap() error { return e.Err }

// New returns a Reader of that source. Stop or Close ends it.
func New[P any](limits Limits, source Source[P]) *Reader[P] {
	r := &Reader[P]{source: source, limits: limits, waiting: queue[P]{lanes: map[string]*lane{}}}
	r.ctx, r.stop = context.WithCancel(context.Background())
	return r
}

// Trace returns what is known of that position without reading anything.
func (r *Reader[P]) Trace(position uint64) (trace uint32, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.known.trace(position)
}

// Ask returns the page that answers for the position of w. The page may be one for a
// later position, to which w was carried. What it says may also be that nothing
// follows. A page that could not be read is a *ReadError, and the next one who asks for
// it tries again.
//
// If the page is not there, w waits for it from now on: its Ready is called when there
// is an answer, and then it is to ask again. Until that w is the Reader's, unless it
// leaves. Asking earlier does no harm.
func (r *Reader[P]) Ask(w *Waiter[P]) (content P, ready bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if w.state == idle {
		r.askLocked(w)
	}
	if w.state == waiting {
		return content, false, nil
	}
	content, err = w.take()
	return content, true, err
}

// askLocked answers w, or lets it wait.
func (r *Reader[P]) askLocked(w *Waiter[P]) {
	var none P
	if w.exact = false; r.stopped {
		w.answer(none, ErrStopped)
		return
	}
	if p := r.passLocked(w); p != nil {
		w.answer(p.content, nil)
		return
	}
	w.state = waiting
	r.waiting.add(w)
	if !r.coveredLocked(w) {
		r.scheduleLocked()
	}
}

// passLocked carries w over the pages that are kept and have nothing for it. It
// returns the one that has, or nil if it is not kept.
func (r *Reader[P]) passLocked(w *Waiter[P]) *page[P] {
	for {
		p := r.known.kept(w.Position)
		if p == nil || w.Passes == nil || !w.Passes(p.content) {
			return p
		}
		w.Position = p.end
	}
}

// Leave lets w wait no more, and forgets its answer. A read that nobody waits for any
// more is dropped, after a moment.
func (r *Reader[P]) Leave(w *Waiter[P]) {
	r.mu.Lock()
	defer r.mu.Unlock()
	waited := w.state == waiting
	_, _ = w.take()
	if !waited {
		return
	}
	r.waiting.remove(w)
	for _, read := range r.reads {
		if read.covers(w.Position) {
			r.watchLocked(read)
		}
	}
	if r.gathering > 0 {
		r.scheduleLocked()
	}
}

// watchLocked drops the read in a moment if nobody waits for it then.
func (r *Reader[P]) watchLocked(read *reading) {
	if read.watched || r.waiting.wants(read.begin, read.until) {
		return
	}
	read.watched = true
	time.AfterFunc(r.limits.Linger, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if read.watched = false; !r.waiting.wants(read.begin, read.until) {
			read.dropped = true
			read.cancel()
		}
	})
}

// scheduleLocked begins the reads that are due.
func (r *Reader[P]) scheduleLocked() {
	first, sweeping := 0, false
	for _, read := range r.reads {
		if read.sweeps {
			sweeping = true
		} else {
			first++
		}
	}
	for first < r.limits.First {
		w := r.waiting.first(r.coveredLocked)
		if w == nil {
			break
		}
		// These reads go up before the sweep, which finds their pages, and comes after those
		// whose place they have proved. But who has waited for a while is not passed over any
		// more: any number of clients can claim places, and a place that is always next.
		if time.Since(w.since) < passedOver {
			w = r.waiting.instead(w, r.sweep, r.coveredLocked)
		}
		r.readLocked(w, false)
		first++
	}
	if sweeping {
		return
	}
	from := r.sweep
	if time.Now().Before(r.back) {
		from = 0 // what was read already is mostly kept
	}
	w := r.waiting.next(from, r.coveredLocked)
	if w == nil {
		if w = r.waiting.next(0, r.coveredLocked); w == nil {
			r.busy = 0 // nobody waits, so it rests already
			return
		}
		if !r.gatheredLocked() {
			return
		}
	} else if r.busy == 0 {
		r.back = time.Now().Add(youngSweep)
	}
	r.readLocked(w, true)
}

// gatheredLocked reports whether a new sweep may begin. Whoever had come when the last
// one ended is to move with it; and if that one took long, it waits as long, so that
// those who keep coming are served by a few sweeps, and slow ones do not keep the
// engine busy. One that begins without a rest may be that of a crowd, the most of which
// is still to come: whoever it leaves behind would cost another sweep, so it leaves
// nobody behind in its first moments. Those that follow have been waited for.
func (r *Reader[P]) gatheredLocked() bool {
	rest := min(r.busy, r.limits.Rest) - time.Since(r.ended)
	if r.busy < shortSweep {
		rest = 0
	}
	if r.gathering == 0 {
		r.gathering = r.waiting.serial
		r.gathered = time.AfterFunc(max(r.limits.Gather, rest), func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.gathered = nil; !r.stopped {
				r.scheduleLocked()
			}
		})
		if rest > 0 {
			time.AfterFunc(rest, func() {
				r.mu.Lock()
				defer r.mu.Unlock()
				if !r.stopped {
					r.scheduleLocked()
				}
			})
		}
	}
	if r.gathered != nil && (rest > 0 || r.waiting.proving(r.gathering)) {
		return false
	}
	if r.busy < shortSweep {
		r.back = time.Now().Add(youngSweep)
	}
	r.gathering, r.busy = 0, 0
	if r.gathered != nil {
		r.gathered.Stop()
		r.gathered = nil
	}
	return true
}

const (
	shortSweep = 100 * time.Millisecond // that a sweep may take without a rest after it
	youngSweep = time.Second            // that a sweep goes back to whoever comes below it
	passedOver = time.Second            // that others may go before one who is First, although it is its turn
)

// coveredLocked reports whether a page with that position is being read.
func (r *Reader[P]) coveredLocked(w *Waiter[P]) bool {
	return slices.ContainsFunc(r.reads, func(read *reading) bool { return read.covers(w.Position) })
}

// readLocked begins to read the page for w.
func (r *Reader[P]) readLocked(w *Waiter[P], sweeps bool) {
	begin, extent := w.Position, max(1, min(r.limits.Extent, r.source.Extent()))
	if extent == r.limits.Extent && !w.exact {
		begin -= begin % extent
	}
	begin, until := r.known.extent(w.Position, begin, extent)
	ctx, cancel := context.WithTimeout(r.ctx, r.limits.Time)
	read := &reading{begin: begin, until: until, sweeps: sweeps, began: time.Now(), cancel: cancel}
	r.reads = append(r.reads, read)
	r.running.Go(func() {
		defer cancel()
		p, err := r.source.Read(ctx, begin, until)
		r.done(read, p, err)
	})
}

// done serves those who have waited for what was read.
func (r *Reader[P]) done(read *reading, p Page[P], err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reads = slices.DeleteFunc(r.reads, func(other *reading) bool { return other == read })
	if r.stopped {
		return
	}
	end := read.until
	switch {
	case err == nil:
		end = p.End
		place := r.sweep
		if r.busy == 0 {
			place = ^uint64(0) // there is none, so it comes to nothing
		}
		r.known.keep(read.begin, p, r.limits, place)
		r.tireLocked()
		r.waiting.serve(read.begin, read.until, func(w *Waiter[P]) (served bool) {
			if w.Position >= end {
				w.exact = true // it is beyond what ended this page early
				return false
			}
			found := r.passLocked(w)
			if found != nil {
				w.answer(found.content, nil)
			}
			return found != nil
		})
	case !read.dropped:
		r.waiting.serve(read.begin, read.until, func(w *Waiter[P]) (served bool) {
			var none P
			w.answer(none, &ReadError{err})
			return true
		})
	}
	if read.sweeps {
		r.sweep, r.ended = end, time.Now()
		r.busy += r.ended.Sub(read.began)
	}
	r.scheduleLocked()
}

// tireLocked lets the pages go that are kept when nobody has needed one for a while.
func (r *Reader[P]) tireLocked() {
	if r.idle != nil {
		return
	}
	r.used = r.known.clock
	r.idle = time.AfterFunc(r.limits.Idle, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.idle = nil
		if r.used == r.known.clock {
			r.known.emptyAll()
		} else if !r.stopped {
			r.tireLocked()
		}
	})
}

// Stop ends the reads that go on, and lets nobody wait any more.
func (r *Reader[P]) Stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = true
	r.stop()
	for _, timer := range []*time.Timer{r.gathered, r.idle} {
		if timer != nil {
			timer.Stop()
		}
	}
	r.known = shelf[P]{}
	r.waiting.serve(0, ^uint64(0), func(w *Waiter[P]) bool {
		var none P
		w.answer(none, ErrStopped)
		return true
	})
}

// Close is Stop, and waits for the reads until ctx ends.
func (r *Reader[P]) Close(ctx context.Context) {
	r.Stop()
	ended := make(chan struct{})
	go func() {
		r.running.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
	}
}

// Waiting returns how many wait for a page.
func (r *Reader[P]) Waiting() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.waiting.waiters)
}

// byPlace is the order of those who wait.
func byPlace[P any](a, b *Waiter[P]) int {
	return cmp.Or(cmp.Compare(a.Position, b.Position), cmp.Compare(a.serial, b.serial))
}
