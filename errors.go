package ssegin

import (
	"errors"
	"fmt"

	"github.com/ssegin/ssegin/eventlog"
	"github.com/ssegin/ssegin/internal/response"
)

// The errors of this package. Each is wrapped with what was wrong and with
// which value; test for them with errors.Is.
var (
	// ErrClosed is returned by Hub.Broadcast, Publish and End after Shutdown
	// has begun, and by Stream.Send, Comment and End when the stream is over:
	// its client left, its handler returned, or one of the causes below ended
	// it.
	ErrClosed = response.ErrClosed

	// ErrInvalidEvent is returned when an event, a topic or a comment cannot
	// be written without changing its meaning. Nothing was sent.
	ErrInvalidEvent = errors.New("ssegin: invalid event")

	// ErrTooLarge is returned when an event is larger, as encoded, than the
	// limit of its hub or stream. Nothing was sent.
	ErrTooLarge = response.ErrTooLarge

	// ErrUnavailable is returned by Hub.Broadcast, Publish and End when the engine
	// of WithLog gave no answer in time: the event may be in the log or not. The
	// error is an UnknownOutcomeError, too, which says how to try again. It also is
	// why a client is told to come back later, because what it missed cannot be had
	// now.
	ErrUnavailable = errors.New("ssegin: the log's engine is unavailable")

	// ErrRefused is returned by Hub.Broadcast, Publish and End when the engine of
	// WithLog does not take the event, and never will. Nothing was sent.
	ErrRefused = eventlog.ErrRefused

	// ErrTooManyStreams is why a stream was refused by WithMaxStreams or
	// WithMaxStreamsPer. A callback given to WithTopics or OnConnect may
	// return it too: the client is then told to come back later.
	ErrTooManyStreams = errors.New("ssegin: too many streams")

	// ErrTooManyCatchingUp is why a client was told to come back later: as many as
	// WithMaxCatchingUp allows are being given what is older than memory, or wait for
	// the engine, or its turn has not come in time. The engine is well.
	ErrTooManyCatchingUp = errors.New("ssegin: too many streams are catching up")

	// ErrTooManyTopics is why a stream was refused by WithMaxTopics.
	ErrTooManyTopics = errors.New("ssegin: too many topics for one stream")
)

// An UnknownOutcomeError is returned by Hub.Broadcast, Publish and End when an
// event was given to the engine of WithLog and no answer has come: the event may
// be in the log or not. Publish it again with this MessageID to be sure: the engine
// then has it once, if it still remembers the first try (minutes). Err says why
// the outcome is unknown and wraps ErrUnavailable, or ErrClosed when the hub was
// shut down meanwhile. Get it with errors.As.
type UnknownOutcomeError struct {
	MessageID string // the event's own, or the one that the hub has given it
	Err       error
}

// Error implements error.
func (e *UnknownOutcomeError) Error() string {
	return fmt.Sprintf("%v; it is not known whether the event is in the log: to be sure, publish it again with the MessageID %q", e.Err, e.MessageID)
}

// Unwrap is for errors.Is and errors.As.
func (e *UnknownOutcomeError) Unwrap() error { return e.Err }

// errDoubtful ends the streams of topics that have been told that the log of an engine has
// a gap or is another one: a Disconnect may be in what this process has not seen.
var errDoubtful = fmt.Errorf("%w, or maybe not: the log has a gap: %w", ErrDisconnected, ErrUnavailable)

// Why a stream ended, as context.Cause of Stream.Context reports it. When the
// client left, the cause is that of the request: context.Canceled. When the
// request's context has a deadline, it is context.DeadlineExceeded. When a
// write failed or took longer than the write timeout, it is that error.
var (
	// ErrShutdown ends the streams of a hub that shuts down.
	ErrShutdown = errors.New("ssegin: hub shut down")

	// ErrDisconnected ends the streams of a topic given to Hub.Disconnect. A
	// client whose request was overtaken by such calls twice is told to come back
	// later, with the same error. With a log in an engine (WithLog) it also ends
	// the streams with topics, together with ErrUnavailable, where the log has a gap
	// or is another one: nobody knows then who was disconnected meanwhile.
	ErrDisconnected = errors.New("ssegin: disconnected by the application")

	// ErrMaxAge ends a stream as old as WithMaxAge allows.
	ErrMaxAge = errors.New("ssegin: stream reached its maximum age")

	// ErrExpired ends a stream at the moment that WithExpiry gave.
	ErrExpired = errors.New("ssegin: the stream's permission expired")

	// ErrLagged ends a stream that was too slow for what its process holds of a
	// log in an engine. Its client comes back, and is given what it missed from
	// there. (A hub without WithLog has nothing else to give: it tells of a gap
	// instead, with the reason "lagged".)
	ErrLagged = errors.New("ssegin: stream too slow for the memory of its process")

	// ErrGap is why a plain client (WithPlain) gets no stream, or no more of one: it
	// has missed events that cannot be given any more, and OnReset has sent nothing
	// that would tell it.
	ErrGap = errors.New("ssegin: the client has missed events, and cannot be told")

	// ErrPolled ends a stream of WithPolling whose response is there, as nearly all of
	// them do: its client comes back for more.
	ErrPolled = errors.New("ssegin: poll answered")

	// ErrEnded ends a stream that is complete: Stream.End was called, or
	// Hub.End for each of its topics.
	ErrEnded = response.ErrEnded
)
