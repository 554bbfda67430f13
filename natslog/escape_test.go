package natslog

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSubject_isReadable(t *testing.T) {
	for topic, want := range map[string]string{
		"":               "ev",
		"room:1":         "ev.room:1",
		"orders.eu:42":   "ev.orders.eu:42",
		"комната":        "ev.комната",
		"a b":            "ev.a%20b",
		"50%":            "ev.50%25",
		"*":              "ev.%2A",
		"a.>":            "ev.a.%3E",
		".":              "ev.%2E",
		".a..b.":         "ev.%2Ea%2E%2Eb%2E",
		"tab\tdel\x7f":   "ev.tab%09del%7F",
		"not UTF-8 \xff": "ev.not%20UTF-8%20%FF",
		"\ufffd":         "ev.\ufffd",
	} {
		assert.Equal(t, want, Subject("ev", topic))
	}
}

// A server that lets somebody publish to all of ev.> but ev.admin must not be
// tricked.
func TestTopicOf_takesOtherSpellingsLiterally(t *testing.T) {
	for subject, want := range map[string]string{
		"ev.%61dmin":  "%61dmin",
		"ev.a%20b":    "a b",
		"ev.a%2a":     "a%2a", // Subject writes %2A
		"ev.50%":      "50%",
		"ev.50%zz%2":  "50%zz%2",
		"ev.a%0Ab":    "a\ufffdb",
		"ev.a%00b":    "a\ufffdb",
		"ev.bad\xffa": "bad\ufffda",
		"ev.a%FFb":    "a\ufffdb",
	} {
		assert.Equal(t, want, topicOf("ev", subject), "%q", subject)
	}
}

func FuzzSubject(f *testing.F) {
	for _, topic := range []string{"", "room:1", ".a..b.", "*.>", "% %25", "\xff\x00\r\n", "комната🚪"} {
		f.Add(topic)
	}
	f.Fuzz(func(t *testing.T, topic string) {
		subject := Subject("a.b", topic)
		require.Equal(t, text(topic), topicOf("a.b", subject))
		require.False(t, strings.ContainsAny(subject, " \t\r\n\x00"), "%q", subject)
		for token := range strings.SplitSeq(subject, ".") {
			require.NotContains(t, []string{"", "*", ">"}, token, "%q", subject)
		}
		require.LessOrEqual(t, len(subject), len("a.b.")+3*len(topic))
	})
}

func FuzzHeaderValue(f *testing.F) {
	for _, value := range []string{"", " spaces ", "%", "%2", "50%25", "\r\n", "\xff\x7f"} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		escaped := string(appendEscaped(nil, value, headerEscapes))
		require.Equal(t, value, unescape(escaped))
		require.Equal(t, escaped, strings.Trim(escaped, " "), "spaces at the ends are trimmed on the way")
		require.Equal(t, -1, strings.IndexFunc(escaped, func(r rune) bool { return r < ' ' || r == 0x7f }))
	})
}
