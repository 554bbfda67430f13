package ssegin

import "slices"

// How the rights to a topic end: for the streams that follow it, and for requests that are
// on their way.

// rememberedDisconnects bounds what is known of the topics given to Disconnect.
// A request that more of them have overtaken is asked again, whatever they were.
const rememberedDisconnects = 1000

// disconnect mutes the cursors of that topic and returns them.
func (t *timeline) disconnect(name string) (muted []*cursor) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.disconnectLocked(name)
}

func (t *timeline) disconnectLocked(name string) (muted []*cursor) {
	if topic := t.memory.topics[name]; topic != nil {
		muted = slices.Clone(topic.cursors)
	}
	for _, c := range muted {
		c.state = mute
	}
	t.disconnected.Add(1)
	if t.disconnects.push(name); t.disconnects.length > rememberedDisconnects {
		t.disconnects.pop()
	}
	return muted
}

// doubtLocked is for when nobody knows which topics were given to disconnect at other
// processes: where the log begins for this one, or has a gap. Requests that are on their
// way have to be asked again, whatever their topics. Streams with topics end when they
// are told of the gap; see cursor.resume.
func (t *timeline) doubtLocked() {
	t.disconnects = ring[string]{}
	t.disconnected.Add(1)
}

// isMute reports whether nothing more is due to c.
func (t *timeline) isMute(c *cursor) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return c.state == mute
}

// disconnections is how many calls of disconnect there were. Whoever asks for the
// rights of a client reads it before that, and gives it to join.
func (t *timeline) disconnections() uint64 {
	return t.disconnected.Load()
}

// overtakenLocked reports whether one of the topics of c was given to disconnect
// after there were asked calls of it.
func (t *timeline) overtakenLocked(c *cursor, asked uint64) bool {
	since := t.disconnected.Load() - asked
	if since > uint64(t.disconnects.length) {
		return len(c.places) > 1
	}
	for i := t.disconnects.length - int(since); i < t.disconnects.length; i++ {
		if topic := t.memory.topics[*t.disconnects.at(i)]; topic != nil && c.place(topic) != nil {
			return true
		}
	}
	return false
}
