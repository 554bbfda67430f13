package response

import "errors"

// These have their public names, and what they promise, in package ssegin.
var (
	// ErrClosed is returned when nothing can be written any more.
	ErrClosed = errors.New("ssegin: closed")

	// ErrTooLarge is returned when what is written is no event for too long.
	ErrTooLarge = errors.New("ssegin: event too large")

	// ErrEnded is why a stream is over whose last block was written.
	ErrEnded = errors.New("ssegin: stream complete")
)
