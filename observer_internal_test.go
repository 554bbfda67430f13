package ssegin

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestObserver_isToldWhatTheHubDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []string
		tell := func(format string, args ...any) { told = append(told, fmt.Sprintf(format, args...)) }
		h := NewHub(WithHistory(2, 0, 0), WithObserver(Observer{
			Published: func(topic string, bytes int) { tell("published %q %d", topic, bytes) },
			Opened:    func(resumed bool, reset Reset) { tell("opened %t %v", resumed, reset) },
			Delivered: func(events, bytes int, lag time.Duration) { tell("delivered %d %d %v", events, bytes, lag) },
			Lagged:    func(reset Reset) { tell("lagged %v", reset) },
		}))
		p := connect(t, h, "", "a")
		h.Publish(t.Context(), "a", say("x"))
		time.Sleep(time.Second)
		id, err := h.Broadcast(t.Context(), say("y"))
		require.NoError(t, err)
		time.Sleep(time.Second)
		p.read()
		connect(t, h, id)
		connect(t, h, "nonsense")
		h.Broadcast(t.Context(), Event{Type: "\n"}) // refused: nothing to tell
		for range 3 {
			h.Publish(t.Context(), "a", say("z"))
		}
		p.read()
		time.Sleep(defaultHeartbeat)
		p.read() // a heartbeat is no event

		block := len("data: x\n")
		delivered := 2 * (block + len("id: -1\n\n") + epochLetters)
		assert.Equal(t, strings.Split(fmt.Sprintf(`opened false { 0}
published "a" %[1]d
published "" %[1]d
delivered 2 %[2]d 2s
opened true { 0}
opened false {invalid -1}
published "a" %[1]d
published "a" %[1]d
published "a" %[1]d
lagged {lagged 3}`, block, delivered), "\n"), told)
	})
}

func TestObserver_hooksMayBeNil(t *testing.T) {
	var o Observer
	assert.NotPanics(t, func() {
		o.published("a", 1)
		o.opened(true, Reset{})
		o.refused(ErrClosed)
		o.delivered(&batch{events: 1, reset: Reset{ReasonLagged, 1}})
		o.closed(context.Canceled, time.Second)
	})
}

// The lag of each event takes a look at the clock, which nobody pays for
// without an Observer.
func TestObserver_lagIsMeasuredForAnObserverOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub()
		p := connect(t, h, "")
		h.Broadcast(t.Context(), say("x"))
		time.Sleep(time.Second)
		b := &batch{}
		p.feed.next(time.Now(), nil, b)
		assert.Zero(t, b.lag)
	})
}

func TestStats_areTheFiguresOfThisMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub(WithHistory(4, 0, 0))
		assert.Equal(t, Stats{}, h.Stats())

		quick, slow, quiet := connect(t, h, "", "a"), connect(t, h, "", "a"), connect(t, h, "", "q")
		back := connect(t, h, "nonsense", "z")
		for topic := range strings.SplitSeq("aaab", "") {
			_, err := h.Publish(t.Context(), topic, say("x"))
			require.NoError(t, err)
			time.Sleep(time.Second)
		}
		require.Len(t, quick.read(), 3)
		quiet.read()
		frame := len("data: x\nid: -1\n\n") + epochLetters
		want := Stats{
			Streams: 4, Topics: 4, // a, q, z, and b because of its event
			Published: 4, Delivered: 3, Bytes: uint64(3 * frame), Resets: 1,
			HistoryEvents: 4, HistoryBytes: h.timeline.memory.bytes, Reach: 4 * time.Second, // nothing has left
			Behind: 1, Lag: 4 * time.Second,
		}
		assert.Equal(t, want, h.Stats())
		assert.Greater(t, want.HistoryBytes, 4*(frame+eventCost))

		require.Len(t, slow.read(), 3)
		slow.leave()
		back.leave()
		want.Streams, want.Topics = 2, 3
		want.Delivered, want.Bytes = 6, uint64(6*frame)
		want.Behind, want.Lag = 0, 0
		assert.Equal(t, want, h.Stats())

		quick.leave()
		quiet.leave()
		require.NoError(t, h.Shutdown(t.Context()))
		want.Streams, want.Topics, want.Closed = 0, 2, true
		assert.Equal(t, want, h.Stats())
	})
}

func TestStats_lagIsThatOfTheSlowestStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub()
		peers := []*peer{connect(t, h, ""), connect(t, h, ""), connect(t, h, "")}
		reads := []int{2, 0, 3} // how many events each of them takes
		for n := range 4 {
			h.Broadcast(t.Context(), say("x"))
			time.Sleep(time.Second)
			for i, p := range peers {
				if n < reads[i] {
					p.read()
				}
			}
		}
		assert.Equal(t, 3, h.Stats().Behind)
		assert.Equal(t, 4*time.Second, h.Stats().Lag)
	})
}

// The place of a stream that lags beyond the history is no event any more.
func TestStats_lagOfAStreamBeyondTheHistoryIsTheAgeOfTheOldestEventLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub(WithHistory(5, 0, 0))
		p := connect(t, h, "", "a", "b")
		for n := range 23 {
			_, err := h.Publish(t.Context(), []string{"a", "b", "c"}[n%3], say("x"))
			require.NoError(t, err)
			time.Sleep(time.Second)
			s := h.Stats()
			require.Equal(t, 1, s.Behind)
			first := max(1, n+1-5+1) // the oldest event in the history
			if first%3 == 0 {        // is for others,
				first++ // and the next one is not
			}
			require.Equal(t, time.Duration(n+1-first+1)*time.Second, s.Lag, "after %d events", n+1)
		}
		require.Equal(t, ReasonLagged, reasonOf(t, p))
	})
}

// reasonOf reads the reset that is due to p.
func reasonOf(t *testing.T, p *peer) Reason {
	t.Helper()
	b := &batch{}
	p.feed.next(time.Now(), nil, b)
	return b.reset.Reason
}
