package tests

import (
	"context"
	"iter"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin"
	"github.com/ssegin/ssegin/eventlog"
	"github.com/ssegin/ssegin/ssegintest"
)

// A heartbeat is due in each turn of a stream whose turns come seldom, because a crowd has
// its turns before. It goes on all the same.
func TestBothPaths_heartbeatsDoNotTakeTheTurnsOfWhatIsOlder(t *testing.T) {
	onBothPaths(t, func(t *testing.T, path ssegin.StreamOption) {
		hub, srv, ids := behind(t, ssegintest.NewLog(), 600, path, ssegin.WithHeartbeat(time.Nanosecond))
		s := open(t, srv, "?topic=x", withLastID(ids[0]))
		requireNumbers(t, s, 2, 600)
		s.Close()
		requireGone(t, hub)
	})
}

// Observer.CaughtUp is called also where the clock has not gone on meanwhile.
func TestWithLog_caughtUpIsToldHoweverShortItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := make(chan time.Duration, 10)
		n := start(t, ssegintest.NewLog(), ssegin.WithHistory(2, 0, 0), ssegin.WithObserver(ssegin.Observer{CaughtUp: func(after time.Duration) { told <- after }}))
		ids := n.fill(t, "x", 20)
		s := connect(t, n.srv, "?topic=x", withLastID(ids[5]))
		requireNumbers(t, s, 7, 20)
		synctest.Wait()
		assert.Len(t, told, 1)
	})
}

// A hesitant log is one in which reading a topic waits until it is allowed.
type hesitant struct {
	*ssegintest.Log
	asked   atomic.Int64
	allowed chan struct{}
}

func (l *hesitant) ReadTopic(ctx context.Context, topic string, after, until uint64, last int) iter.Seq2[eventlog.Entry, error] {
	return func(yield func(eventlog.Entry, error) bool) {
		l.asked.Add(1)
		select {
		case <-l.allowed:
		case <-ctx.Done():
			yield(eventlog.Entry{}, context.Cause(ctx))
			return
		}
		l.Log.ReadTopic(ctx, topic, after, until, last)(yield)
	}
}

// A stream that ends while what its client gets after a gap is being read says nothing that
// has an ID, but when to come back, as all do that are sent away.
func TestBothPaths_whoIsSentAwayBeforeItsResetIsToldWhenToComeBack(t *testing.T) {
	onBothPaths(t, func(t *testing.T, path ssegin.StreamOption) {
		log := &hesitant{Log: ssegintest.NewLog(), allowed: make(chan struct{})}
		hub, srv, ids := behind(t, log, 20, path, ssegin.WithReplay(ssegin.ReplayEach(5)), ssegin.WithRetry(time.Hour))
		hole, err := strconv.ParseUint(strings.Split(ids[10], "-")[1], 10, 64)
		require.NoError(t, err)
		log.Delete(hole)
		s := open(t, srv, "?topic=x", withLastID(ids[5]))
		before, _ := s.Retry()
		requireNumbers(t, s, 7, 10)
		require.Eventually(t, func() bool { return log.asked.Load() > 0 }, patience, time.Millisecond)
		assert.NoError(t, hub.Shutdown(t.Context()))
		requireEnd(t, s)
		retry, _ := s.Retry()
		assert.NotEqual(t, before, retry)
		assert.Equal(t, ids[9], s.LastEventID())
	})
}
