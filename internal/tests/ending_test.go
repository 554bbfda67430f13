package tests

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin"
	"github.com/ssegin/ssegin/eventlog"
	"github.com/ssegin/ssegin/ssegintest"
)

// An ending is a way in which a stream's time is over.
type ending struct {
	name  string
	opts  []ssegin.StreamOption
	end   func(t *testing.T, h *ssegin.Hub)
	cause error
}

// endings end a stream after that time.
func endings(after time.Duration) []ending {
	nothing := func(*testing.T, *ssegin.Hub) {}
	expiry := ssegin.WithExpiry(func(*gin.Context) time.Time { return time.Now().Add(after) })
	return []ending{
		{"WithExpiry", []ssegin.StreamOption{expiry}, nothing, ssegin.ErrExpired},
		{"WithMaxAge", []ssegin.StreamOption{ssegin.WithMaxAge(after)}, nothing, ssegin.ErrMaxAge},
		{"Disconnect", nil, func(t *testing.T, h *ssegin.Hub) {
			time.AfterFunc(after, func() {
				_, err := h.Disconnect(context.Background(), "x")
				assert.NoError(t, err)
			})
		}, ssegin.ErrDisconnected},
	}
}

// told is an option that tells with which cause a stream has ended.
func told() (ssegin.StreamOption, <-chan error) {
	causes := make(chan error, 10)
	return ssegin.OnDisconnect(func(s *ssegin.Stream) { causes <- context.Cause(s.Context()) }), causes
}

// dialSilent opens a stream over TCP, for a client that reads only what it is told to.
func dialSilent(t *testing.T, srv *httptest.Server) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.(*net.TCPConn).SetReadBuffer(4096))
	_, err = io.WriteString(conn, "GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	return conn.(*net.TCPConn)
}

// A client that does not read cannot put off the end of its stream.
func TestEnding_isOnTimeForAClientThatDoesNotRead(t *testing.T) {
	onBothPaths(t, func(t *testing.T, path ssegin.StreamOption) {
		for _, e := range endings(time.Second) {
			t.Run(e.name, func(t *testing.T) {
				hub := ssegin.NewHub()
				tell, causes := told()
				begun := make(chan struct{}, 1)
				opts := append(e.opts, path, tell, ssegin.WithWriteTimeout(time.Hour), follows("x"),
					ssegin.OnConnect(func(*gin.Context, *ssegin.Stream) error { begun <- struct{}{}; return nil }))
				srv := httptest.NewServer(route(ssegin.Handler(hub, opts...)))
				defer srv.Close()
				begin := time.Now()
				dialSilent(t, srv)
				await(t, begun)
				e.end(t, hub)
				for range 1000 {
					publish(t, hub, "x", strings.Repeat("x", 8192))
				}
				assert.ErrorIs(t, await(t, causes), e.cause)
				t.Logf("ended after %v of 1 s", time.Since(begin))
				require.NoError(t, hub.Shutdown(t.Context()))
			})
		}
	})
}

func TestEnding_isOnTimeOverHTTP1And2(t *testing.T) {
	for name, server := range map[string][]ssegintest.ServerOption{"HTTP/1.1": {ssegintest.WithBuffer(1024)}, "HTTP/2": {ssegintest.WithHTTP2()}} {
		for _, e := range endings(2 * time.Second) {
			t.Run(name+" "+e.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					hub := ssegin.NewHub()
					tell, causes := told()
					srv := serve(t, route(ssegin.Handler(hub, append(e.opts, tell, ssegin.WithWriteTimeout(time.Hour), follows("x"))...)), server...)
					begin := time.Now()
					s := connect(t, srv, "")
					e.end(t, hub)
					for range 1500 {
						publish(t, hub, "x", strings.Repeat("x", 8192))
					}
					assert.ErrorIs(t, await(t, causes), e.cause)
					assert.LessOrEqual(t, time.Since(begin), 2500*time.Millisecond)
					s.Close()
				})
			})
		}
	}
}

// Send of an application that a client does not read ends with the stream's time, too.
func TestEnding_isOnTimeForSend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failed := make(chan error, 1)
		r := route(ssegin.Middleware(ssegin.WithMaxAge(2*time.Second), ssegin.WithWriteTimeout(time.Hour)), func(c *gin.Context) {
			var err error
			for err == nil {
				err = ssegin.From(c).Send(ssegin.Event{Data: strings.Repeat("x", 8192)})
			}
			failed <- context.Cause(ssegin.From(c).Context())
		})
		srv := serve(t, r, ssegintest.WithBuffer(1024))
		begin := time.Now()
		s := request(t, srv, "")
		assert.ErrorIs(t, await(t, failed), ssegin.ErrMaxAge)
		assert.LessOrEqual(t, time.Since(begin), 2500*time.Millisecond)
		s.Close()
	})
}

// A client has the write timeout for all that is due to it or for what one write
// carries, on both paths: one that takes a little now and then is cut as well.
func TestWriteTimeout_cutsAClientThatTrickles(t *testing.T) {
	onBothPaths(t, func(t *testing.T, path ssegin.StreamOption) {
		hub := ssegin.NewHub(ssegin.WithHistory(0, 64<<20, 0), ssegin.WithMaxEventBytes(2<<20))
		tell, causes := told()
		srv := httptest.NewServer(route(ssegin.Handler(hub, path, tell, ssegin.WithWriteTimeout(2*time.Second))))
		defer srv.Close()
		conn := dialSilent(t, srv)
		require.Eventually(t, func() bool { return hub.Stats().Streams == 1 }, patience, time.Millisecond)
		for range 16 {
			broadcast(t, hub, strings.Repeat("x", 1_000_000))
		}
		begin, done := time.Now(), make(chan struct{})
		go func() {
			defer close(done)
			piece := make([]byte, 4096)
			for {
				if _, err := conn.Read(piece); err != nil {
					return
				}
				<-time.After(250 * time.Millisecond)
			}
		}()
		assert.ErrorIs(t, await(t, causes), os.ErrDeadlineExceeded)
		t.Logf("cut after %v of 2 s", time.Since(begin))
		conn.Close()
		<-done
		require.NoError(t, hub.Shutdown(t.Context()))
	})
}

// The deadline of the request's context ends the stream on both paths alike: with a
// retry, and one line in the log.
func TestHandler_aDeadlineOfTheRequestEndsTheStreamInGoodOrder(t *testing.T) {
	onBothPaths(t, func(t *testing.T, path ssegin.StreamOption) {
		var log bytes.Buffer
		hub := ssegin.NewHub(ssegin.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		tell, causes := told()
		deadline := func(c *gin.Context) {
			ctx, cancel := context.WithTimeoutCause(c.Request.Context(), time.Second, errors.New("too long"))
			defer cancel()
			c.Request = c.Request.WithContext(ctx)
			c.Next()
		}
		srv := httptest.NewServer(route(deadline, ssegin.Handler(hub, path, tell, ssegin.WithRetry(5*time.Second))))
		defer srv.Close()
		for range 2 {
			s := open(t, srv, "")
			requireEnd(t, s)
			retry, _ := s.Retry()
			assert.Greater(t, retry, 5*time.Second, "a time of its own")
			cause := await(t, causes)
			assert.ErrorIs(t, cause, context.DeadlineExceeded)
		}
		require.NoError(t, hub.Shutdown(t.Context()))
		assert.Equal(t, 1, strings.Count(log.String(), "has a deadline"), log.String())
	})
}

// Nothing waits for an engine past the hub's end.
func TestShutdown_doesNotWaitForAnEngineThatHangs(t *testing.T) {
	for _, drain := range []time.Duration{0, 2 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			log := ssegintest.NewLog()
			pages := make(chan struct{}, 100)
			hanging := &hungRead{Log: log, asked: pages}
			n := start(t, hanging, ssegin.WithHistory(10, 0, 0), ssegin.WithDrain(drain))
			ids := n.fill(t, "x", 1000)
			answered := make(chan string, 1)
			go func() {
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				s, err := n.srv.Connect(ctx, "/events?topic=x", withLastID(ids[5]), ssegintest.WithHeader("Accept", "text/event-stream"))
				if err != nil {
					answered <- err.Error()
					return
				}
				defer s.Close()
				_, err = s.Next(ctx) // ssegin.later is no event
				retry, _ := s.Retry()
				answered <- fmt.Sprint(s.Response().StatusCode, " ", retry > 0, " ", err)
			}()
			<-pages
			begin := time.Now()
			require.NoError(t, n.hub.Shutdown(context.Background()))
			assert.LessOrEqual(t, time.Since(begin), drain+100*time.Millisecond)
			assert.Equal(t, "200 true EOF", <-answered)
		})
	}
}

// A hungRead log gives no pages.
type hungRead struct {
	eventlog.Log
	asked chan struct{}
}

func (l *hungRead) Read(ctx context.Context, _, _ uint64) iter.Seq2[eventlog.Entry, error] {
	return func(yield func(eventlog.Entry, error) bool) {
		l.asked <- struct{}{}
		<-ctx.Done()
		yield(eventlog.Entry{}, context.Cause(ctx))
	}
}

// follows lets every client follow that topic.
func follows(topic string) ssegin.StreamOption {
	return ssegin.WithTopics(func(*gin.Context) ([]string, error) { return []string{topic}, nil })
}
