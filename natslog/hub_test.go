package natslog

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin"
	"github.com/ssegin/ssegin/ssegintest"
)

// startHub returns a hub on a log of that server, as one of several processes
// has it, and the address of its streams.
func startHub(t *testing.T, e *engine) (hub *ssegin.Hub, url string) {
	t.Helper()
	gin.SetMode(gin.TestMode)
	hub = ssegin.NewHub(
		ssegin.WithLog(openLog(t, connect(t, e.server.URL()), Config{Stream: "hub"})),
		ssegin.WithLogger(slog.New(slog.DiscardHandler)))
	router := gin.New()
	router.GET("/events", ssegin.Handler(hub))
	srv := httptest.NewServer(router)
	t.Cleanup(func() {
		assert.NoError(t, hub.Shutdown(context.Background()))
		srv.Close()
	})
	return hub, srv.URL + "/events"
}

// insist publishes until that is known to have worked, or the test is over.
func insist(t *testing.T, hub *ssegin.Hub, data string) {
	t.Helper()
	for t.Context().Err() == nil {
		if _, err := hub.Broadcast(t.Context(), ssegin.Event{Data: data, MessageID: "m" + data}); err == nil {
			return
		}
		<-time.After(time.Millisecond)
	}
}

func openStream(t *testing.T, url, lastID string) *ssegintest.Stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var s *ssegintest.Stream
	require.Eventually(t, func() (ok bool) { // while the log is away it is told to come back
		var err error
		s, err = ssegintest.Connect(ctx, url, ssegintest.WithLastEventID(lastID))
		if err == nil {
			_, err = s.NextBlock(ctx)
		}
		return err == nil
	}, patience, 10*time.Millisecond)
	t.Cleanup(func() { s.Close() })
	return s
}

func nextOf(t *testing.T, s *ssegintest.Stream) ssegintest.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	e, err := s.Next(ctx)
	require.NoError(t, err)
	return e
}

// The server stops and starts again, over and over. Those who stay see every
// event once, and so does one who goes from hub to hub.
func TestHub_losesNothingWhenTheServerStops(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	a, urlA := startHub(t, e)
	b, urlB := startHub(t, e)
	urls := []string{urlA, urlB}
	stays := []*ssegintest.Stream{openStream(t, urlA, ""), openStream(t, urlB, "")}
	roaming := openStream(t, urlA, "")
	const events, stops = 300, 5
	var publisher sync.WaitGroup
	t.Cleanup(publisher.Wait)
	publisher.Go(func() {
		for n := range events {
			insist(t, []*ssegin.Hub{a, b}[n%2], strconv.Itoa(n+1))
		}
	})
	for n := range events {
		want := strconv.Itoa(n + 1)
		for _, stream := range append(stays, roaming) {
			got := nextOf(t, stream)
			require.Equal(t, "message "+want, got.Type+" "+got.Data)
		}
		if n%(events/stops) == events/stops/2 {
			e.stop()
			e.start()
		}
		if n%10 == 0 {
			roaming.Cut()
			roaming = openStream(t, urls[n/10%2], roaming.LastEventID())
		}
	}
	t.Logf("stops %d, events %d, resets %d", stops, events, a.Stats().Resets+b.Stats().Resets)
	assert.Zero(t, a.Stats().Resets+b.Stats().Resets)
}

// Whatever makes the log another one is told, to those who are there and to
// those who come back.
func TestHub_tellsWhenTheLogIsAnotherOne(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"deleted and made anew", "rolled back"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEngine(t)
			hub, url := startHub(t, e)
			insist(t, hub, "before")
			restore := e.backup()
			require.Eventually(t, func() bool { return hub.Stats().Published == 1 }, patience, time.Millisecond)
			stream, away := openStream(t, url, ""), openStream(t, url, "")
			for n := range 5 {
				insist(t, hub, strconv.Itoa(n))
				require.Equal(t, strconv.Itoa(n), nextOf(t, stream).Data)
				require.Equal(t, strconv.Itoa(n), nextOf(t, away).Data)
			}
			away.Cut()
			if name == "rolled back" {
				restore()
			} else {
				js, err := jetstream.New(connect(t, e.server.URL()))
				require.NoError(t, err)
				require.NoError(t, js.DeleteStream(t.Context(), "hub"))
			}
			for n := range 8 {
				insist(t, hub, "after "+strconv.Itoa(n))
			}
			got := nextOf(t, stream)
			assert.Equal(t, "ssegin.reset", got.Type, "the one who has stayed: %q", got.Data)
			_, second := startHub(t, e)
			for _, url := range []string{url, second} {
				require.Eventually(t, func() bool {
					ctx, cancel := context.WithTimeout(t.Context(), patience)
					defer cancel()
					back, err := ssegintest.Connect(ctx, url, ssegintest.WithLastEventID(away.LastEventID()))
					if err != nil {
						return false
					}
					defer back.Close()
					got, err := back.Next(ctx)
					return err == nil && assert.Equal(t, "ssegin.reset", got.Type, "the one who comes back: %q", got.Data)
				}, patience, 10*time.Millisecond)
			}
		})
	}
}
