package ssegin

import "context"

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
	muted := h.timeline.disconnect(topic)
	for _, c := range muted {
		c.stream.end(ErrDisconnected)
	}
	return len(muted), nil
}
