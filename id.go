package ssegin

import (
	"crypto/rand"
	"crypto/sha256"
	"strconv"
	"strings"
	"unicode"
)

// A log is the ordered, bounded memory of a hub's events. Each event has a
// position, counted without holes, and "<epoch>-<position>" is its ID on the
// wire. The epoch names one life of the log: after a restart, positions begin
// anew under another epoch, so that no old ID ever means a new event.
//
// A log in an engine, shared by several processes, can also be rolled back: to
// a backup, or to a replica that lagged. Then the same position of the same
// epoch holds another event. So the IDs of such a log end in a check on what the
// event is, and an ID of what is gone is recognised by every process, also by
// one that has seen neither: "<epoch>-<position>-<check>". The ID that comes with a
// reset has the letters of its check in upper case: the client knows of a break of which
// the next process that it comes to may not know, although it has that very event.

// epochLetters are enough random letters (50 bits) that two lives of a log do
// not meet, and few enough not to weigh on every event.
const epochLetters = 10

// checkLetters tell two events at the same position apart, but for one time in
// 33 million.
const checkLetters = 5

// maxIDTail bounds the bytes of the ID field that ends a frame, with the blank
// line.
const maxIDTail = len("id: ") + epochLetters + len("-18446744073709551615-") + checkLetters + len("\n\n")

// letters are what epochs and checks are written with.
const letters = "abcdefghijklmnopqrstuvwxyz234567"

// A mark is a place in a log: just after the event at its position.
type mark struct {
	position uint64
	check    check
}

// A check is what an event of a log in an engine says of itself. Zero says
// nothing: there is no event there, or the log is in memory.
type check uint32

// told is added to the check of a place at which a reset was told.
const told check = 1 << 31

// is reports whether the event at m is the one with that check, as far as both
// are known.
func (m mark) is(c check) bool { return m.check == 0 || c == 0 || m.check&^told == c&^told }

// tell returns m as the place at which a reset is told.
func (m mark) tell() mark {
	if m.check != 0 {
		m.check |= told
	}
	return m
}

func newEpoch() string { return strings.ToLower(rand.Text()[:epochLetters]) }

// epochOf turns the epoch of an engine, which is any text, into one of ours.
func epochOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	epoch := make([]byte, epochLetters)
	for i := range epoch {
		epoch[i] = letters[sum[i]%32]
	}
	return string(epoch)
}

func appendID(b []byte, epoch string, m mark) []byte {
	b = append(b, epoch...)
	b = append(b, '-')
	b = strconv.AppendUint(b, m.position, 10)
	if m.check == 0 {
		return b
	}
	b = append(b, '-')
	for i := range checkLetters {
		letter := letters[m.check>>(5*i)%32]
		if m.check&told != 0 {
			letter = byte(unicode.ToUpper(rune(letter)))
		}
		b = append(b, letter)
	}
	return b
}

// appendTail ends a block with its ID and the blank line.
func appendTail(block []byte, epoch string, m mark) (frame []byte) {
	frame = append(block, "id: "...)
	frame = appendID(frame, epoch, m)
	return append(frame, "\n\n"...)
}

// parseID takes an ID apart. It accepts what appendID writes and nothing else,
// in time bounded by the length of such an ID: the text comes from the client.
func parseID(id string) (epoch string, m mark, ok bool) {
	if len(id) > maxIDTail {
		return "", mark{}, false
	}
	epoch, rest, _ := strings.Cut(id, "-")
	digits, written, _ := strings.Cut(rest, "-")
	checked := strings.ToLower(written)
	for i := range checked {
		m.check |= check(strings.IndexByte(letters, checked[i])) << (5 * i)
	}
	if checked != written {
		m = m.tell()
	}
	position, err := strconv.ParseUint(digits, 10, 64)
	m.position = position
	var text [maxIDTail]byte
	if err != nil || len(epoch) != epochLetters || strings.Trim(epoch, letters) != "" ||
		string(appendID(text[:0], epoch, m)) != id { // leading zeros, too long a check
		return "", mark{}, false
	}
	return epoch, m, true
}
