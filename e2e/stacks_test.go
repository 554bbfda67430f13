package e2e

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/klauspost/compress/gzhttp"
	"github.com/newrelic/go-agent/v3/integrations/nrgin"
	"github.com/newrelic/go-agent/v3/newrelic"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"

	"github.com/ssegin/ssegin"
	"github.com/ssegin/ssegin/ssegintest"
)

// New Relic's middleware puts a writer of its own in place, which hides the server's.
func TestNewRelic_doesNotBringTheWriteTimeoutOfTheServerBack(t *testing.T) {
	t.Parallel()
	app, err := newrelic.NewApplication(newrelic.ConfigAppName("e2e"), newrelic.ConfigEnabled(false))
	require.NoError(t, err)
	hub := ssegin.NewHub()
	r := gin.New()
	r.Use(nrgin.Middleware(app), func(c *gin.Context) {
		assert.Contains(t, fmt.Sprintf("%T", c.Writer), "nrgin")
	})
	r.GET("/events", ssegin.Handler(hub))
	addr := startServer(t, &http.Server{Handler: r, WriteTimeout: 2 * time.Second, ConnContext: ssegin.ConnContext}, hub)
	resp, err := http.Get("http://" + addr + "/events")
	require.NoError(t, err)
	defer resp.Body.Close()
	const events = 40
	var publishing sync.WaitGroup
	publishing.Go(func() {
		for i := range events {
			time.Sleep(160 * time.Millisecond)
			_, _ = hub.Broadcast(t.Context(), ssegin.Event{Data: i})
		}
	})
	defer publishing.Wait()
	begin, reader, arrived := time.Now(), ssegintest.NewReader(resp.Body), 0
	for range events {
		e, err := reader.Next()
		if !assert.NoError(t, err) {
			break
		}
		assert.Equal(t, fmt.Sprint(arrived), e.Data)
		arrived++
	}
	t.Logf("behind nrgin, WriteTimeout 2 s: %d of %d events over %v", arrived, events, time.Since(begin).Round(100*time.Millisecond))
	assert.Equal(t, events, arrived)
}

// OpenTelemetry's handler around the engine changes nothing of what is written; one that
// compresses does, unless the client does not want it.
func TestDetached_isDetachedBehindOpenTelemetryAndNotBehindWhatCompresses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		around   func(http.Handler) http.Handler
		encoding string // that the client accepts
		detached int
		why      string
	}{
		"otelhttp":                    {func(h http.Handler) http.Handler { return otelhttp.NewHandler(h, "server") }, "gzip", 1, ""},
		"gzhttp, the client wants it": {func(h http.Handler) http.Handler { return gzhttp.GzipHandler(h) }, "gzip", 0, "gzip"},
		"gzhttp, it does not":         {func(h http.Handler) http.Handler { return gzhttp.GzipHandler(h) }, "identity", 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := &lockedLog{}
			hub := ssegin.NewHub(ssegin.WithLogger(slog.New(slog.NewTextHandler(log, nil))))
			addr := startServer(t, &http.Server{Handler: test.around(events(hub, ssegin.WithDetached()))}, hub)
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			for range 2 {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/events", nil)
				require.NoError(t, err)
				req.Header.Set("Accept-Encoding", test.encoding)
				resp, err := client.Do(req)
				require.NoError(t, err)
				defer resp.Body.Close()
				until(t, "the stream is there", patience, func() bool { return hub.Stats().Streams == 1 && hub.Stats().Detached == test.detached })
				reader := ssegintest.NewReader(decoded(t, resp))
				for i := range 3 {
					_, err = hub.Broadcast(t.Context(), ssegin.Event{Data: i})
					require.NoError(t, err)
					e, err := reader.Next()
					require.NoError(t, err)
					assert.Equal(t, fmt.Sprint(i), e.Data)
				}
				t.Logf("%s: content encoding %q, detached: %d of 1", name, resp.Header.Get("Content-Encoding"), hub.Stats().Detached)
				resp.Body.Close()
				until(t, "the stream is gone", patience, func() bool { return hub.Stats().Streams == 0 })
			}
			assert.Equal(t, 1-test.detached, strings.Count(log.String(), "stay with net/http"), "%s", log)
			assert.Contains(t, log.String(), test.why)
		})
	}
}

// A lockedLog is written by streams while a test reads it.
type lockedLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// decoded undoes the compression, if there is one.
func decoded(t *testing.T, resp *http.Response) io.Reader {
	t.Helper()
	if resp.Header.Get("Content-Encoding") != "gzip" {
		return resp.Body
	}
	body, err := gzip.NewReader(resp.Body)
	require.NoError(t, err)
	return body
}
