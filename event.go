package ssegin

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
	"unsafe"
)

// An Event is what is sent: one block of the event-stream format (WHATWG HTML
// §9.2.6). The zero Event is valid and carries nothing.
type Event struct {
	// ID becomes the client's last event ID, which it sends back when it
	// reconnects. It must be valid UTF-8 without CR, LF or NUL. IDs that begin
	// with "ssegin." are reserved. On the streams of a Hub it must be empty,
	// because there the hub's log gives the IDs.
	ID string

	// Type names the event: a browser dispatches it to the listeners of that
	// name, or to onmessage when it is empty. It must be valid UTF-8 without
	// CR, LF or NUL. Types that begin with "ssegin." are reserved.
	Type string

	// Data is the payload. A string or []byte is sent as it is and must be
	// valid UTF-8; its line breaks (CR, LF, CRLF) all reach the client as LF,
	// because the format can carry nothing else. (Firefox drops NUL.) A named string
	// type, such as template.HTML, is a string, too, unless it has an encoding of its
	// own (json.Marshaler, encoding.TextMarshaler). Anything else is encoded as JSON,
	// without HTML escaping. nil is an empty payload; without a Type, too, the event
	// is none for the application: the client takes over its ID and Retry, and
	// dispatches nothing. (No block without data is ever sent, because to many
	// clients that are no EventSource it looks like a broken event.)
	Data any

	// MessageID tells this event from all others, so that publishing it again
	// after an error, to be sure, does not make it twice: the hub then returns
	// the ID that the first one got. It is remembered while the event is in the
	// history, or, of a log in an engine, for the minutes that the engine is set
	// to. It is not sent to clients. Empty means that each Publish is an event of
	// its own. It must be valid UTF-8 without CR, LF or NUL, of at most 1 KiB.
	MessageID string

	// Retry tells the client how long to wait before it reconnects. Zero
	// leaves the client's setting alone, negative is invalid, and fractions
	// of a millisecond are rounded up.
	Retry time.Duration
}

const (
	reservedPrefix = "ssegin."                 // of types and IDs that the library itself sends
	typeReset      = reservedPrefix + "reset"  // there is a gap
	typeCursor     = reservedPrefix + "cursor" // the last event ID moves, and nothing else
	typeEnd        = reservedPrefix + "end"    // there is no more to come
	typeLater      = reservedPrefix + "later"  // there is no stream now; the client comes back
	maxTopicBytes  = 1 << 10                   // a topic is a map key here and a subject or a field elsewhere; likewise a message ID
)

// encode returns e as one block, less the blank line that ends it, with room
// for tail more bytes: the ID that a log gives, say. The block may have limit
// bytes with its tail. Unless Data needs JSON, it allocates the block and
// nothing else, when everything is known to be well.
func encode(e Event, tail, limit int) ([]byte, error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	return e.block(tail, limit)
}

// block is encode for an event that is checked, or our own.
func (e Event) block(tail, limit int) ([]byte, error) {
	data, buffer, err := e.text()
	if err != nil {
		return nil, err
	}
	defer buffer.release()
	if e.Data == nil {
		e, data = e.control()
	}
	lines, size := measure(e, data)
	if size += tail; size > limit {
		return nil, fmt.Errorf("%w: %d bytes as encoded, the limit is %d", ErrTooLarge, size, limit)
	}
	if !utf8.ValidString(data) {
		return nil, fmt.Errorf("%w: Data is not valid UTF-8; send binary data as text, in base64 for example", ErrInvalidEvent)
	}
	b := make([]byte, 0, size)
	b = appendField(b, "event: ", e.Type)
	if e.Retry > 0 {
		b = appendRetry(b, e.Retry)
	}
	b = appendData(b, data, lines)
	b = appendField(b, "id: ", e.ID) // last, where a log adds its own
	return b, nil
}

// control gives an event without data what its block must have. One without a type is a
// control event then, whose data is valid JSON like that of all others.
func (e Event) control() (Event, string) {
	if e.Type == "" {
		e.Type = typeCursor
	}
	if strings.HasPrefix(e.Type, reservedPrefix) {
		return e, "{}"
	}
	return e, ""
}

// isControl reports whether a frame is a control event, and none of the application's.
func isControl(frame []byte) bool { return bytes.HasPrefix(frame, []byte("event: "+reservedPrefix)) }

// text returns Data as text, and the buffer that it is in, nil if in none: when
// that is released, the text is gone.
func (e Event) text() (data string, buffer *jsonText, err error) {
	switch d := e.Data.(type) {
	case nil:
		return "", nil, nil
	case string:
		return d, nil, nil
	case []byte:
		return view(d), nil, nil
	case json.Marshaler, encoding.TextMarshaler:
	default:
		if named := reflect.ValueOf(d); named.Kind() == reflect.String {
			return named.String(), nil, nil
		}
	}
	if buffer, err = marshal(e.Data); err != nil {
		return "", nil, err
	}
	return view(bytes.TrimSuffix(buffer.Bytes(), []byte("\n"))), buffer, nil
}

// check refuses what the format cannot carry: each of these characters would
// end the field and begin another one, or spoil it (WHATWG HTML §9.2.6).
func (e Event) check() error {
	for _, field := range [...]struct{ name, text string }{{"Type", e.Type}, {"ID", e.ID}, {"MessageID", e.MessageID}} {
		if err := checkText(field.name, field.text); err != nil {
			return err
		}
		if strings.HasPrefix(field.text, reservedPrefix) {
			return fmt.Errorf("%w: %s %q begins with %q, which is reserved", ErrInvalidEvent, field.name, clip(field.text), reservedPrefix)
		}
	}
	if n := len(e.MessageID); n > maxTopicBytes {
		return fmt.Errorf("%w: MessageID %q has %d bytes, the limit is %d", ErrInvalidEvent, clip(e.MessageID), n, maxTopicBytes)
	}
	if e.Retry < 0 {
		return fmt.Errorf("%w: Retry %v is negative", ErrInvalidEvent, e.Retry)
	}
	return nil
}

// checkTopic refuses topics that not every log could carry.
func checkTopic(topic string) error {
	if topic == "" {
		return fmt.Errorf("%w: topic is empty; Broadcast reaches every stream", ErrInvalidEvent)
	}
	if len(topic) > maxTopicBytes {
		return fmt.Errorf("%w: topic %q has %d bytes, the limit is %d", ErrInvalidEvent, clip(topic), len(topic), maxTopicBytes)
	}
	if strings.HasPrefix(topic, reservedPrefix) {
		return fmt.Errorf("%w: topic %q is reserved: choose one that does not begin with %q", ErrInvalidEvent, clip(topic), reservedPrefix)
	}
	return checkText("topic", topic)
}

// checkText refuses line breaks, NUL and invalid UTF-8 in the named field.
func checkText(field, text string) error {
	for i := range len(text) {
		if name := forbidden(text[i]); name != "" {
			return fmt.Errorf("%w: %s %q contains %s", ErrInvalidEvent, field, clip(text), name)
		}
	}
	if !utf8.ValidString(text) {
		return fmt.Errorf("%w: %s %q is not valid UTF-8", ErrInvalidEvent, field, clip(text))
	}
	return nil
}

// forbidden names the characters that a field cannot have.
func forbidden(c byte) string {
	switch c {
	case '\r':
		return "CR"
	case '\n':
		return "LF"
	case 0:
		return "NUL"
	}
	return ""
}

// clip keeps an error message short, whatever it quotes.
func clip(text string) string {
	const limit = 64
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "…"
}

// measure returns how many lines data has and how many bytes the block of e
// with that data takes: exactly, but for the digits of Retry.
func measure(e Event, data string) (lines, size int) {
	const digits = 20 // of the largest 64-bit number
	if e.Type != "" {
		size += len("event: \n") + len(e.Type)
	}
	if e.ID != "" {
		size += len("id: \n") + len(e.ID)
	}
	if e.Retry > 0 {
		size += len("retry: \n") + digits
	}
	lf, cr, crlf := strings.Count(data, "\n"), strings.Count(data, "\r"), 0
	if cr > 0 {
		crlf = strings.Count(data, "\r\n")
	}
	lines = 1 + lf + cr - crlf
	size += len(data) - lf - cr + lines*len("data: \n")
	return lines, size + len("\n")
}

func appendField(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	b = append(b, name...)
	b = append(b, value...)
	return append(b, '\n')
}

// appendRetry rounds up, so that a positive time stays one.
func appendRetry(b []byte, d time.Duration) []byte {
	ms := int64(d/time.Millisecond) + min(1, int64(d%time.Millisecond))
	b = append(b, "retry: "...)
	b = strconv.AppendInt(b, ms, 10)
	return append(b, '\n')
}

// appendData adds a data field for each line. The space after the colon is the
// one that the client removes, so a leading space of the data survives.
func appendData(b []byte, data string, lines int) []byte {
	breaks := "\n"
	if strings.Contains(data, "\r") {
		breaks = "\r\n"
	}
	for ; lines > 1; lines-- {
		i := strings.IndexAny(data, breaks)
		b = append(b, "data: "...)
		b = append(b, data[:i]...)
		b = append(b, '\n')
		if strings.HasPrefix(data[i:], "\r\n") {
			i++
		}
		data = data[i+1:]
	}
	b = append(b, "data: "...)
	b = append(b, data...)
	return append(b, '\n')
}

// A jsonText is a buffer with an encoder that writes into it.
type jsonText struct {
	bytes.Buffer
	encoder *json.Encoder
}

var jsonTexts = sync.Pool{New: func() any {
	text := &jsonText{}
	text.encoder = json.NewEncoder(text)
	text.encoder.SetEscapeHTML(false) // the data goes to JSON.parse, not into a page
	return text
}}

// marshal encodes data into a buffer that the caller releases.
func marshal(data any) (*jsonText, error) {
	text := jsonTexts.Get().(*jsonText)
	text.Reset()
	if err := text.encoder.Encode(data); err != nil {
		// An encoder that failed is not used again: it may remember why.
		return nil, fmt.Errorf("%w: Data of type %T does not encode as JSON: %w", ErrInvalidEvent, data, err)
	}
	return text, nil
}

// release puts the buffer back for the next event, but not a huge one: it
// would stay as large for ever.
func (t *jsonText) release() {
	if t != nil && t.Cap() <= 64<<10 {
		jsonTexts.Put(t)
	}
}

// view returns the bytes as a string without copying them. They must not
// change while the string is in use: here they are data that is being encoded,
// or a frame, which never changes. A copy would double what an event allocates.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
