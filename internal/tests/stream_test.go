package tests

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin"
	"github.com/ssegin/ssegin/ssegintest"
)

func TestStream_beatsOnlyWhenItHasBeenIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := ssegin.NewHub()
		srv := serve(t, route(ssegin.Handler(hub)))
		s := connect(t, srv, "")
		start := time.Now()
		for range 20 { // five minutes of events, each a second before a heartbeat is due
			time.Sleep(14 * time.Second)
			broadcast(t, hub, "tick")
			assert.Equal(t, "tick", next(t, s).Data)
		}
		assert.Zero(t, s.Comments(), "no heartbeat where there are events")
		busy := time.Since(start)
		for i := range 4 {
			b := nextBlock(t, s)
			assert.Equal(t, ssegintest.Block{Comments: []string{""}, LastEventID: s.LastEventID()}, b)
			assert.Equal(t, busy+time.Duration(i+1)*15*time.Second, time.Since(start))
		}
	})
}

func TestWithHeartbeat_zeroTurnsThemOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := ssegin.NewHub()
		srv := serve(t, route(ssegin.Handler(hub, ssegin.WithHeartbeat(0))))
		s := connect(t, srv, "")
		requireSilence(t, s, 24*time.Hour)
		broadcast(t, hub, "still here")
		assert.Equal(t, "still here", next(t, s).Data)
	})
}

func TestOnConnect_sendsASnapshotThatEveryLaterEventFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := ssegin.NewHub()
		srv := serve(t, route(ssegin.Handler(hub, ssegin.OnConnect(func(c *gin.Context, s *ssegin.Stream) error {
			broadcast(t, hub, "published while the snapshot is made")
			return s.Send(ssegin.Event{Type: "snapshot", Data: c.Query("who")})
		}))))
		s := connect(t, srv, "?who=me")
		assert.Equal(t, ssegintest.Event{ID: s.LastEventID(), Type: "snapshot", Data: "me"}, next(t, s))
		assert.Equal(t, "published while the snapshot is made", next(t, s).Data)
	})
}

func TestWithMaxAge_endsTheStreamAndItGoesOnElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := ssegin.NewHub()
		srv := serve(t, route(ssegin.Handler(hub, ssegin.WithMaxAge(time.Hour), ssegin.WithBatch(time.Minute))))
		start := time.Now()
		s := connect(t, srv, "")
		time.Sleep(time.Hour - time.Second)
		broadcast(t, hub, "due before the end")
		assert.Equal(t, "due before the end", next(t, s).Data)
		assert.Empty(t, requireEnd(t, s), "no block without data")
		assert.Equal(t, time.Hour, time.Since(start))
		retry, _ := s.Retry()
		assert.Greater(t, retry, 2*time.Second, "a reconnection time of its own")
		assert.Less(t, retry, 4*time.Second)
		broadcast(t, hub, "missed")
		resume(t, s)
		assert.Equal(t, "missed", next(t, s).Data)
	})
}

func TestWithBatch_waitsSoLongForMoreAndNoLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var writes []int
		hub := ssegin.NewHub(ssegin.WithObserver(ssegin.Observer{
			Delivered: func(events, _ int, lag time.Duration) {
				writes = append(writes, events)
				assert.LessOrEqual(t, lag, 100*time.Millisecond)
			},
		}))
		srv := serve(t, route(ssegin.Handler(hub, ssegin.WithBatch(100*time.Millisecond))))
		s := connect(t, srv, "")
		for range 3 {
			start := time.Now()
			for range 20 { // one every 10 ms, for 200 ms
				broadcast(t, hub, "x")
				time.Sleep(10 * time.Millisecond)
			}
			nextData(t, s, 20)
			assert.LessOrEqual(t, time.Since(start), 300*time.Millisecond)
			time.Sleep(20 * time.Second)
		}
		assert.Len(t, writes, 6, "two writes for each 200 ms: %v", writes)
	})
}

func TestWithConflation_givesOnlyTheNewestOfEachTopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := ssegin.NewHub(ssegin.WithHistory(8, 0, 0))
		srv := serve(t, route(ssegin.Handler(hub, withTopics(), ssegin.WithConflation(), ssegin.WithBatch(time.Second))))
		s := connect(t, srv, "?topic=EUR&topic=USD")
		for round := range 3 {
			for i := range 100 { // far more than the history holds
				publish(t, hub, "USD", fmt.Sprintf("USD %d.%d", round, i))
				publish(t, hub, "EUR", fmt.Sprintf("EUR %d.%d", round, i))
			}
			broadcast(t, hub, fmt.Sprint("all ", round))
			assert.Equal(t, []string{fmt.Sprintf("USD %d.99", round), fmt.Sprintf("EUR %d.99", round), fmt.Sprint("all ", round)},
				nextData(t, s, 3))
			requireSilence(t, s, 5*time.Second)
		}
	})
}

func TestStream_endsWithItsTopicsAndIsNotOpenedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := ssegin.NewHub()
		srv := serve(t, route(ssegin.Handler(hub, withTopics())))
		both := connect(t, srv, "?topic=job:1&topic=job:2")
		one := connect(t, srv, "?topic=job:1")
		late := connect(t, srv, "?topic=job:1")
		late.Cut()
		publish(t, hub, "job:1", "90 %")
		_, err := hub.End(t.Context(), "job:1", ssegin.Event{Data: "done 1"})
		require.NoError(t, err)
		assert.Equal(t, []string{"90 %", "done 1"}, nextData(t, one, 2))
		requireEnd(t, one)
		assert.Equal(t, []string{"90 %", "done 1"}, nextData(t, both, 2))
		requireSilence(t, both, 10*time.Second)
		_, err = hub.End(t.Context(), "job:2", ssegin.Event{Data: "done 2"})
		require.NoError(t, err)
		assert.Equal(t, "done 2", next(t, both).Data)
		requireEnd(t, both)

		for _, s := range []*ssegintest.Stream{one, both} {
			require.NoError(t, s.Resume(t.Context()))
			assert.Equal(t, 204, s.Response().StatusCode, "there is nothing to come back for")
		}
		resume(t, late) // an older ID: first what it missed
		assert.Equal(t, []string{"90 %", "done 1"}, nextData(t, late, 2))
		requireEnd(t, late)
		require.NoError(t, late.Resume(t.Context()))
		assert.Equal(t, 204, late.Response().StatusCode)
	})
}

func TestStreamEnd_completesAStreamOfTheHandlersOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		srv := serve(t, route(ssegin.Middleware(), func(c *gin.Context) {
			calls++
			s := ssegin.From(c)
			if err := s.Send(ssegin.Event{ID: "7", Data: "token"}); err == nil {
				require.NoError(t, s.End(ssegin.Event{}))
			}
			assert.ErrorIs(t, s.Send(ssegin.Event{Data: "after the end"}), ssegin.ErrEnded)
			assert.Equal(t, ssegin.ErrEnded, context.Cause(s.Context()))
			if calls == 2 {
				assert.Equal(t, "ssegin.end", s.LastEventID())
			}
		}))
		s := request(t, srv, "")
		assert.Equal(t, ssegintest.Event{ID: "7", Type: "message", Data: "token"}, next(t, s))
		assert.Len(t, requireEnd(t, s), 1, "an ID that says so, and no event")
		require.NoError(t, s.Resume(t.Context()))
		assert.Equal(t, 204, s.Response().StatusCode)
		assert.Equal(t, 2, calls, "the handler is asked again, because nobody else knows whether it is to stream")
	})
}

func TestStreamContext_endsWithTheStreamAndSaysWhy(t *testing.T) {
	for name, test := range map[string]struct {
		end   func(*ssegin.Hub, *ssegintest.Stream)
		cause error
	}{
		"client left, FIN": {func(_ *ssegin.Hub, s *ssegintest.Stream) { s.Disconnect() }, context.Canceled},
		"client left, RST": {func(_ *ssegin.Hub, s *ssegintest.Stream) { s.Cut() }, context.Canceled},
		"Shutdown":         {func(h *ssegin.Hub, _ *ssegintest.Stream) { _ = h.Shutdown(context.Background()) }, ssegin.ErrShutdown},
		"Disconnect":       {func(h *ssegin.Hub, _ *ssegintest.Stream) { _, _ = h.Disconnect(context.Background(), "a") }, ssegin.ErrDisconnected},
		"max age":          {func(*ssegin.Hub, *ssegintest.Stream) { time.Sleep(time.Hour) }, ssegin.ErrMaxAge},
		"topic ended":      {func(h *ssegin.Hub, _ *ssegintest.Stream) { _, _ = h.End(context.Background(), "a", ssegin.Event{}) }, ssegin.ErrEnded},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var over *ssegin.Stream
				var observed error
				hub := ssegin.NewHub(ssegin.WithObserver(ssegin.Observer{Closed: func(cause error, _ time.Duration) { observed = cause }}))
				var during context.Context
				srv := serve(t, route(ssegin.Handler(hub, withTopics(), ssegin.WithMaxAge(time.Hour),
					ssegin.OnConnect(func(_ *gin.Context, s *ssegin.Stream) error { during = s.Context(); return during.Err() }),
					ssegin.OnDisconnect(func(s *ssegin.Stream) {
						assert.Nil(t, over, "once")
						assert.Zero(t, hub.Stats().Streams, "it has left")
						over = s
					}))))
				s := connect(t, srv, "?topic=a")
				test.end(hub, s)
				synctest.Wait()
				require.NotNil(t, over)
				assert.Equal(t, test.cause, context.Cause(over.Context()))
				assert.Equal(t, test.cause, context.Cause(during))
				assert.Equal(t, test.cause, observed)
				err := over.Send(ssegin.Event{Data: "x"})
				assert.ErrorIs(t, err, ssegin.ErrClosed)
				assert.ErrorIs(t, err, test.cause)
				assert.ErrorIs(t, over.Comment(""), ssegin.ErrClosed)
				assert.ErrorIs(t, over.End(ssegin.Event{}), ssegin.ErrClosed)
			})
		})
	}
}

func TestStreamSend_refusesWhatCannotBeSentAndSendsNothingOfIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := ssegin.NewHub(ssegin.WithMaxEventBytes(1000))
		onHub := func(_ *gin.Context, s *ssegin.Stream) error {
			assert.ErrorIs(t, s.Send(ssegin.Event{ID: "1", Data: "x"}), ssegin.ErrInvalidEvent, "IDs are the hub's here")
			assert.ErrorIs(t, s.Send(ssegin.Event{Data: strings.Repeat("\n", 500)}), ssegin.ErrTooLarge)
			return s.Send(ssegin.Event{Data: "good"})
		}
		r := gin.New()
		r.GET("/events", ssegin.Handler(hub, ssegin.OnConnect(onHub)))
		r.GET("/own", ssegin.Middleware(), func(c *gin.Context) {
			s := ssegin.From(c)
			assert.Equal(t, "last \xff", s.LastEventID(), "as it comes from the client")
			for _, e := range []ssegin.Event{
				{Type: "a\nb"},
				{ID: "a\rb"},
				{ID: "a\x00b"},
				{Type: "\xff"},
				{Data: "\xff"},
				{Data: []byte{0xc0}},
				{Retry: -1},
				{Type: "ssegin.reset"},
				{Data: func() {}},
				{Data: errJSON{}},
			} {
				assert.ErrorIs(t, s.Send(e), ssegin.ErrInvalidEvent, "%+v", e)
			}
			for _, text := range []string{"a\nb", "a\rb", "\x00", "\xff"} {
				assert.ErrorIs(t, s.Comment(text), ssegin.ErrInvalidEvent)
			}
			assert.ErrorIs(t, s.Send(ssegin.Event{Data: strings.Repeat("x", 1<<20)}), ssegin.ErrTooLarge)
			assert.False(t, c.Writer.Written(), "and the response has not begun")
			assert.NoError(t, s.Comment("a: comment"))
		})
		srv := serve(t, r)
		s := connect(t, srv, "")
		assert.Equal(t, "good", next(t, s).Data)
		_, body := get(t, srv, http.MethodGet, "/own", "Last-Event-ID", "last \xff")
		assert.Equal(t, ": a: comment\n", body)
	})
}

// errJSON writes half of itself before it fails.
type errJSON struct{}

func (errJSON) MarshalJSON() ([]byte, error) { return []byte(`{"half":`), errors.New("half way") }

func TestStreamSend_mayBeCalledFromAnyGoroutineWhileTheHubSends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := ssegin.NewHub()
		streams := make(chan *ssegin.Stream, 1)
		srv := serve(t, route(ssegin.Handler(hub, ssegin.OnConnect(func(_ *gin.Context, s *ssegin.Stream) error {
			streams <- s
			return nil
		}))))
		client := connect(t, srv, "")
		s := await(t, streams)
		const n = 500
		send := func(kind string, send func(ssegin.Event) error) {
			for i := range n {
				require.NoError(t, send(ssegin.Event{Type: kind, Data: fmt.Sprintf("%d\n%s", i, kind)}))
			}
		}
		go send("own", s.Send)
		go send("other", s.Send)
		go send("hub", func(e ssegin.Event) error { _, err := hub.Broadcast(t.Context(), e); return err })
		counts := map[string]int{}
		for range 3 * n {
			e := next(t, client)
			assert.Equal(t, fmt.Sprintf("%d\n%s", counts[e.Type], e.Type), e.Data, "whole, and in order")
			counts[e.Type]++
		}
		client.Disconnect()
		synctest.Wait()
		assert.ErrorIs(t, s.Send(ssegin.Event{}), ssegin.ErrClosed)
	})
}

// Positions are counted and not taken from the clock, and what has to do with
// time follows the monotonic clock: an expiry of the wall clock is turned into
// that as the stream opens.
func TestStream_doesNotDependOnTheWallClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := ssegin.NewHub(ssegin.WithHistory(0, 0, time.Hour))
		start := time.Now()
		srv := serve(t, route(ssegin.Handler(hub, ssegin.WithExpiry(func(*gin.Context) time.Time {
			return time.UnixMilli(start.Add(30 * time.Minute).UnixMilli())
		}))))
		s := connect(t, srv, "")
		var events []ssegintest.Event
		for range 10 { // some in the same instant, some far apart
			broadcast(t, hub, "x")
			broadcast(t, hub, "x")
			events = append(events, next(t, s), next(t, s))
			time.Sleep(time.Minute)
		}
		epoch, _, _ := strings.Cut(events[0].ID, "-")
		for i, e := range events {
			assert.Equal(t, fmt.Sprintf("%s-%d", epoch, i+1), e.ID)
		}
		_, err := s.Next(t.Context())
		assert.Equal(t, io.EOF, err)
		t.Logf("the end came %v late", time.Since(start)-30*time.Minute)
		assert.Equal(t, 30*time.Minute, time.Since(start))
	})
}
