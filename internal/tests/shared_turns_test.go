package tests

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/ssegin/ssegin"
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
