package tests

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
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

// A gzipWriter is the writer of gin-contrib/gzip v1.2.5 in what matters here: it
// embeds the interface, so it has no Unwrap, and flushes both itself and what
// it covers.
type gzipWriter struct {
	gin.ResponseWriter
	zip *gzip.Writer
}

func (w *gzipWriter) Write(p []byte) (int, error)          { return w.zip.Write(p) }
func (w *gzipWriter) WriteString(text string) (int, error) { return w.Write([]byte(text)) }
func (w *gzipWriter) Flush()                               { _ = w.zip.Flush(); w.ResponseWriter.Flush() }

// zipped compresses every response but those of the excluded path.
func zipped(excluded string) gin.HandlerFunc {
	return func(c *gin.Context) {
		if c.FullPath() == excluded {
			return
		}
		zip := gzip.NewWriter(c.Writer)
		c.Header("Content-Encoding", "gzip")
		c.Writer.Header().Add("Vary", "Accept-Encoding")
		c.Writer = &gzipWriter{c.Writer, zip}
		defer zip.Close()
		c.Next()
	}
}

func TestHandler_isLiveThroughAGzipMiddlewareAndSaysOnceWhatItLacks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		hub := ssegin.NewHub(ssegin.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		r := gin.New()
		r.Use(zipped("/excluded"))
		r.GET("/events", ssegin.Handler(hub))
		r.GET("/excluded", ssegin.Handler(hub))
		srv := serve(t, r)
		const n = 100
		for _, test := range []struct {
			path   string
			zipped bool
			says   int
		}{{"/excluded", false, 0}, {"/events", true, 1}, {"/events", true, 0}} {
			resp := live(t, srv, test.path)
			defer resp.Body.Close()
			assert.Equal(t, test.zipped, resp.Header.Get("Content-Encoding") == "gzip")
			reader := readerOf(t, resp)
			equal := 0
			for i := range n {
				data := fmt.Sprintf("%d %s", i, strings.Repeat("☃", i))
				start := time.Now()
				broadcast(t, hub, data)
				e, err := reader.Next()
				require.NoError(t, err)
				if e.Data == data && time.Since(start) == 0 {
					equal++
				}
			}
			t.Logf("gzip on the engine, %s: encoded %t, byte-equal events %d of %d, each at once", test.path, test.zipped, equal, n)
			assert.Equal(t, n, equal)
			assert.Equal(t, test.says, strings.Count(log.String(), "writer=*tests.gzipWriter"), "%s", &log)
			log.Reset()
		}
		require.NoError(t, hub.Shutdown(t.Context()))
	})
}

func TestMiddleware_isLiveThroughAGzipMiddleware(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		defer slog.SetDefault(slog.Default())
		slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
		r := gin.New()
		r.GET("/events", zipped(""), ssegin.Middleware(), func(c *gin.Context) {
			i := 0
			c.Stream(func(io.Writer) bool {
				time.Sleep(time.Duration(min(i, 1)) * 50 * time.Second)
				c.SSEvent("tick", i)
				i++
				return i < 5
			})
		})
		srv := serve(t, r)
		for range 2 {
			resp := live(t, srv, "/events")
			defer resp.Body.Close()
			reader, start := readerOf(t, resp), time.Now()
			for i := range 5 {
				e, err := reader.Next()
				require.NoError(t, err)
				assert.Equal(t, ssegintest.Event{Type: "tick", Data: fmt.Sprint(i)}, e)
				assert.Equal(t, time.Duration(i)*50*time.Second, time.Since(start))
			}
			assert.Equal(t, 12, reader.Comments(), "heartbeats arrive, too")
			_, err := reader.Next()
			assert.Equal(t, io.EOF, err, "and the end of the compressed stream")
		}
		assert.Equal(t, 1, strings.Count(log.String(), "writer=*tests.gzipWriter"), "%s", &log)
	})
}

// live opens a stream that may be compressed.
func live(t *testing.T, srv *ssegintest.Server, path string) *http.Response {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, srv.URL+path, nil)
	require.NoError(t, err)
	req.Header.Set("Accept-Encoding", "gzip") // set by hand, it is not undone by the client
	resp, err := srv.Client().Do(req)
	require.NoError(t, err)
	return resp
}

// readerOf undoes the compression, if there is one.
func readerOf(t *testing.T, resp *http.Response) *ssegintest.Reader {
	t.Helper()
	body := io.Reader(resp.Body)
	if resp.Header.Get("Content-Encoding") == "gzip" {
		var err error
		body, err = gzip.NewReader(resp.Body)
		require.NoError(t, err)
	}
	return ssegintest.NewReader(body)
}

// Some middlewares decide only as they see the first bytes, with the content
// type, what the headers are to be.
func TestHandler_letsAMiddlewareChooseItsHeadersWithTheFirstBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := gin.New()
		r.GET("/events", func(c *gin.Context) {
			c.Header("Content-Encoding", "gzip")
			c.Writer = &choosy{c.Writer}
		}, ssegin.Middleware(), func(c *gin.Context) { _ = ssegin.From(c).Send(ssegin.Event{Data: "x"}) })
		srv := serve(t, r)
		resp, body := get(t, srv, http.MethodGet, "/events")
		assert.Empty(t, resp.Header.Get("Content-Encoding"))
		assert.Equal(t, "x", eventsOf(t, body)[0].Data)
	})
}

// choosy does not compress event streams.
type choosy struct{ gin.ResponseWriter }

func (w *choosy) Write(p []byte) (int, error) {
	if w.Header().Get("Content-Type") == "text/event-stream; charset=utf-8" {
		w.Header().Del("Content-Encoding")
	}
	return w.ResponseWriter.Write(p)
}
