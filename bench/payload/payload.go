// Package payload is what the servers publish and the load generator reads
// back: a JSON object that carries a sequence number and the time at which it
// was published, found again in any frame by one byte search.
package payload

import (
	"bytes"
)

// Size is that of the smallest payload; larger ones are padded.
const Size = len(head) + seqDigits + timeDigits + len(tail)

const (
	head   = `{"@":"` // no server writes '@' anywhere else
	marker = `@":"`
	filler = `","p":"`
	tail   = `"}`

	seqDigits  = 10 // hexadecimal
	timeDigits = 14 // two years of nanoseconds
	hexDigits  = "0123456789abcdef"
)

// Append appends the payload of one event to dst. seq counts the events of a
// topic from 1; 0 is a probe, which says that a stream is open and counts as no
// delivery. sent is a time as Now gives it. The payload has Size bytes, or size
// bytes if that leaves room for the padding, which takes seven.
func Append(dst []byte, seq uint64, sent int64, size int) []byte {
	dst = append(dst, head...)
	dst = appendHex(dst, seq, seqDigits)
	dst = appendHex(dst, uint64(sent), timeDigits)
	if pad := size - Size - len(filler); pad >= 0 {
		dst = append(dst, filler...)
		dst = append(dst, bytes.Repeat([]byte{'x'}, pad)...)
	}
	return append(dst, tail...)
}

// Parse finds the payload in a frame, whatever the server put around it.
func Parse(frame []byte) (seq uint64, sent int64, ok bool) {
	i := bytes.IndexByte(frame, marker[0])
	if i < 0 || len(frame) < i+len(marker)+seqDigits+timeDigits || string(frame[i:i+len(marker)]) != marker {
		return 0, 0, false
	}
	digits := frame[i+len(marker):]
	seq, ok = parseHex(digits[:seqDigits])
	if !ok {
		return 0, 0, false
	}
	ns, ok := parseHex(digits[seqDigits : seqDigits+timeDigits])
	return seq, int64(ns), ok
}

func appendHex(dst []byte, v uint64, digits int) []byte {
	for shift := 4 * (digits - 1); shift >= 0; shift -= 4 {
		dst = append(dst, hexDigits[v>>shift&15])
	}
	return dst
}

func parseHex(digits []byte) (v uint64, ok bool) {
	for _, c := range digits {
		switch {
		case '0' <= c && c <= '9':
			v = v<<4 | uint64(c-'0')
		case 'a' <= c && c <= 'f':
			v = v<<4 | uint64(c-'a'+10)
		default:
			return 0, false
		}
	}
	return v, true
}
