package ssegin

import "errors"

// The errors of this package. Each is wrapped with what was wrong and with
// which value; test for them with errors.Is.
var (
	// ErrClosed is returned by Hub.Broadcast, Publish and End after Shutdown
	// has begun, and by Stream.Send, Comment and End when the stream is over:
	// its client left, its handler returned, or one of the causes below ended
	// it.
	ErrClosed = errors.New("ssegin: closed")

	// ErrInvalidEvent is returned when an event, a topic or a comment cannot
	// be written without changing its meaning. Nothing was sent.
	ErrInvalidEvent = errors.New("ssegin: invalid event")

	// ErrTooLarge is returned when an event is larger, as encoded, than the
	// limit of its hub or stream. Nothing was sent.
	ErrTooLarge = errors.New("ssegin: event too large")

	// ErrTooManyStreams is why a stream was refused by WithMaxStreams or
	// WithMaxStreamsPer. A callback given to WithTopics or OnConnect may
	// return it too: the client is then told to come back later.
	ErrTooManyStreams = errors.New("ssegin: too many streams")
)

// Why a stream ended, as context.Cause of Stream.Context reports it. When the
// client left, the cause is that of the request: context.Canceled. When a
// write failed or took longer than the write timeout, it is that error.
var (
	// ErrShutdown ends the streams of a hub that shuts down.
	ErrShutdown = errors.New("ssegin: hub shut down")

	// ErrDisconnected ends the streams of a topic given to Hub.Disconnect.
	ErrDisconnected = errors.New("ssegin: disconnected by the application")

	// ErrMaxAge ends a stream as old as WithMaxAge allows.
	ErrMaxAge = errors.New("ssegin: stream reached its maximum age")

	// ErrExpired ends a stream at the moment that WithExpiry gave.
	ErrExpired = errors.New("ssegin: the stream's permission expired")

	// ErrEnded ends a stream that is complete: Stream.End was called, or
	// Hub.End for each of its topics.
	ErrEnded = errors.New("ssegin: stream complete")
)
