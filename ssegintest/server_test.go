package ssegintest_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin/ssegintest"
)

// bothProtocols runs test in a bubble for each protocol.
func bothProtocols(t *testing.T, test func(t *testing.T, opts ...ssegintest.ServerOption)) {
	t.Helper()
	t.Run("HTTP1", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { test(t) })
	})
	t.Run("HTTP2", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { test(t, ssegintest.WithHTTP2()) })
	})
}

func get(t *testing.T, srv *ssegintest.Server) (*http.Response, string) {
	t.Helper()
	resp, err := srv.Client().Get(srv.URL + "/path?q=1")
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp, string(body)
}

func TestServer_servesOverMemory(t *testing.T) {
	bothProtocols(t, func(t *testing.T, opts ...ssegintest.ServerOption) {
		var clients []string
		srv := ssegintest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			clients = append(clients, r.RemoteAddr)
			fmt.Fprint(w, r.Proto, " ", r.Host, r.RequestURI)
		}), opts...)
		for range 3 {
			resp, body := get(t, srv)
			assert.Equal(t, resp.Proto+" ssegin.test/path?q=1", body)
		}
		assert.True(t, strings.HasPrefix(clients[0], "127.0.0.1:"), clients[0])
		assert.Equal(t, []string{clients[0], clients[0], clients[0]}, clients, "the connection is kept alive")
	})
}

func TestServer_http2IsHTTP2(t *testing.T) {
	srv := ssegintest.NewServer(t, http.NotFoundHandler(), ssegintest.WithHTTP2())
	resp, _ := get(t, srv)
	assert.Equal(t, "HTTP/2.0", resp.Proto)
	conn, err := srv.Dial(t.Context())
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	status, err := bufio.NewReader(conn).ReadString('\n')
	require.NoError(t, err)
	assert.Equal(t, "HTTP/1.1 404 Not Found\r\n", status)
}

func TestServer_canBeSetUpBeforeItStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type key struct{}
		var closed atomic.Int32
		setUp := func(s *http.Server) {
			assert.NotNil(t, s.Handler)
			s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				fmt.Fprint(w, r.Context().Value(key{}))
			})
			s.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
				assert.IsType(t, &ssegintest.Conn{}, c)
				return context.WithValue(ctx, key{}, "from ConnContext")
			}
			s.ConnState = func(_ net.Conn, state http.ConnState) {
				if state == http.StateClosed {
					closed.Add(1)
				}
			}
		}
		srv := ssegintest.NewServer(t, http.NotFoundHandler(), ssegintest.WithServer(setUp))
		_, body := get(t, srv)
		assert.Equal(t, "from ConnContext", body)
		srv.Close()
		assert.EqualValues(t, 1, closed.Load())
	})
}

func TestServer_nilHandlerIsTheDefaultMux(t *testing.T) {
	srv := ssegintest.NewServer(t, nil)
	resp, _ := get(t, srv)
	assert.Equal(t, http.StatusNotFound, resp.StatusCode)
}

func TestServer_writeTimeoutCutsAStalledClient(t *testing.T) {
	bothProtocols(t, func(t *testing.T, opts ...ssegintest.ServerOption) {
		var took time.Duration
		srv := ssegintest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			start := time.Now()
			rc := http.NewResponseController(w)
			var err error
			for err == nil {
				assert.NoError(t, rc.SetWriteDeadline(time.Now().Add(10*time.Second)))
				if _, err = w.Write(make([]byte, 1<<10)); err == nil {
					err = rc.Flush()
				}
			}
			took = time.Since(start)
			assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
		}), append(opts, ssegintest.WithBuffer(1<<10))...)
		st, err := srv.Connect(t.Context(), "/")
		require.NoError(t, err)
		time.Sleep(time.Minute) // without reading
		st.Close()
		assert.Equal(t, 10*time.Second, took)
	})
}

func TestServer_closeEndsStreamsAndWaitsForHandlers(t *testing.T) {
	bothProtocols(t, func(t *testing.T, opts ...ssegintest.ServerOption) {
		var ended atomic.Int32
		srv := ssegintest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			assert.NoError(t, http.NewResponseController(w).Flush())
			<-r.Context().Done()
			time.Sleep(time.Second) // it takes its time
			ended.Add(1)
		}), opts...)
		for range 3 {
			st, err := srv.Connect(t.Context(), "/")
			require.NoError(t, err)
			go func() {
				_, err := st.Next(context.Background())
				assert.ErrorIs(t, err, ssegintest.ErrClosed)
			}()
		}
		synctest.Wait()
		srv.Close()
		assert.EqualValues(t, 3, ended.Load())
		_, err := srv.Connect(t.Context(), "/")
		assert.ErrorIs(t, err, syscall.ECONNREFUSED)
		_, err = srv.Dial(t.Context())
		assert.ErrorIs(t, err, syscall.ECONNREFUSED)
	})
}

func TestServer_closeWaitsForAHandlerThatDoesNotHeedItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := ssegintest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			assert.NoError(t, http.NewResponseController(w).Flush())
			time.Sleep(time.Minute)
		}))
		_, err := srv.Connect(t.Context(), "/")
		require.NoError(t, err)
		start := time.Now()
		srv.Close() // and the log says why it takes so long
		assert.Equal(t, time.Minute, time.Since(start))
		srv.Close()
	})
}

func TestServer_closeIsPartOfTheCleanup(t *testing.T) {
	var ended bool
	t.Run("test", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			srv := ssegintest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer func() { ended = true }()
				assert.NoError(t, http.NewResponseController(w).Flush())
				<-r.Context().Done()
			}))
			_, err := srv.Connect(t.Context(), "/")
			require.NoError(t, err)
		})
	})
	assert.True(t, ended)
}

func TestServer_shutdownIsThatOfConfig(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bye := make(chan struct{})
		srv := ssegintest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			assert.NoError(t, http.NewResponseController(w).Flush())
			<-bye
		}), ssegintest.WithServer(func(s *http.Server) { s.RegisterOnShutdown(func() { close(bye) }) }))
		st, err := srv.Connect(t.Context(), "/")
		require.NoError(t, err)
		require.NoError(t, srv.Config.Shutdown(t.Context()))
		_, err = st.Next(t.Context())
		assert.Equal(t, io.EOF, err)
	})
}

func TestServer_dialEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := ssegintest.NewServer(t, http.NotFoundHandler(), ssegintest.WithServer(func(s *http.Server) {
			// The server accepts one connection and is then kept from the next.
			s.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
				time.Sleep(time.Minute)
				return ctx
			}
		}))
		first, err := srv.Dial(t.Context())
		require.NoError(t, err)
		defer first.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = srv.Dial(ctx)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

func TestServer_hijackedConnectionsBelongToTheirHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := ssegintest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if assert.NoError(t, err) {
				_, _ = io.WriteString(conn, "raw")
				_ = conn.Close()
			}
		}))
		conn, err := srv.Dial(t.Context())
		require.NoError(t, err)
		_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		require.NoError(t, err)
		got, err := io.ReadAll(conn)
		require.NoError(t, err)
		assert.Equal(t, "raw", string(got))
		require.NoError(t, conn.Close())
	})
}

func TestWithBuffer_refusesLessThanAByte(t *testing.T) {
	assert.Panics(t, func() { ssegintest.WithBuffer(0) })
}

func TestServer_exampleHolds(t *testing.T) { testHeartbeats(t) }
