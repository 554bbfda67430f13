package ssegin

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

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
			HistoryEvents: 4, HistoryBytes: 4 * frame,
			Behind: 1, Lag: 4 * time.Second,
		}
		assert.Equal(t, want, h.Stats())

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
