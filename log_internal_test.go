package ssegin

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin/ssegintest"
)

func TestNewEpoch_isShortRandomAndAsParseIDWantsIt(t *testing.T) {
	seen := map[string]bool{}
	for range 10_000 {
		epoch := newEpoch()
		assert.False(t, seen[epoch], "twice: %s", epoch)
		seen[epoch] = true
		_, _, ok := parseID(epoch + "-1")
		assert.True(t, ok, epoch)
	}
}

func TestParseID_acceptsWhatAppendIDWrites(t *testing.T) {
	for _, want := range []mark{
		{position: 0}, {position: 1}, {9, 1}, {10, 31}, {1 << 32, 32}, {math.MaxInt64, 1 << 24}, {math.MaxUint64, 1<<25 - 1},
	} {
		text := appendID([]byte("id: "), "abcdefg234", want)
		assert.LessOrEqual(t, len(text)+len("\n\n"), maxIDTail)
		epoch, at, ok := parseID(strings.TrimPrefix(string(text), "id: "))
		assert.True(t, ok)
		assert.Equal(t, "abcdefg234", epoch)
		assert.Equal(t, want, at)
	}
}

// hostileIDs are last event IDs that no log of ours has given. Those that have
// the form of an ID are of another epoch or a position that cannot be.
var hostileIDs = map[string]string{
	"only an epoch":        "abcdefg234",
	"no position":          "abcdefg234-",
	"no epoch":             "-1",
	"a number":             "1",
	"a dash":               "-",
	"negative":             "abcdefg234--1",
	"plus sign":            "abcdefg234-+1",
	"leading zero":         "abcdefg234-01",
	"zeros":                "abcdefg234-00",
	"fraction":             "abcdefg234-1.0",
	"exponent":             "abcdefg234-1e3",
	"hexadecimal":          "abcdefg234-0x1",
	"underscore":           "abcdefg234-1_000",
	"one above 64 bits":    "abcdefg234-18446744073709551616",
	"huge":                 "abcdefg234-" + strings.Repeat("9", 100),
	"unicode digits":       "abcdefg234-١٢",
	"full-width digit":     "abcdefg234-\uff11",
	"space before":         " abcdefg234-1",
	"space after":          "abcdefg234-1 ",
	"space between":        "abcdefg234- 1",
	"line break":           "abcdefg234-1\n",
	"NUL":                  "abcdefg234-1\x00",
	"only NUL":             "\x00",
	"upper case":           "ABCDEFG234-1",
	"not of the alphabet":  "abcdefg231-1",
	"epoch too short":      "abcdefg23-1",
	"epoch too long":       "abcdefg2345-1",
	"epoch with multibyte": "abcdefgé3-1",
	"two positions":        "abcdefg234-1-1",
	"the end of a stream":  idEnd,
	"the name of a reset":  typeReset,
	"invalid UTF-8":        "\xff\xfe-1",
	"SQL":                  "1' OR '1'='1'; DROP TABLE events; --",
	"path":                 "../../../../etc/passwd",
	"template":             "{{.}}${jndi:ldap://x}%s%n",
	"event":                "1\n\nevent: forged\ndata: x\n\n",
	"1 MiB":                strings.Repeat("a", 1<<20),
	"1 MiB of digits":      "abcdefg234-" + strings.Repeat("1", 1<<20),
	"1 MiB of dashes":      strings.Repeat("-", 1<<20),
}

func TestParseID_refusesEverythingElse(t *testing.T) {
	for name, id := range hostileIDs {
		epoch, at, ok := parseID(id)
		assert.False(t, ok, name)
		assert.Empty(t, epoch, name)
		assert.Zero(t, at, name)
	}
}

// What comes from a client must not cost more for being longer.
func TestParseID_looksAtNoMoreThanAnIDHas(t *testing.T) {
	short, long := strings.Repeat("a", 64), strings.Repeat("a", 32<<20)
	took := quickest(func() { parseID(long) })
	usual := quickest(func() { parseID(short) })
	assert.Less(t, took, 100*usual) // to read it all takes a thousand times as long as that
	t.Logf("%v for an ID of 32 MiB, %v for one of 64 bytes", took, usual)
}

// quickest returns the time of the quickest of many calls of f. What the
// machine does besides makes other calls slower, but not that one.
func quickest(f func()) time.Duration {
	const rounds, calls = 100, 20
	least := time.Duration(math.MaxInt64)
	for range rounds {
		begin := time.Now()
		for range calls { // one alone may be shorter than the clock's tick
			f()
		}
		least = min(least, time.Since(begin)/calls)
	}
	return least
}

func FuzzParseID(f *testing.F) {
	for _, id := range hostileIDs {
		if len(id) < 200 {
			f.Add(id)
		}
	}
	f.Add("abcdefg234-18446744073709551615")
	f.Add("abcdefg234-7-abcde")
	f.Fuzz(func(t *testing.T, id string) {
		epoch, at, ok := parseID(id)
		if ok && string(appendID(nil, epoch, at)) != id {
			t.Fatalf("%q was taken for %s-%v", id, epoch, at)
		}
	})
}

// --- The promises, at random, against a model ----------------------------------

// TestHub_keepsItsPromisesWhateverHappens lets clients come, read, stall, be
// cut and come back while events are published and topics end, with bounds so
// narrow that histories overflow all the time. SSEGIN_LONG=1 runs it for ten
// minutes, SSEGIN_SEED repeats one round.
func TestHub_keepsItsPromisesWhateverHappens(t *testing.T) {
	const operations = 400
	first, rounds, span := rand.Uint64(), 0, 3*time.Second
	if os.Getenv("SSEGIN_LONG") != "" {
		span = 10 * time.Minute
	}
	if text := os.Getenv("SSEGIN_SEED"); text != "" {
		first, _ = strconv.ParseUint(text, 10, 64)
		span = 0
	}
	var reads, resets int
	for begin := time.Now(); rounds == 0 || time.Since(begin) < span && !t.Failed(); rounds++ {
		synctest.Test(t, func(t *testing.T) {
			m := newModel(t, first+uint64(rounds))
			for range operations {
				m.operate()
			}
			m.shutdown()
			reads, resets = reads+m.reads, resets+m.resets
		})
	}
	if !t.Failed() {
		t.Logf("seed %d: %d operations, %d events read, %d resets: violations 0", first, rounds*operations, reads, resets)
	}
}

// A model knows which events there are and what each client has, and nothing
// of how a hub works. What a client is to get follows from that.
type model struct {
	t       *testing.T
	r       *rand.Rand
	seed    uint64
	hub     *Hub
	limits  history
	events  []sent // the one at position p is events[p-1]
	naive   *naive // which of them are retained
	clients []*client

	reads, resets int
}

type sent struct {
	topic, data string
	end         bool
	at          time.Time
}

// A client of the model knows everything up to a position, or nothing (-1).
type client struct {
	*peer  // while it is connected
	topics []string
	lastID string
	known  int
	owed   []int // what it is to be given as a newcomer, before all else
	began  int   // the head when it began as one: what is older and not owed is no gap to it
}

func newModel(t *testing.T, seed uint64) *model {
	m := &model{t: t, r: rand.New(rand.NewPCG(seed, 0)), seed: seed}
	m.limits = history{1 + m.r.IntN(40), 64<<10 + m.r.IntN(200<<10), time.Minute}
	keep := retentions(m.r)
	keep.all = m.limits
	m.naive = &naive{retention: keep}
	m.hub = NewHub(WithHistory(m.limits.events, m.limits.bytes, m.limits.age), WithMaxEventBytes(60<<10),
		WithTopicFloor(keep.floor.events, keep.floor.bytes, keep.floor.age),
		WithTopicCeiling(keep.ceiling.events, keep.ceiling.bytes, keep.ceiling.age))
	return m
}

func (m *model) violation(format string, args ...any) {
	m.t.Helper()
	m.t.Errorf("SSEGIN_SEED=%d: after event %d: %s", m.seed, len(m.events), fmt.Sprintf(format, args...))
}

func (m *model) operate() {
	c := m.anyClient()
	switch n := m.r.IntN(100); {
	case n < 35:
		m.publish(m.r.IntN(12) == 0)
	case n < 40:
		time.Sleep(time.Duration(m.r.Int64N(int64(m.limits.age / 3))))
	case n < 41:
		m.disconnect()
	case c.peer == nil:
		m.connect(c)
	case n < 60:
		m.see(c, func() []ssegintest.Event { events, _ := c.step(); return events })
	case n < 90:
		m.see(c, c.read)
		m.checkIdle(c)
	default:
		m.cut(c)
	}
}

func (m *model) anyClient() *client {
	if n := m.r.IntN(12); n < len(m.clients) {
		return m.clients[n]
	}
	c := &client{known: -1}
	m.clients = append(m.clients, c)
	return c
}

func (m *model) publish(end bool) {
	e := sent{topic: string("abcde"[m.r.IntN(5)]), data: strconv.Itoa(len(m.events) + 1), end: end, at: time.Now()}
	if m.r.IntN(10) == 0 {
		e.data += strings.Repeat("x", m.r.IntN(50<<10))
	}
	var id string
	var err error
	switch {
	case end:
		id, err = m.hub.End(m.t.Context(), e.topic, say(e.data))
	case m.r.IntN(5) == 0:
		e.topic = ""
		id, err = m.hub.Broadcast(m.t.Context(), say(e.data))
	default:
		id, err = m.hub.Publish(m.t.Context(), e.topic, say(e.data))
	}
	m.events = append(m.events, e)
	newest := newestFrame(m.hub.timeline.memory, e.topic)
	m.naive.events = append(m.naive.events, &naiveEvent{topic: e.topic, position: uint64(len(m.events)), at: e.at, cost: cap(newest) + eventCost, ended: end})
	m.naive.bound(e.topic)
	if err != nil || positionOf(id) != uint64(len(m.events)) {
		m.violation("published under ID %q, error %v", id, err)
	}
	m.trim()
}

// trim lets go of what the bounds do not allow.
func (m *model) trim(topics ...string) {
	m.naive.trim()
	for _, topic := range topics {
		m.naive.bound(topic)
	}
}

// left reports whether the event at p is gone.
func (m *model) left(p int) bool { return p == 0 || m.naive.events[p-1].left }

// gone are the events for c after that position that have left.
func (m *model) gone(c *client, after int) []int {
	return slices.DeleteFunc(m.missing(c, after, len(m.events)), func(p int) bool { return !m.left(p) })
}

// replay are the events that c gets as a newcomer.
func (m *model) replay(c *client, cursor *cursor) (positions []int) {
	replay := Replay{}
	if cursor.replay != nil {
		replay = *cursor.replay
	}
	after := uint64(0)
	if ended, _, newest := m.ended(c.topics); replay.each == 0 && ended && !m.left(newest) { // it sees the end
		replay.each, after = math.MaxInt, uint64(newest-1)
	}
	for _, topic := range append([]string{""}, c.topics...) {
		events := m.naive.topic(topic)
		for _, e := range events[max(0, len(events)-replay.each):] {
			if e.position > after {
				positions = append(positions, int(e.position))
			}
		}
	}
	slices.Sort(positions)
	if last := replay.last; last > 0 && len(positions) > last {
		positions = positions[len(positions)-last:]
	}
	return slices.DeleteFunc(positions, func(p int) bool { return cursor.conflate && m.hasNewer(p) })
}

// connect lets a client come, for other topics than before, perhaps, and now
// and then with an ID that it cannot have.
func (m *model) connect(c *client) {
	c.topics, c.began = nil, 0
	for _, topic := range "abcde" {
		if m.r.IntN(3) == 0 {
			c.topics = append(c.topics, string(topic))
		}
	}
	reason := Reason("")
	if c.known < 0 {
		c.lastID = "" // it has been told of a gap, and has got nothing since then
	}
	switch m.r.IntN(20) {
	case 0:
		c.lastID, c.known = "", -1
	case 1:
		c.lastID, c.known, reason = "abcdefg234-1", -1, ReasonEpoch
	case 2:
		c.lastID, c.known, reason = "1", -1, ReasonInvalid
	case 3:
		c.lastID, c.known, reason = m.hub.timeline.memory.id(mark{position: uint64(len(m.events) + 1)}), -1, ReasonFuture
	}
	m.trim(append([]string{""}, c.topics...)...)
	cursor := &cursor{conflate: m.r.IntN(5) == 0}
	if m.r.IntN(2) == 0 {
		cursor.replay = &[]Replay{ReplayAll(), ReplayEach(1 + m.r.IntN(4)), ReplayLast(1 + m.r.IntN(9))}[m.r.IntN(3)]
	}
	p, err := dial(m.hub, cursor, c.lastID, c.topics...)
	if err != nil {
		m.violation("refused: %v", err)
	}
	if c.known >= 0 && len(m.gone(c, c.known)) > 0 {
		reason = ReasonExpired
	}
	maybe, certainly, newest := m.ended(c.topics)
	owed := m.replay(c, cursor)
	seen := c.lastID != "" && c.known >= newest || c.lastID == "" && m.left(newest) && len(owed) == 0
	if seen && certainly || p.verdict.complete {
		if !seen || !maybe || !p.verdict.complete {
			m.violation("complete: %t, the end was %d, the client knows %d", p.verdict.complete, newest, c.known)
		}
		if !p.verdict.complete {
			p.leave()
		}
		c.lastID, c.known = "", -1 // someone else comes
		return
	}
	c.peer = p
	if c.owed = nil; c.lastID == "" {
		c.owed, c.began = owed, len(m.events)
	}
	if got := p.verdict.reset.Reason; got != reason && !(p.cursor.conflate && got == "") {
		m.violation("reason %q, want %q", got, reason)
	}
	m.see(c, func() []ssegintest.Event { return p.receive(p.feed.opening(p.verdict, c.lastID)) })
}

// ended reports whether the topics have ended: maybe, if their newest events
// are their ends, certainly, if those are too new to be forgotten.
func (m *model) ended(topics []string) (maybe, certainly bool, newest int) {
	maybe, certainly = len(topics) > 0, len(topics) > 0
	for _, topic := range topics {
		p, endsAfter := len(m.events), 0
		for ; p > 0 && m.events[p-1].topic != topic; p-- {
			if m.events[p-1].end {
				endsAfter++
			}
		}
		over := p > 0 && m.events[p-1].end
		maybe = maybe && over
		certainly = certainly && over && endsAfter < m.limits.events && time.Since(m.events[p-1].at) <= m.limits.age
		newest = max(newest, p)
	}
	return maybe, certainly, newest
}

// missing are the events for c after one position up to another. To a client
// that conflates, those that have a newer one are not missing.
func (m *model) missing(c *client, after, upTo int) (missing []int) {
	for p := after + 1; p <= upTo; p++ {
		topic := m.events[p-1].topic
		if topic != "" && !slices.Contains(c.topics, topic) || m.conflated(c, p) || p <= c.began {
			continue
		}
		missing = append(missing, p)
	}
	return missing
}

// conflated reports whether c is not to get that event, because there is a
// newer one of its topic.
func (m *model) conflated(c *client, p int) bool {
	return c.peer != nil && c.cursor.conflate && m.hasNewer(p)
}

func (m *model) hasNewer(p int) bool {
	return slices.ContainsFunc(m.events[p:], func(e sent) bool { return e.topic == m.events[p-1].topic })
}

// see lets a client receive something and looks at each event: the next one
// must be the next one that there is for it.
func (m *model) see(c *client, receive func() []ssegintest.Event) {
	events := receive()
	for _, e := range events {
		if e.Type == typeReset {
			m.seeReset(c, e)
			continue
		}
		m.reads++
		p := int(positionOf(e.ID))
		if p <= c.known && len(c.owed) == 0 || p > len(m.events) {
			m.violation("event %d came when %d was known", p, c.known)
			return
		}
		if m.conflated(c, p) {
			m.violation("event %d is not the newest of its topic", p)
		}
		if sent := m.events[p-1]; e.Data != sent.data || sent.topic != "" && !slices.Contains(c.topics, sent.topic) {
			m.violation("event %d of topic %q is not for %v, or altered", p, sent.topic, c.topics)
		}
		m.move(c, p)
	}
	if c.lastID = c.client.LastEventID(); c.lastID != "" && len(c.owed) == 0 {
		m.move(c, int(positionOf(c.lastID))) // a bookmark
	}
	if c.gone {
		maybe, _, _ := m.ended(c.topics)
		if cause := c.over(); errors.Is(cause, ErrEnded) && !maybe || !errors.Is(cause, ErrEnded) && !errors.Is(cause, ErrDisconnected) && !errors.Is(cause, ErrShutdown) {
			m.violation("over: %v", cause)
		}
		c.peer = nil
	}
}

// move takes the client's last ID to p: nothing before may be missing.
func (m *model) move(c *client, p int) {
	if len(c.owed) > 0 {
		for c.cursor.conflate && len(c.owed) > 1 && c.owed[0] != p && m.hasNewer(c.owed[0]) {
			c.owed = c.owed[1:] // it has been replaced meanwhile
		}
		if c.owed[0] != p && !(c.cursor.conflate && m.hasNewer(c.owed[0])) {
			m.violation("a newcomer got %d, was to get %v", p, c.owed)
		}
		c.owed, c.known = c.owed[1:], p
		return
	}
	if c.known < 0 { // where it begins: at the head, or where it sees the end
		if _, certainly, newest := m.ended(c.topics); p != len(m.events) || certainly && !m.left(newest) {
			m.violation("a new client begins at %d; %v topics %v newest %d left %v", p, c.cursor.replay, c.topics, newest, m.left(newest))
		}
	} else if gap := m.missing(c, c.known, p-1); len(gap) > 0 || p < c.known {
		m.violation("silent gap %v before %d", gap, p)
	}
	c.known = p
}

// seeReset checks that there is a gap, and that it is as large as it is said.
func (m *model) seeReset(c *client, e ssegintest.Event) {
	m.resets++
	var reset Reset
	if err := json.Unmarshal([]byte(e.Data), &reset); err != nil {
		m.violation("%v: %s", err, e.Data)
	}
	lagged := len(c.owed) > 0 // in the midst of what it was to get as a newcomer
	c.owed = m.replay(c, c.cursor)
	given, want := c.owed, -1
	if c.known >= 0 && !lagged {
		want = len(slices.DeleteFunc(m.missing(c, c.known, len(m.events)), func(p int) bool { return slices.Contains(given, p) }))
		if len(m.gone(c, c.known)) == 0 {
			m.violation("%s although everything after %d is here", e.Data, c.known)
		}
	}
	if reset.Missed != want && !c.cursor.conflate && !lagged {
		m.violation("%s, want %d; %v known %d lastID %s topics %v given %v missing %v at %v gone %v", e.Data, want, c.cursor.replay, c.known, c.lastID, c.topics, given, m.missing(c, c.known, len(m.events)), e.ID, m.gone(c, c.known))
	}
	c.began = len(m.events)
	if len(c.owed) > 0 {
		if e.ID != c.lastID {
			m.violation("a reset before a replay has the ID %s", e.ID)
		}
		return
	}
	c.known = -1
	m.move(c, int(positionOf(e.ID)))
}

// checkIdle checks a client that has read everything.
func (m *model) checkIdle(c *client) {
	if c.peer == nil {
		return
	}
	if due := m.missing(c, c.known, len(m.events)); len(due) > 0 {
		m.violation("%v are still due after everything was read", due)
	}
	if _, certainly, _ := m.ended(c.topics); certainly {
		m.violation("not over, although all of %v have ended", c.topics)
	}
}

// cut ends a connection in the midst of what is written.
func (m *model) cut(c *client) {
	b := &batch{}
	c.feed.next(time.Now(), nil, b)
	m.see(c, func() []ssegintest.Event { return c.receive(b.data[:m.r.IntN(len(b.data)+1)]) })
	c.leave()
	c.peer = nil
}

func (m *model) disconnect() {
	topic := string("abcde"[m.r.IntN(5)])
	n := disconnect(m.t, m.hub, topic)
	for _, c := range m.clients {
		if c.peer == nil || !slices.Contains(c.topics, topic) {
			continue
		}
		n--
		if events := c.read(); len(events) > 0 || !c.gone || !errors.Is(c.over(), ErrDisconnected) {
			m.violation("%v after Disconnect", events)
		}
		c.peer = nil
	}
	if n != 0 {
		m.violation("Disconnect counted %d more than there were", n)
	}
}

// shutdown ends the hub: everyone gets what is due, and nobody anything more.
func (m *model) shutdown() {
	done := make(chan error, 1)
	go func() { done <- m.hub.Shutdown(m.t.Context()) }()
	synctest.Wait()
	if _, err := m.hub.Broadcast(m.t.Context(), say("late")); !errors.Is(err, ErrClosed) {
		m.violation("published after Shutdown: %v", err)
	}
	if _, err := dial(m.hub, &cursor{}, ""); !errors.Is(err, ErrClosed) {
		m.violation("joined after Shutdown: %v", err)
	}
	for _, c := range m.clients {
		if c.peer == nil {
			continue
		}
		m.see(c, c.read)
		if due := m.missing(c, c.known, len(m.events)); len(due) > 0 {
			m.violation("%v are still due after Shutdown", due)
		}
		if c.peer != nil {
			m.violation("not over after Shutdown")
			c.leave()
		}
	}
	if err := <-done; err != nil {
		m.violation("Shutdown: %v", err)
	}
}

func TestCheckOf_tellsEntriesApart(t *testing.T) {
	at := time.Unix(1, 1)
	base := Entry{Position: 1, Time: at, Topic: "t", Type: "y", Data: []byte("d")}
	seen := map[check]string{}
	for name, change := range map[string]func(*Entry){
		"nothing":             func(*Entry) {},
		"the time":            func(e *Entry) { e.Time = at.Add(1) },
		"the topic":           func(e *Entry) { e.Topic = "u" },
		"the type":            func(e *Entry) { e.Type = "z" },
		"the end":             func(e *Entry) { e.End = true },
		"the data":            func(e *Entry) { e.Data = []byte("e") },
		"what belongs where":  func(e *Entry) { e.Topic, e.Type = "ty", "" },
		"a message ID":        func(e *Entry) { e.MessageID = "m" },
		"another message ID":  func(e *Entry) { e.MessageID = "n" },
		"an empty data field": func(e *Entry) { e.Data = []byte{} },
	} {
		e := base
		change(&e)
		c := checkOf(&e)
		assert.Empty(t, seen[c], "%s looks like this", name)
		seen[c] = name
	}
	moved, known := base, Entry{MessageID: "m"}
	moved.Position = 2
	assert.Equal(t, checkOf(&base), checkOf(&moved), "the position is beside it")
	same := base
	same.MessageID = "m"
	assert.Equal(t, checkOf(&known), checkOf(&same), "of an entry with a message ID a publisher knows nothing else")
	same.MessageID, same.Time = "", at.UTC()
	assert.Equal(t, checkOf(&base), checkOf(&same), "every process reads the same moment")
}

func TestCheckOf_isNeverNothingAndFits(t *testing.T) {
	for n := range 10_000 {
		c := checkOf(&Entry{MessageID: fmt.Sprint(n)})
		require.NotZero(t, c)
		require.Less(t, c, check(1<<(5*checkLetters)))
	}
}

func TestMark_isWhatIsKnown(t *testing.T) {
	assert.True(t, mark{1, 5}.is(5))
	assert.False(t, mark{1, 5}.is(6))
	assert.True(t, mark{1, 0}.is(6))
	assert.True(t, mark{1, 5}.is(0))
}

func TestEpochOf_isAnEpochOfItsOwnForEachText(t *testing.T) {
	seen := map[string]bool{}
	for n := range 10_000 {
		epoch := epochOf(fmt.Sprint(n))
		require.False(t, seen[epoch])
		seen[epoch] = true
		_, _, ok := parseID(epoch + "-1")
		require.True(t, ok, epoch)
	}
	assert.True(t, seen[epochOf("7")], "always the same")
}
