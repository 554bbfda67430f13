package ssegin

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
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
