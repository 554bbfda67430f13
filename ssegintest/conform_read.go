package ssegintest

import (
	"context"
	"math"

	"github.com/ssegin/ssegin/eventlog"
)

var readCases = []logCase{
	{name: "Read gives exactly what is between two positions", check: readRanges},
	{name: "Read stops when its consumer does", check: readStops},
	{name: "Read with a context that has ended", check: readCancelled},
	{name: "Read with a context that ends on the way", check: readCutOff},
}

func readRanges(ctx context.Context, s *trial) error {
	start, err := s.bounds(ctx, s.log)
	if err != nil {
		return err
	}
	if got, err := s.read(ctx, s.log, 0, math.MaxUint64); err != nil || len(got) > 0 {
		return broke(ruleRead, "Read of the empty log gave positions %s and the error %v", positions(got), err)
	}
	entries, err := s.fill(ctx, 6)
	if err != nil {
		return err
	}
	first, last := start.Last+1, start.Last+6
	marks := []uint64{0, first - 1, first, first + 1, last - 1, last, last + 1, last + 1000, math.MaxUint64}
	for _, after := range marks {
		for _, until := range marks {
			var want []eventlog.Entry
			for _, e := range entries {
				if e.Position > after && e.Position <= until {
					want = append(want, e)
				}
			}
			got, err := s.read(ctx, s.other, after, until)
			if err != nil {
				return broke(ruleRead, "Read after %d until %d, in a log of %d to %d, returned %v", after, until, first, last, err)
			}
			if err := compare(ruleRead, "Read", want, got); err != nil {
				return broke(ruleRead, "Read after %d until %d, in a log of %d to %d: %v", after, until, first, last, err)
			}
		}
	}
	return nil
}

func readStops(ctx context.Context, s *trial) error {
	entries, err := s.fill(ctx, 6)
	if err != nil {
		return err
	}
	after := entries[0].Position - 1
	for stop := 1; stop <= 6; stop++ {
		taken, err := guard(ctx, "Read", ruleRead, func() (taken int, err error) {
			// Not by range, which panics when it is called once more.
			s.log.Read(ctx, after, after+6)(func(_ eventlog.Entry, failed error) bool {
				taken++
				err = failed
				return taken < stop
			})
			return taken, err
		})
		if err != nil {
			return err
		}
		if taken != stop {
			return broke(ruleRead, "the consumer of Read has stopped after %d of 6 entries, and was given %d", stop, taken)
		}
	}
	got, err := s.read(ctx, s.log, after, after+6)
	if err != nil {
		return err
	}
	return compare(ruleRead, "Read after others were stopped", entries, got)
}

func readCancelled(ctx context.Context, s *trial) error {
	entries, err := s.fill(ctx, 3)
	if err != nil {
		return err
	}
	over, cancel := context.WithCancelCause(ctx)
	cancel(errStopped)
	got, err := s.read(over, s.log, entries[0].Position-1, entries[2].Position)
	if err == nil || !stopped(err) {
		return broke(ruleErrors, "the context had ended with the cause %q, Read gave positions %s and the error %v", errStopped, positions(got), err)
	}
	return nil
}

// readCutOff ends the context after the first entry. What Read has at hand it
// may give, but it must not end as if that were all.
func readCutOff(ctx context.Context, s *trial) error {
	const n = 300
	start, err := s.bounds(ctx, s.log)
	if err != nil {
		return err
	}
	if err := s.fillAtOnce(ctx, 10, n/10); err != nil {
		return err
	}
	cut, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	count, err := guard(cut, "Read", ruleRead, func() (count int, err error) {
		for _, err := range s.log.Read(cut, start.Last, start.Last+n) {
			if err != nil {
				return count, err
			}
			count++
			cancel(errStopped)
		}
		return count, nil
	})
	switch {
	case err == nil && count != n:
		return broke(ruleRead, "the context ended while Read gave the first of %d entries, and it ended after %d without an error", n, count)
	case err != nil && !stopped(err):
		return broke(ruleErrors, "the context ended with the cause %q, Read with the error %v", errStopped, err)
	}
	return nil
}
