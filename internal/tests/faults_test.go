package tests

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"slices"
	"strconv"
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

// These tests make faults on real connections, under load. What they measure
// they only log, because a busy machine is slow: tests in fake time say how long
// things may take.

// dial opens a stream by hand and reads its headers and first block.
func dial(t *testing.T, srv *httptest.Server, header string, setUp ...func(*net.TCPConn)) *net.TCPConn {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", srv.Listener.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	conn := c.(*net.TCPConn)
	for _, f := range setUp {
		f(conn)
	}
	_, err = fmt.Fprintf(conn, "GET /events HTTP/1.1\r\nHost: x\r\n%s\r\n", header)
	require.NoError(t, err)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
	line, err := bufio.NewReaderSize(conn, 16).ReadString('\n') // hardly reads ahead
	require.NoError(t, err)
	require.Equal(t, "HTTP/1.1 200 OK\r\n", line)
	return conn
}

// deaf is for one who will not read: what the kernel takes in his place is
// little.
func deaf(c *net.TCPConn) { _ = c.SetReadBuffer(4096) }

// follow opens a stream as an EventSource does.
func follow(t *testing.T, srv *httptest.Server, opts ...ssegintest.ConnectOption) *ssegintest.Stream {
	t.Helper()
	s, err := ssegintest.Connect(t.Context(), srv.URL+"/events", opts...)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	require.Equal(t, http.StatusOK, s.Response().StatusCode)
	nextBlock(t, s)
	return s
}

// position takes the number out of an event's ID: it counts up by one from
// event to event.
func position(e ssegintest.Event) (uint64, bool) {
	_, digits, _ := strings.Cut(e.ID, "-")
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil && !strings.HasPrefix(e.Type, "ssegin.")
}

// every calls f so often for so long, and returns how long each call took.
func every(interval, d time.Duration, f func(i int)) (took []time.Duration) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for i := range int(d / interval) {
		<-tick.C
		start := time.Now()
		f(i)
		took = append(took, time.Since(start))
	}
	return took
}

func percentile(d []time.Duration, p float64) time.Duration {
	slices.Sort(d)
	return d[int(p*float64(len(d)-1))]
}

func TestFault_reconnectStormLosesNothing(t *testing.T) {
	takesSeconds(t, "it publishes three thousand events, a few at a time")
	const clients, events = 30, 3000
	hub := ssegin.NewHub(ssegin.WithHistory(100_000, 64<<20, 0))
	srv := listen(t, route(ssegin.Handler(hub)))
	var sum ssegintest.Verdict
	var mu sync.Mutex
	all := joined(t)
	connections := 0
	for range clients {
		s := follow(t, srv)
		check := ssegintest.NewChecker(1, position)
		all.Go(func() {
			for check.Next() <= events {
				for range 20 + rand.N(60) { // an event is due every millisecond
					if check.Next() > events {
						break
					}
					check.Check(next(t, s))
				}
				if rand.N(2) == 0 {
					s.Cut() // RST
				} else {
					s.Disconnect() // FIN
				}
				if !assert.NoError(t, s.Resume(t.Context())) {
					return
				}
			}
			mu.Lock()
			defer mu.Unlock()
			sum = sum.Plus(check.Verdict(events))
			connections += s.Connections()
		})
	}
	begin := time.Now()
	every(time.Millisecond, events*time.Millisecond, func(i int) { broadcast(t, hub, i) })
	took := time.Since(begin)
	all.Wait()
	t.Logf("reconnect storm: %d clients, %d connections, FIN and RST mixed, %d events in %v: %v, resets %d",
		clients, connections, events, took, sum, hub.Stats().Resets)
	assert.Equal(t, ssegintest.Verdict{Events: clients * events}, sum)
	assert.Zero(t, hub.Stats().Resets)
}

// A watched connection remembers when a write last succeeded, and how much was
// written by then.
type watched struct {
	net.Conn
	wrote, bytes atomic.Int64
}

func (w *watched) Write(p []byte) (int, error) {
	n, err := w.Conn.Write(p)
	w.bytes.Add(int64(n))
	if err == nil {
		w.wrote.Store(time.Now().UnixNano())
	}
	return n, err
}

type watchingListener struct {
	net.Listener
	conns *sync.Map // of *watched, by the client's address
}

func (l watchingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	w := &watched{Conn: c}
	l.conns.Store(c.RemoteAddr().String(), w)
	return w, nil
}

func TestFault_aClientThatStopsReadingCostsTheOthersNothing(t *testing.T) {
	takesSeconds(t, "it publishes for eight seconds")
	t.Parallel()
	const clients, rate, length, size, timeout = 10, 500, 8 * time.Second, 16 << 10, 5 * time.Second
	hub := ssegin.NewHub(ssegin.WithHistory(2*rate*int(length/time.Second), 256<<20, 0)) // a busy machine may be behind by all of them
	type cut struct {
		at        time.Time
		cause     error
		published uint64 // until then
	}
	cuts := make(chan cut, clients)
	r := route(ssegin.Handler(hub, ssegin.WithWriteTimeout(timeout), ssegin.OnDisconnect(func(s *ssegin.Stream) {
		cuts <- cut{time.Now(), context.Cause(s.Context()), hub.Stats().Published}
	})))
	r.GET("/events/others", ssegin.Handler(hub, ssegin.WithWriteTimeout(patience))) // a busy machine may stall them
	srv := httptest.NewUnstartedServer(r)
	var conns sync.Map
	srv.Listener = watchingListener{srv.Listener, &conns}
	srv.Start()
	t.Cleanup(srv.Close)
	t.Cleanup(srv.CloseClientConnections)

	stalled := dial(t, srv, "", deaf)
	w, _ := conns.Load(stalled.LocalAddr().String())

	const n = rate * uint64(length/time.Second)
	var sum ssegintest.Verdict
	var mu sync.Mutex
	all := joined(t)
	for range clients - 1 {
		s := open(t, srv, "/others")
		all.Go(func() {
			check := ssegintest.NewChecker(1, position)
			lines := bufio.NewReaderSize(s.Response().Body, 32<<10)
			for check.Next() <= n { // quicker than a strict reader: the load is to be on the server
				line, err := lines.ReadSlice('\n')
				if !assert.NoError(t, err) {
					return
				}
				if id, ok := bytes.CutPrefix(line, []byte("id: ")); ok {
					check.Check(ssegintest.Event{ID: string(bytes.TrimSpace(id))})
				}
			}
			mu.Lock()
			defer mu.Unlock()
			sum = sum.Plus(check.Verdict(n))
		})
	}
	data := strings.Repeat("x", size)
	took := every(time.Second/rate, length, func(int) {
		_, err := hub.Broadcast(t.Context(), ssegin.Event{Data: data})
		assert.NoError(t, err)
	})
	all.Wait()
	c := await(t, cuts)
	after := c.at.Sub(time.Unix(0, w.(*watched).wrote.Load()))
	written := w.(*watched).bytes.Load() / size
	t.Logf("1 of %d clients stops reading, 16 KiB events at %d/s: the others %v, %d of %d each; publish p99 %v, max %v, the goal is a p99 of 5 ms; the stalled one is cut after %v (write timeout %v), %d events published, %d written to it: %v",
		clients, rate, sum, sum.Events/(clients-1), n, percentile(took, 0.99), percentile(took, 1), after, timeout, c.published, written, c.cause)
	assert.Equal(t, ssegintest.Verdict{Events: (clients - 1) * n}, sum)
	assert.ErrorIs(t, c.cause, os.ErrDeadlineExceeded)
	assert.Greater(t, c.published, uint64(written)+10, "publishing has gone on while the stalled one was written to")
	assert.Zero(t, hub.Stats().Resets)
}

func TestFault_anExtraByteThenFINIsFoundByTheHeartbeat(t *testing.T) {
	t.Parallel()
	const clients, heartbeat = 200, 250 * time.Millisecond
	hub := ssegin.NewHub()
	r := route(ssegin.Handler(hub, ssegin.WithHeartbeat(heartbeat)))
	srv := listen(t, r)
	t.Cleanup(func() { _ = hub.Shutdown(context.Background()) }) // net/http would wait for those that were not found
	var conns []*net.TCPConn
	for range clients {
		conns = append(conns, dial(t, srv, ""))
	}
	require.Equal(t, clients, hub.Stats().Streams)
	for _, c := range conns {
		_, err := io.WriteString(c, "X")
		require.NoError(t, err)
		require.NoError(t, c.Close())
	}
	left := time.Now()
	requireGone(t, hub)
	t.Logf("an extra byte, then FIN: %d clients freed after %v, the heartbeat is %v", clients, time.Since(left), heartbeat)
}

func TestFault_idleClientsThatLeaveAreFreedWithoutTraffic(t *testing.T) {
	const clients = 1000
	hub := ssegin.NewHub()
	srv := listen(t, route(ssegin.Handler(hub)))
	before := runtime.NumGoroutine()
	var conns []*net.TCPConn
	for range clients {
		conns = append(conns, dial(t, srv, ""))
	}
	require.Equal(t, clients, hub.Stats().Streams)
	each := float64(runtime.NumGoroutine()-before) / clients
	left := time.Now()
	for i, c := range conns {
		if i%2 == 0 {
			require.NoError(t, c.SetLinger(0))
		}
		require.NoError(t, c.Close())
	}
	leaving := time.Since(left)
	left = time.Now()
	requireGone(t, hub)
	freed := time.Since(left)
	require.Eventually(t, func() bool { return runtime.NumGoroutine() <= before+1 }, patience, time.Millisecond) // the one more is that of Eventually
	t.Logf("%d idle clients leave within %v, half FIN, half RST: freed %v after the last, %.1f goroutines each before, %d after",
		clients, leaving, freed, each, runtime.NumGoroutine()-before)
}

func TestFault_clientsThatAskForHistoryAndDoNotReadCostTheLiveOnesLittle(t *testing.T) {
	takesSeconds(t, "it publishes for two seconds")
	const greedy, history, live = 50, 5000, 4
	hub := ssegin.NewHub(ssegin.WithHistory(2*history, 32<<20, 0))
	srv := listen(t, route(ssegin.Handler(hub, ssegin.WithWriteTimeout(0))))
	first := broadcast(t, hub, "0")
	for range history {
		broadcast(t, hub, strings.Repeat("x", 1<<10))
	}
	lags := make(chan time.Duration, 1<<16)
	all := joined(t)
	for range live {
		s := follow(t, srv)
		all.Go(func() {
			for e, err := range s.Events(t.Context()) {
				if at, _ := strconv.ParseInt(e.Data, 10, 64); err == nil && at > 0 {
					lags <- time.Since(time.Unix(0, at))
				}
			}
		})
	}
	measure := func() time.Duration {
		const n = 1000
		all.Go(func() {
			every(time.Millisecond, n*time.Millisecond, func(int) {
				_, _ = hub.Broadcast(t.Context(), ssegin.Event{Data: strconv.FormatInt(time.Now().UnixNano(), 10)})
			})
		})
		var seen []time.Duration
		for range live * n {
			seen = append(seen, await(t, lags))
		}
		return percentile(seen, 0.99)
	}
	alone := measure()
	for range greedy {
		dial(t, srv, "Last-Event-ID: "+first+"\r\n", deaf)
	}
	crowded := measure()
	t.Logf("%d clients ask for %d × 1 KiB of history and do not read: the live clients' p99 is %v, alone it is %v, ratio %.1f, the goal is 2",
		greedy, history, crowded, alone, float64(crowded)/float64(alone))
	stats := hub.Stats()
	assert.Equal(t, greedy+live, stats.Streams, "the live ones have got everything while the others were still there")
	assert.GreaterOrEqual(t, stats.Behind, greedy)
	assert.Zero(t, stats.Resets)
}

func TestFault_hugeEventsAreRefusedAndTakeNoMemory(t *testing.T) {
	hub := ssegin.NewHub()
	var stream *ssegin.Stream
	srv := listen(t, route(ssegin.Handler(hub, ssegin.OnConnect(func(_ *gin.Context, s *ssegin.Stream) error {
		stream = s
		return nil
	}))))
	s := follow(t, srv)
	huge := map[string]any{"64 MiB": strings.Repeat("x", 64<<20), "1 MiB of newlines": []byte(strings.Repeat("\n", 1<<20))}
	grown := uint64(math.MaxUint64) // the least of some runs, because others may take some meanwhile
	for range 5 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for name, data := range huge {
			_, err := hub.Broadcast(t.Context(), ssegin.Event{Data: data})
			assert.ErrorIs(t, err, ssegin.ErrTooLarge, name)
			assert.ErrorIs(t, stream.Send(ssegin.Event{Data: data}), ssegin.ErrTooLarge, name)
		}
		runtime.ReadMemStats(&after)
		grown = min(grown, after.TotalAlloc-before.TotalAlloc)
	}
	t.Logf("a 64 MiB event and 1 MiB of newlines, published and sent: ErrTooLarge, growth %d bytes", grown)
	assert.Less(t, grown, uint64(256<<10))
	broadcast(t, hub, "next")
	assert.Equal(t, "next", next(t, s).Data)
	assert.EqualValues(t, 1, hub.Stats().Published)
}
