package tests

import (
	"context"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"net"
	"net/http/httptest"
	"runtime"
	"strconv"
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
	"github.com/ssegin/ssegin/eventlog"
	"github.com/ssegin/ssegin/ssegintest"
)

// behind starts a hub over the log whose memory has two events, with a route for detached
// streams, and returns the IDs of so many events of the topic "x", numbered from 1 on.
func behind(t *testing.T, log eventlog.Log, events int, opts ...ssegin.StreamOption) (*ssegin.Hub, *httptest.Server, []string) {
	t.Helper()
	n := start(t, log, ssegin.WithHistory(2, 0, 0))
	return n.hub, listen(t, route(ssegin.Handler(n.hub, append(opts, withTopics())...))), n.fill(t, "x", events)
}

// requireCatchingUp waits until so many streams are behind.
func requireCatchingUp(t *testing.T, h *ssegin.Hub, n int) {
	t.Helper()
	require.Eventually(t, func() bool { return h.Stats().CatchingUp == n }, patience, time.Millisecond)
}

// Streams that wait for a page have left net/http, and need no goroutine, also while the
// engine hangs. When it goes on they get what they wait for.
func TestWithDetached_whoWaitsForAPageNeedsNoGoroutine(t *testing.T) {
	const clients = 60
	log := stuck{ssegintest.NewLog(ssegintest.WithFirstPosition(1)), make(chan struct{})}
	returned := atomic.Int64{}
	n := start(t, log, ssegin.WithHistory(2, 0, 0))
	ids := n.fill(t, "x", 600)
	srv := listen(t, route(func(c *gin.Context) {
		c.Next()
		returned.Add(1)
	}, ssegin.Handler(n.hub, ssegin.WithDetached(), withTopics())))
	joined(t).Go(func() { log.reads <- struct{}{} }) // the page with their IDs, and no more
	before := runtime.NumGoroutine()
	streams := make([]*ssegintest.Stream, clients)
	for i := range streams {
		streams[i] = open(t, srv, "?topic=x", withLastID(ids[i]))
	}
	requireDetached(t, n.hub, clients)
	require.Eventually(t, func() bool { return returned.Load() == clients }, patience, time.Millisecond)
	for i, s := range streams {
		requireNumbers(t, s, i+2, 200)
	}
	requireCatchingUp(t, n.hub, clients)
	// A client of net/http has two goroutines for each connection, and so has the httptest
	// server none any more.
	require.Eventually(t, func() bool { return runtime.NumGoroutine() < before+2*clients+runtime.GOMAXPROCS(0)+12 }, patience, time.Millisecond,
		"goroutines for those who wait")
	joined(t).Go(func() {
		for {
			select {
			case log.reads <- struct{}{}:
			case <-t.Context().Done():
				return
			}
		}
	})
	for _, s := range streams {
		requireNumbers(t, s, 201, 600)
	}
	requireCatchingUp(t, n.hub, 0)
	publish(t, n.hub, "x", 601)
	for _, s := range streams {
		requireNumbers(t, s, 601, 601)
	}
	assert.Zero(t, n.hub.Stats().Resets)
}

// A crowd of detached streams catches up, cut now and then, while others are live: each
// gets all events of its topic once, in order, and in the end every place is free again.
func TestWithDetached_aCrowdThatCatchesUpGetsEverythingOnce(t *testing.T) {
	const before, total, topics, clients = 1000, 1400, 4, 24
	seed := rand.Uint64()
	t.Log("seed", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	n := start(t, ssegintest.NewLog(), ssegin.WithHistory(20, 0, 0))
	srv := listen(t, route(ssegin.Handler(n.hub, ssegin.WithDetached(), withTopics())))
	topicOf := make([]int, total)
	ids := make([]string, total)
	for i := range topicOf {
		topicOf[i] = r.IntN(topics)
	}
	publishOne := func(i int) {
		ids[i] = publish(t, n.hub, fmt.Sprint("t", topicOf[i]), strconv.Itoa(i)+strings.Repeat(" ", 2000*(i%7)))
	}
	for i := range before {
		publishOne(i)
	}
	require.Eventually(t, func() bool { return n.hub.Stats().Published == before }, patience, time.Millisecond)
	var all sync.WaitGroup
	for k := range clients {
		r := rand.New(rand.NewPCG(seed, uint64(k)+1))
		topic, last := k%topics, r.IntN(before)
		lastID := ids[last]
		all.Go(func() {
			path := fmt.Sprint("?topic=t", topic)
			s := open(t, srv, path, withLastID(lastID))
			defer func() { s.Close() }()
			for i := last + 1; i < total; i++ {
				for topicOf[i] == topic {
					e, err := s.Next(t.Context())
					if err == nil && r.IntN(60) == 0 {
						s.Cut()
						err = io.EOF
					}
					if e.ID != "" && !assert.Equal(t, strconv.Itoa(i), strings.TrimSpace(e.Data), "client %d", k) {
						return
					}
					if err != nil { // cut, or too slow for memory
						s = open(t, srv, path, withLastID(s.LastEventID()))
					}
					if e.ID != "" {
						break
					}
				}
			}
		})
	}
	for i := before; i < total; i++ {
		publishOne(i)
	}
	all.Wait()
	requireGone(t, n.hub)
	stats := n.hub.Stats()
	assert.Zero(t, stats.CatchingUp+stats.Arriving)
	assert.Zero(t, stats.Resets)
}

// What is older than memory, a hole in it, the snapshot that OnReset sends, and what a
// newcomer gets after that come in the same order on both paths.
func TestBothPaths_aHoleInWhatIsOlderIsToldInOrder(t *testing.T) {
	onBothPaths(t, func(t *testing.T, path ssegin.StreamOption) {
		log := ssegintest.NewLog()
		hub, srv, ids := behind(t, log, 20, path, ssegin.WithReplay(ssegin.ReplayEach(5)), ssegin.OnReset(func(s *ssegin.Stream, r ssegin.Reset) {
			assert.NoError(t, s.Send(ssegin.Event{Data: "snapshot after " + string(r.Reason)}))
		}))
		hole, err := strconv.ParseUint(strings.Split(ids[10], "-")[1], 10, 64)
		require.NoError(t, err)
		log.Delete(hole)
		s := open(t, srv, "?topic=x", withLastID(ids[5]))
		requireNumbers(t, s, 7, 10)
		requireReset(t, s, ssegin.ReasonExpired)
		require.Equal(t, "snapshot after expired", next(t, s).Data)
		requireNumbers(t, s, 16, 20)
		publish(t, hub, "x", "live")
		require.Equal(t, "live", next(t, s).Data)
		assert.EqualValues(t, 1, hub.Stats().Resets)
		requireCatchingUp(t, hub, 0)
	})
}

// A newcomer that reads slowly is given what is older than memory without a goroutine.
func TestWithDetached_aNewcomerIsGivenWhatIsOlderWhenItTakesIt(t *testing.T) {
	returned := make(chan struct{})
	n := start(t, ssegintest.NewLog(), ssegin.WithHistory(2, 0, 0))
	const events, size = 400, 30 << 10 // more than a connection holds
	for i := range events {
		publish(t, n.hub, "x"+strconv.Itoa(i%4), strings.Repeat("~", size))
	}
	require.Eventually(t, func() bool { return n.hub.Stats().Published == events }, patience, time.Millisecond)
	srv := listen(t, route(func(c *gin.Context) {
		c.Next()
		close(returned)
	}, ssegin.Handler(n.hub, ssegin.WithDetached(), ssegin.WithWriteTimeout(0), ssegin.WithReplay(ssegin.ReplayAll()), withTopics())))
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.(*net.TCPConn).SetReadBuffer(64<<10))
	_, err = fmt.Fprint(conn, "GET /events?topic=x0&topic=x1&topic=x2&topic=x3 HTTP/1.0\r\n\r\n")
	require.NoError(t, err)
	await(t, returned) // although the client has read nothing
	read := 0
	for part := make([]byte, 64<<10); read < events*size; {
		got, err := conn.Read(part)
		require.NoError(t, err)
		read += strings.Count(string(part[:got]), "~")
	}
	assert.Equal(t, events*size, read)
}

// A detached stream that is behind ends for every reason, and its hub has nothing left
// of it: no request for a page that nobody waits for, either.
func TestWithDetached_aStreamThatIsBehindEnds(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *ssegin.Hub, *ssegintest.Stream){
		"its client leaves":  func(_ *testing.T, _ *ssegin.Hub, s *ssegintest.Stream) { s.Close() },
		"Disconnect":         func(t *testing.T, h *ssegin.Hub, _ *ssegintest.Stream) { assert.Equal(t, 1, disconnect(t, h, "x")) },
		"Shutdown":           func(t *testing.T, h *ssegin.Hub, _ *ssegintest.Stream) { assert.NoError(t, h.Shutdown(t.Context())) },
		"WithMaxAge":         func(*testing.T, *ssegin.Hub, *ssegintest.Stream) {},
		"the engine is away": func(*testing.T, *ssegin.Hub, *ssegintest.Stream) {},
	} {
		t.Run(name, func(t *testing.T) {
			left := make(chan struct{}, 1)
			log := &fallible{stuck: stuck{ssegintest.NewLog(ssegintest.WithFirstPosition(1)), make(chan struct{})}, left: left}
			age := time.Duration(0)
			if name == "WithMaxAge" {
				age = time.Second
			}
			hub, srv, ids := behind(t, log, 600, ssegin.WithDetached(), ssegin.WithMaxAge(age))
			joined(t).Go(func() { log.reads <- struct{}{} })
			s := open(t, srv, "?topic=x", withLastID(ids[0]))
			requireDetached(t, hub, 1)
			requireNumbers(t, s, 2, 200)
			if name == "the engine is away" {
				log.fail.Store(true)
				joined(t).Go(func() { log.reads <- struct{}{} })
			}
			end(t, hub, s)
			requireGone(t, hub)
			await(t, left)
			assert.Zero(t, hub.Stats().CatchingUp)
			for name != "its client leaves" {
				if _, err := s.Next(t.Context()); err != nil {
					require.Equal(t, io.EOF, err)
					break
				}
			}
		})
	}
}

// fallible is a stuck log that says when its second Read is over, and can be told to fail.
type fallible struct {
	stuck
	fail  atomic.Bool
	count atomic.Int64
	left  chan struct{}
}

func (l *fallible) Read(ctx context.Context, after, until uint64) iter.Seq2[eventlog.Entry, error] {
	return func(yield func(eventlog.Entry, error) bool) {
		if l.count.Add(1) == 2 {
			defer func() { l.left <- struct{}{} }()
		}
		for e, err := range l.stuck.Read(ctx, after, until) {
			if l.fail.Load() {
				e, err = eventlog.Entry{}, io.ErrUnexpectedEOF
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// Heartbeats go on while the engine is asked whether what a page says still holds, and do
// not put that off.
func TestWithLog_heartbeatsDoNotKeepAGapFromBeingTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &slowBounds{Log: ssegintest.NewLog()}
		n := start(t, log, ssegin.WithHistory(2, 0, 0))
		ids := n.fill(t, "x", 600)
		hole, err := strconv.ParseUint(strings.Split(ids[550], "-")[1], 10, 64)
		require.NoError(t, err)
		log.Delete(hole)
		srv := serve(t, route(ssegin.Handler(n.hub, withTopics(), ssegin.WithHeartbeat(time.Second))))
		log.takes.Store(int64(2500 * time.Millisecond)) // longer than a heartbeat, and less than a request may take
		s := connect(t, srv, "?topic=x", withLastID(ids[5]))
		requireNumbers(t, s, 7, 550)
		begin, beats := time.Now(), 0
		for b := nextBlock(t, s); b.Event == nil; b = nextBlock(t, s) {
			beats++
		}
		assert.Less(t, time.Since(begin), 10*time.Second)
		assert.NotZero(t, beats)
		publish(t, n.hub, "x", "live")
		require.Equal(t, "live", next(t, s).Data)
	})
}

// slowBounds is a log that takes its time to say what it has.
type slowBounds struct {
	*ssegintest.Log
	takes atomic.Int64
}

func (l *slowBounds) Bounds(ctx context.Context) (eventlog.Bounds, error) {
	select {
	case <-time.After(time.Duration(l.takes.Load())):
		return l.Log.Bounds(ctx)
	case <-ctx.Done():
		return eventlog.Bounds{}, context.Cause(ctx)
	}
}
