package ssegin

import (
	"context"
	"slices"
)

// Disconnect ends the streams that follow topic now, because a user's rights
// are gone, say: change the rights first, then call it. Nothing that is published
// after it has returned is sent to them, nor to a client whose request is on its
// way: of that one WithTopics is asked again. The clients of the streams that were
// ended come back, and WithTopics is asked for them, too.
//
// It returns how many streams it has ended. With a log in an engine (WithLog)
// these are the streams of this process, so call it at each. It returns
// ErrInvalidEvent if no stream could follow such a topic. It works until the last
// stream has gone, after Shutdown, too, and whether or not ctx has ended, because
// it waits for nothing.
func (h *Hub) Disconnect(_ context.Context, topic string) (int, error) {
	h.mustBeMade()
	if err := checkTopic(topic); err != nil {
		return 0, err
	}
	h.mu.Lock()
	var cursors []*cursor
	if t := h.log.topics[topic]; t != nil {
		cursors = slices.Clone(t.cursors)
	}
	for _, c := range cursors {
		c.muted = true
	}
	h.disconnected++
	if h.disconnects.push(topic); h.disconnects.length > rememberedDisconnects {
		h.disconnects.pop()
	}
	h.mu.Unlock()
	for _, c := range cursors {
		c.stream.end(ErrDisconnected)
	}
	return len(cursors), nil
}

// rememberedDisconnects bounds what is known of the topics given to Disconnect.
// A request that more of them have overtaken is asked again, whatever they were.
const rememberedDisconnects = 1000

// disconnections is how many calls of Disconnect there were. Whoever asks for the
// rights of a client reads it before that, and gives it to join.
func (h *Hub) disconnections() uint64 {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.disconnected
}

// overtaken reports whether one of the topics of c was given to Disconnect after
// there were asked calls of it. The lock must be held.
func (h *Hub) overtaken(c *cursor, asked uint64) bool {
	since := h.disconnected - asked
	if since > uint64(h.disconnects.length) {
		return true
	}
	for i := h.disconnects.length - int(since); i < h.disconnects.length; i++ {
		if t := h.log.topics[*h.disconnects.at(i)]; t != nil && c.place(t) != nil {
			return true
		}
	}
	return false
}
