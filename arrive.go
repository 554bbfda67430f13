package ssegin

import (
	"context"
	"fmt"
	"time"
)

// enter is join for a log of any kind: where that lies in an engine, it first
// waits until this process can judge the last event ID, and then makes sure that
// what the client missed can be had.
func (h *Hub) enter(ctx context.Context, c *cursor, topics []string, asked uint64, lastID string) (verdict, error) {
	if h.remote == nil {
		return h.join(c, topics, asked, lastID)
	}
	if err := h.remote.arrive(ctx, lastID); err != nil {
		return verdict{}, err
	}
	v, err := h.join(c, topics, asked, lastID)
	if err != nil || !v.behind {
		return v, err
	}
	_, _, reason, err := h.past(ctx, c, pageOf(c.at.position))
	if err != nil {
		h.leave(c)
		return verdict{}, err
	}
	if reason != "" {
		return verdict{reset: h.forgo(c, reason)}, nil
	}
	return v, nil
}

// arrive returns when this process can judge that last event ID. It comes from
// a client that may have been at another process, which may be ahead.
func (r *remote) arrive(ctx context.Context, lastID string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, arrivalTime, ErrUnavailable)
	defer cancel()
	ctx, end := context.WithCancelCause(ctx)
	defer context.AfterFunc(r.ctx, func() { end(ErrClosed) })()
	if err := r.wait(ctx, func() bool { return r.ready }); err != nil {
		return err
	}
	epoch, at, ok := parseID(lastID)
	if !ok {
		return nil
	}
	here := func() bool { return epoch != r.hub.log.life.epoch || at.position <= r.hub.log.head.position }
	soon, cancel := context.WithTimeout(ctx, headStart)
	defer cancel()
	if r.wait(soon, here) == nil {
		return nil
	}
	if last, err := r.ask(ctx); err != nil || last < at.position {
		return err // or it is of the future, as join will say
	}
	return r.wait(ctx, here)
}

// ask returns the last position in the engine. Clients can claim to have seen
// anything, so the engine is asked by one at a time, and not too often; who has
// waited for another's answer takes that.
func (r *remote) ask(ctx context.Context) (uint64, error) {
	arrived := time.Now()
	select {
	case r.asking <- struct{}{}:
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	defer func() { <-r.asking }()
	if !arrived.Before(r.asked) {
		if !sleep(ctx, time.Until(r.asked.Add(askEvery))) {
			return 0, context.Cause(ctx)
		}
		r.asked = time.Now()
		bounds, err := r.bounds(ctx)
		r.answer, r.failed = bounds.Last, nil
		if err != nil {
			r.failed = fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
	return r.answer, r.failed
}

// wait returns when what is said of the hub is so, or ctx has ended.
func (r *remote) wait(ctx context.Context, so func() bool) error {
	for {
		r.hub.mu.Lock()
		if so() {
			r.hub.mu.Unlock()
			return nil
		}
		if r.moved == nil {
			r.moved = make(chan struct{})
		}
		moved := r.moved
		r.hub.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
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
