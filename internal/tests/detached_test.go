package tests

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin"
	"github.com/ssegin/ssegin/ssegintest"
)

// onBothPaths runs a test with streams that stay with net/http and with
// detached ones: but for what WithDetached says, nobody can tell them apart.
func onBothPaths(t *testing.T, test func(t *testing.T, path ssegin.StreamOption)) {
	t.Run("attached", func(t *testing.T) { test(t, ssegin.WithHeartbeat(15*time.Second)) })
	t.Run("detached", func(t *testing.T) { test(t, ssegin.WithDetached()) })
}

// open opens a stream over TCP and reads its first block.
func open(t *testing.T, srv *httptest.Server, path string, opts ...ssegintest.ConnectOption) *ssegintest.Stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s, err := ssegintest.Connect(ctx, srv.URL+"/events"+path, opts...)
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	require.Equal(t, http.StatusOK, s.Response().StatusCode)
	nextBlock(t, s)
	return s
}

// requireDetached waits until the hub's streams have left net/http.
func requireDetached(t *testing.T, h *ssegin.Hub, n int) {
	t.Helper()
	require.Eventually(t, func() bool { return h.Stats().Detached == n }, patience, time.Millisecond)
}

func TestDetached_needsNoGoroutineForAStream(t *testing.T) {
	h := ssegin.NewHub()
	srv := listen(t, route(ssegin.Handler(h, ssegin.WithDetached())))
	before := runtime.NumGoroutine()
	conns := make([]net.Conn, 50)
	for i := range conns {
		conns[i] = rawGet(t, srv, "HTTP/1.1")
	}
	requireDetached(t, h, len(conns))
	require.Eventually(t, func() bool { return runtime.NumGoroutine() < before+runtime.GOMAXPROCS(0)+8 }, patience, time.Millisecond,
		"as many goroutines as streams")
	for _, c := range conns {
		c.Close()
	}
	requireGone(t, h)
	require.Eventually(t, func() bool { return runtime.NumGoroutine() <= before+1 }, patience, time.Millisecond,
		"the fleet stays behind") // the one more is that of Eventually
}

// rawGet sends the request of an EventSource and returns the connection.
func rawGet(t *testing.T, srv *httptest.Server, proto string) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	_, err = fmt.Fprintf(conn, "GET /events %s\r\nHost: test\r\nAccept: text/event-stream\r\n\r\n", proto)
	require.NoError(t, err)
	return conn.(*net.TCPConn)
}

func TestDetached_keepsTheHeadersOfMiddlewaresAndEndsInOrder(t *testing.T) {
	for _, proto := range []string{"HTTP/1.1", "HTTP/1.0"} {
		t.Run(proto, func(t *testing.T) {
			h := ssegin.NewHub()
			srv := listen(t, route(func(c *gin.Context) { c.Header("X-Of-A-Middleware", "kept") }, ssegin.Handler(h, ssegin.WithDetached())))
			conn := rawGet(t, srv, proto)
			requireDetached(t, h, 1)
			broadcast(t, h, "one")
			require.NoError(t, h.Shutdown(t.Context()))
			raw, err := io.ReadAll(conn)
			require.NoError(t, err)
			head, body, _ := strings.Cut(string(raw), "\r\n\r\n")
			assert.Contains(t, head, "200 OK")
			assert.Contains(t, head, "X-Of-A-Middleware: kept")
			assert.Contains(t, head, "Content-Type: text/event-stream")
			assert.Contains(t, body, "data: one\n")
			assert.Equal(t, proto == "HTTP/1.1", strings.HasSuffix(body, "\r\n0\r\n\r\n"), "%q", body)
		})
	}
}

func TestBothPaths_resumeExactly(t *testing.T) {
	onBothPaths(t, func(t *testing.T, path ssegin.StreamOption) {
		h := ssegin.NewHub(ssegin.WithHistory(100, 0, 0))
		srv := listen(t, route(ssegin.Handler(h, path, withTopics())))
		s := open(t, srv, "?topic=a")
		publish(t, h, "a", "1")
		publish(t, h, "b", "not for it")
		assert.Equal(t, []string{"1"}, nextData(t, s, 1))
		s.Cut()
		publish(t, h, "a", "2")
		broadcast(t, h, "3")
		resume(t, s)
		assert.Equal(t, []string{"2", "3"}, nextData(t, s, 2))

		s.Disconnect()
		for i := range 150 {
			publish(t, h, "a", i)
		}
		resume(t, s)
		e := next(t, s)
		assert.Equal(t, "ssegin.reset", e.Type)
		assert.JSONEq(t, `{"reason":"expired","missed":150}`, e.Data)
		publish(t, h, "a", "live")
		assert.Equal(t, []string{"live"}, nextData(t, s, 1))
	})
}

func TestBothPaths_endWithTheirTopics(t *testing.T) {
	onBothPaths(t, func(t *testing.T, path ssegin.StreamOption) {
		h := ssegin.NewHub()
		srv := listen(t, route(ssegin.Handler(h, path, withTopics())))
		s := open(t, srv, "?topic=job")
		id, err := h.End(t.Context(), "job", ssegin.Event{Type: "done", Data: ""})
		require.NoError(t, err)
		assert.Equal(t, ssegintest.Event{ID: id, Type: "done"}, next(t, s))
		requireEnd(t, s)
		require.NoError(t, s.Resume(t.Context()))
		assert.Equal(t, http.StatusNoContent, s.Response().StatusCode)
		requireGone(t, h)
	})
}

func TestBothPaths_beatExpireAndEndAtTheirAge(t *testing.T) {
	takesSeconds(t, "it waits for two ends of one second on each path")
	onBothPaths(t, func(t *testing.T, path ssegin.StreamOption) {
		h := ssegin.NewHub()
		causes := make(chan error, 3)
		note := ssegin.OnDisconnect(func(s *ssegin.Stream) { causes <- context.Cause(s.Context()) })
		r := gin.New()
		r.GET("/events/beating", ssegin.Handler(h, path, ssegin.WithHeartbeat(100*time.Millisecond)))
		r.GET("/events", ssegin.Handler(h, path, note, ssegin.WithMaxAge(time.Second)))
		r.GET("/events/expiring", ssegin.Handler(h, path, note, ssegin.WithExpiry(func(*gin.Context) time.Time { return time.Now().Add(time.Second) })))
		srv := listen(t, r)

		beating, err := http.Get(srv.URL + "/events/beating")
		require.NoError(t, err)
		lines := bufio.NewScanner(beating.Body)
		for lines.Scan() && lines.Text() != ":" { // it stays away from the blocks
		}
		assert.NoError(t, lines.Err())
		beating.Body.Close()

		s := open(t, srv, "")
		before, _ := s.Retry()
		requireEnd(t, s)
		retry, _ := s.Retry()
		assert.NotEqual(t, before, retry, "a farewell tells when to come back")
		assert.Equal(t, ssegin.ErrMaxAge, <-causes)

		s = open(t, srv, "/expiring")
		requireEnd(t, s)
		assert.Equal(t, ssegin.ErrExpired, <-causes)
		requireGone(t, h)
	})
}

func TestBothPaths_disconnectAtOnce(t *testing.T) {
	onBothPaths(t, func(t *testing.T, path ssegin.StreamOption) {
		h := ssegin.NewHub()
		cause := make(chan error, 1)
		srv := listen(t, route(ssegin.Handler(h, path, withTopics(), ssegin.OnDisconnect(func(s *ssegin.Stream) { cause <- context.Cause(s.Context()) }))))
		s := open(t, srv, "?topic=user")
		require.Eventually(t, func() bool { return h.Stats().Streams == 1 }, patience, time.Millisecond)
		assert.Equal(t, 1, disconnect(t, h, "user"))
		publish(t, h, "user", "a secret")
		requireEnd(t, s)
		assert.Equal(t, ssegin.ErrDisconnected, <-cause)
		requireGone(t, h)
	})
}

func TestBothPaths_drainOnShutdown(t *testing.T) {
	onBothPaths(t, func(t *testing.T, path ssegin.StreamOption) {
		h := ssegin.NewHub(ssegin.WithDrain(300 * time.Millisecond))
		srv := listen(t, route(ssegin.Handler(h, path)))
		streams := make([]*ssegintest.Stream, 10)
		for i := range streams {
			streams[i] = open(t, srv, "")
		}
		broadcast(t, h, "last")
		begin := time.Now()
		require.NoError(t, h.Shutdown(t.Context()))
		assert.GreaterOrEqual(t, time.Since(begin), 250*time.Millisecond)
		retries := map[time.Duration]bool{}
		for _, s := range streams {
			assert.Equal(t, []string{"last"}, nextData(t, s, 1))
			requireEnd(t, s)
			retry, _ := s.Retry()
			retries[retry] = true
		}
		assert.Greater(t, len(retries), 5, "each stream has a reconnection time of its own")
	})
}

func TestBothPaths_callTheApplication(t *testing.T) {
	onBothPaths(t, func(t *testing.T, path ssegin.StreamOption) {
		h := ssegin.NewHub(ssegin.WithHistory(4, 0, 0))
		srv := listen(t, route(ssegin.Handler(h, path,
			ssegin.OnConnect(func(_ *gin.Context, s *ssegin.Stream) error {
				return s.Send(ssegin.Event{Type: "snapshot", Data: s.LastEventID()})
			}),
			ssegin.OnReset(func(s *ssegin.Stream, r ssegin.Reset) {
				_ = s.Send(ssegin.Event{Type: "mended", Data: r})
			}))))
		s := open(t, srv, "", ssegintest.WithLastEventID("nonsense"))
		// The first block was the reconnection time; the reset follows it.
		assert.Equal(t, "ssegin.reset", next(t, s).Type)
		assert.Equal(t, ssegintest.Event{ID: s.LastEventID(), Type: "snapshot", Data: "nonsense"}, next(t, s))
		e := next(t, s)
		assert.Equal(t, "mended", e.Type)
		assert.JSONEq(t, `{"reason":"invalid","missed":-1}`, e.Data)
		broadcast(t, h, "live")
		assert.Equal(t, "live", next(t, s).Data)
	})
}

func TestBothPaths_conflateAndBatch(t *testing.T) {
	onBothPaths(t, func(t *testing.T, path ssegin.StreamOption) {
		// What is published within the time of a batch is one batch, once the stream
		// has had its first turn, which does not wait. On a slow machine that time must
		// be longer, and the first turn may come late: then it is tried again.
		var got []string
		for batch, waited := 200*time.Millisecond, false; !waited || len(got) != 2; batch *= 2 {
			require.Less(t, batch, 30*time.Second, "the last attempt gave %v", got)
			h := ssegin.NewHub()
			srv := listen(t, route(ssegin.Handler(h, path, withTopics(), ssegin.WithConflation(), ssegin.WithBatch(batch))))
			s := open(t, srv, "?topic=a&topic=b")
			begin := time.Now()
			for i := range 10 {
				publish(t, h, "a", i)
				publish(t, h, "b", -i)
			}
			for got = nil; !slices.Contains(got, "9") || !slices.Contains(got, "-9"); {
				got = append(got, next(t, s).Data)
			}
			waited = time.Since(begin) >= batch
		}
		assert.Equal(t, []string{"9", "-9"}, got)
	})
}

func TestBothPaths_sendFromAnyGoroutine(t *testing.T) {
	onBothPaths(t, func(t *testing.T, path ssegin.StreamOption) {
		h := ssegin.NewHub()
		kept := make(chan *ssegin.Stream, 1)
		srv := listen(t, route(ssegin.Handler(h, path, ssegin.OnConnect(func(_ *gin.Context, s *ssegin.Stream) error {
			kept <- s
			return nil
		}))))
		client := open(t, srv, "")
		stream := <-kept
		const each = 200
		wg := joined(t)
		for range 4 {
			wg.Go(func() {
				for range each {
					assert.NoError(t, stream.Send(ssegin.Event{Type: "sent", Data: "x"}))
				}
			})
		}
		wg.Go(func() {
			for range each {
				broadcast(t, h, "x")
			}
		})
		types := map[string]int{}
		for range 5 * each {
			types[next(t, client).Type]++
		}
		wg.Wait()
		assert.Equal(t, map[string]int{"sent": 4 * each, "message": each}, types)
		client.Cut()
		require.Eventually(t, func() bool { return stream.Send(ssegin.Event{Data: "late"}) != nil }, patience, time.Millisecond)
		require.ErrorIs(t, stream.Comment("later"), ssegin.ErrClosed)
		requireGone(t, h)
	})
}

// FAULTS 8 and 9: one of ten clients stops reading.
func TestBothPaths_aClientThatDoesNotReadCostsOthersNothing(t *testing.T) {
	takesSeconds(t, "it waits for a write time-out of two seconds on each path")
	onBothPaths(t, func(t *testing.T, path ssegin.StreamOption) {
		h := ssegin.NewHub(ssegin.WithHistory(0, 64<<20, 0))
		type end struct {
			at    time.Time
			cause error
		}
		cut := make(chan end, 1)
		r := route(ssegin.Handler(h, path, ssegin.WithWriteTimeout(2*time.Second), ssegin.OnDisconnect(func(s *ssegin.Stream) {
			cut <- end{time.Now(), context.Cause(s.Context())}
		})))
		r.GET("/events/others", ssegin.Handler(h, path, ssegin.WithWriteTimeout(patience))) // a busy machine may stall them
		srv := listen(t, r)
		stalled := rawGet(t, srv, "HTTP/1.1")
		require.NoError(t, stalled.SetReadBuffer(4096))
		const readers, events = 9, 400
		streams := make([]*ssegintest.Stream, readers)
		for i := range streams {
			streams[i] = open(t, srv, "/others")
		}
		data := strings.Repeat("x", 16<<10)
		var got atomic.Int64
		wg := joined(t)
		for _, s := range streams {
			wg.Go(func() {
				for range events {
					next(t, s)
					got.Add(1)
				}
			})
		}
		var slowest time.Duration
		begin := time.Now()
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for range events {
			<-tick.C
			at := time.Now()
			broadcast(t, h, data)
			slowest = max(slowest, time.Since(at))
		}
		wg.Wait()
		assert.EqualValues(t, readers*events, got.Load())
		stalledEnd := await(t, cut)
		t.Logf("others got %d of %d, slowest publish %v, the stalled one was cut after %v: %v", got.Load(), readers*events, slowest, stalledEnd.at.Sub(begin), stalledEnd.cause)
		require.ErrorIs(t, stalledEnd.cause, os.ErrDeadlineExceeded)
		require.Eventually(t, func() bool { return h.Stats().Streams == readers }, patience, time.Millisecond)
	})
}

// FAULTS 11 and 13: clients leave, in every way.
func TestBothPaths_noticeClientsThatLeave(t *testing.T) {
	onBothPaths(t, func(t *testing.T, path ssegin.StreamOption) {
		h := ssegin.NewHub()
		srv := listen(t, route(ssegin.Handler(h, path, ssegin.WithHeartbeat(time.Second))))
		conns := make([]*net.TCPConn, 150)
		for i := range conns {
			conns[i] = rawGet(t, srv, "HTTP/1.1")
			_, err := conns[i].Read(make([]byte, 1))
			require.NoError(t, err)
		}
		require.Eventually(t, func() bool { return h.Stats().Streams == len(conns) }, patience, time.Millisecond)
		begin := time.Now()
		for i, c := range conns {
			switch i % 3 {
			case 0:
				c.Close()
			case 1:
				require.NoError(t, c.SetLinger(0))
				c.Close()
			case 2: // an extra byte stops the background read of net/http
				_, _ = c.Write([]byte("x"))
				c.Close()
			}
		}
		requireGone(t, h)
		t.Logf("%d streams freed after %v", len(conns), time.Since(begin))
	})
}

// FAULTS 7: cut over and over while events are published.
func TestBothPaths_loseNothingInAStormOfReconnections(t *testing.T) {
	onBothPaths(t, func(t *testing.T, path ssegin.StreamOption) {
		h := ssegin.NewHub(ssegin.WithHistory(1<<16, 64<<20, 0))
		srv := listen(t, route(ssegin.Handler(h, path)))
		const clients, events = 20, 3000
		var sum ssegintest.Verdict
		var mu sync.Mutex
		wg := joined(t)
		for n := range clients {
			s := open(t, srv, "")
			wg.Go(func() {
				check := ssegintest.NewChecker(1, func(e ssegintest.Event) (seq uint64, ok bool) {
					_, err := fmt.Sscan(e.Data, &seq)
					return seq, err == nil
				})
				for reads := 1; check.Next() <= events; reads++ {
					check.Check(next(t, s))
					if reads%(97+n) == 0 {
						if n%2 == 0 {
							s.Cut()
						} else {
							s.Disconnect()
						}
						resume(t, s)
					}
				}
				mu.Lock()
				defer mu.Unlock()
				sum = sum.Plus(check.Verdict(events))
			})
		}
		require.Eventually(t, func() bool { return h.Stats().Streams == clients }, patience, time.Millisecond)
		for i := range events {
			broadcast(t, h, i+1)
			if i%10 == 0 {
				runtime.Gosched()
			}
		}
		wg.Wait()
		t.Log(sum)
		assert.Zero(t, sum.Missing+sum.Duplicated+sum.Reordered)
	})
}

func TestDetached_waitsInSendNoLongerThanTheWriteTimeout(t *testing.T) {
	h := ssegin.NewHub()
	kept := make(chan *ssegin.Stream, 1)
	srv := listen(t, route(ssegin.Handler(h, ssegin.WithDetached(), ssegin.WithWriteTimeout(time.Second),
		ssegin.OnConnect(func(_ *gin.Context, s *ssegin.Stream) error {
			kept <- s
			return nil
		}))))
	conn := rawGet(t, srv, "HTTP/1.1")
	require.NoError(t, conn.SetReadBuffer(4096))
	stream := <-kept
	begin := time.Now()
	data := strings.Repeat("x", 1<<19)
	var err error
	for err == nil && time.Since(begin) < patience {
		err = stream.Send(ssegin.Event{Data: data})
	}
	require.ErrorIs(t, err, ssegin.ErrClosed)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	t.Logf("the write timeout is 1 s: the last Send has failed after %v", time.Since(begin))
	requireGone(t, h)
}

func TestDetached_stalledStreamIsCutWhenShutdownMayWaitNoLonger(t *testing.T) {
	h := ssegin.NewHub(ssegin.WithHistory(0, 64<<20, 0))
	srv := listen(t, route(ssegin.Handler(h, ssegin.WithDetached())))
	conn := rawGet(t, srv, "HTTP/1.1")
	require.NoError(t, conn.SetReadBuffer(4096))
	requireDetached(t, h, 1)
	data := strings.Repeat("x", 1<<19)
	for range 64 { // many times what the kernel takes
		broadcast(t, h, data)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, h.Shutdown(ctx), context.DeadlineExceeded)
	requireGone(t, h)
}

func TestDetached_staysWithNetHTTPWhereItMust(t *testing.T) {
	for name, c := range map[string]struct {
		before gin.HandlerFunc
		start  func(*httptest.Server)
	}{
		"a writer that hides the server's": {before: func(c *gin.Context) { c.Writer = struct{ gin.ResponseWriter }{c.Writer} }},
		"TLS":                              {start: (*httptest.Server).StartTLS},
		"HTTP/2": {start: func(s *httptest.Server) {
			s.EnableHTTP2 = true
			s.StartTLS()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			h := ssegin.NewHub(ssegin.WithLogger(slog.New(slog.DiscardHandler)))
			r := gin.New()
			if c.before != nil {
				r.Use(c.before)
			}
			r.GET("/events", ssegin.Handler(h, ssegin.WithDetached()))
			srv := httptest.NewUnstartedServer(r)
			if c.start == nil {
				c.start = (*httptest.Server).Start
			}
			c.start(srv)
			t.Cleanup(func() {
				srv.CloseClientConnections()
				srv.Close()
			})
			s := open(t, srv, "", ssegintest.WithClient(srv.Client()))
			broadcast(t, h, "hello")
			assert.Equal(t, "hello", next(t, s).Data)
			assert.Zero(t, h.Stats().Detached)
			s.Close()
		})
	}
}

// wrapped is a listener whose connections hide that they are TCP's.
type wrapped struct{ net.Listener }

func (l wrapped) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return struct{ net.Conn }{c}, err
}

func TestDetached_leavesConnectionsThatAreNotPlainTCPToNetHTTP(t *testing.T) {
	h := ssegin.NewHub()
	srv := httptest.NewUnstartedServer(route(ssegin.Handler(h, ssegin.WithDetached())))
	srv.Listener = wrapped{srv.Listener}
	srv.Start()
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	s := open(t, srv, "")
	requireEnd(t, s) // the first client is sent back once
	broadcast(t, h, "missed")
	resume(t, s)
	assert.Equal(t, "missed", next(t, s).Data)
	s.Close()
}

func TestDetached_aPanicInACallbackEndsThatStreamOnly(t *testing.T) {
	for name, arrange := range map[string]func(panics func()) (ssegin.Observer, ssegin.StreamOption){
		"OnDisconnect": func(panics func()) (ssegin.Observer, ssegin.StreamOption) {
			return ssegin.Observer{}, ssegin.OnDisconnect(func(*ssegin.Stream) { panics() })
		},
		"Observer.Delivered": func(panics func()) (ssegin.Observer, ssegin.StreamOption) {
			return ssegin.Observer{Delivered: func(int, int, time.Duration) { panics() }}, ssegin.WithDetached()
		},
		"Observer.Closed": func(panics func()) (ssegin.Observer, ssegin.StreamOption) {
			return ssegin.Observer{Closed: func(error, time.Duration) { panics() }}, ssegin.WithDetached()
		},
	} {
		t.Run(name, func(t *testing.T) {
			var once sync.Once
			observer, option := arrange(func() { once.Do(func() { panic("of the application") }) })
			var buffer safeBuffer
			h := ssegin.NewHub(ssegin.WithObserver(observer), ssegin.WithLogger(slog.New(slog.NewTextHandler(&buffer, nil))))
			srv := listen(t, route(ssegin.Handler(h, ssegin.WithDetached(), option)))
			s := open(t, srv, "")
			requireDetached(t, h, 1)
			broadcast(t, h, "the last one")
			next(t, s)
			s.Cut()
			requireGone(t, h)
			require.Eventually(t, func() bool { return strings.Contains(buffer.String(), "of the application") }, patience, time.Millisecond)
			s = open(t, srv, "")
			broadcast(t, h, "alive")
			assert.Equal(t, "alive", next(t, s).Data)
		})
	}
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// At which moment exactly is what tests in fake time say.
func TestBothPaths_expire(t *testing.T) {
	onBothPaths(t, func(t *testing.T, path ssegin.StreamOption) {
		h := ssegin.NewHub()
		ended := make(chan time.Time, 1)
		var moment time.Time
		srv := listen(t, route(ssegin.Handler(h, path,
			ssegin.WithExpiry(func(*gin.Context) time.Time {
				moment = time.Now().Add(700 * time.Millisecond)
				return moment
			}),
			ssegin.OnDisconnect(func(*ssegin.Stream) { ended <- time.Now() }))))
		s := open(t, srv, "")
		requireEnd(t, s)
		t.Logf("ended %v after its moment", await(t, ended).Sub(moment))
	})
}

// A client that is always behind reaches its maximum age all the same. Whether it
// sees the end in order depends on how quickly it reads what is being written then.
func TestBothPaths_endAtTheirAgeAlthoughMoreIsDue(t *testing.T) {
	onBothPaths(t, func(t *testing.T, path ssegin.StreamOption) {
		h := ssegin.NewHub(ssegin.WithHistory(1<<16, 1<<30, 0))
		tell, causes := told()
		srv := listen(t, route(ssegin.Handler(h, path, tell, ssegin.WithMaxAge(300*time.Millisecond))))
		id := broadcast(t, h, "first")
		for range 2000 {
			broadcast(t, h, strings.Repeat("x", 32<<10))
		}
		s := open(t, srv, "", ssegintest.WithLastEventID(id))
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		events := 0
		var err error
		for ; err == nil; events++ {
			_, err = s.Next(ctx)
			<-time.After(time.Millisecond)
		}
		require.NoError(t, ctx.Err(), "the stream does not end")
		assert.Equal(t, ssegin.ErrMaxAge, await(t, causes))
		assert.Less(t, events, 2000)
	})
}

// The process may exit when Shutdown returns, so what the application does for
// each stream that leaves must be done.
func TestBothPaths_shutdownWaitsForOnDisconnect(t *testing.T) {
	onBothPaths(t, func(t *testing.T, path ssegin.StreamOption) {
		h := ssegin.NewHub()
		var done atomic.Int64
		srv := listen(t, route(ssegin.Handler(h, path, ssegin.OnDisconnect(func(*ssegin.Stream) {
			<-time.After(100 * time.Millisecond)
			done.Add(1)
		}))))
		for range 5 {
			open(t, srv, "")
		}
		require.Eventually(t, func() bool { return h.Stats().Streams == 5 }, patience, time.Millisecond)
		require.NoError(t, h.Shutdown(t.Context()))
		assert.EqualValues(t, 5, done.Load())
	})
}

// Nothing comes between the end and the client's knowledge of it.
func TestBothPaths_nothingFollowsStreamEnd(t *testing.T) {
	onBothPaths(t, func(t *testing.T, path ssegin.StreamOption) {
		h := ssegin.NewHub(ssegin.WithHistory(1<<16, 0, 0))
		kept := make(chan *ssegin.Stream, 1)
		srv := listen(t, route(ssegin.Handler(h, path, ssegin.OnConnect(func(_ *gin.Context, s *ssegin.Stream) error {
			kept <- s
			return nil
		}))))
		wg := joined(t)
		for range 50 {
			s := open(t, srv, "")
			stream := <-kept
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			wg.Go(func() {
				for ctx.Err() == nil {
					_, _ = h.Broadcast(t.Context(), ssegin.Event{Data: "x"})
					runtime.Gosched()
				}
			})
			next(t, s)
			ended := make(chan error, 1)
			wg.Go(func() { ended <- stream.End(ssegin.Event{}) }) // it waits for the client to read
			for err := error(nil); err == nil; {
				_, err = s.Next(ctx)
			}
			require.NoError(t, await(t, ended))
			cancel()
			wg.Wait()
			require.Equal(t, "ssegin.end", s.LastEventID())
			require.ErrorIs(t, stream.Send(ssegin.Event{Data: "late"}), ssegin.ErrClosed)
			s.Close()
		}
	})
}

// OnReset may send more than the socket takes at once.
func TestDetached_onResetMaySendToASlowClient(t *testing.T) {
	h := ssegin.NewHub(ssegin.WithHistory(4, 0, 0))
	returned := make(chan error, 10)
	srv := listen(t, route(ssegin.Handler(h, ssegin.WithDetached(), ssegin.OnReset(func(s *ssegin.Stream, _ ssegin.Reset) {
		var err error
		for range 8 {
			err = s.Send(ssegin.Event{Type: "snapshot", Data: strings.Repeat("x", 1<<19)})
		}
		returned <- err
	}))))
	conn := rawGet(t, srv, "HTTP/1.1")
	requireDetached(t, h, 1)
	data := strings.Repeat("y", 1<<19)
	for s := h.Stats(); s.Published-s.Delivered <= 16; s = h.Stats() { // until it lags, whatever is counted late
		broadcast(t, h, data)
	}
	reader := joined(t)
	t.Cleanup(func() { conn.Close() }) // for the reader, which is waited for after that
	reader.Go(func() {                 // slowly, so that the socket is full most of the time
		buffer := make([]byte, 64<<10)
		for range time.Tick(time.Millisecond) {
			if _, err := conn.Read(buffer); err != nil {
				return
			}
		}
	})
	select {
	case err := <-returned:
		require.NoError(t, err)
	case <-time.After(patience):
		t.Fatal("OnReset hangs in Send")
	}
}

// Senders who began in OnConnect do not notice that the stream moves.
func TestDetached_sendersDoNotNoticeTheMove(t *testing.T) {
	h := ssegin.NewHub()
	var failed atomic.Int64
	wg := joined(t)
	srv := listen(t, route(ssegin.Handler(h, ssegin.WithDetached(), ssegin.OnConnect(func(_ *gin.Context, s *ssegin.Stream) error {
		for range 4 {
			wg.Go(func() {
				for range 20 {
					if s.Send(ssegin.Event{Data: "x"}) != nil {
						failed.Add(1)
					}
				}
			})
		}
		return nil
	}))))
	for range 40 {
		s := open(t, srv, "")
		for range 79 { // the first block was one of them, or the opening
			next(t, s)
		}
		wg.Wait()
		s.Close()
	}
	assert.Zero(t, failed.Load())
}

// A middleware may have set headers for its own answers.
func TestBothPaths_streamWhateverAMiddlewareHasSetBefore(t *testing.T) {
	onBothPaths(t, func(t *testing.T, path ssegin.StreamOption) {
		h := ssegin.NewHub()
		srv := listen(t, route(func(c *gin.Context) {
			c.Header("Content-Type", "application/json")
			c.Status(http.StatusCreated)
		}, ssegin.Handler(h, path)))
		s := open(t, srv, "")
		assert.Equal(t, "text/event-stream; charset=utf-8", s.Response().Header.Get("Content-Type"))
		broadcast(t, h, "hello")
		assert.Equal(t, "hello", next(t, s).Data)
	})
}

func TestHandler_keepsTheStatusThatACallbackChose(t *testing.T) {
	h := ssegin.NewHub()
	srv := listen(t, route(ssegin.Handler(h, ssegin.WithTopics(func(c *gin.Context) ([]string, error) {
		c.Status(http.StatusUnauthorized)
		return nil, errors.New("who are you?")
	}))))
	resp, err := http.Get(srv.URL + "/events")
	require.NoError(t, err)
	resp.Body.Close()
	assert.Equal(t, http.StatusUnauthorized, resp.StatusCode)
}

// A middleware may have set of the framing what it likes: the body is as the head says.
func TestDetached_framesAsNetHTTPHasBegun(t *testing.T) {
	for _, header := range []map[string]string{
		nil,
		{"Transfer-Encoding": "identity"},
		{"Transfer-Encoding": "chunked"},
		{"Content-Length": "5"},
		{"Connection": "keep-alive"},
		{"Connection": "close"},
		{"Transfer-Encoding": "identity", "Content-Length": "5", "Connection": "keep-alive"},
		{"Trailer": "X-Sum"},
	} {
		for _, version := range []string{"HTTP/1.0", "HTTP/1.1"} {
			var bodies [2]string
			for i, path := range []ssegin.StreamOption{ssegin.WithHeartbeat(time.Second), ssegin.WithDetached()} {
				hub := ssegin.NewHub()
				srv := listen(t, route(func(c *gin.Context) {
					for name, value := range header {
						c.Header(name, value)
					}
				}, ssegin.Handler(hub, path, withTopics())))
				conn, err := net.Dial("tcp", srv.Listener.Addr().String())
				require.NoError(t, err)
				fmt.Fprintf(conn, "GET /events?topic=a %s\r\nHost: x\r\n\r\n", version)
				require.Eventually(t, func() bool { return hub.Stats().Streams == 1 }, patience, time.Millisecond)
				if i == 1 {
					requireDetached(t, hub, 1)
				}
				publish(t, hub, "a", "one")
				_, err = hub.End(t.Context(), "a", ssegin.Event{Data: "two"})
				require.NoError(t, err)
				resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
				require.NoError(t, err)
				body, err := io.ReadAll(resp.Body)
				require.NoError(t, err, "%v %s", header, version)
				for _, e := range eventsOf(t, string(body)) {
					bodies[i] += e.Data + " "
				}
				assert.NoError(t, ssegintest.CheckPlain(strings.NewReader(string(body)[strings.Index(string(body), "\n\n")+2:])))
				conn.Close()
			}
			assert.Equal(t, "one two ", bodies[0], "attached, %v %s", header, version)
			assert.Equal(t, bodies[0], bodies[1], "detached, %v %s", header, version)
		}
	}
}

// A plain client's stream may end without a last event, and ends once.
func TestBothPaths_endAPlainStreamWithNothing(t *testing.T) {
	onBothPaths(t, func(t *testing.T, path ssegin.StreamOption) {
		hub := ssegin.NewHub()
		streams := make(chan *ssegin.Stream, 1)
		srv := listen(t, route(ssegin.Handler(hub, path, ssegin.WithPlain(), ssegin.OnConnect(func(_ *gin.Context, s *ssegin.Stream) error {
			streams <- s
			return nil
		}))))
		conn, err := net.Dial("tcp", srv.Listener.Addr().String())
		require.NoError(t, err)
		defer conn.Close()
		fmt.Fprint(conn, "GET /events HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		s := <-streams
		if name := t.Name(); strings.HasSuffix(name, "detached") {
			requireDetached(t, hub, 1)
		}
		require.NoError(t, s.Send(ssegin.Event{Data: "x"}))
		require.NoError(t, s.End(ssegin.Event{}))
		assert.ErrorIs(t, s.Send(ssegin.Event{Data: "y"}), ssegin.ErrEnded)
		all, err := io.ReadAll(conn)
		require.NoError(t, err)
		_, body, _ := strings.Cut(string(all), "\r\n\r\n")
		assert.Equal(t, 1, strings.Count(body, "0\r\n\r\n"), "%q", body)
		assert.True(t, strings.HasSuffix(body, "data: x\n\n\r\n0\r\n\r\n"), "%q", body)
	})
}
