package natslog

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin"
	"github.com/ssegin/ssegin/ssegintest"
)

// A thousand newcomers of fifty topics come at once to a process that has little of the
// log in memory, while others publish, and while clients come back that have missed more
// than is there.
func TestHub_aStormOfNewcomers(t *testing.T) {
	const topics, entries, storm, returning, each = 50, 20_000, 1000, 50, 20
	e := newEngine(t)
	config := Config{Stream: "storm"}
	writer := e.log(config)
	start := boundsOf(t, writer).Last
	name := func(i int) string { return fmt.Sprint("topic:", i%topics) }
	var filling sync.WaitGroup
	for i := range topics {
		filling.Go(func() {
			for n := range entries / topics {
				e := entry(fmt.Sprint(i, " ", n))
				e.Topic = name(i)
				_, err := writer.Append(t.Context(), e)
				assert.NoError(t, err)
			}
		})
	}
	filling.Wait()

	l := openLog(t, connect(t, e.server.URL()), config)
	hub := ssegin.NewHub(ssegin.WithLog(l), ssegin.WithHistory(200, 0, 0), ssegin.WithLogger(slog.New(slog.DiscardHandler)))
	gin.SetMode(gin.TestMode)
	router := gin.New()
	topic := ssegin.WithTopics(func(c *gin.Context) ([]string, error) { return c.QueryArray("topic"), nil })
	router.GET("/replay", ssegin.Handler(hub, topic, ssegin.WithReplay(ssegin.ReplayEach(each))))
	router.GET("/live", ssegin.Handler(hub, topic))
	srv := httptest.NewServer(router)
	t.Cleanup(func() {
		assert.NoError(t, hub.Shutdown(context.Background()))
		srv.Close()
	})
	require.Eventually(t, func() bool { return hub.LastID() != "" }, patience, time.Millisecond)

	// open opens a stream and returns when it was given the first n events.
	open := func(path string, i int, lastID string, n int) (took time.Duration, id string) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		begin := time.Now()
		s, err := ssegintest.Connect(ctx, srv.URL+path+"?topic="+name(i), ssegintest.WithLastEventID(lastID))
		if !assert.NoError(t, err) {
			return 0, ""
		}
		t.Cleanup(func() { s.Close() })
		assert.Equal(t, http.StatusOK, s.Response().StatusCode)
		for i := range n {
			got, err := s.Next(ctx)
			if !assert.NoError(t, err, "event %d", i) || !assert.Equal(t, "chat", got.Type, "event %d: %s", i, got.Data) {
				break
			}
			if i == 0 {
				id = got.ID
			}
		}
		return time.Since(begin), id
	}
	alone, old := open("/replay", 0, "", each)

	ctx, stop := context.WithCancel(t.Context())
	var publishing sync.WaitGroup
	publishing.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			e := entry(fmt.Sprint("live ", n))
			e.Topic = name(n * 7)
			_, _ = writer.Append(ctx, e)
			<-time.After(5 * time.Millisecond)
		}
	})
	defer publishing.Wait()
	defer stop()
	for _, round := range []struct {
		path  string
		given int
	}{{"/live", 0}, {"/replay", each}} {
		before, begin := l.nc.Stats(), time.Now()
		times, resumed := make([]time.Duration, storm), make([]time.Duration, returning)
		var clients sync.WaitGroup
		for i := range storm {
			clients.Go(func() { times[i], _ = open(round.path, i, "", round.given) })
		}
		for i := range returning {
			clients.Go(func() { resumed[i], _ = open("/live", 0, old, each-1) })
		}
		clients.Wait()
		took, after := time.Since(begin), l.nc.Stats()
		slices.Sort(times)
		slices.Sort(resumed)
		requests := after.OutMsgs - before.OutMsgs
		t.Logf("%d newcomers on %d topics, given %d events each, a log of %d entries: %d requests, %.1f MB from NATS, all served after %v (median %v, one alone %v); %d clients that came back meanwhile had what they missed after %v (median), %v (the last)",
			storm, topics, round.given, boundsOf(t, writer).Last-start, requests, float64(after.InBytes-before.InBytes)/1e6, took.Round(time.Millisecond),
			times[storm/2].Round(time.Millisecond), alone.Round(time.Millisecond), returning, resumed[returning/2].Round(time.Millisecond), resumed[returning-1].Round(time.Millisecond))
		assert.Zero(t, hub.Stats().Resets)
		// Each topic is read once, and again when what was read is old.
		assert.Less(t, float64(requests), 15*topics*(2+took.Seconds()/0.5), "requests")
	}
}
