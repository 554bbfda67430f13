package ssegin

import "time"

// A Reason says why a client could not be given what it missed.
type Reason string

// The reasons of a reset.
const (
	ReasonExpired Reason = "expired" // events after its last ID have left the history
	ReasonEpoch   Reason = "epoch"   // its last ID is of another log: an earlier life, or another hub
	ReasonInvalid Reason = "invalid" // its last ID is none of ours
	ReasonFuture  Reason = "future"  // its last ID is newer than the newest event
	ReasonLagged  Reason = "lagged"  // it was connected, and too slow for the history
)

// A Reset tells a client that there is a gap: it is the data, as JSON, of the
// event "ssegin.reset". That event's ID is where the stream goes on, live.
type Reset struct {
	Reason Reason `json:"reason"`

	// Missed is how many events of its topics the client is not given, or -1
	// when that is not known.
	Missed int `json:"missed"`
}

// A verdict is what the log says to a last event ID. Its zero value is that of
// a client without one, which begins at the head.
type verdict struct {
	reset    Reset // Reason is empty: nothing was missed
	complete bool  // everything the client asks for has ended, and it has seen the end; with a wish: memory has no more of it
	behind   bool  // what it missed is older than what is in memory, but may be in the engine

	wish    *wish   // what a newcomer is to get that is older than memory; nil: nothing
	granted granted // what it gets of that
	missing bool    // which is not all: the reset says so
}

// join puts c where a client with that last ID goes on, and says what that
// means for it. It works in the same time whatever the ID is.
func (m *memory) join(c *cursor, topics []string, lastID string) verdict {
	m.trim(time.Since(m.born))
	var few [fewPlaces]*topic
	followed := few[:0]
	for _, name := range topics {
		followed = append(followed, m.topic(name))
	}
	c.follow(m, followed)
	c.life, c.state = m.life, live
	for i := range c.places {
		m.trimTopic(c.places[i].topic, time.Since(m.born))
	}
	m.compact()
	if isNewcomer(lastID) {
		m.welcome(c, lastID == idEarliest)
		return verdict{complete: c.ended() && c.due() == 0}
	}
	epoch, at, ok := parseID(lastID)
	switch {
	case !ok:
		return m.restart(c, ReasonInvalid, -1)
	case epoch != m.life.epoch:
		return m.restart(c, ReasonEpoch, -1)
	case at.position > m.head.position:
		return m.restart(c, ReasonFuture, -1)
	case at.position >= m.floor.position && !at.is(m.check(at.position)):
		return m.restart(c, ReasonEpoch, -1)
	case m.torn(at):
		return m.restart(c, ReasonExpired, -1)
	}
	c.seek(at)
	if c.ended() && c.newest() <= at.position {
		return verdict{complete: true}
	}
	if m.tail && at.position < m.floor.position {
		c.state = waiting
		return verdict{behind: true}
	}
	if left := m.missed(c, at.position); left != 0 {
		return m.restart(c, ReasonExpired, left)
	}
	return verdict{}
}

// vouches reports whether memory can tell without the engine what that ID means: it
// knows the very event, or one of the same log that is older, for which pages do. The
// log in the engine may have become another one without a word, and then what does not
// fit what is here may be right. An ID without a check says so little that it must be
// of the head, if that has none either, and one that came with a reset may be from
// beyond a break of which nothing is known here.
func (m *memory) vouches(epoch string, at mark) bool {
	switch {
	case epoch != m.life.epoch || at.position > m.head.position || at.check&told != 0:
		return false
	case at.position < m.floor.position:
		return true
	case at.check == 0:
		return at == m.head
	}
	return at.is(m.check(at.position))
}

// rejoin lets c, which has been given everything up to that mark from elsewhere, go
// on from here, if the memory reaches back so far and still is of the same log.
func (m *memory) rejoin(c *cursor, at mark) (joined bool, why Reason) {
	c.at = at
	switch {
	case at.position < m.floor.position:
		return false, ""
	case !at.is(m.check(at.position)):
		return false, ReasonEpoch
	case m.torn(at):
		return false, ReasonExpired
	}
	c.state = live
	c.seek(at)
	return true, ""
}

// skip makes a newcomer of c, for which there is no page, and returns the reset that it
// is to be told: none when nothing is due to it any more.
func (m *memory) skip(c *cursor, why Reason) Reset {
	switch c.state {
	case mute:
		return Reset{}
	case interrupted:
		c.resume(m)
	default:
		c.state = live
	}
	return m.restart(c, why, -1).reset
}

// torn reports whether what is here follows a gap, and at is where that ends:
// whether the client has seen what was there cannot be known any more.
func (m *memory) torn(at mark) bool {
	return m.life.why != "" && at.check != 0 && m.floor == mark{position: at.position}
}

// restart makes a newcomer of c, as after every reset: what the client knows is
// no longer the beginning of what is to come. left is how many events of c have left
// the history since then, -1 if that is not known; the reset tells of these, and of
// those that are still there and are passed over. Even if all is complete, the client
// hears of the gap first.
func (m *memory) restart(c *cursor, why Reason, left int) verdict {
	passed := m.welcome(c, false)
	if m.tail {
		c.at = c.at.tell()
	}
	if left < 0 {
		return verdict{reset: Reset{why, -1}}
	}
	return verdict{reset: Reset{why, left + passed}}
}

// missed counts the events of c that have left the history since position: 0 if none
// have, -1 if it is not known how many.
func (m *memory) missed(c *cursor, position uint64) int {
	if position >= m.evicted {
		return 0
	}
	some, old := false, position < m.departures.unknown
	for i := range c.places {
		p := &c.places[i]
		if p.topic.evicted > position || p.topic.since > position {
			some = some || !p.replaced(c)
		}
	}
	switch {
	case !some:
		return 0
	case old:
		return -1
	}
	missed := 0
	for i := range m.departures.runs.length {
		if run := m.departures.runs.at(i); run.last > position && c.misses(m.topics[run.topic]) {
			missed += run.after(position)
		}
	}
	return missed
}
