package tests

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin"
)

func TestConnContext_letsTheKernelGiveUpPeersThatVanish(t *testing.T) {
	for name, start := range map[string]func(*httptest.Server){
		"TCP": (*httptest.Server).Start,
		"TLS": (*httptest.Server).StartTLS,
	} {
		t.Run(name, func(t *testing.T) {
			var lc net.ListenConfig
			lc.SetMultipathTCP(false)
			ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
			require.NoError(t, err)
			timeouts := make(chan int, 1)
			srv := httptest.NewUnstartedServer(http.NotFoundHandler())
			srv.Listener.Close()
			srv.Listener = ln
			srv.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
				ctx = ssegin.ConnContext(ctx, c)
				timeouts <- userTimeoutOf(t, c)
				return ctx
			}
			start(srv)
			defer srv.Close()
			resp, err := srv.Client().Get(srv.URL)
			require.NoError(t, err)
			resp.Body.Close()
			assert.Equal(t, 10_000, <-timeouts, "milliseconds, as long as the write timeout")
		})
	}
}

func TestConnContext_doesNoHarmToSocketsThatRefuse(t *testing.T) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(true) // Go's default
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	joined(t).Go(func() {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err == nil {
			c.Close()
		}
	})
	c, err := ln.Accept()
	require.NoError(t, err)
	assert.NotPanics(t, func() { ssegin.ConnContext(t.Context(), c) })
	require.NoError(t, c.Close())
}

func userTimeoutOf(t *testing.T, c net.Conn) (ms int) {
	t.Helper()
	if wrapped, ok := c.(*tls.Conn); ok {
		c = wrapped.NetConn()
	}
	raw, err := c.(*net.TCPConn).SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) {
		ms, err = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, 0x12) // TCP_USER_TIMEOUT
	}))
	require.NoError(t, err)
	return ms
}
