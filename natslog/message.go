package natslog

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ssegin/ssegin/eventlog"
)

// The headers of a message in the stream. All are optional: a message without
// any is an event without a type, whose data is the payload. In the values of
// HeaderType, HeaderTopic and HeaderMessageID a % and two hexadecimal digits stand for a
// byte.
const (
	// HeaderType is the type of the event.
	HeaderType = "Ssegin-Type"

	// HeaderRetry is how long clients wait before they reconnect, in
	// milliseconds: 1500, or 0.25. What is not such a number counts as absent.
	HeaderRetry = "Ssegin-Retry"

	// HeaderEnd says that the event is the last of its topic: true or 1.
	HeaderEnd = "Ssegin-End"

	// HeaderTopic is a topic of an event of several topics, once for each of them. The
	// subject is that of eventlog.SeveralTopics then; on others it means nothing.
	HeaderTopic = "Ssegin-Topic"

	// HeaderNoData says that an empty payload means no data: true or 1. Without
	// it, that is data of length 0.
	HeaderNoData = "Ssegin-No-Data"

	// HeaderMessageID is what the server recognizes a message by that is sent
	// again, within the stream's duplicate window.
	HeaderMessageID = jetstream.MsgIDHeader
)

const (
	maxTopic = 1 << 10   // bytes, as eventlog.Entry says
	maxRetry = 1<<63 - 1 // the longest time.Duration
)

// newMessage returns e as it is published. It shares e.Data.
func newMessage(prefix string, e eventlog.Entry) (*nats.Msg, error) {
	if len(e.Topic) > maxTopic {
		return nil, fmt.Errorf("natslog: a topic of %d bytes: %w", len(e.Topic), eventlog.ErrRefused)
	}
	m := nats.NewMsg(Subject(prefix, e.Topic))
	m.Data = e.Data
	if e.Type != "" {
		m.Header.Set(HeaderType, string(appendEscaped(nil, e.Type, headerEscapes)))
	}
	for _, topic := range e.Topics {
		m.Header.Add(HeaderTopic, string(appendEscaped(nil, topic, headerEscapes)))
	}
	if e.Retry > 0 {
		m.Header.Set(HeaderRetry, formatRetry(e.Retry))
	}
	if e.End {
		m.Header.Set(HeaderEnd, "true")
	}
	if e.Data == nil {
		m.Header.Set(HeaderNoData, "true")
	}
	if e.MessageID != "" {
		m.Header.Set(HeaderMessageID, string(appendEscaped(nil, e.MessageID, headerEscapes)))
	}
	return m, nil
}

// newEntry returns the message that the log has at that position as an entry.
// It takes over the payload.
func newEntry(prefix, subject string, h nats.Header, payload []byte, position uint64, at time.Time) eventlog.Entry {
	e := eventlog.Entry{
		Position:  position,
		Time:      at.UTC(),
		Topic:     topicOf(prefix, subject),
		Type:      text(unescape(h.Get(HeaderType))),
		Data:      payload,
		Retry:     parseRetry(h.Get(HeaderRetry)),
		End:       isTrue(h.Get(HeaderEnd)),
		MessageID: unescape(h.Get(HeaderMessageID)),
	}
	for _, topic := range h.Values(HeaderTopic) {
		e.Topics = append(e.Topics, text(unescape(topic)))
	}
	if len(payload) == 0 {
		e.Data = []byte{}
		if isTrue(h.Get(HeaderNoData)) {
			e.Data = nil
		}
	}
	return e
}

func isTrue(s string) bool { b, err := strconv.ParseBool(s); return err == nil && b }

// formatRetry writes d in milliseconds, exactly.
func formatRetry(d time.Duration) string {
	s := strconv.FormatInt(int64(d/time.Millisecond), 10)
	if rest := d % time.Millisecond; rest > 0 {
		s += strings.TrimRight(fmt.Sprintf(".%06d", rest), "0")
	}
	return s
}

// parseRetry is the inverse of formatRetry; what is nothing of the kind is 0.
func parseRetry(s string) time.Duration {
	whole, fraction, _ := strings.Cut(s, ".")
	if len(fraction) > 6 {
		return 0
	}
	ns, err := strconv.ParseUint(whole+fraction+"000000"[len(fraction):], 10, 64)
	if err != nil || whole == "" || ns > maxRetry {
		return 0
	}
	return time.Duration(ns)
}
