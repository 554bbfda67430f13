package natslog

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// What a zero Config stands for.
const (
	DefaultStream     = "ssegin"
	DefaultMaxAge     = time.Hour
	DefaultMaxBytes   = 256 << 20
	DefaultDuplicates = 2 * time.Minute
)

// A Config says which stream a Log is, and how it is made where it does not
// exist. A stream that exists keeps its own limits, so that an operator can
// change them: New and Bounds only look whether it fits.
type Config struct {
	// Stream is the name of the stream; empty means DefaultStream. It has no
	// spaces, dots, slashes or wildcards.
	Stream string

	// Subject is the subject of broadcasts, and the beginning of those of the
	// topics; empty means the name of the stream. It has no wildcards.
	Subject string

	// Domain is the JetStream domain of the stream, where the server that is
	// connected to is a leaf node of it; empty means that server's own.
	Domain string

	// MaxAge, MaxBytes and MaxMsgs bound the whole stream: what is beyond the
	// first that is reached leaves, oldest first. Zero means DefaultMaxAge,
	// DefaultMaxBytes and no limit for MaxMsgs; below zero means no limit.
	// They are how long, and over how much, a client may be away. A MaxBytes
	// below 64 KiB is an error: entries have to fit in.
	MaxAge   time.Duration
	MaxBytes int64
	MaxMsgs  int64

	// Replicas is how many servers of a cluster keep the stream: 1, 3 or 5. Zero
	// means 1.
	Replicas int

	// Storage is jetstream.FileStorage, the zero value, or MemoryStorage, which
	// forgets the log when its servers stop.
	Storage jetstream.StorageType

	// Duplicates is how long the stream remembers message IDs, which is how
	// long an append may be tried again; zero means DefaultDuplicates. A MaxAge
	// that is shorter shortens it. A stream that remembers less does not fit.
	Duplicates time.Duration
}

// maxSubject bounds Subject, in bytes. With a topic of 1 KiB, each byte of which
// is escaped, a subject still fits into the line of 4,096 bytes that servers
// accept, together with a reply subject.
const maxSubject = 128

// entryOverhead is what an entry takes in a stream beyond its data, generously:
// a subject of up to 3 KiB, a small header, and the record.
const entryOverhead = 4 << 10

// withDefaults returns c with every zero replaced, or says what is wrong.
func (c Config) withDefaults() (Config, error) {
	if c.Stream == "" {
		c.Stream = DefaultStream
	}
	if c.Subject == "" {
		c.Subject = c.Stream
	}
	if c.MaxAge == 0 {
		c.MaxAge = DefaultMaxAge
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = DefaultMaxBytes
	}
	if c.MaxMsgs == 0 {
		c.MaxMsgs = -1
	}
	if c.Replicas == 0 {
		c.Replicas = 1
	}
	if c.Duplicates == 0 {
		c.Duplicates = DefaultDuplicates
	}
	// In the words of the server, no limit of age is 0, the others are -1.
	c.MaxAge, c.MaxBytes, c.MaxMsgs = max(c.MaxAge, 0), max(c.MaxBytes, -1), max(c.MaxMsgs, -1)

	switch {
	case strings.ContainsAny(c.Stream, " \t\r\n.*>/\\"):
		return c, fmt.Errorf("natslog: Config.Stream %q is not the name of a stream", c.Stream)
	case !plainSubject(c.Subject):
		return c, fmt.Errorf("natslog: Config.Subject %q is not a plain subject of at most %d bytes", c.Subject, maxSubject)
	case c.MaxBytes > 0 && c.MaxBytes < 64<<10:
		return c, fmt.Errorf("natslog: Config.MaxBytes %d is below 64 KiB", c.MaxBytes)
	case c.Duplicates < 0 || c.Replicas < 0:
		return c, errors.New("natslog: Config.Duplicates and Config.Replicas must not be negative")
	}
	return c, nil
}

func plainSubject(s string) bool {
	return s != "" && len(s) <= maxSubject && !strings.HasPrefix(s, "$") &&
		!strings.ContainsAny(s, " \t\r\n*>") && !slices.Contains(strings.Split(s, "."), "")
}

// stream is how the stream is made.
func (c Config) stream(now time.Time) jetstream.StreamConfig {
	s := jetstream.StreamConfig{
		Name:        c.Stream,
		Description: "events of ssegin",
		Subjects:    c.subjects(),
		Retention:   jetstream.LimitsPolicy,
		Discard:     jetstream.DiscardOld,
		MaxAge:      c.MaxAge,
		MaxBytes:    c.MaxBytes,
		MaxMsgs:     c.MaxMsgs,
		Replicas:    c.Replicas,
		Storage:     c.Storage,
		Duplicates:  c.duplicates(c.MaxAge),
		AllowDirect: true,
		// A single entry that leaves would be a hole. Purging, which takes the
		// oldest, stays allowed.
		DenyDelete: true,
		// Positions of an earlier life lie below, even for those who have
		// forgotten its epoch: they read as expired, not as new.
		FirstSeq:          uint64(now.UnixMicro()),
		MaxMsgsPerSubject: -1,
		MaxMsgSize:        -1,
		MaxConsumers:      -1,
	}
	if c.MaxBytes > 0 {
		// The server would accept a larger entry and let it leave at once.
		s.MaxMsgSize = int32(min(c.MaxBytes-entryOverhead, 64<<20))
	}
	return s
}

func (c Config) subjects() []string { return []string{c.Subject, c.Subject + ".>"} }

// duplicates is how long a stream of that maximum age remembers message IDs:
// servers allow no more than that age.
func (c Config) duplicates(maxAge time.Duration) time.Duration {
	if maxAge > 0 {
		return min(c.Duplicates, maxAge)
	}
	return c.Duplicates
}

// fits says everything that makes a stream unfit to be the log: mostly that
// entries would leave in the middle, or be changed, without a word.
func (c Config) fits(s jetstream.StreamConfig) error {
	have, want := slices.Sorted(slices.Values(s.Subjects)), c.subjects()
	var wrong []string
	for _, check := range []struct {
		ok   bool
		text string
	}{
		{slices.Equal(have, want), fmt.Sprintf("its subjects are %q, and must be %q", have, want)},
		{s.Retention == jetstream.LimitsPolicy, "its retention is not by limits"},
		{s.Discard == jetstream.DiscardOld, "it does not discard the old, but refuses the new"},
		{s.MaxMsgsPerSubject <= 0, "it has a limit for each subject, which makes holes"},
		{s.AllowDirect, "it does not allow direct gets"},
		{s.Duplicates >= c.duplicates(s.MaxAge), fmt.Sprintf("it remembers message IDs for %v, and must for %v", s.Duplicates, c.duplicates(s.MaxAge))},
		{!s.NoAck, "it does not acknowledge"},
		{!s.Sealed, "it is sealed"},
		{s.Mirror == nil && len(s.Sources) == 0, "it copies from other streams"},
		{s.SubjectTransform == nil, "it changes subjects"},
		{!s.AllowRollup, "it allows rollups, which make holes"},
		{!s.AllowMsgTTL && s.SubjectDeleteMarkerTTL == 0, "it allows messages with a time to live, which make holes"},
		{!s.AllowMsgCounter, "it counts instead of keeping messages"},
		{!s.AllowMsgSchedules, "it allows messages that are sent later"},
	} {
		if !check.ok {
			wrong = append(wrong, check.text)
		}
	}
	if wrong == nil {
		return nil
	}
	return fmt.Errorf("natslog: the stream %q cannot be the log: %s", c.Stream, strings.Join(wrong, "; "))
}
