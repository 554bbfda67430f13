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
func (s *shared) publish(ctx context.Context, p publication) (string, error) {
	entry, size, err := entryOf(p, s.options.maxEventBytes)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, s.options.publishTimeout)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)() // the hub may end meanwhile
	receipt, err := s.insist(ctx, entry)
	switch {
	case errors.Is(err, eventlog.ErrRefused):
		return "", fmt.Errorf("ssegin: not published: %w", err)
	case err != nil && s.ctx.Err() != nil:
		return "", &UnknownOutcomeError{entry.MessageID, fmt.Errorf("%w: %w", ErrClosed, err)}
	case err != nil:
		return "", &UnknownOutcomeError{entry.MessageID, fmt.Errorf("%w: %w", ErrUnavailable, err)}
	}
	s.options.observer.published(p.topic, size)
	return idOf(receipt, &entry), nil
}

// idOf returns the ID that the event has on the wire. Its epoch is that of the
// engine's answer: this process may not know yet that the log was made anew.
func idOf(r eventlog.Receipt, e *Entry) string {
	return string(appendID(nil, epochOf(r.Epoch), mark{r.Position, checkOf(e)}))
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
func (s *shared) insist(ctx context.Context, e Entry) (receipt eventlog.Receipt, err error) {
	for pause := shortestPause; ; pause = min(2*pause, longestPause) {
		receipt, err = s.append(ctx, e)
		if err == nil || errors.Is(err, eventlog.ErrRefused) {
			return receipt, err
		}
		if !sleep(ctx, pause/2+rand.N(pause)) {
			return eventlog.Receipt{}, fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
}

// append appends e, once the hub has reached the log.
func (s *shared) append(ctx context.Context, e Entry) (eventlog.Receipt, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	if !s.timeline.hasBegun() { // as hardly ever: who publishes does not wait with those who come
		if err := s.timeline.wait(ctx, (*tail).hasBegun); err != nil {
			return eventlog.Receipt{}, err
		}
	}
	return s.log.Append(ctx, e)
}
