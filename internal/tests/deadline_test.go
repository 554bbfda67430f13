package tests

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin"
	"github.com/ssegin/ssegin/ssegintest"
)

func TestWithWriteTimeout_cutsAClientThatDoesNotRead(t *testing.T) {
	// The deadline is moved only when a quarter has passed, so the moment
	// depends on when the stream wrote before.
	for _, since := range []time.Duration{0, time.Second, 2499 * time.Millisecond, 2501 * time.Millisecond, 7 * time.Second, 14 * time.Second} {
		t.Run(since.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cut := make(chan *ssegin.Stream, 1)
				hub := ssegin.NewHub()
				srv := serve(t, route(ssegin.Handler(hub, ssegin.OnDisconnect(func(s *ssegin.Stream) { cut <- s }))),
					ssegintest.WithBuffer(1<<10))
				connect(t, srv, "") // and reads no more
				reader := connect(t, srv, "")
				for range 4 {
					nextBlock(t, reader) // a minute of heartbeats
				}
				time.Sleep(since)
				stalled := time.Now()
				for i := range 100 {
					broadcast(t, hub, fmt.Sprintf("%d %s", i, strings.Repeat("x", 1<<10)))
				}
				assert.Zero(t, time.Since(stalled), "nobody waits for the stalled one")
				assert.Len(t, nextData(t, reader, 100), 100)
				assert.Zero(t, time.Since(stalled))
				s := await(t, cut)
				t.Logf("write timeout 10 s: the stalled client is cut after %v, the other got 100 of 100", time.Since(stalled))
				assert.GreaterOrEqual(t, time.Since(stalled), 7500*time.Millisecond)
				assert.LessOrEqual(t, time.Since(stalled), 10*time.Second)
				assert.ErrorIs(t, context.Cause(s.Context()), os.ErrDeadlineExceeded)
				assert.Equal(t, 1, hub.Stats().Streams)
				assert.Equal(t, "still live", func() string { broadcast(t, hub, "still live"); return next(t, reader).Data }())
			})
		})
	}
}

func TestWithWriteTimeout_boundsSend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var err, cause error
		var took time.Duration
		done := make(chan struct{})
		srv := serve(t, route(ssegin.Middleware(ssegin.WithWriteTimeout(time.Second)), func(c *gin.Context) {
			defer close(done)
			start, s := time.Now(), ssegin.From(c)
			for err == nil {
				err = s.Send(ssegin.Event{Data: strings.Repeat("x", 1<<10)})
			}
			took, cause = time.Since(start), context.Cause(c.Request.Context())
		}), ssegintest.WithBuffer(1<<10))
		connect(t, srv, "")
		await(t, done)
		assert.ErrorIs(t, err, ssegin.ErrClosed)
		assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
		assert.ErrorIs(t, cause, os.ErrDeadlineExceeded)
		assert.Equal(t, time.Second, took)
	})
}

func TestWithWriteTimeout_zeroWaitsForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := ssegin.NewHub()
		srv := serve(t, route(ssegin.Handler(hub, ssegin.WithWriteTimeout(0))), ssegintest.WithBuffer(1<<10),
			ssegintest.WithServer(func(s *http.Server) { s.WriteTimeout = time.Second }))
		s := connect(t, srv, "")
		for range 100 {
			broadcast(t, hub, strings.Repeat("x", 1<<10))
		}
		time.Sleep(24 * time.Hour)
		assert.Len(t, nextData(t, s, 100), 100)
	})
}

// net/http ends the request's context when a write fails, before the write
// returns, so that it looks as if the client had left.
func TestStreamContext_saysThatAWriteFailedAndNotThatTheClientHasLeft(t *testing.T) {
	failed := errors.New("the write failed")
	ctx, cancel := context.WithCancel(t.Context())
	var stream *ssegin.Stream
	r := route(ssegin.Middleware(), func(c *gin.Context) {
		stream = ssegin.From(c)
		err := stream.Send(ssegin.Event{Data: "x"})
		assert.ErrorIs(t, err, failed)
		assert.Equal(t, failed, context.Cause(c.Request.Context()))
	})
	w := &failing{newRecorder(), func() error {
		cancel()
		for range 1000 {
			runtime.Gosched() // those who wait for the context may go first
		}
		return failed
	}}
	r.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/events", nil))
	assert.Equal(t, failed, context.Cause(stream.Context()))
}

// failing is a recorder whose writes fail.
type failing struct {
	*recorder
	fail func() error
}

func (w *failing) Write([]byte) (int, error) { return 0, w.fail() }

// ticks is a route with a stream of a hub and one with c.Stream and c.SSEvent,
// each of 30 events over 6 seconds.
func ticks(t *testing.T, opts ...ssegin.StreamOption) *gin.Engine {
	hub, publishers := ssegin.NewHub(), joined(t)
	r := gin.New()
	r.GET("/own", ssegin.Middleware(opts...), func(c *gin.Context) {
		i := 0
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		c.Stream(func(io.Writer) bool {
			<-tick.C
			c.SSEvent("", i)
			i++
			return i < 30
		})
	})
	r.GET("/hub", ssegin.Handler(hub, append(opts, withTopics(), ssegin.OnConnect(func(*gin.Context, *ssegin.Stream) error {
		publishers.Go(func() {
			tick := time.NewTicker(200 * time.Millisecond)
			defer tick.Stop()
			for i := range 29 {
				<-tick.C
				_, _ = hub.Publish(t.Context(), "ticks", ssegin.Event{Data: i})
			}
			<-tick.C
			_, _ = hub.End(t.Context(), "ticks", ssegin.Event{Data: 29})
		})
		return nil
	}))...))
	return r
}

// requireTicks reads all of them.
func requireTicks(t *testing.T, body io.Reader) {
	t.Helper()
	arrived := 0
	for e, err := range ssegintest.NewReader(body).Events() {
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint(arrived), e.Data)
		arrived++
	}
	t.Logf("server WriteTimeout 2 s, 30 events over 6 s: %d of 30 arrived", arrived)
	require.Equal(t, 30, arrived)
}

func TestStream_outlivesTheWriteTimeoutOfTheServer(t *testing.T) {
	setUp := ssegintest.WithServer(func(s *http.Server) { s.WriteTimeout = 2 * time.Second })
	for name, opts := range map[string][]ssegintest.ServerOption{
		"HTTP/1.1": {setUp},
		"HTTP/2":   {setUp, ssegintest.WithHTTP2()},
	} {
		for _, timeout := range []time.Duration{time.Second, 10 * time.Second, 0} {
			for _, path := range []string{"/hub?topic=ticks", "/own"} {
				t.Run(fmt.Sprint(name, path, timeout), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						srv := serve(t, ticks(t, ssegin.WithWriteTimeout(timeout)), opts...)
						resp, body := get(t, srv, http.MethodGet, path)
						assert.Equal(t, http.StatusOK, resp.StatusCode)
						requireTicks(t, strings.NewReader(body))
					})
				})
			}
		}
	}
}

// The same with real sockets and a real clock.
func TestStream_outlivesTheWriteTimeoutOfARealServer(t *testing.T) {
	takesSeconds(t, "it outlives a real time-out of two seconds three times over")
	t.Parallel()
	srv := listen(t, ticks(t), func(s *http.Server) { s.WriteTimeout = 2 * time.Second })
	resp, err := srv.Client().Get(srv.URL + "/hub?topic=ticks")
	require.NoError(t, err)
	defer resp.Body.Close()
	requireTicks(t, resp.Body)
}

func TestStream_leavesNoDeadlineOnAConnectionThatIsUsedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var connections atomic.Int64
		r := gin.New()
		r.GET("/own", ssegin.Middleware(), func(c *gin.Context) {
			s := ssegin.From(c)
			assert.NoError(t, s.Send(ssegin.Event{Data: "x"}))
			time.Sleep(9 * time.Second) // the deadline is near
		})
		r.GET("/plain", func(c *gin.Context) {
			time.Sleep(time.Minute)
			c.String(http.StatusOK, strings.Repeat("y", 1<<20))
		})
		srv := serve(t, r, ssegintest.WithServer(func(s *http.Server) {
			s.ConnState = func(_ net.Conn, state http.ConnState) {
				if state == http.StateNew {
					connections.Add(1)
				}
			}
		}))
		for range 3 {
			_, body := get(t, srv, http.MethodGet, "/own")
			assert.Equal(t, "x", eventsOf(t, body)[0].Data)
			time.Sleep(time.Minute)
			_, body = get(t, srv, http.MethodGet, "/plain")
			assert.Len(t, body, 1<<20)
		}
		assert.EqualValues(t, 1, connections.Load())
	})
}

// An extra byte after the request ends net/http's reading ahead, and with it
// the only way in which the context learns that the client has left. The next
// write does not fail, because the peer was there when it began; its flush does.
func TestStream_learnsFromAFlushThatTheClientHasLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		over := make(chan *ssegin.Stream, 1)
		hub := ssegin.NewHub()
		r := gin.New()
		r.GET("/hub", ssegin.Handler(hub, ssegin.OnDisconnect(func(s *ssegin.Stream) { over <- s })))
		r.GET("/own", ssegin.Middleware(), func(c *gin.Context) {
			c.SSEvent("", "first")
			c.Writer.Flush()
			<-c.Request.Context().Done()
			over <- ssegin.From(c)
		})
		r.GET("/flush", ssegin.Middleware(ssegin.WithHeartbeat(0)), func(c *gin.Context) {
			c.SSEvent("", "first")
			c.Writer.Flush()
			time.Sleep(15 * time.Second)
			c.SSEvent("", "x")
			err := http.NewResponseController(c.Writer).Flush()
			assert.ErrorIs(t, err, syscall.EPIPE, "Gin's own writer says nothing here")
			over <- ssegin.From(c)
		})
		srv := serve(t, r)
		for _, path := range []string{"/hub", "/own", "/flush"} {
			conn, err := srv.Dial(t.Context())
			require.NoError(t, err)
			fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path)
			_, err = conn.Read(make([]byte, 4096))
			require.NoError(t, err)
			fmt.Fprint(conn, "X")
			synctest.Wait()
			require.NoError(t, conn.Close())
			left := time.Now()
			s := await(t, over)
			t.Logf("an extra byte, then FIN, %s: freed after %v, the heartbeat is 15 s", path, time.Since(left))
			assert.Equal(t, 15*time.Second, time.Since(left))
			assert.ErrorIs(t, context.Cause(s.Context()), syscall.EPIPE)
			assert.ErrorIs(t, context.Cause(s.Context()), context.Canceled, "which says that the client has left")
		}
		requireGone(t, hub)
	})
}
