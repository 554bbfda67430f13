package tests

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin"
)

// A pool hands a connection to its next request as soon as the response has
// ended. So the head must say that the connection closes, or that request is
// lost.
func TestDetached_saysThatTheConnectionCloses(t *testing.T) {
	for name, before := range map[string]gin.HandlerFunc{
		"no header before":    func(*gin.Context) {},
		"keep-alive is there": func(c *gin.Context) { c.Header("Connection", "keep-alive") },
	} {
		for _, proto := range []string{"HTTP/1.1", "HTTP/1.0"} {
			t.Run(proto+", "+name, func(t *testing.T) {
				h := ssegin.NewHub()
				srv := listen(t, route(before, ssegin.Handler(h, ssegin.WithDetached())))
				conn := rawGet(t, srv, proto)
				requireDetached(t, h, 1)
				require.NoError(t, h.Shutdown(t.Context()))
				requireClose(t, conn)
			})
		}
	}
}

func TestDetached_saysThatTheConnectionClosesWhereDetachingFails(t *testing.T) {
	for _, proto := range []string{"HTTP/1.1", "HTTP/1.0"} {
		t.Run(proto, func(t *testing.T) {
			h := ssegin.NewHub(ssegin.WithLogger(slog.New(slog.DiscardHandler)))
			srv := httptest.NewUnstartedServer(route(ssegin.Handler(h, ssegin.WithDetached())))
			srv.Listener = wrapped{srv.Listener}
			srv.Start()
			defer srv.Close()
			requireClose(t, rawGet(t, srv, proto))
		})
	}
}

// OnConnect has opened the response and then refuses the client: net/http ends
// the response of a stream that was to be detached.
func TestDetached_saysThatTheConnectionClosesWhereItIsRefusedLate(t *testing.T) {
	for _, proto := range []string{"HTTP/1.1", "HTTP/1.0"} {
		t.Run(proto, func(t *testing.T) {
			srv := listen(t, route(ssegin.Handler(ssegin.NewHub(), ssegin.WithDetached(),
				ssegin.OnConnect(func(_ *gin.Context, s *ssegin.Stream) error {
					assert.NoError(t, s.Comment("the response begins"))
					return io.ErrUnexpectedEOF
				}))))
			requireClose(t, rawGet(t, srv, proto))
		})
	}
}

// requireClose reads a response that says that its connection closes, and the
// end of the connection, after which there is nothing to read.
func requireClose(t *testing.T, conn net.Conn) {
	t.Helper()
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
	r := bufio.NewReader(conn)
	resp := readResponse(t, r)
	assert.Equal(t, http.StatusOK, resp.StatusCode)
	assert.True(t, saysClose(resp))
	_, err := r.ReadByte()
	assert.Equal(t, io.EOF, err)
}

// saysClose reports whether Connection: close is in the head. ReadResponse takes
// it out where it means something, and leaves it over HTTP/1.0, where each
// connection closes that is not said to stay.
func saysClose(resp *http.Response) bool {
	return resp.ProtoAtLeast(1, 1) && resp.Close || resp.Header.Get("Connection") == "close"
}

// readResponse reads a response to its end.
func readResponse(t *testing.T, r *bufio.Reader) *http.Response {
	t.Helper()
	resp, err := http.ReadResponse(r, nil)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp
}

func TestAttached_doesNotSayThatTheConnectionCloses(t *testing.T) {
	for _, proto := range []string{"HTTP/1.1", "HTTP/1.0"} {
		t.Run(proto, func(t *testing.T) {
			h := ssegin.NewHub()
			srv := listen(t, route(ssegin.Handler(h)))
			conn := rawGet(t, srv, proto)
			require.Eventually(t, func() bool { return h.Stats().Streams == 1 }, patience, time.Millisecond)
			require.NoError(t, h.Shutdown(t.Context()))
			require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
			assert.False(t, saysClose(readResponse(t, bufio.NewReader(conn))))
		})
	}
}

// What is not a stream keeps its connection, on a route of detached streams, too.
func TestBothPaths_keepTheConnectionOfOtherAnswers(t *testing.T) {
	onBothPaths(t, func(t *testing.T, path ssegin.StreamOption) {
		srv := listen(t, route(ssegin.Handler(ssegin.NewHub(), path, ssegin.OnConnect(func(c *gin.Context, _ *ssegin.Stream) error {
			c.String(http.StatusTeapot, "no stream")
			return nil
		}))))
		conn := rawGet(t, srv, "HTTP/1.1")
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
		r := bufio.NewReader(conn)
		for range 2 {
			resp := readResponse(t, r)
			assert.Equal(t, http.StatusTeapot, resp.StatusCode)
			assert.False(t, saysClose(resp))
			_, err := io.WriteString(conn, "GET /events HTTP/1.1\r\nHost: test\r\n\r\n")
			require.NoError(t, err)
		}
	})
}
