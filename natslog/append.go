package natslog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ssegin/ssegin/eventlog"
)

// Append implements eventlog.Log: it publishes once and waits for the
// acknowledgement. If there is none within 5 seconds, or the connection is lost,
// that is an error, even if ctx would allow more: the hub appends again, under
// the same message ID.
//
// The life in which the entry lies is known from the follower of this Log, which
// brings it at about the same time. While nobody follows, each append asks for
// the stream once more, together with all that are under way.
//
// Errors wrap eventlog.ErrRefused when the entry is larger than the server or
// the stream accepts, when nc may not publish to its subject, and when that
// subject belongs to another stream.
func (l *Log) Append(ctx context.Context, e eventlog.Entry) (eventlog.Receipt, error) {
	if err := l.ready(ctx); err != nil {
		return eventlog.Receipt{}, err
	}
	m, err := newMessage(l.config.Subject, e)
	if err != nil {
		return eventlog.Receipt{}, err
	}
	before, s := l.lives.expect(m.Header.Get(HeaderMessageID))
	defer l.lives.forget(s)
	ack, err := l.publish(ctx, m)
	switch {
	case err != nil:
		return eventlog.Receipt{}, err
	case ack.Duplicate:
		l.lives.forget(s) // it has passed before now
		s = nil
	}
	return l.receipt(ctx, ack.Sequence, before, s)
}

// publish sends m and waits for the acknowledgement.
func (l *Log) publish(ctx context.Context, m *nats.Msg) (*jetstream.PubAck, error) {
	before := any(l.nc.LastError())
	// Of the library's ways to publish this is the one that does without a
	// goroutine, gives up when the connection is lost, and retries nothing.
	future, err := l.js.PublishMsgAsync(m, jetstream.WithRetryAttempts(0))
	if err != nil {
		return nil, appendError(err)
	}
	deadline := time.Now().Add(l.timing.request)
	timer := time.NewTimer(l.timing.suspicion)
	defer timer.Stop()
	acked, failed := future.Ok(), future.Err()
	for {
		select {
		case ack := <-acked:
			if ack.Stream != l.config.Stream {
				return nil, fmt.Errorf("natslog: append: %s belongs to the stream %q: %w", m.Subject, ack.Stream, eventlog.ErrRefused)
			}
			return ack, nil
		case err := <-failed:
			return nil, appendError(err)
		case now := <-timer.C:
			if !now.Before(deadline) {
				return nil, appendError(errSilent)
			}
			if err := l.refusal(ctx, deadline, m.Subject, before); err != nil {
				return nil, err
			}
			timer.Reset(time.Until(deadline))
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// refusal asks whether the server has refused a message that it does not
// acknowledge. A refusal is no answer, but an error of the connection, which
// comes before the answer to a ping. before is the last error from before the
// message was sent, perhaps one that reads the same; it is the same only if it
// is the very same value.
func (l *Log) refusal(ctx context.Context, deadline time.Time, subject string, before any) error {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	if l.nc.FlushWithContext(ctx) != nil {
		return nil // the acknowledgement fails for the same reason
	}
	if err := l.denial(subject); err != nil && any(err) != before {
		return fmt.Errorf("natslog: append: %w: %w", err, eventlog.ErrRefused)
	}
	return nil
}

// appendError adds to err that no retry can mend it, where that is so.
func appendError(err error) error {
	api, isAPI := errors.AsType[*jetstream.APIError](err)
	switch {
	case errors.Is(err, nats.ErrMaxPayload), errors.Is(err, nats.ErrHeadersNotSupported),
		isAPI && api.ErrorCode == jetstream.JSErrCodeStreamMessageExceedsMaximum:
		return fmt.Errorf("natslog: append: %w: %w", err, eventlog.ErrRefused)
	}
	return fmt.Errorf("natslog: append: %w", err)
}
