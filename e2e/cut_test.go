package e2e

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin"
)

// cutWithin is less than the 30 seconds after which QUIC gives up a connection that
// is idle, and a client that waits for a stream on it makes a new one.
const cutWithin = 20 * time.Second

// A served handler has a URL, and a client that takes little at a time.
type served func(t *testing.T, h http.Handler, hub *ssegin.Hub) (url string, client *http.Client)

var wires = map[string]served{
	"HTTP/1.1": func(t *testing.T, h http.Handler, hub *ssegin.Hub) (string, *http.Client) {
		return overTCP(t, h, hub, (*http.Protocols).SetHTTP1)
	},
	"HTTP/2.0": func(t *testing.T, h http.Handler, hub *ssegin.Hub) (string, *http.Client) {
		return overTCP(t, h, hub, (*http.Protocols).SetUnencryptedHTTP2)
	},
	"HTTP/3.0": overQUIC,
}

func overTCP(t *testing.T, h http.Handler, hub *ssegin.Hub, speak func(*http.Protocols, bool)) (string, *http.Client) {
	t.Helper()
	protocols := new(http.Protocols)
	speak(protocols, true)
	addr := startServer(t, &http.Server{
		Handler:   h,
		Protocols: protocols,
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			assert.NoError(t, conn.(*net.TCPConn).SetWriteBuffer(socketBuffer))
			return ctx
		},
	}, hub)
	transport := &http.Transport{
		Protocols: protocols,
		HTTP2:     &http.HTTP2Config{MaxReceiveBufferPerStream: socketBuffer},
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, addr)
			if err == nil {
				err = conn.(*net.TCPConn).SetReadBuffer(socketBuffer)
			}
			return conn, err
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return "http://" + addr, &http.Client{Transport: transport}
}

// One stream at a time is all that the server allows, so a stream of which
// anything is left would keep the next one waiting.
func overQUIC(t *testing.T, h http.Handler, _ *ssegin.Hub) (string, *http.Client) {
	t.Helper()
	own := httptest.NewUnstartedServer(nil) // for its certificate
	own.StartTLS()
	own.Close()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	server := &http3.Server{
		Handler:    h,
		TLSConfig:  http3.ConfigureTLSConfig(&tls.Config{Certificates: own.TLS.Certificates, MinVersion: tls.VersionTLS13}),
		QUICConfig: &quic.Config{MaxIncomingStreams: 1},
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		_ = server.Serve(conn) // http.ErrServerClosed
	}()
	transport := &http3.Transport{
		TLSClientConfig: own.Client().Transport.(*http.Transport).TLSClientConfig.Clone(),
		QUICConfig:      &quic.Config{InitialStreamReceiveWindow: 16 << 10, MaxStreamReceiveWindow: 16 << 10},
	}
	t.Cleanup(func() {
		_ = transport.Close()
		_ = server.Close()
		_ = conn.Close()
		<-over
	})
	return "https://" + conn.LocalAddr().String(), &http.Client{Transport: transport}
}

// open asks for a stream and reads its first byte, so that it has begun. The body
// that it sends is read by nobody, so the server has to let go of that, too.
func open(t *testing.T, client *http.Client, url string) *http.Response {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), cutWithin)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader("{}"))
	require.NoError(t, err)
	resp, err := client.Do(req)
	require.NoError(t, err)
	t.Cleanup(func() { _ = resp.Body.Close() })
	_, err = io.ReadFull(resp.Body, make([]byte, 1))
	require.NoError(t, err)
	return resp
}

// A client that does not read is cut in the middle of a large event. If what it
// reads then seemed to be whole, it could not tell that from the end.
func TestFault_aCutInMidEventIsAnErrorToTheClientAndAnEndIsNone(t *testing.T) {
	large := ssegin.Event{Data: strings.Repeat("x", 1_000_000)}
	gone := errors.New("the deploy goes on")
	broadcast := func(t *testing.T, hub *ssegin.Hub) {
		_, err := hub.Broadcast(t.Context(), large)
		require.NoError(t, err)
	}
	for name, cut := range map[string]struct {
		timeout time.Duration
		path    string
		end     func(t *testing.T, hub *ssegin.Hub) // what leads to the cut
		cause   error                               // nil: any
		opts    []ssegin.StreamOption               // of the hub's stream
	}{
		"WithWriteTimeout": {time.Second, "/events", broadcast, nil, nil},
		"Send":             {time.Second, "/own?large=yes", func(*testing.T, *ssegin.Hub) {}, nil, nil},
		"WithExpiry": {0, "/events", broadcast, ssegin.ErrExpired, []ssegin.StreamOption{
			ssegin.WithExpiry(func(*gin.Context) time.Time { return time.Now().Add(5 * time.Second) }),
		}},
		"WithMaxAge": {0, "/events", broadcast, ssegin.ErrMaxAge, []ssegin.StreamOption{ssegin.WithMaxAge(5 * time.Second)}},
		"Disconnect": {0, "/events", func(t *testing.T, hub *ssegin.Hub) {
			broadcast(t, hub)
			<-time.After(time.Second) // for the write to begin; if it has not, the test shows less
			_, err := hub.Disconnect(t.Context(), "x")
			require.NoError(t, err)
		}, ssegin.ErrDisconnected, []ssegin.StreamOption{
			ssegin.WithTopics(func(*gin.Context) ([]string, error) { return []string{"x"}, nil }),
		}},
		"Shutdown": {0, "/events", func(t *testing.T, hub *ssegin.Hub) {
			_, err := hub.Broadcast(t.Context(), large)
			require.NoError(t, err)
			ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, gone)
			defer cancel()
			require.ErrorIs(t, hub.Shutdown(ctx), gone)
		}, nil, nil},
	} {
		for protocol, start := range wires {
			t.Run(name+" "+protocol, func(t *testing.T) {
				t.Parallel()
				over := make(chan error, 1)
				hub := ssegin.NewHub(ssegin.WithObserver(ssegin.Observer{Closed: func(cause error, _ time.Duration) { over <- cause }}))
				timeout := ssegin.WithWriteTimeout(cut.timeout)
				r := gin.New()
				r.POST("/events", ssegin.Handler(hub, append(cut.opts, timeout)...))
				r.POST("/own", ssegin.Middleware(timeout), func(c *gin.Context) {
					s := ssegin.From(c)
					assert.NoError(t, s.Send(ssegin.Event{Data: "small"}))
					if c.Query("large") != "" {
						over <- s.Send(large)
					}
				})
				url, client := start(t, r, hub)

				resp := open(t, client, url+"/own")
				require.Equal(t, protocol, resp.Proto)
				_, err := io.ReadAll(resp.Body)
				require.NoError(t, err, "this one ends in order")

				resp = open(t, client, url+cut.path)
				begin := time.Now()
				cut.end(t, hub)
				select {
				case cause := <-over:
					require.Error(t, cause)
					if cut.cause != nil {
						require.ErrorIs(t, cause, cut.cause)
					}
					t.Logf("over after %v", time.Since(begin))
				case <-time.After(cutWithin):
					require.FailNow(t, "the client is not cut")
				}
				body, err := io.ReadAll(resp.Body)
				t.Logf("%s, cut by %s: the client reads %d of %d bytes and then: %v", protocol, name, len(body), len(large.Data.(string)), err)
				require.Error(t, err, "a clean end in the middle of an event")
				assert.Less(t, len(body), len(large.Data.(string)))
				if protocol == "HTTP/3.0" {
					var reset *http3.Error
					require.ErrorAs(t, err, &reset)
					assert.Equal(t, http3.ErrCodeRequestCanceled, reset.ErrorCode)
				}

				resp = open(t, client, url+"/own")
				_, err = io.ReadAll(resp.Body)
				require.NoError(t, err, "and so does the next one, over what is left of the connection")
			})
		}
	}
}

// A handler that has failed in mid-stream does not leave an answer that looks whole,
// whoever swallows its panic.
func TestFault_aFailureIsNoEnd(t *testing.T) {
	swallow := gin.CustomRecoveryWithWriter(io.Discard, func(c *gin.Context, _ any) { c.AbortWithStatus(http.StatusInternalServerError) })
	begin := func(c *gin.Context) {
		c.SSEvent("", "whole")
		c.Writer.Flush()
	}
	half := func(c *gin.Context) {
		begin(c)
		_, _ = c.Writer.WriteString("data: ha")
	}
	hub := ssegin.NewHub()
	engine := gin.New()
	for path, handlers := range map[string][]gin.HandlerFunc{
		"/panic":      {swallow, ssegin.Middleware(), half, func(*gin.Context) { panic("boom") }},
		"/inside":     {ssegin.Middleware(), swallow, half, func(*gin.Context) { panic("boom") }},
		"/upstream":   {swallow, ssegin.Middleware(), half, func(*gin.Context) { panic(http.ErrAbortHandler) }},
		"/late":       {ssegin.Middleware(), begin, func(c *gin.Context) { c.JSON(http.StatusBadGateway, gin.H{"error": "late"}) }},
		"/incomplete": {ssegin.Middleware(), half, func(c *gin.Context) { _ = c.Error(io.ErrUnexpectedEOF) }},
		"/age":        {ssegin.Handler(hub, ssegin.WithMaxAge(2*time.Second), ssegin.WithBrokenEnds())},
		"/layers":     {swallow, ssegin.Middleware(), ssegin.Middleware(), half, func(*gin.Context) { panic("boom") }},
		"/connect": {swallow, ssegin.Handler(hub, ssegin.OnConnect(func(_ *gin.Context, s *ssegin.Stream) error {
			_ = s.Send(ssegin.Event{Data: "whole"})
			panic("boom")
		}))},
		"/end": {ssegin.Middleware(), begin},
		"/hub": {ssegin.Handler(hub, ssegin.WithMaxAge(100*time.Millisecond))},
	} {
		engine.POST(path, handlers...)
	}
	for version, serve := range wires {
		url, client := serve(t, engine, hub)
		broken := 0
		for _, route := range engine.Routes() {
			ctx, cancel := context.WithTimeout(t.Context(), cutWithin)
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+route.Path, nil)
			require.NoError(t, err)
			resp, err := client.Do(req)
			if err == nil { // a reset of HTTP/3 may overtake the head
				var body []byte
				body, err = io.ReadAll(resp.Body)
				resp.Body.Close()
				assert.Equal(t, version, resp.Proto)
				assert.NotContains(t, string(body), "late")
				assert.NotContains(t, string(body), "data: ha")
			}
			cancel()
			if route.Path == "/end" || route.Path == "/hub" {
				assert.NoError(t, err, "%s %s", version, route.Path)
				continue
			}
			if assert.Error(t, err, "%s %s", version, route.Path) {
				broken++
			}
			assert.NotErrorIs(t, err, context.DeadlineExceeded, "%s %s", version, route.Path)
		}
		t.Logf("%s: clean ends after a failure: %d of %d", version, len(engine.Routes())-2-broken, len(engine.Routes())-2)
	}
}

// A client that leaves is known as such over every protocol, whether something is being
// written to it or not, and whatever its server calls that.
func TestStreamContext_ofAClientThatHasLeftSaysSo(t *testing.T) {
	for version, serve := range wires {
		for _, busy := range []bool{false, true} {
			hub := ssegin.NewHub(ssegin.WithHistory(1<<20, 256<<20, 0)) // nobody lags
			causes := make(chan error, 1)
			r := gin.New()
			r.POST("/events", ssegin.Handler(hub, ssegin.OnDisconnect(func(s *ssegin.Stream) { causes <- context.Cause(s.Context()) })))
			r.POST("/own", ssegin.Middleware(), func(c *gin.Context) {
				s := ssegin.From(c)
				for s.Send(ssegin.Event{Data: "x"}) == nil && c.Request.Context().Err() == nil {
					if !busy {
						<-c.Request.Context().Done()
					}
				}
				causes <- context.Cause(s.Context())
			})
			url, client := serve(t, r, hub)
			for _, path := range []string{"/events", "/own"} {
				ctx, leave := context.WithCancel(t.Context())
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+path, nil)
				require.NoError(t, err)
				resp, err := client.Do(req)
				require.NoError(t, err)
				gone := make(chan struct{})
				go func() {
					defer close(gone)
					_, _ = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}()
				stop := make(chan struct{})
				stopped := make(chan struct{})
				go func() {
					defer close(stopped)
					for busy {
						select {
						case <-stop:
							return
						default:
							_, _ = hub.Broadcast(t.Context(), ssegin.Event{Data: "x"})
						}
					}
				}()
				leave()
				<-gone
				select {
				case cause := <-causes:
					assert.ErrorIs(t, cause, context.Canceled, "%s %s, busy %t", version, path, busy)
				case <-time.After(cutWithin):
					assert.Fail(t, "the stream does not end", "%s %s, busy %t", version, path, busy)
				}
				close(stop)
				<-stopped
			}
		}
	}
}
