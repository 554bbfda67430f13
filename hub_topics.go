package ssegin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// LastID returns the ID of the newest event of the log, as this process has it. A page
// that is rendered from data of the application takes it before it reads the data, and
// opens its stream from exactly there:
//
//	id := hub.LastID()
//	orders := db.Orders()
//	// new EventSource("/events?lastEventId=" + id)
//
// Of what is published in between nothing is missing; it may be in the data already.
// Over an engine (WithLog) it is empty while this process does not know its place in the
// log; a client with an empty ID is a new one.
func (h *Hub) LastID() string {
	h.mustBeMade()
	return h.timeline.lastID()
}

// LocalStreams returns how many streams of this process follow topic now. With WithLog
// other processes have others. WithLocalAudience tells when there is a first one.
func (h *Hub) LocalStreams(topic string) int {
	h.mustBeMade()
	return h.timeline.following(topic)
}

// Retained returns the events of topic that the hub has in memory, oldest first: those
// that WithReplay(ReplayAll()) gives to a new client of that topic. The empty topic is that
// of the broadcasts. Their Data is a string, as it went on the wire. Over an engine
// (WithLog) the log may have more.
func (h *Hub) Retained(topic string) []Event {
	h.mustBeMade()
	frames := h.timeline.retained(topic)
	events := make([]Event, 0, len(frames))
	for _, frame := range frames {
		events = append(events, eventOf(frame))
	}
	return events
}

// Erase lets go of all events of topic that the hub remembers as it is called, and returns
// how many these were. Streams and clients that have not been given them are told of a
// gap. The end of a topic stays known. An erased event may be on its way to clients, and
// they may have it.
//
// With WithLog it returns errors.ErrUnsupported: other processes read the same log, in
// which an entry that is missing is a gap to all of their clients. It returns
// ErrInvalidEvent if nothing could be published to such a topic.
func (h *Hub) Erase(topic string) (events int, err error) {
	h.mustBeMade()
	switch err := checkTopic(topic); {
	case err != nil:
		return 0, err
	case h.options.log != nil:
		return 0, fmt.Errorf("ssegin: Erase: %w: the log of an engine has no holes; bound its age instead", errors.ErrUnsupported)
	}
	return h.timeline.erase(topic), nil
}

// PublishTo sends e to the streams of several topics, once to a stream that follows more
// than one of them, in all else like Publish. Each of the topics remembers it: in its
// bounds, in Retained and in the number of a reset's missed events it counts for each. A
// topic that comes twice counts once; none is ErrInvalidEvent. Without an
// engine, an event that the history cannot hold for all of them is ErrTooLarge.
func (h *Hub) PublishTo(ctx context.Context, topics []string, e Event) (id string, err error) {
	if len(topics) == 0 {
		return "", fmt.Errorf("%w: PublishTo needs a topic", ErrInvalidEvent)
	}
	for _, topic := range topics {
		if err := checkTopic(topic); err != nil {
			return "", err
		}
	}
	if bytes := len(strings.Join(topics, "")); bytes > h.options.maxEventBytes {
		return "", fmt.Errorf("%w: the names of %d topics have %d bytes, the limit is %d", ErrTooLarge, len(topics), bytes, h.options.maxEventBytes)
	}
	topics = distinct(topics)
	return h.publish(ctx, publication{topic: topics[0], others: topics[1:], event: e})
}

// eventOf takes a frame of ours apart.
func eventOf(frame []byte) (e Event) {
	var data []byte
	hasData := false
	for line := range bytes.Lines(frame) {
		name, value, _ := bytes.Cut(bytes.TrimSuffix(line, []byte("\n")), []byte(": "))
		switch string(name) {
		case "event":
			e.Type = string(value)
		case "data":
			if hasData {
				data = append(data, '\n')
			}
			data, hasData = append(data, value...), true
		case "retry":
			ms, _ := strconv.Atoi(string(value)) // we have written it
			e.Retry = time.Duration(ms) * time.Millisecond
		case "id":
			e.ID = string(value)
		}
	}
	if hasData {
		e.Data = string(data)
	}
	return e
}
