package tests

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin"
	"github.com/ssegin/ssegin/ssegintest"
)

func TestShutdown_endsEachStreamAtItsOwnMomentWithItsOwnRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const streams, window = 20, 10 * time.Second
		hub := ssegin.NewHub(ssegin.WithDrain(window))
		srv := serve(t, route(ssegin.Handler(hub)))
		var clients []*ssegintest.Stream
		for range streams {
			clients = append(clients, connect(t, srv, ""))
		}
		id := broadcast(t, hub, "the last event")
		start := time.Now()
		var all sync.WaitGroup
		var mu sync.Mutex
		moments, retries := map[time.Duration]int{}, map[time.Duration]int{}
		for _, s := range clients {
			all.Go(func() {
				assert.Equal(t, "the last event", next(t, s).Data)
				requireEnd(t, s)
				mu.Lock()
				defer mu.Unlock()
				moments[time.Since(start)]++
				retry, _ := s.Retry()
				retries[retry]++
				assert.Equal(t, id, s.LastEventID())
				assert.GreaterOrEqual(t, retry, 2*time.Second)
				assert.LessOrEqual(t, retry, 4*time.Second, "the window has spread them already")
			})
		}
		require.NoError(t, hub.Shutdown(t.Context()))
		took := time.Since(start)
		all.Wait()
		t.Logf("drain over %v: %d streams ended at %d moments with %d reconnection times, Shutdown took %v", window, streams, len(moments), len(retries), took)
		assert.LessOrEqual(t, took, window)
		assert.Len(t, moments, streams)
		assert.Greater(t, len(retries), streams*3/4)
		assert.Zero(t, hub.Stats().Streams)
	})
}

func TestShutdown_letsNobodyInAndNothingBePublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := ssegin.NewHub(ssegin.WithDrain(time.Minute))
		srv := serve(t, route(ssegin.Handler(hub, withTopics())))
		first := connect(t, srv, "?topic=a")
		last := connect(t, srv, "?topic=a")
		go func() { _ = hub.Shutdown(t.Context()) }()
		synctest.Wait()
		requireEnd(t, first)

		_, err := hub.Broadcast(t.Context(), ssegin.Event{Data: "x"})
		assert.ErrorIs(t, err, ssegin.ErrClosed)
		_, err = hub.Publish(t.Context(), "a", ssegin.Event{Data: "x"})
		assert.ErrorIs(t, err, ssegin.ErrClosed)
		_, err = hub.End(t.Context(), "a", ssegin.Event{Data: "x"})
		assert.ErrorIs(t, err, ssegin.ErrClosed)
		resp, body := get(t, srv, http.MethodGet, "/events", "Accept", "text/event-stream")
		assert.Equal(t, http.StatusOK, resp.StatusCode)
		assert.Regexp(t, `^retry: \d+\nevent: ssegin.later\ndata: {}\n\n$`, body)
		resp, _ = get(t, srv, http.MethodGet, "/events", "Accept", "application/json")
		assert.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)

		assert.Equal(t, 1, disconnect(t, hub, "a"), "this works until the end")
		requireEnd(t, last)
		requireGone(t, hub)
		start := time.Now()
		for range 3 {
			require.NoError(t, hub.Shutdown(t.Context()))
		}
		assert.Zero(t, time.Since(start), "more calls return at once when all is over")
	})
}

// Behind a balancer that is what brings them to another process.
func TestShutdown_whoIsSentAwayComesBackOverAnotherConnection(t *testing.T) {
	full := ssegin.WithTopics(func(*gin.Context) ([]string, error) { return nil, ssegin.ErrTooManyStreams })
	for name, opts := range map[string][]ssegintest.ServerOption{
		"HTTP/1.1": nil,
		"HTTP/2":   {ssegintest.WithHTTP2()},
	} {
		for form, accept := range map[string]string{"200": "text/event-stream", "503": "application/json"} {
			t.Run(name+" "+form, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					closed := ssegin.NewHub()
					require.NoError(t, closed.Shutdown(t.Context()))
					var connections atomic.Int64
					r := gin.New()
					r.GET("/closed", ssegin.Handler(closed))
					r.GET("/full", ssegin.Handler(ssegin.NewHub(), full))
					srv := serve(t, r, append(opts, ssegintest.WithServer(func(s *http.Server) {
						s.ConnState = func(_ net.Conn, state http.ConnState) {
							if state == http.StateNew {
								connections.Add(1)
							}
						}
					}))...)
					ask := func(path string) *http.Response {
						resp, _ := get(t, srv, http.MethodGet, path, "Accept", accept)
						assert.Equal(t, form, fmt.Sprint(resp.StatusCode))
						synctest.Wait()
						return resp
					}
					for range 3 {
						assert.False(t, ask("/full").Close)
						assert.EqualValues(t, 1, connections.Load(), "a hub that is full keeps them")
					}
					for n := range 3 {
						resp := ask("/closed")
						assert.Equal(t, name == "HTTP/1.1", resp.Close, "HTTP/2 has no such header")
						assert.EqualValues(t, 1+n, connections.Load())
					}
				})
			})
		}
	}
}

// HTTP/3 forbids the header, and its servers would send it.
func TestShutdown_overHTTP3NoHeaderOfAConnectionIsSent(t *testing.T) {
	hub := ssegin.NewHub()
	require.NoError(t, hub.Shutdown(t.Context()))
	for major, header := range map[int]string{1: "close", 2: "close", 3: ""} {
		w := httptest.NewRecorder()
		req := httptest.NewRequest(http.MethodGet, "/events", nil)
		req.ProtoMajor = major
		req.Header.Set("Accept", "application/json")
		route(ssegin.Handler(hub)).ServeHTTP(w, req)
		assert.Equal(t, http.StatusServiceUnavailable, w.Code)
		assert.Equal(t, header, w.Header().Get("Connection"), "HTTP/%d", major)
	}
}

// A deploy behind a balancer that gives new connections to the new process while
// it passes on to the old one what comes over those that there are.
func TestShutdown_noClientComesBackToTheProcessThatEnds(t *testing.T) {
	for name, opts := range map[string][]ssegintest.ServerOption{
		"HTTP/1.1": nil,
		"HTTP/2":   {ssegintest.WithHTTP2()},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const clients, window = 200, 20 * time.Second
				var refused atomic.Int64
				before := ssegin.NewHub(ssegin.WithDrain(window), ssegin.WithObserver(ssegin.Observer{Refused: func(error) { refused.Add(1) }}))
				var arrived atomic.Int64
				after := ssegin.NewHub(ssegin.WithObserver(ssegin.Observer{Opened: func(bool, ssegin.Reset) { arrived.Add(1) }}))
				old, fresh := serve(t, route(ssegin.Handler(before)), opts...), serve(t, route(ssegin.Handler(after)), opts...)
				var newest atomic.Pointer[ssegintest.Server]
				newest.Store(old)
				all := joined(t)
				for range clients { // each with connections of its own
					client := &http.Client{Transport: &http.Transport{
						Protocols:   old.Client().Transport.(*http.Transport).Protocols,
						DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return newest.Load().Dial(ctx) },
					}}
					s := connect(t, old, "", ssegintest.WithClient(client))
					all.Go(func() {
						defer client.CloseIdleConnections()
						requireEnd(t, s)
						retry, _ := s.Retry()
						time.Sleep(retry)
						resume(t, s)
						nextBlock(t, s)
						s.Close()
					})
				}
				newest.Store(fresh)
				old.Config.SetKeepAlivesEnabled(false)
				require.NoError(t, before.Shutdown(t.Context()))
				require.NoError(t, old.Config.Shutdown(t.Context()))
				all.Wait()
				t.Logf("%d clients of a deploy over %v: %d came to the new process, %d were refused by the old one",
					clients, window, arrived.Load(), refused.Load())
				assert.Zero(t, refused.Load())
				assert.EqualValues(t, clients, arrived.Load())
			})
		})
	}
}

func TestShutdown_calledManyTimesWaitsForTheSameEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := ssegin.NewHub(ssegin.WithDrain(time.Minute))
		srv := serve(t, route(ssegin.Handler(hub)))
		connect(t, srv, "")
		connect(t, srv, "")
		start := time.Now()
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() {
				assert.NoError(t, hub.Shutdown(t.Context()))
				assert.Equal(t, 30*time.Second, time.Since(start), "the moment of the second of two")
			})
		}
		all.Wait()
	})
}

func TestShutdown_cutsAStalledStreamWhenItsContextEnds(t *testing.T) {
	for name, opts := range map[string][]ssegintest.ServerOption{
		"HTTP/1.1": {ssegintest.WithBuffer(1 << 10)},
		"HTTP/2":   {ssegintest.WithHTTP2()},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hub := ssegin.NewHub(ssegin.WithHistory(0, 64<<20, 0))
				srv := serve(t, route(ssegin.Handler(hub, ssegin.WithWriteTimeout(0))), opts...)
				stalled, healthy := connect(t, srv, ""), connect(t, srv, "")
				const n = 200
				for range n {
					broadcast(t, hub, strings.Repeat("x", 64<<10))
				}
				var got int
				go func() {
					for range healthy.Events(t.Context()) {
						got++
					}
				}()
				reason := errors.New("the deploy goes on")
				ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, reason)
				defer cancel()
				start := time.Now()
				err := hub.Shutdown(ctx)
				assert.ErrorIs(t, err, reason)
				assert.ErrorContains(t, err, "1 stream")
				assert.Equal(t, time.Minute, time.Since(start))
				requireGone(t, hub)
				synctest.Wait()
				assert.Equal(t, n, got, "the healthy one got everything")
				t.Logf("shutdown's context ended after %v: the stalled stream was cut in %v", time.Minute, time.Since(start)-time.Minute)
				assert.Less(t, time.Since(start), time.Minute+time.Second)
				assert.NoError(t, hub.Shutdown(t.Context()), "now all are gone")
				stalled.Close()
			})
		})
	}
}

// http.Server.Shutdown waits for open streams for ever, unless the hub is told.
func TestShutdown_ofTheServerReturnsWhenTheHubIsRegistered(t *testing.T) {
	for name, opts := range map[string][]ssegintest.ServerOption{
		"HTTP/1.1": nil,
		"HTTP/2":   {ssegintest.WithHTTP2()},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hub := ssegin.NewHub()
				srv := serve(t, route(ssegin.Handler(hub)), append(opts, ssegintest.WithServer(func(s *http.Server) {
					s.RegisterOnShutdown(func() { _ = hub.Shutdown(context.Background()) })
				}))...)
				var clients []*ssegintest.Stream
				for range 100 {
					clients = append(clients, connect(t, srv, ""))
				}
				broadcast(t, hub, "last")
				start := time.Now()
				require.NoError(t, srv.Config.Shutdown(t.Context()))
				t.Logf("only http.Server.Shutdown is called, %d streams: it returns after %v", len(clients), time.Since(start))
				assert.LessOrEqual(t, time.Since(start), time.Second)
				for _, s := range clients {
					assert.Equal(t, "last", next(t, s).Data)
					requireEnd(t, s)
				}
			})
		})
	}
}

func TestShutdown_whilePublishersPublishAndClientsComeAndGo(t *testing.T) {
	t.Parallel()
	const publishers, clients = 8, 40
	hub := ssegin.NewHub(ssegin.WithDrain(100 * time.Millisecond))
	srv := listen(t, route(ssegin.Handler(hub)))
	all := joined(t)
	var closed atomic.Bool
	t.Cleanup(func() { // if the test fails before it does this itself
		closed.Store(true)
		_ = hub.Shutdown(context.Background())
	})
	var published, late atomic.Int64
	for range publishers {
		all.Go(func() {
			for {
				after := closed.Load()
				_, err := hub.Broadcast(context.Background(), ssegin.Event{Data: "x"})
				if err != nil {
					assert.ErrorIs(t, err, ssegin.ErrClosed)
					return
				}
				if published.Add(1); after {
					late.Add(1)
				}
			}
		})
	}
	var read atomic.Int64
	for range clients {
		all.Go(func() {
			for !closed.Load() { // and come back at once
				s, err := ssegintest.Connect(context.Background(), srv.URL+"/events")
				if err != nil {
					return
				}
				for e, err := range s.Events(context.Background()) {
					if err != nil {
						assert.NoError(t, err, "a stream ends in order")
					}
					if e.Data != "" {
						read.Add(1)
					}
				}
				s.Close()
			}
		})
	}
	require.Eventually(t, func() bool { return read.Load() > 2000 }, patience, time.Millisecond)
	require.NoError(t, hub.Shutdown(t.Context()))
	closed.Store(true)
	_, err := hub.Broadcast(t.Context(), ssegin.Event{})
	assert.ErrorIs(t, err, ssegin.ErrClosed)
	assert.Zero(t, hub.Stats().Streams)
	all.Wait()
	t.Logf("publish during Shutdown, %d publishers: %d published, %d read, \"ok\" after close %d, streams left %d",
		publishers, published.Load(), read.Load(), late.Load(), hub.Stats().Streams)
	assert.Zero(t, late.Load())
}

// A stream that is in the midst of its callbacks when the hub shuts down ends
// like the others.
func TestShutdown_endsAStreamThatIsStillConnecting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := ssegin.NewHub()
		srv := serve(t, route(ssegin.Handler(hub,
			ssegin.WithTopics(func(c *gin.Context) ([]string, error) {
				if c.Query("slow") == "topics" {
					time.Sleep(time.Minute)
				}
				return nil, nil
			}),
			ssegin.OnConnect(func(c *gin.Context, s *ssegin.Stream) error {
				if c.Query("slow") == "connect" {
					time.Sleep(time.Minute)
					return s.Send(ssegin.Event{Data: "too late"})
				}
				return nil
			}))))
		bodies := make(chan string)
		for _, slow := range []string{"topics", "connect"} {
			go func() {
				resp, body := get(t, srv, http.MethodGet, "/events?slow="+slow, "Accept", "text/event-stream")
				bodies <- fmt.Sprintf("%s: %d, %d events", slow, resp.StatusCode, len(eventsOf(t, body)))
			}()
		}
		synctest.Wait()
		start := time.Now()
		require.NoError(t, hub.Shutdown(t.Context()))
		assert.Equal(t, time.Minute, time.Since(start), "it waits for the one that has joined")
		assert.ElementsMatch(t, []string{"topics: 200, 0 events", "connect: 200, 0 events"}, []string{await(t, bodies), await(t, bodies)})
	})
}
