package ssegintest

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"syscall"
	"testing/iotest"
)

// A Habit is how a client reads an event stream. Clients depart from the
// standard in their own ways, and a stream that suits all of them says the same
// by every Habit. Give it to a Reader by Reader.Habit, and to a Stream by
// WithHabit.
type Habit int

const (
	// Standard is WHATWG HTML §9.2.5 and §9.2.6 to the letter, as Reader
	// describes it.
	Standard Habit = iota

	// Strict is the strictest habit found among the clients that are no
	// EventSource: every blank line dispatches an event, with data or without.
	// The decoder of OpenAI's Python SDK does so once it has seen an event, a
	// retry or, on any earlier line of the stream, an ID;
	// @microsoft/fetch-event-source and those made after it do so always, after
	// comments and after nothing, too. They hand over every type, and most
	// applications read the data as JSON, so that an event without data breaks
	// them.
	//
	// A Reader of this habit returns one block, with an event, for each blank
	// line. A comment is a part of the block that it stands in, and is not seen
	// before that ends. No type is a bookmark. In all else it keeps to the
	// standard.
	Strict

	// WebKit is the habit of WebKitGTK 2.50 (EventSource.cpp in WebCore): what
	// the last response has left unfinished when its connection was reset goes
	// on in the next one.
	//
	//   - After an RST the unfinished line and the unfinished block stay, and the
	//     first line of the next response continues them; no byte order mark is
	//     dropped there. After an end of the response and after a FIN, even one
	//     without HTTP/1.1's last chunk, they are thrown away.
	//   - An ID is taken over with the next data, in its own block or in a later
	//     one, and a block without data moves nothing.
	//   - A retry may have spaces around its digits and a plus in front, and one
	//     that is empty takes the reconnection time back to the client's own.
	WebKit
)

var habitNames = [...]string{"standard", "strict", "WebKit"}

// String returns the name of h, for the output of a test.
func (h Habit) String() string {
	if h < 0 || int(h) >= len(habitNames) {
		return fmt.Sprintf("Habit(%d)", int(h))
	}
	return habitNames[h]
}

// Events returns what a client of habit h is given by these responses, each of
// which is followed by a reset of its connection. The client keeps its last
// event ID over them. A cut after any byte does no harm if WebKit sees what the
// standard says:
//
//	assert.Equal(t, ssegintest.Standard.Events(first[:cut], second), ssegintest.WebKit.Events(first[:cut], second))
func (h Habit) Events(responses ...string) (all []Event) {
	r := NewReader(nil)
	r.Habit(h)
	r.Limit(math.MaxInt)
	for _, response := range responses {
		r.Reset(io.MultiReader(strings.NewReader(response), iotest.ErrReader(syscall.ECONNRESET)))
		for e, err := range r.Events() {
			if err == nil {
				all = append(all, e)
			}
		}
	}
	return all
}

// CheckPlain reads a stream to its end by the habit Strict, and returns an
// error for the first block that is not an application's: one without a line of
// data, or of a type that ssegin reserves for itself. Such are the streams for
// clients that read every block. An error of r other than io.EOF is returned as
// it is.
func CheckPlain(r io.Reader) error {
	strict := NewReader(r)
	strict.Habit(Strict)
	for n := 1; ; n++ {
		b, err := strict.NextBlock()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case !b.HasData():
			return fmt.Errorf("ssegintest: block %d has no data: fields %q, comments %q", n, b.Fields, b.Comments)
		case strings.HasPrefix(b.Event.Type, "ssegin."):
			return fmt.Errorf("ssegintest: block %d is not the application's: fields %q", n, b.Fields)
		}
	}
}
