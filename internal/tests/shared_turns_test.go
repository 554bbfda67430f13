package tests

import (
	"testing"
	"time"

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
