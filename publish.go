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
func (r *remote) publish(ctx context.Context, topic string, e Event, end bool) (string, error) {
	entry, size, err := entryOf(topic, e, end, r.hub.options.maxEventBytes)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, r.hub.options.publishTimeout)
	defer cancel()
	defer context.AfterFunc(r.ctx, cancel)() // the hub may end meanwhile
	position, err := r.insist(ctx, entry)
	switch {
	case errors.Is(err, eventlog.ErrRefused):
		return "", fmt.Errorf("ssegin: not published: %w", err)
	case err != nil && r.ctx.Err() != nil:
		return "", &UnknownOutcomeError{entry.MessageID, fmt.Errorf("%w: %w", ErrClosed, err)}
	case err != nil:
		return "", &UnknownOutcomeError{entry.MessageID, fmt.Errorf("%w: %w", ErrUnavailable, err)}
	}
	r.hub.options.observer.published(topic, size)
	r.hub.mu.RLock()
	defer r.hub.mu.RUnlock()
	return r.hub.log.id(mark{position, checkOf(&entry)}), nil
}

// insist appends e, however often it takes, until ctx ends.
func (r *remote) insist(ctx context.Context, e Entry) (position uint64, err error) {
	for pause := shortestPause; ; pause = min(2*pause, longestPause) {
		position, err = r.append(ctx, e)
		if err == nil || errors.Is(err, eventlog.ErrRefused) {
			return position, err
		}
		if !sleep(ctx, pause/2+rand.N(pause)) {
			return 0, fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
}

// append appends e, once the hub knows the log that it appends to.
func (r *remote) append(ctx context.Context, e Entry) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	if err := r.wait(ctx, func() bool { return r.begun }); err != nil {
		return 0, err
	}
	return r.log.Append(ctx, e)
}

// entryOf returns e as an entry that every process can send, and its size as
// encoded.
func entryOf(topic string, e Event, end bool, limit int) (entry Entry, size int, err error) {
	text, buffer, err := e.text()
	if err != nil {
		return Entry{}, 0, err
	}
	defer buffer.release()
	entry = Entry{Topic: topic, Type: e.Type, Retry: e.Retry, End: end, MessageID: e.MessageID}
	if e.Data != nil {
		entry.Data = append([]byte{}, text...)
	}
	if entry.MessageID == "" {
		entry.MessageID = crand.Text()
	}
	block, err := blockOf(&entry, limit)
	return entry, len(block), err
}
