package ssegin

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
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
		"End":     func(s *Stream) error { return s.End() },
	} {
		t.Run(name, func(t *testing.T) {
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
		})
	}
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
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, served := range []bool{false, true} {
		d.unsent, d.drained, d.served = [][]byte{[]byte("2\r\n:\n\r\n")}, make(chan struct{}), served
		assert.Equal(t, served, d.resumeLocked(time.Now(), nil), "the hub's turn")
		d.drained = nil
	}
}

func sessionOf(s *Stream) *session { return s.session.(*session) }
