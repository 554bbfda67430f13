package ssegin

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin/ssegintest"
)

// A detached stream needs a real socket, and no bubble has one. But the stream
// does not look at the clock: whoever gives it a turn says what time it is. So
// these tests give it turns of their own, at times that are exact.

// detachedAlone returns the one stream of a hub, with a client that reads
// nothing, when the stream is detached.
func detachedAlone(t *testing.T, h *Hub, opts ...StreamOption) *detached {
	t.Helper()
	r := gin.New()
	r.GET("/", Handler(h, append(opts, WithDetached())...))
	srv := httptest.NewServer(r)
	t.Cleanup(srv.Close)
	endFleet(t, h)
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.(*net.TCPConn).SetReadBuffer(4096))
	req, err := http.NewRequest(http.MethodGet, srv.URL, nil)
	require.NoError(t, err)
	require.NoError(t, req.Write(conn))
	var streams []*detached
	require.Eventually(t, func() bool {
		h.fleet.mu.Lock()
		defer h.fleet.mu.Unlock()
		for _, d := range h.fleet.streams {
			streams = append(streams, d.(*detached))
		}
		return len(streams) == 1
	}, 2*time.Minute, time.Millisecond)
	return streams[0]
}

// endFleet shuts h down when the test has closed its connections. Or the goroutines
// of its fleet would still be there in the next test, which may look for its own.
func endFleet(t *testing.T, h *Hub) {
	t.Helper()
	t.Cleanup(func() { assert.NoError(t, h.Shutdown(context.Background())) })
}

// looksAgain returns when the stream is looked at again without being woken.
func (d *detached) looksAgain() time.Time {
	return d.fleet.born.Add(time.Duration(d.alarm.Load()))
}

// stallsSince returns since when the socket takes nothing, zero if it does.
func (d *detached) stallsSince() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stalled
}

func TestDetached_isCutWhenItsClientHasTakenNothingForTheWriteTimeout(t *testing.T) {
	const timeout = time.Hour
	h := NewHub(WithHistory(0, 64<<20, 0))
	d := detachedAlone(t, h, WithWriteTimeout(timeout), WithHeartbeat(0))
	start := time.Now()
	for d.stallsSince().IsZero() {
		_, err := h.Broadcast(t.Context(), say(strings.Repeat("x", 1<<19)))
		require.NoError(t, err)
		d.turn(start)
	}
	for d.session.stream.over() == nil {
		since := d.stallsSince()
		d.turn(since.Add(timeout - 1))
		if d.stallsSince() != since {
			continue // the kernel has taken a little more after all
		}
		require.NoError(t, d.session.stream.over(), "it ends before the moment")
		assert.False(t, d.looksAgain().After(since.Add(timeout)), "the stream does not wait for longer")
		d.turn(since.Add(timeout))
		if d.stallsSince() == since {
			require.Error(t, d.session.stream.over(), "it does not end at the moment")
		}
	}
	assert.ErrorIs(t, d.session.stream.over(), os.ErrDeadlineExceeded)
	assert.Zero(t, h.Stats().Streams)
}

// The watch, which looks for streams whose time has come, is late by watchEvery
// at the most, and an expiry is not to be late.
func TestDetached_expiresNoLaterThanItsMoment(t *testing.T) {
	moment := time.Now().Add(time.Hour)
	h := NewHub()
	d := detachedAlone(t, h, WithHeartbeat(0), WithExpiry(func(*gin.Context) time.Time { return moment }))
	until := moment.Add(-watchEvery)
	d.turn(until.Add(-1))
	require.NoError(t, d.session.stream.over())
	assert.False(t, d.looksAgain().After(until), "the watch finds it in time")
	h.Broadcast(t.Context(), say("a secret")) // its own crew may be quicker than the next turn
	d.turn(until)
	assert.ErrorIs(t, d.session.stream.over(), ErrExpired)
	assert.Zero(t, h.Stats().Streams)
}

// The goroutines that serve detached streams have ended when Shutdown returns.
func TestShutdown_waitsForTheFleet(t *testing.T) {
	h := NewHub()
	detachedAlone(t, h)
	require.NoError(t, h.Shutdown(t.Context()))
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for _, goroutine := range []string{"(*crew).run", "(*Poller).Run", "(*fleet).watch"} {
		assert.NotContains(t, string(stacks), goroutine)
	}
}

// slowly serves one detached stream to a client that does not read, while the
// hub has more than the socket takes.
func slowly(t *testing.T, h *Hub) (s *Stream, client net.Conn) {
	t.Helper()
	opened := make(chan *Stream, 1)
	r := gin.New()
	r.GET("/events", Handler(h, WithDetached(), WithWriteTimeout(0), OnConnect(func(_ *gin.Context, s *Stream) error {
		opened <- s
		return nil
	})))
	srv := httptest.NewServer(r)
	t.Cleanup(srv.Close)
	endFleet(t, h)
	client, err := net.Dial("tcp", srv.Listener.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { client.Close() })
	require.NoError(t, client.(*net.TCPConn).SetReadBuffer(64<<10))
	_, err = fmt.Fprint(client, "GET /events HTTP/1.1\r\nHost: test\r\n\r\n")
	require.NoError(t, err)
	s = <-opened
	for len(unsentOf(sessionOf(s).detached)) == 0 {
		h.Broadcast(t.Context(), say(strings.Repeat("x", 4000)))
		runtime.Gosched()
	}
	return s, client
}

func unsentOf(d *detached) [][]byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.unsent
}

// eventually waits until what is said holds.
func eventually(t *testing.T, holds func() bool) {
	t.Helper()
	require.Eventually(t, holds, 2*time.Minute, time.Millisecond)
}

// waits reports whether somebody waits in sendLocked.
func waits(d *detached) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.drained != nil
}

// What waits in Send, Comment or End goes out right after what the socket has
// been given, however much more the hub has.
func TestDetached_whoWaitsInSendGoesBeforeTheHubsNextBatch(t *testing.T) {
	for name, send := range map[string]func(*Stream) error{
		"Send":    func(s *Stream) error { return s.Send(Event{Data: "mine"}) },
		"Comment": func(s *Stream) error { return s.Comment("mine") },
		"End":     func(s *Stream) error { return s.End(Event{}) },
	} {
		t.Run(name, func(t *testing.T) {
			for range 60 { // a race that the hub would win now and then
				whoWaitsGoesFirst(t, send)
			}
		})
	}
}

func whoWaitsGoesFirst(t *testing.T, send func(*Stream) error) {
	t.Helper()
	h := NewHub(WithHistory(1<<16, 1<<30, 0))
	s, client := slowly(t, h)
	for range 500 {
		h.Broadcast(t.Context(), say(strings.Repeat("x", 4000)))
	}
	var sender sync.WaitGroup
	sender.Go(func() { assert.NoError(t, send(s)) })
	defer sender.Wait()
	eventually(t, func() bool { return waits(sessionOf(s).detached) })
	sessionOf(s).detached.mu.Lock()
	given := sessionOf(s).cursor.at.position
	sessionOf(s).detached.mu.Unlock()
	var waker sync.WaitGroup
	woken := make(chan struct{})
	waker.Go(func() { // however often the stream has its turn
		for {
			select {
			case <-woken:
				return
			default:
				sessionOf(s).detached.ready()
				runtime.Gosched()
			}
		}
	})
	defer waker.Wait()
	defer close(woken)

	last := uint64(0)
	lines := bufio.NewScanner(client)
	for lines.Scan() {
		if text := lines.Text(); strings.Contains(text, "mine") || strings.Contains(text, idEnd) {
			break
		} else if id, ok := strings.CutPrefix(text, "id: "); ok {
			_, at, _ := parseID(id)
			last = at.position
		}
	}
	assert.LessOrEqual(t, last, given, "the hub went first")
}

// An application that sends without a pause does not keep the hub's events away,
// nor the hub those of the application.
func TestDetached_senderAndHubTakeTurns(t *testing.T) {
	h := NewHub(WithHistory(1<<16, 1<<30, 0))
	s, client := slowly(t, h)
	ctx, stop := context.WithCancel(t.Context())
	var sender sync.WaitGroup
	for range 2 {
		sender.Go(func() {
			for ctx.Err() == nil && s.Send(Event{Type: "mine", Data: strings.Repeat("y", 8000)}) == nil {
				runtime.Gosched()
			}
		})
	}
	defer sender.Wait()
	defer client.Close()
	defer stop()
	eventually(t, func() bool { return waits(sessionOf(s).detached) })
	for range 1000 {
		h.Broadcast(t.Context(), say(strings.Repeat("x", 4000)))
	}
	reader := ssegintest.NewReader(bufio.NewReader(&body{client, false}))
	mine, hubs := 0, 0
	for mine < 20 || hubs < 100 {
		e, err := reader.Next()
		require.NoError(t, err)
		if e.Type == "mine" {
			mine++
		} else {
			hubs++
		}
	}
}

// A body is what follows the head of a response, with the chunks' heads taken
// for lines of no known field, as they do no harm between blocks.
type body struct {
	io.Reader
	begun bool
}

func (b *body) Read(p []byte) (int, error) {
	if !b.begun {
		b.begun = true
		head := make([]byte, 1)
		for seen := ""; !strings.HasSuffix(seen, "\r\n\r\n"); seen += string(head) {
			if _, err := io.ReadFull(b.Reader, head); err != nil {
				return 0, err
			}
		}
	}
	return b.Reader.Read(p)
}

// A stream that was slow once costs as little afterwards as one that never was.
func TestDetached_keepsNoRoomOfWhatItsClientHasTaken(t *testing.T) {
	for _, size := range []int{1000, 900_000} {
		h := NewHub(WithHistory(1<<16, 1<<30, 0))
		s, client := slowly(t, h)
		h.Broadcast(t.Context(), say(strings.Repeat("x", size)))
		var reader sync.WaitGroup
		reader.Go(func() { _, _ = io.Copy(io.Discard, client) }) // until it is closed
		eventually(t, func() bool { return h.Stats().Behind == 0 && len(unsentOf(sessionOf(s).detached)) == 0 })
		assert.Zero(t, cap(unsentOf(sessionOf(s).detached)))
		client.Close()
		reader.Wait()
		eventually(t, func() bool { return h.Stats().Streams == 0 })
	}
}

// Once senders have gone, the hub's batch is next, even if some wait again.
func TestDetached_theHubGoesAfterThoseWhoHaveWaited(t *testing.T) {
	h := NewHub(WithHistory(1<<16, 1<<30, 0))
	s, client := slowly(t, h)
	var reader sync.WaitGroup
	reader.Go(func() { _, _ = io.Copy(io.Discard, client) })
	defer reader.Wait()
	defer client.Close()
	d := sessionOf(s).detached
	eventually(t, func() bool { return h.Stats().Behind == 0 && len(unsentOf(d)) == 0 })
	for _, served := range []bool{false, true} {
		eventually(t, func() bool {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.unsent, d.drained, d.served = [][]byte{[]byte("2\r\n:\n\r\n")}, make(chan struct{}), served
			goesOn := d.resumeLocked(time.Now(), nil)
			taken := len(d.unsent) == 0 // or the kernel still has no room
			d.unsent, d.drained = nil, nil
			return taken && assert.Equal(t, served, goesOn, "the hub's turn")
		})
	}
}

// A stream to which more is due than it has been given has its turns after those of others.
func TestDetached_isBehindWhileMoreIsDue(t *testing.T) {
	h := NewHub(WithHistory(1<<16, 1<<30, 0))
	s, client := slowly(t, h)
	d := sessionOf(s).detached
	for range 2000 {
		h.Broadcast(t.Context(), say(strings.Repeat("x", 4000)))
	}
	_, err := io.CopyN(io.Discard, client, 1<<20) // and then it reads nothing for a while
	require.NoError(t, err)
	eventually(t, d.behind.Load)
	var reader sync.WaitGroup
	reader.Go(func() { _, _ = io.Copy(io.Discard, client) })
	defer reader.Wait()
	defer client.Close()
	eventually(t, func() bool { return !d.behind.Load() && h.Stats().Behind == 0 })
}

func sessionOf(s *Stream) *session { return s.session.(*session) }

// Each stream takes two numbers of its fleet, one of them as it is taken over.
func TestFleet_spreadsItsStreamsOverAllCrews(t *testing.T) {
	f := newFleet(func(f func()) { go f() })
	streams := map[*crew]int{}
	for range 10 * len(f.crews) {
		streams[newDetached(nil, f).crew]++
		f.next++
	}
	assert.Len(t, streams, runtime.GOMAXPROCS(0))
	for _, n := range streams {
		assert.Equal(t, 10, n)
	}
}

// Whoever waits at the entrance holds no crew up: where a detached stream leaves meanwhile,
// and its callback returns, those that stay are given what is published.
func TestDetached_thoseWhoLeaveDoNotWaitAtTheEntrance(t *testing.T) {
	h := NewHub()
	crews := len(h.fleet.crews)
	left := make(chan struct{}, 2*crews)
	r := gin.New()
	r.GET("/", Handler(h, WithDetached(), OnDisconnect(func(*Stream) { left <- struct{}{} })))
	srv := httptest.NewServer(r)
	t.Cleanup(srv.Close)
	endFleet(t, h)
	var conns []net.Conn
	for n := range 2 * crews { // so that two are in each crew
		conn, err := net.Dial("tcp", srv.Listener.Addr().String())
		require.NoError(t, err)
		t.Cleanup(func() { conn.Close() })
		_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		require.NoError(t, err)
		require.Eventually(t, func() bool { return h.fleet.size() == n+1 }, 2*time.Minute, time.Millisecond)
		conns = append(conns, conn)
	}
	require.NoError(t, h.timeline.entrance.enter(nil))
	defer h.timeline.entrance.exit()
	for _, conn := range conns[:crews] {
		conn.Close()
	}
	for n := range crews {
		select {
		case <-left:
		case <-time.After(time.Minute):
			require.Failf(t, "they wait at the entrance", "%d of %d have left", n, crews)
		}
	}
	require.Eventually(t, func() bool { return h.timeline.held.Load() == 0 }, 2*time.Minute, time.Millisecond)
	_, err := h.Broadcast(t.Context(), say("to those who stay"))
	require.NoError(t, err)
	for _, conn := range conns[crews:] {
		scanner := bufio.NewScanner(conn)
		for scanner.Scan() && !strings.Contains(scanner.Text(), "to those who stay") {
		}
		assert.NoError(t, scanner.Err())
		assert.Contains(t, scanner.Text(), "to those who stay")
	}
}
