package redislog_test

import (
	"errors"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin/eventlog"
	"github.com/ssegin/ssegin/redislog"
)

// of returns an entry of that topic.
func of(topic string) eventlog.Entry {
	e := entry()
	e.Topic = topic
	return e
}

func appendEntry(t testing.TB, l eventlog.Log, e eventlog.Entry) uint64 {
	t.Helper()
	r, err := l.Append(t.Context(), e)
	require.NoError(t, err)
	return r.Position
}

// stands returns the position of the newest entry of a topic, by a condition that
// is never met.
func stands(t testing.TB, l eventlog.Log, topic string) uint64 {
	t.Helper()
	_, err := l.AppendIf(t.Context(), of(topic), eventlog.Receipt{Position: 1 << 50})
	conflict, ok := errors.AsType[*eventlog.ConflictError](err)
	require.True(t, ok, "%v", err)
	return conflict.Newest.Position
}

// What is remembered of topics is bounded by what the log holds, however many
// there were, and is right at any time.
func TestTopics_areRememberedAsLongAsTheirEntries(t *testing.T) {
	t.Parallel()
	const most, live = 500, 3
	l := open(startServer(t), redislog.Config{MaxEntries: most})
	size := func() int64 {
		return l.client.HLen(t.Context(), l.key("topics")).Val() + l.client.HLen(t.Context(), l.key("topics.before")).Val()
	}
	var largest int64
	old, at := uint64(0), []uint64{}
	for i := range 5000 {
		at = append(at, appendEntry(t, l, of("topic "+strconv.Itoa(i))))
		largest = max(largest, size())
		if i%100 != 99 {
			continue
		}
		first := bounds(t, l).First
		for _, back := range []int{0, 1, most - 1, most, most + 1, 2 * most, 4 * most} {
			if back > i {
				continue
			}
			want := at[i-back]
			if want < first {
				want = 0
			}
			require.Equal(t, want, stands(t, l, "topic "+strconv.Itoa(i-back)), "%d after %d", back, i)
		}
		// A topic that is written to again and again, seldom.
		r, err := l.AppendIf(t.Context(), of("seldom"), eventlog.Receipt{Position: old})
		require.NoError(t, err)
		old = r.Position
	}
	t.Logf("at most %d topics were remembered, of a log of %d entries", largest, most)
	assert.LessOrEqual(t, largest, int64(2*most+2*256))
}

// A program that appends with a script from before topics were remembered shares
// the log while it is replaced, and what it has written counts.
func TestTopics_ofAnOlderScript(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/log.first.lua")
	require.NoError(t, err)
	l := open(startServer(t), redislog.Config{MaxEntries: 1000})
	older := func(topic string) uint64 {
		position, err := l.client.Eval(t.Context(), string(text), l.keys()[:4], "append", "", 1000, 0, 0, 0, "topic", topic, "data", "x").Int64()
		require.NoError(t, err)
		return uint64(position)
	}
	a := older("a")
	for range 200 {
		older("other")
	}
	assert.Equal(t, a, stands(t, l, "a"), "all is from the older script")
	assert.Zero(t, stands(t, l, "none"))
	r, err := l.AppendIf(t.Context(), of("a"), eventlog.Receipt{Position: a})
	require.NoError(t, err)
	assert.Equal(t, r.Position, stands(t, l, "a"))

	b := older("b") // in turn
	assert.Equal(t, r.Position, stands(t, l, "a"))
	assert.Equal(t, b, stands(t, l, "b"))
	a = older("a")
	assert.Equal(t, a, stands(t, l, "a"))
	c := appendEntry(t, l, of("c"))
	assert.Equal(t, c, stands(t, l, "c"))
	assert.Equal(t, a, stands(t, l, "a"))
	assert.Equal(t, b, stands(t, l, "b"))
	a = older("a")
	appendEntry(t, l, of("c"))
	assert.Equal(t, a, stands(t, l, "a"))
	_, err = l.AppendIf(t.Context(), of("c"), eventlog.Receipt{Position: c})
	require.Error(t, err)
}

// What is remembered of topics stays right when other keys are deleted by hand.
func TestTopics_keysThatAreChangedByHand(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"ids", "meta", "log"} {
		l := open(startServer(t), redislog.Config{})
		var want uint64
		for i := range 600 {
			e := of("topic " + strconv.Itoa(i))
			if i%200 == 7 {
				e.Topic = "x"
			}
			if position := appendEntry(t, l, e); e.Topic == "x" {
				want = position
			}
		}
		require.Equal(t, want, stands(t, l, "x"))
		require.NoError(t, l.client.Del(t.Context(), l.key(key)).Err())
		if key == "log" {
			want = 0
		}
		assert.Equal(t, want, stands(t, l, "x"), key)
		position := appendEntry(t, l, of("x"))
		assert.Equal(t, position, stands(t, l, "x"), key)
	}
}
