package ssegin

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/ssegin/ssegin/eventlog"
)

// publish appends e to the log, and tries again while that fails: the message
// ID keeps the event from being there twice.
func (s *shared) publish(ctx context.Context, topic string, e Event, end bool) (string, error) {
	entry, size, err := entryOf(topic, e, end, s.options.maxEventBytes)
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
	s.options.observer.published(topic, size)
	return s.timeline.idOf(mark{position, checkOf(&entry)}), nil
}

// disconnect puts an entry into the log that ends the streams of topic wherever a
// follower comes to it. It works when the hub has ended, too: other processes have not.
func (s *shared) disconnect(ctx context.Context, topic string) error {
	ctx, cancel := context.WithTimeout(ctx, s.options.publishTimeout)
	defer cancel()
	_, err := s.insist(ctx, Entry{Topic: topic, Type: typeDisconnect, MessageID: crand.Text()})
	switch {
	case errors.Is(err, eventlog.ErrRefused):
		return fmt.Errorf("ssegin: disconnected at this process alone: %w", err)
	case err != nil:
		return fmt.Errorf("%w: disconnected at this process, and it is not known whether at others: call Disconnect again: %w", ErrUnavailable, err)
	}
	return nil
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
