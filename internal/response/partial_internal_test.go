package response

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// A handler's large event under Middleware leaves no room behind, and the room of
// small ones is used again.
func TestPartial_keepsNoRoomOfALargeEvent(t *testing.T) {
	p := &partial{}
	assert.True(t, p.hold([]byte("data: "+strings.Repeat("x", 100_000))))
	assert.Len(t, p.take([]byte("\n\n")), 100_008)
	assert.Zero(t, cap(p.held))
	for range 3 {
		p.hold([]byte("data: small"))
		assert.Equal(t, "data: small\n\n", string(p.take([]byte("\n\n"))))
	}
	assert.Positive(t, cap(p.held))
	assert.LessOrEqual(t, cap(p.held), WriteBytes)
	assert.False(t, p.hold(make([]byte, MaxHeld+1)), "what is held is bounded")
}

// The oracle replaces the line ends and looks for the last two in a row.
func TestPlace_findsTheBlankLinesHoweverATextIsCut(t *testing.T) {
	for range 20_000 {
		var text strings.Builder
		for range rand.N(12) {
			text.WriteString([]string{"\n", "\r", "\r\n", "x", "data: y"}[rand.N(5)])
		}
		whole, found := text.String(), 0
		var at place
		for begin := 0; begin < len(whole); {
			end := begin + 1 + rand.N(len(whole)-begin)
			if n := at.passAll([]byte(whole[begin:end])); n > 0 {
				found = begin + n
			}
			begin = end
		}
		assert.Equal(t, lastBlank(whole), found, "%q", whole)
	}
}

// lastBlank returns where the last blank line of text ends.
func lastBlank(text string) (end int) {
	begun := false
	for i := 0; i < len(text); i++ {
		if text[i] != '\n' && text[i] != '\r' {
			begun = true
			continue
		}
		blank := !begun
		begun = false
		if crlf := text[i] == '\r' && i+1 < len(text) && text[i+1] == '\n'; crlf && !blank {
			i++
		}
		if blank {
			end = i + 1
		}
	}
	return end
}

func TestBeginningOf(t *testing.T) {
	for text, want := range map[string]beginning{
		"": unknown, "d": unknown, "data": unknown, "even": unknown, "retry": unknown, "i": unknown,
		"data:": event, "data\n": event, "data\r": event, "id: 1": event, "retry:1": event, "event: x": event,
		":": event, "\n": event, "\r\n": event,
		"hello": foreign, "database": foreign, "ids:": foreign, "Data:": foreign, " data:": foreign, "{": foreign,
		"\x1f\x8b": foreign, "\xef\xbb\xbfdata:": foreign, "x:": foreign,
	} {
		assert.Equal(t, want, beginningOf([]byte(text)), "%q", text)
	}
	for text, want := range map[string]bool{
		"data: x\n\n": true, "id: 1\r\ndata\r\n\r\n": true, ":x\rdata:\r\r": true, "event: data:\n\n": false, ": data: x\n\n": false, "id: 3\nname: x\n\n": false,
	} {
		assert.Equal(t, want, hasData([]byte(text)), "%q", text)
	}
}
