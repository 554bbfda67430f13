package ssegintest

import "time"

// DefaultMaxEntries is how many entries a Log keeps unless WithMaxEntries says
// otherwise.
const DefaultMaxEntries = 4096

const (
	defaultFirst  = 1000            // not 1, to find out those who count on it
	defaultWindow = 2 * time.Minute // as JetStream has it
)

// A LogOption changes a Log before it is used.
type LogOption func(*Log)

// WithMaxEntries sets how many entries the log keeps: when there are more, the
// oldest leaves. Zero or less panics.
func WithMaxEntries(n int) LogOption {
	if n <= 0 {
		panic("ssegintest: WithMaxEntries needs at least one entry")
	}
	return func(l *Log) { l.maxEntries = n }
}

// WithFirstPosition sets the position of the first entry, instead of 1000. Zero
// panics, since no log begins there.
func WithFirstPosition(position uint64) LogOption {
	if position == 0 {
		panic("ssegintest: WithFirstPosition needs a position above 0")
	}
	return func(l *Log) { l.start = position }
}

// WithMessageWindow sets how long the log remembers message IDs, instead of two
// minutes. With zero or less an append that is tried again is there twice.
func WithMessageWindow(d time.Duration) LogOption {
	return func(l *Log) { l.window = d }
}
