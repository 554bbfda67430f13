package e2e

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ssegin/ssegin"
)

// silence makes a client one that has left without a word: the socket's filter
// drops whatever arrives before TCP sees it, so nothing is acknowledged, and
// nothing refused. To the server's kernel that is a network that drops all, and
// it needs neither one nor root's rights.
func silence(t *testing.T, conn *net.TCPConn) {
	t.Helper()
	raw, err := conn.SyscallConn()
	require.NoError(t, err)
	take0 := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0} // bytes of a packet
	var failed error
	require.NoError(t, raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &take0})
	}))
	require.NoError(t, failed)
}

func TestFault_aSilentPeerIsFreedByConnContextAndNotByHeartbeats(t *testing.T) {
	if testing.Short() {
		t.Skip("the kernel's ten seconds are too long for -short")
	}
	const peers, heartbeat, limit = 20, 250 * time.Millisecond, 20 * time.Second
	t.Parallel()
	for kind, opts := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			opts := append([]ssegin.StreamOption{ssegin.WithHeartbeat(heartbeat)}, opts...)
			with, alone := ssegin.NewHub(), ssegin.NewHub()
			causes := make(chan error, peers)
			var conns []*net.TCPConn
			for _, addr := range []string{
				startServer(t, &http.Server{Handler: events(with, append(opts, ssegin.OnDisconnect(func(s *ssegin.Stream) {
					causes <- context.Cause(s.Context())
				}))...), ConnContext: ssegin.ConnContext}, with),
				startServer(t, &http.Server{Handler: events(alone, opts...)}, alone),
			} {
				for range peers {
					conn, err := dial(addr, "/events", "")
					require.NoError(t, err)
					t.Cleanup(func() { conn.Close() })
					conns = append(conns, conn)
				}
			}
			require.Equal(t, peers, with.Stats().Streams)
			require.Equal(t, peers, alone.Stats().Streams)
			for _, conn := range conns {
				silence(t, conn)
			}
			began := time.Now()
			for _, hub := range []*ssegin.Hub{with, alone} { // the clock runs from the first byte that is not acknowledged
				_, err := hub.Broadcast(t.Context(), ssegin.Event{Data: "is anybody there?"})
				require.NoError(t, err)
			}
			until(t, "the silent peers are freed", patience, func() bool { return with.Stats().Streams == 0 })
			freed := time.Since(began)
			until(t, "the limit has passed", patience, func() bool { return time.Since(began) > limit+time.Second })
			left := alone.Stats().Streams
			t.Logf("%d silent peers, %s, heartbeats every %v: freed after %v with ConnContext (%v); with heartbeats alone %d of %d are still there after %v",
				peers, kind, heartbeat, freed.Round(time.Millisecond), <-causes, left, peers, time.Since(began).Round(time.Millisecond))
			assert.LessOrEqual(t, freed, limit, "the goal is 11 s")
			assert.Equal(t, peers, left, "if heartbeats did it alone, ConnContext would not be needed")
		})
	}
}
