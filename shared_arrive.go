package ssegin

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// enter first waits until this process can judge the last event ID, then joins c,
// and then makes sure that what the client missed can be had.
func (s *shared) enter(c *cursor, topics []string, asked uint64, lastID string) (verdict, error) {
	if err := s.arrive(c, lastID); err != nil {
		return verdict{}, err
	}
	v, err := s.timeline.join(c, topics, asked, lastID)
	if err != nil || !v.behind || s.backlog.knows(c.life, c.at) {
		return v, err
	}
	ctx, cancel := context.WithTimeoutCause(c.stream.Context(), entranceFor, ErrTooManyCatchingUp)
	defer cancel()
	first, err := s.older(ctx, c, newSeeker(c, true))
	switch {
	case errors.Is(err, ErrDisconnected):
		return v, nil // its stream has been told to end
	case err != nil:
		s.timeline.leave(c)
		return verdict{}, err
	case first.why != "":
		return verdict{reset: s.timeline.skip(c, first.why)}, nil
	}
	return v, nil
}

// arrive returns when this process can judge that last event ID. It comes from
// a client that may have been at another process, which may be ahead.
func (s *shared) arrive(c *cursor, lastID string) error {
	epoch, at, ok := parseID(lastID)
	here := func(t *tail) bool { return t.has(epoch, at.position) }
	arrived := func(t *tail) bool { return t.ready && (!ok || here(t)) }
	if s.timeline.holds(arrived) {
		return nil // as nearly always, and then nobody needs a context
	}
	left, err := s.timeline.arrive(c.key)
	if err != nil {
		return err
	}
	defer left()
	ctx, cancel := context.WithTimeoutCause(c.stream.Context(), arrivalTime, ErrUnavailable)
	defer cancel()
	ctx, end := context.WithCancelCause(ctx)
	defer context.AfterFunc(s.ctx, func() { end(ErrClosed) })()
	if err := s.timeline.wait(ctx, (*tail).isReady); err != nil || !ok {
		return err
	}
	soon, cancel := context.WithTimeout(ctx, headStart)
	defer cancel()
	if s.timeline.wait(soon, here) == nil {
		return nil
	}
	if last, err := s.ask(ctx); err != nil || last < at.position {
		return err // or it is of the future, as join will say
	}
	return s.timeline.wait(ctx, here)
}

// asking is the question for the last position in the engine. The slot holds one:
// whoever has it asks, and it guards the rest.
type asking struct {
	slot   chan struct{}
	at     time.Time // when the question was asked last
	answer uint64
	failed error // why there was no answer
}

func newAsking() asking { return asking{slot: make(chan struct{}, 1)} }

// ask returns the last position in the engine. Clients can claim to have seen
// anything, so there is one question at a time, and not too often; whoever has begun
// to wait before the question of another was asked shares its answer.
func (s *shared) ask(ctx context.Context) (uint64, error) {
	arrived, a := time.Now(), &s.asking
	select {
	case a.slot <- struct{}{}:
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	defer func() { <-a.slot }()
	if !arrived.Before(a.at) {
		if !sleep(ctx, time.Until(a.at.Add(askEvery))) {
			return 0, context.Cause(ctx)
		}
		a.at = time.Now()
		bounds, err := s.bounds(ctx)
		a.answer, a.failed = bounds.Last, nil
		if err != nil {
			a.failed = fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
	return a.answer, a.failed
}

// sleep waits, and reports false if ctx ends before that.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
