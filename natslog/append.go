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
// Errors wrap eventlog.ErrRefused when the entry is larger than the server or
// the stream accepts, when nc may not publish to its subject, and when that
// subject belongs to another stream.
func (l *Log) Append(ctx context.Context, e eventlog.Entry) (position uint64, err error) {
	if err := l.ready(ctx); err != nil {
		return 0, err
	}
	m, err := newMessage(l.config.Subject, e)
	if err != nil {
		return 0, err
	}
	before := any(l.nc.LastError())
	// Of the library's ways to publish this is the one that does without a
	// goroutine, gives up when the connection is lost, and retries nothing.
	future, err := l.js.PublishMsgAsync(m, jetstream.WithRetryAttempts(0))
	if err != nil {
		return 0, appendError(err)
	}
	deadline := time.Now().Add(l.timing.request)
	timer := time.NewTimer(l.timing.suspicion)
	defer timer.Stop()
	acked, failed := future.Ok(), future.Err()
	for {
		select {
		case ack := <-acked:
			if ack.Stream != l.config.Stream {
				return 0, fmt.Errorf("natslog: append: %s belongs to the stream %q: %w", m.Subject, ack.Stream, eventlog.ErrRefused)
			}
			return ack.Sequence, nil
		case err := <-failed:
			return 0, appendError(err)
		case now := <-timer.C:
			if !now.Before(deadline) {
				return 0, appendError(errSilent)
			}
			if err := l.refusal(ctx, deadline, m.Subject, before); err != nil {
				return 0, err
			}
			timer.Reset(time.Until(deadline))
		case <-ctx.Done():
			return 0, context.Cause(ctx)
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
