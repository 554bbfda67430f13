package epoll

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A happening is what Run says of a socket.
type happening struct {
	ticket int32
	gone   bool
}

// watched returns a Poller that runs until the test ends, and what it says.
func watched(t *testing.T) (*Poller, <-chan happening) {
	t.Helper()
	p, err := New(64 << 10)
	require.NoError(t, err)
	happenings := make(chan happening, 1000)
	var run sync.WaitGroup
	run.Go(func() {
		p.Run(func(ticket int32, gone bool) { happenings <- happening{ticket, gone} })
	})
	t.Cleanup(func() {
		p.Close()
		run.Wait() // the test would not end if Run did not
	})
	return p, happenings
}

// connected returns the two ends of a connection.
func connected(t *testing.T) (near, far *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	dialled, err := net.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	accepted, err := ln.Accept()
	require.NoError(t, err)
	t.Cleanup(func() {
		dialled.Close()
		accepted.Close()
	})
	return accepted.(*net.TCPConn), dialled.(*net.TCPConn)
}

// fill writes until the socket takes no more, and returns how much it took.
func fill(t *testing.T, s *Socket) (taken int) {
	t.Helper()
	p := make([]byte, 1<<20)
	for {
		n, err := s.Write(p)
		require.NoError(t, err)
		if taken += n; n == 0 {
			return taken
		}
	}
}

func TestSocket_takesLessInsteadOfWaitingAndIsToldWhenThereIsRoom(t *testing.T) {
	p, happenings := watched(t)
	conn, peer := connected(t)
	s, err := p.Add(conn, 7)
	require.NoError(t, err)
	assert.EqualValues(t, 7, s.Ticket())
	assert.Equal(t, happening{7, false}, <-happenings, "it can be written at once")
	taken := 0
	for more := 1; more > 0; taken += more { // until it takes nothing, and has said nothing since
		for len(happenings) > 0 {
			<-happenings // of the room that there was while it was filled
		}
		more = fill(t, s)
	}
	_, err = io.CopyN(io.Discard, peer, int64(taken))
	require.NoError(t, err)
	assert.Equal(t, happening{7, false}, <-happenings)

	n, err := s.Write([]byte("more"))
	require.NoError(t, err)
	require.Equal(t, 4, n)
	got := make([]byte, 4)
	_, err = io.ReadFull(peer, got)
	require.NoError(t, err)
	assert.Equal(t, "more", string(got))
}

// What is not on its way yet stays with who writes, who has it once for all.
func TestPoller_boundsWhatASocketHolds(t *testing.T) {
	p, _ := watched(t)
	conn, _ := connected(t)
	s, err := p.Add(conn, 1)
	require.NoError(t, err)
	value := 0
	require.NoError(t, s.raw.Control(func(fd uintptr) {
		value, err = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, TCPNotSentLowat)
	}))
	require.NoError(t, err)
	assert.Equal(t, 64<<10, value)
}

func TestPoller_saysWhichPeerIsGone(t *testing.T) {
	p, happenings := watched(t)
	for ticket := range int32(3) {
		conn, peer := connected(t)
		_, err := p.Add(conn, ticket)
		require.NoError(t, err)
		peer.Close()
		for h := (happening{}); !h.gone; {
			h = <-happenings
			assert.Equal(t, ticket, h.ticket)
		}
	}
}

func TestSocket_aPeerThatHasTakenNothingIsToldOfTheEndByAReset(t *testing.T) {
	for _, reset := range []bool{false, true} {
		p, _ := watched(t)
		conn, peer := connected(t)
		s, err := p.Add(conn, 1)
		require.NoError(t, err)
		taken := fill(t, s)
		if reset {
			s.ResetOnClose()
		}
		s.Close()
		n, err := io.Copy(io.Discard, peer)
		assert.Equal(t, reset, errors.Is(err, syscall.ECONNRESET), "%v", err)
		assert.Equal(t, reset, n < int64(taken), "the kernel drops what it holds")
		_, err = s.Write([]byte("x"))
		assert.ErrorIs(t, err, net.ErrClosed)
	}
}

func TestSocket_writesWithoutGarbage(t *testing.T) {
	p, happenings := watched(t)
	conn, peer := connected(t)
	s, err := p.Add(conn, 1)
	require.NoError(t, err)
	<-happenings
	text := bytes.Repeat([]byte("x"), 100)
	assert.Zero(t, testing.AllocsPerRun(100, func() { _, _ = s.Write(text) }))
	_, err = io.CopyN(io.Discard, peer, 100*100)
	assert.NoError(t, err)
}
