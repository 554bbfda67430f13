package ssegin

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// errUnjudged says that a last event ID cannot be judged before the engine has been
// asked. It is told to nobody.
var errUnjudged = errors.New("ssegin: the last event ID cannot be judged yet")

// enter joins c once this process can judge the last event ID, and then makes sure
// that what the client missed can be had.
func (s *shared) enter(c *cursor, topics []string, asked uint64, lastID string) (verdict, error) {
	v, err := s.join(c, topics, asked, lastID)
	switch {
	case err != nil:
		return v, err
	case v.wish != nil:
		err = s.grant(c.stream.Context(), c, &v)
	case v.behind && !s.backlog.knows(c.life, c.at):
		err = s.vouch(c, &v)
	}
	if err != nil {
		s.timeline.leave(c)
		return verdict{}, err
	}
	return v, nil
}

// vouch makes sure that what c missed can be had, or makes a newcomer of it.
func (s *shared) vouch(c *cursor, v *verdict) error {
	first, err := s.prove(c)
	switch {
	case errors.Is(err, ErrDisconnected):
		return nil // its stream has been told to end
	case errors.Is(err, errInterrupted): // its ID was judged by a log that is not there any more, and may be right
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	case err != nil:
		return err
	case first.why == "":
		return nil
	}
	if *v = s.skip(c, first.why); v.wish != nil {
		return s.grant(c.stream.Context(), c, v)
	}
	return nil
}

// prove waits for the page with the place of c, by which its client shows that it has
// seen this log.
func (s *shared) prove(c *cursor) (older, error) {
	ctx, cancel := context.WithTimeoutCause(c.stream.Context(), proofFor, ErrTooManyCatchingUp)
	defer cancel()
	ring := make(bell, 1)
	k := newSeeker(c, true, ring.notify)
	defer k.leave()
	for {
		first, ready, err := s.older(c, k)
		if ready || err != nil {
			return first, err
		}
		if d := k.doubt; d != nil {
			stop := context.AfterFunc(ctx, d.drop)
			s.resolve(d)
			if !stop() {
				return older{}, context.Cause(ctx)
			}
			continue
		}
		select {
		case <-ring:
		case <-ctx.Done():
			return older{}, context.Cause(ctx)
		}
	}
}

// join is mostly one look at memory, and needs no context then.
func (s *shared) join(c *cursor, topics []string, asked uint64, lastID string) (verdict, error) {
	if s.contact.isLost() {
		if err := s.meet(c, lastID); err != nil {
			return verdict{}, err
		}
	}
	v, err := s.timeline.join(c, topics, asked, lastID, nil)
	if !errors.Is(err, errUnjudged) {
		return v, err
	}
	left, err := s.timeline.arrive(c)
	if err != nil {
		return verdict{}, err
	}
	defer left()
	ctx, cancel := s.patience(c.stream.Context())
	defer cancel()
	if err := s.arrive(ctx, lastID); err != nil {
		return verdict{}, err
	}
	for a := (*answer)(nil); ; {
		if v, err = s.timeline.join(c, topics, asked, lastID, a); !errors.Is(err, errUnjudged) {
			return v, err
		}
		if a, err = s.consult(ctx); err != nil {
			return verdict{}, err
		}
	}
}

// patience is for how long a client waits to be judged.
func (s *shared) patience(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := context.WithTimeoutCause(ctx, arrivalTime, ErrUnavailable)
	ctx, end := context.WithCancelCause(ctx)
	free := context.AfterFunc(s.ctx, func() { end(ErrClosed) })
	return ctx, func() {
		free()
		stop()
	}
}

// meet keeps a client without an ID of ours from a process that has lost touch with
// the log and, as the engine says, has an old one: it would be told of a gap as soon as
// the process knows. Where the engine says nothing, the client goes on from where this
// process is, because an engine that is away costs nobody a stream. If it comes back
// with another log, the ID that the client has been given tells that.
func (s *shared) meet(c *cursor, lastID string) error {
	if _, _, ours := parseID(lastID); ours {
		return nil
	}
	left, err := s.timeline.arrive(c)
	if err != nil {
		return err
	}
	defer left()
	ctx, cancel := s.patience(c.stream.Context())
	defer cancel()
	soon, cancel := context.WithTimeout(ctx, headStart)
	defer cancel()
	a, err := s.ask(soon)
	if err != nil || !a.contradicts() {
		return nil
	}
	return s.timeline.wait(ctx, func(t *tail) bool { return t.outlived(a) })
}

// arrive returns when the follower has begun, and has come to the position of that ID
// or has had the time to: its client may have been at another process, which may be
// ahead.
func (s *shared) arrive(ctx context.Context, lastID string) error {
	if err := s.timeline.wait(ctx, (*tail).isReady); err != nil {
		return err
	}
	epoch, at, _ := parseID(lastID)
	soon, cancel := context.WithTimeout(ctx, headStart)
	defer cancel()
	_ = s.timeline.wait(soon, func(t *tail) bool { return t.has(epoch, at.position) })
	return nil
}

// consult asks the engine what it has, and returns when this process has all that, or
// has found that it had another log.
func (s *shared) consult(ctx context.Context) (*answer, error) {
	if err := s.timeline.wait(ctx, (*tail).isReady); err != nil {
		return nil, err
	}
	a, err := s.ask(ctx)
	if err != nil {
		return nil, err
	}
	return a, s.timeline.wait(ctx, func(t *tail) bool { return t.agrees(a) || t.outlived(a) })
}

// confirm returns nil when this process knows that it has the log that is in the
// engine, or that it had another one: then what a page says of a client holds.
func (s *shared) confirm(ctx context.Context) error {
	ctx, cancel := s.patience(ctx)
	defer cancel()
	_, err := s.consult(ctx)
	return err
}

// asking are the questions for the engine's bounds.
type asking struct {
	mu   sync.Mutex // no other lock is taken under it, but for the timeline's
	next *question  // not asked yet, for all who come now; nil: nobody has come
	busy bool       // questions are being asked
}

// A question is asked once for many clients.
type question struct {
	answered chan struct{} // closed when what follows is set
	answer   answer
	err      error
}

// ask asks the engine what it has. Clients can claim to have seen anything, so there is
// one question at a time, and not too often; all who have come before it was asked share
// it. It goes on when they have left, or one of them could take it from the others.
func (s *shared) ask(ctx context.Context) (*answer, error) {
	s.asking.mu.Lock()
	if s.asking.next == nil {
		s.asking.next = &question{answered: make(chan struct{})}
	}
	q := s.asking.next
	if !s.asking.busy {
		s.asking.busy = true
		s.timeline.run(s.pose)
	}
	s.asking.mu.Unlock()
	select {
	case <-q.answered:
		return &q.answer, q.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// pose asks the questions, until there are none.
func (s *shared) pose() {
	for {
		s.asking.mu.Lock()
		q := s.asking.next
		s.asking.next, s.asking.busy = nil, q != nil
		s.asking.mu.Unlock()
		if q == nil {
			return
		}
		q.answer = s.timeline.ask()
		b, err := s.bounds(s.ctx)
		if q.answer.epoch, q.answer.last, q.answer.lastTime = epochOf(b.Epoch), b.Last, b.LastTime; err != nil {
			q.err = fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		close(q.answered)
		sleep(s.ctx, askEvery)
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
