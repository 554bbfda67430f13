package ssegintest

import (
	"context"

	"github.com/ssegin/ssegin/eventlog"
)

var boundsCases = []logCase{
	{name: "Bounds makes the log once", check: boundsMakes},
	{name: "Bounds says what there is", check: boundsFollow},
	{name: "Bounds with a context that has ended", check: boundsCancelled},
}

// boundsMakes asks for the bounds of a log that perhaps does not exist yet, at
// once from two processes.
func boundsMakes(ctx context.Context, s *trial) error {
	var got [12]eventlog.Bounds
	if err := parallel(len(got), func(i int) (err error) {
		got[i], err = s.bounds(ctx, []eventlog.Log{s.log, s.other}[i%2])
		return err
	}); err != nil {
		return err
	}
	for _, b := range got {
		if b != got[0] {
			return broke(ruleMade, "Bounds, asked for many times at once, returned %+v and %+v", got[0], b)
		}
	}
	if got[0].First != got[0].Last+1 {
		return broke(ruleOld, "Bounds of the empty log returned %+v", got[0])
	}
	if !got[0].LastTime.IsZero() {
		return broke(ruleNewTime, "Bounds of the empty log returned %+v", got[0])
	}
	return nil
}

func boundsFollow(ctx context.Context, s *trial) error {
	start, err := s.bounds(ctx, s.log)
	if err != nil {
		return err
	}
	for i := range uint64(8) {
		last := start.Last + i
		for _, log := range []eventlog.Log{s.log, s.other} {
			b, err := s.bounds(ctx, log)
			switch {
			case err != nil:
				return err
			case b.Epoch != start.Epoch:
				return broke(ruleEpoch, "Bounds returned the epoch %q at first, and then %q", start.Epoch, b.Epoch)
			case b.Last != last:
				return broke(ruleBounds, "Bounds returned the last position %d after Append had returned %d", b.Last, last)
			case b.First != start.First:
				return broke(ruleOld, "Bounds returned the first position %d, and it is %d", b.First, start.First)
			}
		}
		if _, err := s.append(ctx, []eventlog.Log{s.log, s.other}[i%2], s.entry()); err != nil {
			return err
		}
	}
	return nil
}

func boundsCancelled(ctx context.Context, s *trial) error {
	over, cancel := context.WithCancelCause(ctx)
	cancel(errStopped)
	if b, err := s.bounds(over, s.log); err == nil || !stopped(err) {
		return broke(ruleErrors, "the context had ended with the cause %q, Bounds returned %+v and %v", errStopped, b, err)
	}
	return nil
}
