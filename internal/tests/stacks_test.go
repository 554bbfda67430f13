package tests

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin"
	"github.com/ssegin/ssegin/ssegintest"
)

// stacks are middlewares whose writers hide the server's, as New Relic's does.
var stacks = map[string]gin.HandlerFunc{
	"a hiding writer": func(c *gin.Context) { c.Writer = hiding{c.Writer} },
	"two of them":     func(c *gin.Context) { c.Writer = hiding{foreign{hiding{c.Writer}}} },
	"gzip":            zipped(""),
}

// knownConn sets a server up as doc.go says, with a WriteTimeout.
func knownConn(s *http.Server) {
	s.WriteTimeout = 2 * time.Second
	s.ConnContext = ssegin.ConnContext
}

// forty is an engine with a middleware, a stream of a hub and one without, each of 40
// events over 6.4 seconds.
func forty(t *testing.T, stack gin.HandlerFunc) *gin.Engine {
	hub, publishers := ssegin.NewHub(), joined(t)
	const pause = 160 * time.Millisecond
	r := gin.New()
	r.Use(stack)
	r.GET("/own", ssegin.Middleware(), func(c *gin.Context) {
		i := 0
		c.Stream(func(io.Writer) bool {
			time.Sleep(pause)
			c.SSEvent("", i)
			i++
			return i < 40
		})
	})
	r.GET("/lines", ssegin.Middleware(), func(c *gin.Context) { // no events, but a response that lasts
		for i := range 40 {
			fmt.Fprintf(c.Writer, "{\"data\":%d}\n", i)
			c.Writer.Flush()
			time.Sleep(pause)
		}
	})
	r.GET("/hub", ssegin.Handler(hub, withTopics(), ssegin.OnConnect(func(*gin.Context, *ssegin.Stream) error {
		publishers.Go(func() {
			for i := range 40 {
				time.Sleep(pause)
				_, _ = hub.Publish(t.Context(), "ticks", ssegin.Event{Data: i})
			}
			_, _ = hub.End(t.Context(), "ticks", ssegin.Event{Data: 40})
		})
		return nil
	})))
	return r
}

// arrived counts what has come of a response up to its end.
func arrived(t *testing.T, resp *http.Response) (n int) {
	t.Helper()
	defer resp.Body.Close()
	body := io.Reader(resp.Body)
	if resp.Header.Get("Content-Encoding") == "gzip" {
		var err error
		body, err = gzip.NewReader(body)
		require.NoError(t, err)
	}
	all, _ := io.ReadAll(body) // a response that was cut is counted, too
	for i := range 40 {
		if bytes.Contains(all, fmt.Appendf(nil, "data: %d\n", i)) || bytes.Contains(all, fmt.Appendf(nil, "data:%d\n", i)) || bytes.Contains(all, fmt.Appendf(nil, "{\"data\":%d}\n", i)) {
			n++
		}
	}
	return n
}

func TestConnContext_letsStreamsOutliveTheWriteTimeoutBehindAnyWriter(t *testing.T) {
	for name, stack := range stacks {
		for _, path := range []string{"/own", "/lines", "/hub?topic=ticks"} {
			t.Run(name+path, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					srv := serve(t, forty(t, stack), ssegintest.WithServer(knownConn))
					n := arrived(t, live(t, srv, path))
					t.Logf("WriteTimeout 2 s, 40 events over 6.4 s: %d of 40", n)
					assert.Equal(t, 40, n)
				})
			})
		}
	}
}

// The same over TLS, where the server's connection is that of TLS, with a real clock.
func TestConnContext_letsStreamsOutliveTheWriteTimeoutOverTLS(t *testing.T) {
	takesSeconds(t, "it outlives a real time-out of two seconds three times over")
	t.Parallel()
	srv := httptest.NewUnstartedServer(forty(t, stacks["a hiding writer"]))
	knownConn(srv.Config)
	srv.StartTLS()
	defer srv.Close()
	resp, err := srv.Client().Get(srv.URL + "/own")
	require.NoError(t, err)
	assert.Equal(t, 40, arrived(t, resp))
}

func TestConnContext_leavesNoDeadlineOnAConnectionThatIsUsedAgain(t *testing.T) {
	for name, stack := range stacks {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := gin.New()
				r.GET("/own", stack, ssegin.Middleware(), func(c *gin.Context) {
					s := ssegin.From(c)
					assert.NoError(t, s.Send(ssegin.Event{Data: "x"}))
					time.Sleep(9 * time.Second) // the deadline is near
				})
				r.GET("/plain", func(c *gin.Context) {
					time.Sleep(time.Minute)
					c.String(http.StatusOK, strings.Repeat("y", 1<<20))
				})
				srv := serve(t, r, ssegintest.WithServer(func(s *http.Server) { s.ConnContext = ssegin.ConnContext }))
				for range 3 {
					resp := live(t, srv, "/own")
					_, err := io.Copy(io.Discard, resp.Body)
					require.NoError(t, err)
					resp.Body.Close()
					_, body := get(t, srv, http.MethodGet, "/plain")
					assert.Len(t, body, 1<<20)
				}
			})
		})
	}
}

func TestConnContext_cutsAClientThatDoesNotReadBehindAnyWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := ssegin.NewHub()
		srv := serve(t, route(stacks["a hiding writer"], ssegin.Handler(hub)), ssegintest.WithBuffer(1<<10),
			ssegintest.WithServer(func(s *http.Server) { s.ConnContext = ssegin.ConnContext }))
		connect(t, srv, "") // and reads no more
		for range 100 {
			broadcast(t, hub, strings.Repeat("x", 1<<10))
		}
		stalled := time.Now()
		for hub.Stats().Streams > 0 && time.Since(stalled) < time.Hour {
			time.Sleep(100 * time.Millisecond)
		}
		assert.LessOrEqual(t, time.Since(stalled), 11*time.Second)
	})
}

// A timeoutHandler collects the response, and its writer serves nobody any more when the
// time is over, while the connection serves the next request.
func TestHandler_saysWhereNoEventWillArrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		hub := ssegin.NewHub(ssegin.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		r := gin.New()
		r.GET("/events", ssegin.Handler(hub))
		r.GET("/polled", ssegin.Handler(hub, ssegin.WithPolling(0)))
		srv := serve(t, http.TimeoutHandler(r, 5*time.Second, "too late"), ssegintest.WithServer(func(s *http.Server) { s.ConnContext = ssegin.ConnContext }))
		for range 2 {
			resp, body := get(t, srv, http.MethodGet, "/events")
			assert.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
			assert.Equal(t, "too late", body)
		}
		resp, _ := get(t, srv, http.MethodGet, "/polled")
		assert.Equal(t, http.StatusOK, resp.StatusCode)
		assert.Equal(t, 1, strings.Count(log.String(), "no event will arrive before the response ends"), "%s", &log)
		assert.Contains(t, log.String(), "writer=*http.timeoutWriter")
		assert.NotContains(t, log.String(), "route=/polled")
		assert.NotContains(t, log.String(), "deadlines")
		requireGone(t, hub)
	})
}

// A tracer's writer, as otelhttp's is: around the engine, and with an Unwrap method.
type tracing struct {
	http.ResponseWriter
	written int
}

func (w *tracing) Unwrap() http.ResponseWriter { return w.ResponseWriter }
func (w *tracing) Flush()                      { w.ResponseWriter.(http.Flusher).Flush() }
func (w *tracing) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.written += n
	return n, err
}

// A late encoder, as klauspost's gzhttp is, chooses with the first bytes.
type late struct {
	http.ResponseWriter
	zip *gzip.Writer
}

func (w *late) Unwrap() http.ResponseWriter { return w.ResponseWriter }
func (w *late) WriteHeader(int)             {} // with the first bytes
func (w *late) Flush() {
	if w.zip != nil {
		_ = w.zip.Flush()
	}
	w.ResponseWriter.(http.Flusher).Flush()
}

func (w *late) Write(p []byte) (int, error) {
	if w.zip == nil {
		w.Header().Set("Content-Encoding", "gzip")
		w.zip = gzip.NewWriter(w.ResponseWriter)
	}
	return w.zip.Write(p)
}

// A keeping writer has headers of its own, up to the first byte.
type keeping struct {
	http.ResponseWriter
	header http.Header
	begun  bool
}

func (w *keeping) Unwrap() http.ResponseWriter { return w.ResponseWriter }
func (w *keeping) Flush()                      { w.ResponseWriter.(http.Flusher).Flush() }
func (w *keeping) Header() http.Header         { return w.header }
func (w *keeping) WriteHeader(int)             {}
func (w *keeping) Write(p []byte) (int, error) {
	if !w.begun {
		w.begun = true
		maps.Copy(w.ResponseWriter.Header(), w.header)
	}
	return w.ResponseWriter.Write(p)
}

func TestDetached_isDetachedBehindWritersThatChangeNothingAndSaysWhyElse(t *testing.T) {
	around := func(wrap func(http.ResponseWriter) http.ResponseWriter) func(http.Handler) http.Handler {
		return func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(wrap(w), r) })
		}
	}
	none := around(func(w http.ResponseWriter) http.ResponseWriter { return w })
	for name, test := range map[string]struct {
		within   gin.HandlerFunc
		around   func(http.Handler) http.Handler
		detached int
		why      string
	}{
		"a tracer around the engine": {func(*gin.Context) {}, around(func(w http.ResponseWriter) http.ResponseWriter { return &tracing{ResponseWriter: w} }), 1, ""},
		"two tracers": {func(*gin.Context) {}, around(func(w http.ResponseWriter) http.ResponseWriter {
			return &tracing{ResponseWriter: &tracing{ResponseWriter: w}}
		}), 1, ""},
		"a writer with Unwrap": {between["a foreign writer"], none, 1, ""},
		"a hiding writer":      {between["a hiding writer"], none, 0, "hides the server's"},
		"gzip":                 {zipped(""), none, 0, "hides the server's"},
		"headers of its own": {func(*gin.Context) {}, around(func(w http.ResponseWriter) http.ResponseWriter {
			return &keeping{ResponseWriter: w, header: http.Header{}}
		}), 0, "headers of its own"},
		"an encoder that chooses late":  {func(*gin.Context) {}, around(func(w http.ResponseWriter) http.ResponseWriter { return &late{ResponseWriter: w} }), 0, "encodes the response: gzip"},
		"an encoder that chooses early": {func(c *gin.Context) { c.Header("Content-Encoding", "br"); c.Writer = foreign{c.Writer} }, none, 0, "encodes the response: br"},
	} {
		t.Run(name, func(t *testing.T) {
			log := &safeBuffer{}
			hub := ssegin.NewHub(ssegin.WithLogger(slog.New(slog.NewTextHandler(log, nil))))
			srv := listen(t, test.around(route(test.within, ssegin.Handler(hub, ssegin.WithDetached()))))
			for range 2 {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+"/events", nil)
				require.NoError(t, err)
				req.Header.Set("Accept-Encoding", "gzip")
				resp, err := srv.Client().Do(req)
				require.NoError(t, err)
				defer resp.Body.Close()
				reader := readerOf(t, resp)
				requireStreams(t, hub, 1, test.detached)
				for i := range 3 {
					broadcast(t, hub, i)
					e, err := reader.Next()
					require.NoError(t, err)
					assert.Equal(t, fmt.Sprint(i), e.Data)
				}
				resp.Body.Close()
				requireGone(t, hub)
			}
			assert.Equal(t, 1-test.detached, strings.Count(log.String(), "stay with net/http"), "%s", log)
			assert.Contains(t, log.String(), test.why)
		})
	}
}

// requireStreams waits until so many streams are open, and so many of them detached.
func requireStreams(t *testing.T, h *ssegin.Hub, streams, detached int) {
	t.Helper()
	require.Eventually(t, func() bool { s := h.Stats(); return s.Streams == streams && s.Detached == detached }, patience, time.Millisecond)
}
