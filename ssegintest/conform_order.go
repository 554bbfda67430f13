package ssegintest

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync/atomic"

	"github.com/ssegin/ssegin/eventlog"
)

var orderCases = []logCase{
	{name: "Append from many goroutines", check: appendMany},
	{name: "Follow again and again while entries are appended", check: followAgain},
}

// appendMany appends from many goroutines of two processes, enough that no
// engine gives it back in one piece, while two followers look on.
func appendMany(ctx context.Context, s *trial) error {
	const goroutines, each = 24, 50
	start, err := s.bounds(ctx, s.log)
	if err != nil {
		return err
	}
	here, there := s.follow(ctx, s.log, start.Last), s.follow(ctx, s.other, start.Last)
	kept := make([]eventlog.Entry, goroutines*each)
	if err := parallel(goroutines, func(g int) (err error) {
		for i := range each {
			at := g*each + i
			if kept[at], err = s.append(ctx, []eventlog.Log{s.log, s.other}[g%2], s.entry()); err != nil {
				return err
			}
			if i > 0 && kept[at].Position <= kept[at-1].Position {
				return broke(ruleAppend, "one goroutine was given position %d after %d", kept[at].Position, kept[at-1].Position)
			}
		}
		return nil
	}); err != nil {
		return err
	}
	slices.SortFunc(kept, func(a, b eventlog.Entry) int { return cmp.Compare(a.Position, b.Position) })
	if end := start.Last + goroutines*each; kept[0].Position != start.Last+1 || kept[len(kept)-1].Position != end {
		return broke(ruleCount, "%d appends to the empty log returned the positions %s", len(kept), positions(kept))
	}
	return s.compareReaders(ctx, start.Last, kept, here, there)
}

// compareReaders checks that all readers see the same.
func (s *trial) compareReaders(ctx context.Context, after uint64, want []eventlog.Entry, tails ...*tail) error {
	read, err := s.read(ctx, s.log, after, after+uint64(len(want)))
	if err != nil {
		return err
	}
	if err := compare(ruleSame, "Read", want, read); err != nil {
		return err
	}
	for _, f := range tails {
		got, err := f.wait(len(want), prompt)
		if err != nil {
			return err
		}
		if err := compare(ruleSame, "Follow", want, got); err != nil {
			return err
		}
		if err := compareTimes("by Read and by Follow", read, got); err != nil {
			return err
		}
	}
	return nil
}

func compareTimes(what string, a, b []eventlog.Entry) error {
	for i := range a {
		if !a[i].Time.Equal(b[i].Time) {
			return broke(ruleTime, "the entry at position %d has the times %v and %v, %s", a[i].Position, a[i].Time, b[i].Time, what)
		}
	}
	return nil
}

// followAgain takes the log up again and again where it was left, as a hub
// does: by an error of deliver, or by the end of the context.
func followAgain(ctx context.Context, s *trial) error {
	const goroutines, each = 4, 40
	start, err := s.bounds(ctx, s.log)
	if err != nil {
		return err
	}
	appended := make(chan error, 1)
	go func() { appended <- s.fillAtOnce(ctx, goroutines, each) }()
	enough := errors.New("enough for now")
	var got []eventlog.Entry
	for round := 0; len(got) < goroutines*each; round++ {
		after := start.Last + uint64(len(got))
		var taken atomic.Int32
		limit := int32(min(1+round%7, goroutines*each-len(got)))
		var f *tail
		ready := make(chan struct{})
		f = s.followWith(ctx, s.log, after, func(eventlog.Entry) error {
			<-ready
			switch n := taken.Add(1); {
			case n < limit:
			case round%2 == 0:
				return enough
			default:
				f.cancel(errStopped)
			}
			return nil
		})
		close(ready)
		if _, err := f.ends(); err != nil {
			return err
		}
		got = append(got, f.seen()...)
		for i, e := range got {
			if want := start.Last + 1 + uint64(i); e.Position != want {
				return broke(ruleFollow, "Follow after position %d, while others append: position %d came where %d was next", after, e.Position, want)
			}
		}
	}
	if err := <-appended; err != nil {
		return err
	}
	read, err := s.read(ctx, s.log, start.Last, start.Last+goroutines*each)
	if err != nil {
		return err
	}
	return compare(ruleSame, "Follow in pieces, and Read in one", read, got)
}

// fillAtOnce appends each entries from each of so many goroutines.
func (s *trial) fillAtOnce(ctx context.Context, goroutines, each int) error {
	return parallel(goroutines, func(int) error {
		for range each {
			if _, err := s.append(ctx, s.log, s.entry()); err != nil {
				return err
			}
		}
		return nil
	})
}
