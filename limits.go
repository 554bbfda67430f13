package ssegin

import "github.com/ssegin/ssegin/internal/response"

// What the log and the response have in common is declared there, and has its
// names here, so that the files of the log need not know of a response.
const (
	// writeBytes is what one write carries at the most, but for a single event
	// that is larger: beyond it, writes get hardly cheaper and a slow client would
	// hold more memory.
	writeBytes = response.WriteBytes

	// grace is how long a client may still read when its stream's time is over.
	grace = response.Grace

	// maxLater is how many clients are held at a time that are told to come back later.
	maxLater = 1000

	heartbeat            = response.Heartbeat
	defaultMaxEventBytes = 1 << 20
)
