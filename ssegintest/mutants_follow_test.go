package ssegintest_test

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"math"
	"sync"
	"time"

	"github.com/ssegin/ssegin/eventlog"
	"github.com/ssegin/ssegin/ssegintest"
)

// deliver is what Follow calls.
type deliver = func(eventlog.Entry) error

var followMutants = []mutation{
	{"Follow delivers now and then twice", "Follow delivers exactly", "every entry after that position, in order", delivered(func(deliver deliver) deliver {
		return func(e eventlog.Entry) error {
			if e.Position%3 == 0 {
				_ = deliver(e)
			}
			return deliver(e)
		}
	})},
	{"Follow exchanges two entries", "Follow delivers exactly", "every entry after that position, in order", delivered(func(deliver deliver) deliver {
		var held *eventlog.Entry
		return func(e eventlog.Entry) error {
			if held == nil && e.Position%4 == 0 {
				held = &e
				return nil
			}
			err := deliver(e)
			if held != nil && err == nil {
				e, held = *held, nil
				err = deliver(e)
			}
			return err
		}
	})},
	{"Follow loses an entry", "Follow delivers exactly", "every entry after that position", delivered(func(deliver deliver) deliver {
		return func(e eventlog.Entry) error {
			if e.Position%5 == 0 {
				return nil
			}
			return deliver(e)
		}
	})},
	{"Follow begins with the position itself", "Follow delivers exactly", "every entry after that position", follows(func(m *mutant, ctx context.Context, after uint64, deliver deliver) error {
		return m.Log.Follow(ctx, max(after, 1)-1, deliver)
	})},
	{"Follow begins with what is new", "Follow delivers exactly", "first those that are there", follows(func(m *mutant, ctx context.Context, _ uint64, deliver deliver) error {
		b, _ := m.Log.Bounds(ctx)
		return m.Log.Follow(ctx, b.Last, deliver)
	})},
	{"Follow ends at the head", "Follow delivers new", "each new one soon after it was appended", follows(func(m *mutant, ctx context.Context, after uint64, deliver deliver) error {
		b, _ := m.Log.Bounds(ctx)
		for e, err := range m.Log.Read(ctx, after, b.Last) {
			if err := errors.Join(err, deliver(e)); err != nil {
				return err
			}
		}
		<-ctx.Done()
		return context.Cause(ctx)
	})},
	{"Follow is late", "Follow delivers new", "soon after it was appended", delivered(func(deliver deliver) deliver {
		return func(e eventlog.Entry) error { time.Sleep(3 * time.Second); return deliver(e) }
	})},
	{"Follow waits at a future position", "Follow after a position", "cannot vouch", follows(func(m *mutant, ctx context.Context, after uint64, deliver deliver) error {
		if b, err := m.Log.Bounds(ctx); err == nil && after > b.Last {
			<-ctx.Done()
			return context.Cause(ctx)
		}
		return m.Log.Follow(ctx, after, deliver)
	})},
	{"Follow moves a future position to the end", "Follow after a position", "cannot vouch", follows(func(m *mutant, ctx context.Context, after uint64, deliver deliver) error {
		b, _ := m.Log.Bounds(ctx)
		return m.Log.Follow(ctx, min(after, b.Last), deliver)
	})},
	{"Follow returns an error when the oldest have left", "the oldest entries have left", "begins with the oldest there is", follows(func(m *mutant, ctx context.Context, after uint64, deliver deliver) error {
		if b, err := m.Log.Bounds(ctx); err == nil && after != 0 && after+1 < b.First {
			return errors.New("these entries have left")
		}
		return m.Log.Follow(ctx, after, deliver)
	})},
	{"Follow goes on by itself over a lost connection", "the connection was lost", "cannot vouch", goesOn},
	{"Follow goes on by itself in a new life", "the log was made anew", "cannot vouch", goesOn},
	{"Follow goes on by itself over a backup", "the log was rolled back", "cannot vouch", goesOn},
	{"Follow notices a new life an entry late", "the log was made anew", "cannot vouch", noticesLate},
	{"Follow notices a backup an entry late", "the log was rolled back", "cannot vouch", noticesLate},
	{"Follow begins anew by itself", "the log was rolled back", "cannot vouch", follows(func(m *mutant, ctx context.Context, after uint64, deliver deliver) error {
		for {
			err := m.Log.Follow(ctx, after, deliver)
			if !errors.Is(err, ssegintest.ErrDropped) {
				return err
			}
			b, _ := m.Log.Bounds(ctx)
			after = b.First - 1
		}
	})},
	{"Follow returns nil", "Follow ends with its context", "never nil", follows(func(m *mutant, ctx context.Context, after uint64, deliver deliver) error {
		if err := m.Log.Follow(ctx, after, deliver); ctx.Err() == nil {
			return err
		}
		return nil
	})},
	{"Follow returns the error of the context", "Follow ends with its context", "the cause of ctx", follows(func(m *mutant, ctx context.Context, after uint64, deliver deliver) error {
		if err := m.Log.Follow(ctx, after, deliver); ctx.Err() == nil {
			return err
		}
		return ctx.Err()
	})},
	{"Follow goes on after its context has ended", "Follow ends with its context", "the cause of ctx", follows(func(m *mutant, ctx context.Context, after uint64, deliver deliver) error {
		err := m.Log.Follow(ctx, after, deliver)
		time.Sleep(time.Hour)
		return err
	})},
	{"Follow delivers what it has when its context has ended", "Follow ends with its context", "until ctx ends", follows(func(m *mutant, ctx context.Context, after uint64, deliver deliver) error {
		err := m.Log.Follow(ctx, after, func(e eventlog.Entry) error { after = e.Position; return deliver(e) })
		for e, failed := range m.Log.Read(context.Background(), after, after+2) {
			_ = errors.Join(failed, deliver(e))
		}
		return err
	})},
	{"Follow swallows the error of deliver", "Follow ends with the error", "the error of deliver", delivered(func(deliver deliver) deliver {
		return func(e eventlog.Entry) error { _ = deliver(e); return nil }
	})},
	{"Follow returns another error than deliver", "Follow ends with the error", "the error of deliver", delivered(func(deliver deliver) deliver {
		return func(e eventlog.Entry) error {
			if deliver(e) != nil {
				return errors.New("deliver has failed")
			}
			return nil
		}
	})},
	{"Follow delivers one more after an error", "Follow ends with the error", "the error of deliver", delivered(func(deliver deliver) deliver {
		var failed error
		return func(e eventlog.Entry) error {
			if err := deliver(e); err != nil && failed == nil {
				failed = err
				return nil
			}
			return failed
		}
	})},
	{"Follow delivers after it has returned", "Follow ends with its context", "never after it has returned", follows(func(m *mutant, ctx context.Context, after uint64, deliver deliver) error {
		err := m.Log.Follow(ctx, after, deliver)
		time.AfterFunc(time.Millisecond, func() { _ = deliver(eventlog.Entry{Position: math.MaxInt64}) })
		return err
	})},
	{"Follow delivers at once", "Follow calls deliver one", "from one goroutine at a time", func(m *mutant) eventlog.Log {
		m.follow = func(ctx context.Context, after uint64, deliver deliver) error {
			var wg sync.WaitGroup
			defer wg.Wait()
			return m.Log.Follow(ctx, after, func(e eventlog.Entry) error { wg.Go(func() { _ = deliver(e) }); return nil })
		}
		return m
	}},
	{"Follow uses one buffer", "Follow leaves the data", "does not use e.Data again", delivered(func(deliver deliver) deliver {
		buffer := make([]byte, 0, 1<<20)
		return func(e eventlog.Entry) error {
			if e.Data != nil && len(e.Data) < 100 {
				e.Data = append(buffer[:0], e.Data...)
			}
			return deliver(e)
		}
	})},
	{"readers share the data", "Follow leaves the data", "does not use e.Data again", func(m *mutant) eventlog.Log {
		sharing(m)
		share := m.append
		m.append = func(ctx context.Context, e eventlog.Entry) (eventlog.Receipt, error) {
			e.Data = bytes.Clone(e.Data)
			return share(ctx, e)
		}
		return m
	}},
}

var readMutants = []mutation{
	{"Read begins with the position itself", "Read gives exactly", "after one position and up to another", reads(func(m *mutant, ctx context.Context, after, until uint64) iter.Seq2[eventlog.Entry, error] {
		return m.Log.Read(ctx, max(after, 1)-1, until)
	})},
	{"Read leaves out the last position", "Read gives exactly", "after one position and up to another", reads(func(m *mutant, ctx context.Context, after, until uint64) iter.Seq2[eventlog.Entry, error] {
		return m.Log.Read(ctx, after, max(until, 1)-1)
	})},
	{"Read gives one piece", "Append from many", "the same entries", reads(func(m *mutant, ctx context.Context, after, until uint64) iter.Seq2[eventlog.Entry, error] {
		b, _ := m.Log.Bounds(ctx)
		return m.Log.Read(ctx, after, min(until, max(after, b.First)+500))
	})},
	{"Read waits for what is not there yet", "Read gives exactly", "as far as they are still there", reads(func(m *mutant, ctx context.Context, after, until uint64) iter.Seq2[eventlog.Entry, error] {
		return func(yield func(eventlog.Entry, error) bool) {
			for e, err := range m.Log.Read(ctx, after, until) {
				if !yield(e, err) {
					return
				}
			}
			if b, err := m.Log.Bounds(ctx); err == nil && until > b.Last {
				time.Sleep(time.Hour)
			}
		}
	})},
	{"Read goes on when its consumer has stopped", "Read stops", "after one position and up to another", reads(func(m *mutant, ctx context.Context, after, until uint64) iter.Seq2[eventlog.Entry, error] {
		return func(yield func(eventlog.Entry, error) bool) {
			for e, err := range m.Log.Read(ctx, after, until) {
				yield(e, err)
			}
		}
	})},
	{"Read goes on after an error", "Read with a context that has ended", "ends after the first error", reads(func(m *mutant, ctx context.Context, after, until uint64) iter.Seq2[eventlog.Entry, error] {
		return func(yield func(eventlog.Entry, error) bool) {
			for e, err := range m.Log.Read(ctx, after, until) {
				if !yield(e, err) || err != nil && !yield(e, err) {
					return
				}
			}
		}
	})},
	{"Read ends without a word when its context does", "Read with a context that ends on the way", "after one position and up to another", reads(func(m *mutant, ctx context.Context, after, until uint64) iter.Seq2[eventlog.Entry, error] {
		return func(yield func(eventlog.Entry, error) bool) {
			for e, err := range m.Log.Read(context.WithoutCancel(ctx), after, until) {
				if ctx.Err() != nil && e.Position%256 == 0 || !yield(e, err) {
					return
				}
			}
		}
	})},
	{"Read fails where nothing is", "Read gives exactly", "as far as they are still there", reads(func(m *mutant, ctx context.Context, after, until uint64) iter.Seq2[eventlog.Entry, error] {
		if b, _ := m.Log.Bounds(ctx); after >= b.Last {
			return func(yield func(eventlog.Entry, error) bool) { yield(eventlog.Entry{}, errors.New("no entries")) }
		}
		return m.Log.Read(ctx, after, until)
	})},
	{"Read gives as many as were asked for", "the oldest entries have left", "what has left at the front is left out", reads(func(m *mutant, ctx context.Context, after, until uint64) iter.Seq2[eventlog.Entry, error] {
		if b, _ := m.Log.Bounds(ctx); after != 0 && after+1 < b.First {
			until += b.First - after - 1
		}
		return m.Log.Read(ctx, after, until)
	})},
	{"Read ends at a hole", "an entry was deleted", "missing in the middle", reads(func(m *mutant, ctx context.Context, after, until uint64) iter.Seq2[eventlog.Entry, error] {
		return func(yield func(eventlog.Entry, error) bool) {
			var last uint64
			for e, err := range m.Log.Read(ctx, after, until) {
				if last != 0 && e.Position > last+1 || !yield(e, err) {
					return
				}
				last = e.Position
			}
		}
	})},
}

// goesOn takes the log up again a second after it was dropped, as clients of
// engines do by themselves.
var goesOn = follows(func(m *mutant, ctx context.Context, after uint64, deliver deliver) error {
	for {
		err := m.Log.Follow(ctx, after, func(e eventlog.Entry) error { after = e.Position; return deliver(e) })
		if !errors.Is(err, ssegintest.ErrDropped) {
			return err
		}
		time.Sleep(time.Second)
	}
})

// noticesLate delivers one entry more before it returns why it cannot.
var noticesLate = follows(func(m *mutant, ctx context.Context, after uint64, deliver deliver) error {
	err := m.Log.Follow(ctx, after, deliver)
	if !errors.Is(err, ssegintest.ErrDropped) {
		return err
	}
	time.Sleep(time.Second)
	b, _ := m.Log.Bounds(ctx)
	return m.Log.Follow(ctx, b.Last-1, func(e eventlog.Entry) error { _ = deliver(e); return err })
})

func delivered(deliverer func(deliver) deliver) func(*mutant) eventlog.Log {
	return func(m *mutant) eventlog.Log { return m.delivering(deliverer) }
}

func follows(follow func(*mutant, context.Context, uint64, deliver) error) func(*mutant) eventlog.Log {
	return func(m *mutant) eventlog.Log {
		m.follow = func(ctx context.Context, after uint64, deliver deliver) error { return follow(m, ctx, after, deliver) }
		return m
	}
}

func reads(read func(m *mutant, ctx context.Context, after, until uint64) iter.Seq2[eventlog.Entry, error]) func(*mutant) eventlog.Log {
	return func(m *mutant) eventlog.Log {
		m.read = func(ctx context.Context, after, until uint64) iter.Seq2[eventlog.Entry, error] {
			return read(m, ctx, after, until)
		}
		return m
	}
}
