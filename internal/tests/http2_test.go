package tests

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
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

func TestHTTP2_streamsAsHTTP1Does(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := ssegin.NewHub()
		srv := serve(t, route(ssegin.Handler(hub)), ssegintest.WithHTTP2())
		s := request(t, srv, "")
		assert.Equal(t, 2, s.Response().ProtoMajor)
		assert.Equal(t, streamHeaders, headersOf(s.Response()))
		nextBlock(t, s)
		for i := range 1000 {
			broadcast(t, hub, fmt.Sprintf("%d %s", i, strings.Repeat("x", i)))
		}
		for i := range 1000 {
			assert.True(t, strings.HasPrefix(next(t, s).Data, fmt.Sprint(i, " ")))
		}
		s.Disconnect()
		requireGone(t, hub)
		broadcast(t, hub, "missed")
		resume(t, s)
		assert.Equal(t, "missed", next(t, s).Data)
		require.NoError(t, hub.Shutdown(t.Context()))
		requireEnd(t, s)
	})
}

// A write deadline that is left armed ends an idle HTTP/2 stream with
// INTERNAL_ERROR when it passes.
func TestHTTP2_anIdleStreamLivesBeyondTheWriteTimeout(t *testing.T) {
	for _, heartbeat := range []time.Duration{0, 15 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			hub := ssegin.NewHub(ssegin.WithHistory(0, 0, 10*time.Hour))
			r := gin.New()
			beat := ssegin.WithHeartbeat(heartbeat)
			r.GET("/hub", ssegin.Handler(hub, beat))
			r.GET("/own", ssegin.Middleware(beat), func(c *gin.Context) {
				for range 3 {
					c.SSEvent("", "x")
					c.Writer.Flush()
					time.Sleep(time.Hour)
				}
				_ = ssegin.From(c).Send(ssegin.Event{Data: "y"})
				time.Sleep(time.Hour)
			})
			srv := serve(t, r, ssegintest.WithHTTP2())
			for _, path := range []string{"/hub", "/own"} {
				s, err := srv.Connect(t.Context(), path)
				require.NoError(t, err)
				start := time.Now()
				for i := range 3 {
					if path == "/hub" {
						time.AfterFunc(time.Hour, func() { broadcast(t, hub, "x") })
					}
					_, err := s.Next(t.Context())
					require.NoError(t, err, "event %d, after %v", i, time.Since(start))
				}
				t.Logf("HTTP/2 %s, heartbeat %v, write timeout 10 s: alive after %v", path, heartbeat, time.Since(start))
				if path == "/own" {
					_, err = s.Next(t.Context())
					require.NoError(t, err)
					requireEndWithin(t, s, 2*time.Hour)
				}
			}
		})
	}
}

func requireEndWithin(t *testing.T, s *ssegintest.Stream, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	_, err := s.Next(ctx)
	require.Equal(t, io.EOF, err)
}

func TestHTTP2_aStreamWhoseBodyIsNeverReadIsResetAndItsSiblingLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		over := make(chan *ssegin.Stream, 1)
		var connections atomic.Int64
		hub := ssegin.NewHub(ssegin.WithHistory(0, 64<<20, 0))
		srv := serve(t, route(ssegin.Handler(hub, ssegin.OnDisconnect(func(s *ssegin.Stream) { over <- s }))),
			ssegintest.WithHTTP2(), ssegintest.WithServer(func(s *http.Server) {
				s.ConnState = func(_ net.Conn, state http.ConnState) {
					if state == http.StateNew {
						connections.Add(1)
					}
				}
			}))
		stalled := connect(t, srv, "")
		synctest.Wait() // for the client to keep its connection
		sibling := connect(t, srv, "")
		require.EqualValues(t, 1, connections.Load(), "both are on one connection")
		data := strings.Repeat("x", 64<<10)
		const n = 100 // more than the window of one stream
		start := time.Now()
		for range n {
			broadcast(t, hub, data)
			next(t, sibling)
		}
		await(t, over)
		t.Logf("HTTP/2, the body never read, write timeout 10 s: reset after %v, its sibling got %d of %d", time.Since(start), n, n)
		assert.Equal(t, 10*time.Second, time.Since(start))
		broadcast(t, hub, "live")
		assert.Equal(t, "live", next(t, sibling).Data)
		for range n {
			if _, err := stalled.Next(t.Context()); err != nil {
				assert.ErrorContains(t, err, "INTERNAL_ERROR")
				return
			}
		}
		t.Error("the stalled stream has no end")
	})
}

// The frames of HTTP/2 (RFC 9113 §6) that the next test needs.
const (
	frameData, frameHeaders, frameReset, frameSettings, frameWindow = 0x0, 0x1, 0x3, 0x4, 0x8

	flagAck, flagEndStream, flagEndHeaders = 0x1, 0x1, 0x4
	settingInitialWindow                   = 0x4
)

// frames is a client of HTTP/2 that does what it is told.
type frames struct {
	net.Conn
	in *bufio.Reader
}

func (f *frames) send(t *testing.T, kind, flags byte, stream uint32, payload []byte) {
	t.Helper()
	n := len(payload)
	head := binary.BigEndian.AppendUint32([]byte{byte(n >> 16), byte(n >> 8), byte(n), kind, flags}, stream)
	_, err := f.Write(append(head, payload...))
	require.NoError(t, err)
}

// speak begins a connection of HTTP/2 with these settings.
func speak(t *testing.T, srv *ssegintest.Server, settings ...byte) *frames {
	t.Helper()
	conn, err := srv.Dial(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	f := &frames{conn, bufio.NewReader(conn)}
	_, err = io.WriteString(f, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	require.NoError(t, err)
	f.send(t, frameSettings, 0, 0, settings)
	return f
}

// open asks for /events on a new stream.
func (f *frames) open(t *testing.T, stream uint32) {
	t.Helper()
	block := []byte{0x82, 0x86} // :method GET and :scheme http, of HPACK's static table
	block = append(append(block, 0x04, byte(len("/events"))), "/events"...)
	block = append(append(block, 0x01, byte(len("x"))), "x"...) // :authority
	f.send(t, frameHeaders, flagEndStream|flagEndHeaders, stream, block)
}

func (f *frames) read(t *testing.T) (kind, flags byte, stream uint32, payload []byte) {
	t.Helper()
	head := make([]byte, 9)
	_, err := io.ReadFull(f.in, head)
	require.NoError(t, err)
	payload = make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
	_, err = io.ReadFull(f.in, payload)
	require.NoError(t, err)
	return head[3], head[4], binary.BigEndian.Uint32(head[5:]), payload
}

func TestHTTP2_aStreamWithoutWindowIsResetAtTheWriteTimeoutAndItsSiblingLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := ssegin.NewHub()
		srv := serve(t, route(ssegin.Handler(hub)), ssegintest.WithHTTP2())
		f := speak(t, srv, 0, settingInitialWindow, 0, 0, 0, 0)
		f.open(t, 1)
		f.open(t, 3)
		f.send(t, frameWindow, 0, 3, []byte{0, 1, 0, 0})

		start := time.Now()
		go func() {
			for i := range 30 {
				time.Sleep(time.Second)
				_, _ = hub.Broadcast(t.Context(), ssegin.Event{Data: i})
			}
		}()
		var body strings.Builder // of stream 3
		var after time.Duration
		for !strings.Contains(body.String(), "data: 29\n") {
			kind, flags, stream, payload := f.read(t)
			switch {
			case kind == frameSettings && flags&flagAck == 0:
				f.send(t, frameSettings, flagAck, 0, nil)
			case kind == frameReset:
				assert.EqualValues(t, 1, stream, "stream 3 is not to be reset")
				assert.Zero(t, after, "once")
				after = time.Since(start)
			case kind == frameData:
				assert.EqualValues(t, 3, stream, "stream 1 has no window")
				body.Write(payload)
			}
		}
		t.Logf("HTTP/2, window 0, write timeout 10 s: reset after %v, its sibling got %d of 30 events", after, len(eventsOf(t, body.String())))
		assert.Equal(t, 10*time.Second, after)
		assert.Len(t, eventsOf(t, body.String()), 30)
		assert.Equal(t, 1, hub.Stats().Streams)
	})
}

// A stream cannot be reset on a connection that takes nothing at all: there it
// is the server's WriteByteTimeout, or ConnContext, that frees it.
func TestHTTP2_aConnectionThatTakesNothingIsCutByTheServersOwnTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		over := make(chan *ssegin.Stream, 1)
		hub := ssegin.NewHub()
		srv := serve(t, route(ssegin.Handler(hub, ssegin.OnDisconnect(func(s *ssegin.Stream) { over <- s }))),
			ssegintest.WithHTTP2(), ssegintest.WithBuffer(1<<10), ssegintest.WithServer(func(s *http.Server) {
				s.HTTP2 = &http.HTTP2Config{WriteByteTimeout: 10 * time.Second}
			}))
		speak(t, srv).open(t, 1)
		synctest.Wait()
		require.Equal(t, 1, hub.Stats().Streams)
		start := time.Now()
		for range 50 {
			broadcast(t, hub, strings.Repeat("x", 1<<10))
		}
		await(t, over)
		t.Logf("HTTP/2, the connection takes nothing, WriteByteTimeout 10 s: freed after %v", time.Since(start))
		assert.LessOrEqual(t, time.Since(start), 20*time.Second)
	})
}

// The browsers' way, with a real connection.
func TestHTTP2_worksOverTLS(t *testing.T) {
	t.Parallel()
	hub := ssegin.NewHub()
	r := route(ssegin.Handler(hub))
	r.GET("/own", ssegin.Middleware(), func(c *gin.Context) {
		c.Stream(func(io.Writer) bool { c.SSEvent("tick", c.Request.Proto); return false })
	})
	srv := httptest.NewUnstartedServer(r)
	srv.EnableHTTP2 = true
	srv.Config.ConnContext = ssegin.ConnContext
	srv.Config.RegisterOnShutdown(func() { _ = hub.Shutdown(context.Background()) })
	srv.StartTLS()
	defer srv.Close()

	resp, err := srv.Client().Get(srv.URL + "/own")
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	resp.Body.Close()
	assert.Equal(t, "no", resp.Header.Get("X-Accel-Buffering"))
	assert.Equal(t, []ssegintest.Event{{Type: "tick", Data: "HTTP/2.0"}}, eventsOf(t, string(body)))

	const n = 20 // more streams than HTTP/1.1 browsers allow to one host
	var streams []*ssegintest.Stream
	for range n {
		s, err := ssegintest.Connect(t.Context(), srv.URL+"/events", ssegintest.WithClient(srv.Client()))
		require.NoError(t, err)
		defer s.Close()
		nextBlock(t, s)
		streams = append(streams, s)
	}
	broadcast(t, hub, "to all tabs")
	for _, s := range streams {
		assert.Equal(t, "to all tabs", next(t, s).Data)
	}
	require.NoError(t, srv.Config.Shutdown(t.Context()))
	for _, s := range streams {
		requireEnd(t, s)
	}
}

// A stream that begins long after the request, behind a server with a
// WriteTimeout: over HTTP/2 that is a timer, which would reset the stream.
func TestWriteTimeout_doesNotEndAStreamThatBeginsLate(t *testing.T) {
	const timeout, late = time.Second, 3 * time.Second
	slow := func() error {
		time.Sleep(late)
		return nil
	}
	hub := func(opts ...ssegin.StreamOption) []gin.HandlerFunc {
		return []gin.HandlerFunc{ssegin.Handler(ssegin.NewHub(), opts...)}
	}
	own := func(begin func(c *gin.Context)) []gin.HandlerFunc {
		return []gin.HandlerFunc{ssegin.Middleware(), begin}
	}
	for name, handlers := range map[string]func() []gin.HandlerFunc{
		"WithTopics": func() []gin.HandlerFunc {
			return hub(ssegin.WithTopics(func(*gin.Context) ([]string, error) { return nil, slow() }))
		},
		"OnConnect": func() []gin.HandlerFunc {
			return hub(ssegin.OnConnect(func(*gin.Context, *ssegin.Stream) error { return slow() }))
		},
		"WithExpiry": func() []gin.HandlerFunc {
			return hub(ssegin.WithExpiry(func(*gin.Context) time.Time { _ = slow(); return time.Time{} }))
		},
		"Middleware": func() []gin.HandlerFunc {
			return own(func(c *gin.Context) {
				_ = slow()
				assert.NoError(t, ssegin.From(c).Send(ssegin.Event{Data: "first"}))
			})
		},
		"c.Stream": func() []gin.HandlerFunc {
			return own(func(c *gin.Context) {
				c.Stream(func(io.Writer) bool {
					_ = slow()
					c.SSEvent("", "first")
					return false
				})
			})
		},
		"two layers": func() []gin.HandlerFunc {
			return append([]gin.HandlerFunc{ssegin.Middleware()}, own(func(c *gin.Context) {
				_ = slow()
				assert.NoError(t, ssegin.From(c).Send(ssegin.Event{Data: "first"}))
			})...)
		},
	} {
		for _, opts := range [][]ssegintest.ServerOption{nil, {ssegintest.WithHTTP2()}} {
			t.Run(fmt.Sprint(name, " HTTP/", 1+len(opts)), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					opts := append(opts, ssegintest.WithServer(func(s *http.Server) { s.WriteTimeout = timeout }))
					s := request(t, serve(t, route(handlers()...), opts...), "")
					require.Equal(t, http.StatusOK, s.Response().StatusCode)
					nextBlock(t, s)
					s.Close()
				})
			})
		}
	}
}

// An answer that is no stream keeps the bound that the server sets: it is only
// counted from when it begins.
func TestWriteTimeout_boundsAnAnswerThatIsNoStream(t *testing.T) {
	const timeout = 7 * time.Second
	for name, handler := range map[string]gin.HandlerFunc{
		"JSON":      func(c *gin.Context) { c.JSON(http.StatusOK, "x") },
		"a status":  func(c *gin.Context) { c.AbortWithStatus(http.StatusNotFound) },
		"nothing":   func(*gin.Context) {},
		"forbidden": ssegin.Handler(ssegin.NewHub(), ssegin.WithTopics(func(*gin.Context) ([]string, error) { return nil, io.EOF })),
		"refused": ssegin.Handler(ssegin.NewHub(), ssegin.OnConnect(func(*gin.Context, *ssegin.Stream) error {
			return io.EOF
		})),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &timed{recorder: newRecorder()}
				server := &http.Server{WriteTimeout: timeout, ReadHeaderTimeout: timeout}
				ctx := context.WithValue(t.Context(), http.ServerContextKey, server)
				req := httptest.NewRequestWithContext(ctx, http.MethodGet, "/events", nil)
				req.ProtoMajor = 2
				route(ssegin.Middleware(), handler).ServeHTTP(w, req)
				require.NotEmpty(t, w.deadlines)
				assert.Zero(t, w.deadlines[0], "none while the handler thinks")
				assert.Equal(t, time.Now().Add(timeout), w.deadlines[len(w.deadlines)-1])
			})
		})
	}
}

// A timed writer notes the deadlines that are set.
type timed struct {
	*recorder
	deadlines []time.Time
}

func (w *timed) SetWriteDeadline(until time.Time) error {
	w.deadlines = append(w.deadlines, until)
	return nil
}
