package ssegintest

import (
	"context"
	"errors"
	"time"

	"github.com/ssegin/ssegin/eventlog"
)

var endingCases = []logCase{
	{name: "Follow ends with its context", check: followCancelled},
	{name: "Follow ends with the error of deliver", check: followDeliverFails},
}

func followCancelled(ctx context.Context, s *trial) error {
	entries, err := s.fill(ctx, 3)
	if err != nil {
		return err
	}
	last := entries[2].Position

	idle := s.follow(ctx, s.log, last-1)
	if _, err := idle.wait(1, prompt); err != nil {
		return err
	}
	if err := idle.stop(); err != nil {
		return err
	}

	over, cancel := context.WithCancelCause(ctx)
	cancel(errStopped)
	if err := s.follow(over, s.log, last).stop(); err != nil {
		return err
	}

	// What ends while deliver is called goes on no further.
	ends, end := context.WithCancelCause(ctx)
	busy := s.followWith(ends, s.log, last-3, func(eventlog.Entry) error { end(errStopped); return nil })
	if _, err := busy.wait(1, prompt); err != nil {
		return err
	}
	if err := busy.stop(); err != nil {
		return err
	}
	if seen := busy.seen(); len(seen) > 1 {
		return broke(ruleUntil, "the context ended during the first call of deliver, and Follow delivered positions %s", positions(seen))
	}
	return s.staysSilent(ctx, idle, busy)
}

// staysSilent checks that ended tails are delivered nothing any more, not even
// what is appended now.
func (s *trial) staysSilent(ctx context.Context, ended ...*tail) error {
	e, err := s.append(ctx, s.log, s.entry())
	if err != nil {
		return err
	}
	live := s.follow(ctx, s.log, e.Position-1)
	if _, err := live.wait(1, soon); err != nil {
		return err
	}
	time.Sleep(quiet)
	for _, f := range ended {
		if err := f.breach(); err != nil {
			return err
		}
	}
	return nil
}

func followDeliverFails(ctx context.Context, s *trial) error {
	entries, err := s.fill(ctx, 6)
	if err != nil {
		return err
	}
	fault := errors.New("the receiver cannot go on")
	second := entries[1].Position
	f := s.followWith(ctx, s.log, entries[0].Position-1, func(e eventlog.Entry) error {
		if e.Position == second {
			return fault
		}
		return nil
	})
	returned, err := f.ends()
	if err != nil {
		return err
	}
	if !errors.Is(returned, fault) {
		return broke(ruleReturn, "deliver returned %q, Follow %q", fault, returned)
	}
	if err := s.staysSilent(ctx, f); err != nil {
		return err
	}
	return compare(ruleReturn, "Follow when deliver returns an error for the second entry", entries[:2], f.seen())
}
