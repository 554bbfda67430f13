package natslog

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Subject returns the subject of a topic's entries in a stream with that
// Config.Subject; the empty topic is that of broadcasts. Other programs publish
// there what is to reach the streams of that topic.
//
// The topic follows the prefix and a dot, as it is where it can be: the bytes
// that no subject may have (spaces, controls, *, >, %, dots that are not between
// two other characters, and what is not UTF-8) are written as % and two
// hexadecimal digits. So orders.eu:42 is prefix.orders.eu:42, and "a b." is
// prefix.a%20b%2E.
func Subject(prefix, topic string) string {
	if topic == "" {
		return prefix
	}
	b := make([]byte, 0, len(prefix)+1+len(topic))
	b = append(append(b, prefix...), '.')
	return string(appendEscaped(b, topic, topicEscapes))
}

// topicOf is the inverse of Subject. A subject that Subject would not have
// written is taken literally: a server that refuses somebody one subject shall
// not be tricked by another spelling of it.
func topicOf(prefix, subject string) string {
	topic := strings.TrimPrefix(strings.TrimPrefix(subject, prefix), ".")
	if plain := unescape(topic); Subject(prefix, plain) == subject {
		topic = plain
	}
	return text(topic)
}

// topicEscapes says which bytes of a topic are escaped. A dot between two other
// characters parts the topic into tokens; elsewhere it would make an empty one.
func topicEscapes(s string, i int) bool {
	switch c := s[i]; c {
	case '%', '*', '>':
		return true
	case '.':
		return i == 0 || i == len(s)-1 || s[i-1] == '.' || s[i+1] == '.'
	default:
		return c <= ' ' || c == 0x7f
	}
}

// headerEscapes says which bytes of a header's value are escaped. Spaces are
// trimmed at its ends.
func headerEscapes(s string, i int) bool {
	switch c := s[i]; c {
	case '%', 0x7f:
		return true
	case ' ':
		return i == 0 || i == len(s)-1
	default:
		return c < ' '
	}
}

const hex = "0123456789ABCDEF"

// appendEscaped appends s with those of its bytes escaped that escapes names,
// and all that are not UTF-8.
func appendEscaped(b []byte, s string, escapes func(s string, i int) bool) []byte {
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if (r == utf8.RuneError && size == 1) || escapes(s, i) {
			b = append(b, '%', hex[s[i]>>4], hex[s[i]&0xf])
		} else {
			b = append(b, s[i:i+size]...)
		}
		i += size
	}
	return b
}

// unescape replaces each % that is followed by two hexadecimal digits, and
// leaves others as they are.
func unescape(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b = append(b, byte(c))
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}

// text makes what another program has written a text as an entry has it: what
// cannot be in one becomes U+FFFD, so that it is seen, and is no other text.
func text(s string) string {
	s = strings.ToValidUTF8(s, "\ufffd")
	if !strings.ContainsAny(s, "\r\n\x00") {
		return s
	}
	return strings.NewReplacer("\r", "\ufffd", "\n", "\ufffd", "\x00", "\ufffd").Replace(s)
}
