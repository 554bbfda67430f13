package natslog

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin/eventlog"
)

func readTopic(t testing.TB, l *Log, topic string, after, until uint64, last int) (entries []eventlog.Entry) {
	t.Helper()
	for e, err := range l.ReadTopic(t.Context(), topic, after, until, last) {
		require.NoError(t, err)
		entries = append(entries, e)
	}
	return entries
}

// Newcomers ask for the newest of many topics: each costs as little as can be,
// however long the log is.
func TestReadTopic_makesFewRequests(t *testing.T) {
	l := newEngine(t).log()
	start := fill(t, l, 5000, []byte("x"))
	head := start + 5000
	for i := range 20 {
		_, err := l.Append(t.Context(), eventlog.Entry{Topic: "rare", Data: []byte("x"), MessageID: fmt.Sprint("rare", i)})
		require.NoError(t, err)
		if i%5 == 4 {
			head = fill(t, l, 1000, []byte("x")) + 1000
		}
	}
	requests := func(f func()) uint64 {
		before := l.nc.Stats().OutMsgs
		f()
		return l.nc.Stats().OutMsgs - before
	}
	for _, c := range []struct{ last, want, most int }{{1, 1, 1}, {20, 20, 10}, {100, 20, 10}, {0, 20, 4}} {
		n := requests(func() { assert.Len(t, readTopic(t, l, "rare", 0, head, c.last), c.want) })
		t.Logf("the last %d of a rare topic: %d messages to the server", c.last, n)
		assert.LessOrEqual(t, n, uint64(c.most), "the last %d", c.last)
	}
}
