package tests

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin"
	"github.com/ssegin/ssegin/ssegintest"
)

func TestStream_carriesTheCursorOfAQuietStreamForward(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := ssegin.NewHub(ssegin.WithHistory(10, 0, 0))
		srv := serve(t, route(ssegin.Handler(hub, withTopics())))
		quiet := connect(t, srv, "?topic=quiet")
		for range 50 { // events of others push everything else out of the history
			publish(t, hub, "busy", "x")
		}
		b := nextBlock(t, quiet)
		require.Len(t, b.Fields, 3, "a bookmark in place of the heartbeat")
		assert.Equal(t, ssegintest.Field{Name: "event", Value: "ssegin.cursor"}, b.Fields[0], "some browsers take over no ID but an event's")
		assert.Equal(t, "data", b.Fields[1].Name)
		assert.Equal(t, "id", b.Fields[2].Name)
		assert.Empty(t, nextBlock(t, quiet).Fields, "and a comment where nothing has moved")

		quiet.Cut()
		for range 9 {
			publish(t, hub, "busy", "x")
		}
		publish(t, hub, "quiet", "at last")
		resume(t, quiet)
		assert.Equal(t, "at last", next(t, quiet).Data, "it has not expired")
	})
}

func TestHandler_returnsOnlyWhatWasMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := ssegin.NewHub()
		srv := serve(t, route(ssegin.Handler(hub, withTopics())))
		const n = 50
		var ids []string
		for i := range n {
			ids = append(ids, publish(t, hub, "a", i))
			publish(t, hub, "b", "not for you")
		}
		duplicated, missing := 0, 0
		for i, id := range ids {
			s := request(t, srv, "?topic=a", ssegintest.WithLastEventID(id))
			for k := i + 1; k < n; k++ {
				if e := next(t, s); e.Data != fmt.Sprint(k) || e.ID != ids[k] {
					missing++
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if _, err := s.Next(ctx); err == nil {
				duplicated++
			}
			cancel()
			s.Close()
		}
		t.Logf("resume in the middle and up to date: dup %d, missing %d", duplicated, missing)
		assert.Zero(t, duplicated+missing)
	})
}

func TestHandler_tellsOfEveryGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var snapshots []ssegin.Reset
		snapshot := ssegin.OnReset(func(s *ssegin.Stream, reset ssegin.Reset) {
			snapshots = append(snapshots, reset)
			require.NoError(t, s.Send(ssegin.Event{Type: "snapshot", Data: reset}))
		})
		old := ssegin.NewHub()
		broadcast(t, old, "x")
		idOfOld := broadcast(t, old, "x")

		hub := ssegin.NewHub(ssegin.WithHistory(10, 0, 0)) // after a restart, say
		srv := serve(t, route(ssegin.Handler(hub, withTopics(), snapshot)))
		first := publish(t, hub, "a", 1)
		for i := 2; i <= 20; i++ {
			publish(t, hub, map[int]string{0: "a", 1: "b"}[i%2], i)
		}
		newest := publish(t, hub, "b", "newest")
		silent := 0
		for _, test := range []struct{ id, reset string }{
			{first, `{"reason":"expired","missed":10}`}, // all of a's: after a reset a stream goes on live
			{idOfOld, `{"reason":"epoch","missed":-1}`},
			{"x", `{"reason":"invalid","missed":-1}`},
		} {
			reset := test.reset
			s := request(t, srv, "?topic=a", ssegintest.WithLastEventID(test.id))
			e := next(t, s)
			if e.Type != "ssegin.reset" || e.Data != reset {
				silent++
			}
			assert.Equal(t, ssegintest.Event{ID: newest, Type: "ssegin.reset", Data: reset}, e)
			assert.Equal(t, ssegintest.Event{ID: newest, Type: "snapshot", Data: reset}, next(t, s))
			publish(t, hub, "a", "live")
			assert.Equal(t, "live", next(t, s).Data)
			newest = s.LastEventID()
			s.Close()
		}
		t.Logf("an ID that left the history, a restart, an ID of nobody: silent %d", silent)
		assert.Zero(t, silent)
		assert.Len(t, snapshots, 3)
		assert.EqualValues(t, 3, hub.Stats().Resets)
	})
}

func TestStream_thatIsTooSlowForTheHistoryIsToldSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := ssegin.NewHub(ssegin.WithHistory(100, 0, 0))
		var resets []ssegin.Reset
		srv := serve(t, route(ssegin.Handler(hub, ssegin.OnReset(func(s *ssegin.Stream, reset ssegin.Reset) {
			resets = append(resets, reset)
			_ = s.Send(ssegin.Event{Data: "snapshot"})
		}))), ssegintest.WithBuffer(1<<10))
		slow := connect(t, srv, "")
		const n = 1000
		for i := range n {
			broadcast(t, hub, fmt.Sprintf("%d %s", i, strings.Repeat("x", 200)))
			if i%50 == 0 {
				synctest.Wait()
			}
		}
		got, last := 0, ""
		for {
			e := next(t, slow)
			if e.Type == "ssegin.reset" {
				break
			}
			assert.True(t, strings.HasPrefix(e.Data, fmt.Sprint(got, " ")), "in order until the gap")
			got, last = got+1, e.ID
		}
		assert.Equal(t, "snapshot", next(t, slow).Data)
		require.Len(t, resets, 1)
		assert.Equal(t, ssegin.Reset{Reason: ssegin.ReasonLagged, Missed: n - got}, resets[0])
		id := broadcast(t, hub, "live")
		assert.Equal(t, ssegintest.Event{ID: id, Type: "message", Data: "live"}, next(t, slow))

		slow.Close() // whoever comes with the last ID before the gap hears the same
		again := request(t, srv, "", ssegintest.WithLastEventID(last))
		assert.Equal(t, fmt.Sprintf(`{"reason":"expired","missed":%d}`, n-got+1), next(t, again).Data)
	})
}
