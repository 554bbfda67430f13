package ssegin

import (
	"crypto/rand"
	"strconv"
	"strings"
)

// A log is the ordered, bounded memory of a hub's events. Each event has a
// position, counted from 1 without holes, and "<epoch>-<position>" is its ID on
// the wire. The epoch names one life of the log: after a restart, positions
// begin anew under another epoch, so that no old ID ever means a new event.

// epochLetters are enough random letters (50 bits) that two lives of a log do
// not meet, and few enough not to weigh on every event.
const epochLetters = 10

// maxIDTail bounds the bytes of the ID field that ends a frame, with the blank
// line.
const maxIDTail = len("id: ") + epochLetters + len("-18446744073709551615\n\n")

func newEpoch() string { return strings.ToLower(rand.Text()[:epochLetters]) }

func appendID(b []byte, epoch string, position uint64) []byte {
	b = append(b, epoch...)
	b = append(b, '-')
	return strconv.AppendUint(b, position, 10)
}

// parseID takes an ID apart. It accepts what appendID writes and nothing else,
// in time bounded by the length of such an ID: the text comes from the client.
func parseID(id string) (epoch string, position uint64, ok bool) {
	if len(id) > maxIDTail {
		return "", 0, false
	}
	epoch, digits, ok := strings.Cut(id, "-")
	if !ok || len(epoch) != epochLetters {
		return "", 0, false
	}
	for _, letter := range []byte(epoch) {
		if (letter < 'a' || letter > 'z') && (letter < '2' || letter > '7') {
			return "", 0, false
		}
	}
	position, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || digits != strconv.FormatUint(position, 10) {
		return "", 0, false
	}
	return epoch, position, true
}

// A Reason says why a client could not be given what it missed.
type Reason string

// The reasons of a reset.
const (
	ReasonExpired Reason = "expired" // events after its last ID have left the history
	ReasonEpoch   Reason = "epoch"   // its last ID is of another log: an earlier life, or another hub
	ReasonInvalid Reason = "invalid" // its last ID is none of ours
	ReasonFuture  Reason = "future"  // its last ID is newer than the newest event
	ReasonLagged  Reason = "lagged"  // it was connected, and too slow for the history
)

// A Reset tells a client that there is a gap: it is the data, as JSON, of the
// event "ssegin.reset". That event's ID is where the stream goes on, live.
type Reset struct {
	Reason Reason `json:"reason"`

	// Missed is how many events of its topics the client is not given, or -1
	// when that is not known.
	Missed int `json:"missed"`
}

// A verdict is what the log says to a last event ID. Its zero value is that of
// a client without one, which begins at the head.
type verdict struct {
	reset    Reset // Reason is empty: nothing was missed
	complete bool  // everything the client asks for has ended, and it has seen the end
}
