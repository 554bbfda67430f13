package ssegin

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/ssegin/ssegin/eventlog"
)

// publish appends e to the log, and tries again while that fails: the message
// ID keeps the event from being there twice.
func (s *shared) publish(ctx context.Context, p publication) (string, error) {
	entry, size, err := entryOf(p, s.options.maxEventBytes)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, s.options.publishTimeout)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)() // the hub may end meanwhile
	position, err := s.insist(ctx, entry)
	switch {
	case errors.Is(err, eventlog.ErrRefused):
		return "", fmt.Errorf("ssegin: not published: %w", err)
	case err != nil && s.ctx.Err() != nil:
		return "", &UnknownOutcomeError{entry.MessageID, fmt.Errorf("%w: %w", ErrClosed, err)}
	case err != nil:
		return "", &UnknownOutcomeError{entry.MessageID, fmt.Errorf("%w: %w", ErrUnavailable, err)}
	}
	s.options.observer.published(p.topic, size)
	return s.timeline.idOf(mark{position, checkOf(&entry)}), nil
}

// insist appends e, however often it takes, until ctx ends.
func (s *shared) insist(ctx context.Context, e Entry) (position uint64, err error) {
	for pause := shortestPause; ; pause = min(2*pause, longestPause) {
		position, err = s.append(ctx, e)
		if err == nil || errors.Is(err, eventlog.ErrRefused) {
			return position, err
		}
		if !sleep(ctx, pause/2+rand.N(pause)) {
			return 0, fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
}

// append appends e, once the hub knows the log that it appends to.
func (s *shared) append(ctx context.Context, e Entry) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	if err := s.timeline.wait(ctx, (*tail).hasBegun); err != nil {
		return 0, err
	}
	return s.log.Append(ctx, e)
}
