package tests

import (
	"bytes"
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin"
	"github.com/ssegin/ssegin/ssegintest"
)

func init() { gin.SetMode(gin.TestMode) }

// patience is how long a test waits for what must come: of a bubble's time,
// or of a slow machine's.
const patience = 2 * time.Minute

// joined returns a group of goroutines that the end of the test waits for, even
// if the test fails before that. A goroutine that outlives its test and then
// fails ends the whole test binary. The test's context is over by then, so
// whatever waits with it returns at once.
func joined(t *testing.T) *sync.WaitGroup {
	t.Helper()
	var group sync.WaitGroup
	t.Cleanup(group.Wait)
	return &group
}

// route returns an engine with GET /events and nothing else.
func route(handlers ...gin.HandlerFunc) *gin.Engine {
	r := gin.New()
	r.GET("/events", handlers...)
	return r
}

// serve runs an engine in memory, until the end of the test or bubble.
func serve(t *testing.T, r http.Handler, opts ...ssegintest.ServerOption) *ssegintest.Server {
	t.Helper()
	return ssegintest.NewServer(t, r, opts...)
}

// connect opens a stream on /events, or on what follows in path, and reads the
// block that opens it.
func connect(t *testing.T, srv *ssegintest.Server, path string, opts ...ssegintest.ConnectOption) *ssegintest.Stream {
	t.Helper()
	s := request(t, srv, path, opts...)
	require.Equal(t, http.StatusOK, s.Response().StatusCode)
	nextBlock(t, s)
	return s
}

// request is connect without a look at the answer.
func request(t *testing.T, srv *ssegintest.Server, path string, opts ...ssegintest.ConnectOption) *ssegintest.Stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s, err := srv.Connect(ctx, "/events"+path, opts...)
	require.NoError(t, err)
	return s
}

func resume(t *testing.T, s *ssegintest.Stream) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, s.Resume(ctx))
	require.Equal(t, http.StatusOK, s.Response().StatusCode)
}

func next(t *testing.T, s *ssegintest.Stream) ssegintest.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	e, err := s.Next(ctx)
	require.NoError(t, err)
	return e
}

// nextData reads n events and returns what they carry.
func nextData(t *testing.T, s *ssegintest.Stream, n int) (data []string) {
	t.Helper()
	for range n {
		data = append(data, next(t, s).Data)
	}
	return data
}

func nextBlock(t *testing.T, s *ssegintest.Stream) ssegintest.Block {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	b, err := s.NextBlock(ctx)
	require.NoError(t, err)
	return b
}

// requireEnd checks that the response ends in order, with nothing more than
// blocks without data, and returns those.
func requireEnd(t *testing.T, s *ssegintest.Stream) (blocks []ssegintest.Block) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		b, err := s.NextBlock(ctx)
		if err != nil {
			require.Equal(t, io.EOF, err)
			return blocks
		}
		require.Nil(t, b.Event, "an event after what was to be the last")
		blocks = append(blocks, b)
	}
}

// await receives what must come.
func await[T any](t *testing.T, ch <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(patience):
		require.FailNow(t, "what must come does not come", "within %v", patience)
	}
	return v
}

// requireSilence checks that not one byte of a block comes for so long. It is
// for bubbles, where that is exact.
func requireSilence(t *testing.T, s *ssegintest.Stream, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	b, err := s.NextBlock(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded, "got %+v", b)
}

func publish(t *testing.T, h *ssegin.Hub, topic string, data any) (id string) {
	t.Helper()
	id, err := h.Publish(t.Context(), topic, ssegin.Event{Data: data})
	require.NoError(t, err)
	return id
}

func broadcast(t *testing.T, h *ssegin.Hub, data any) (id string) {
	t.Helper()
	id, err := h.Broadcast(t.Context(), ssegin.Event{Data: data})
	require.NoError(t, err)
	return id
}

// disconnect is Disconnect where nothing can be wrong with the topic.
func disconnect(t testing.TB, h *ssegin.Hub, topic string) int {
	t.Helper()
	n, err := h.Disconnect(t.Context(), topic)
	require.NoError(t, err)
	return n
}

// get makes a request whose answer is not a stream, or one that ends within an
// hour of the bubble, and returns the answer with its body.
func get(t *testing.T, srv *ssegintest.Server, method, path string, header ...string) (*http.Response, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, srv.URL+path, nil)
	require.NoError(t, err)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := srv.Client().Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp, string(body)
}

// withTopics gives each client the topics that its query names: ?topic=a&topic=b.
func withTopics() ssegin.StreamOption {
	return ssegin.WithTopics(func(c *gin.Context) ([]string, error) { return c.QueryArray("topic"), nil })
}

// requireGone waits until the hub has no stream.
func requireGone(t *testing.T, h *ssegin.Hub) {
	t.Helper()
	require.Eventually(t, func() bool { return h.Stats().Streams == 0 }, patience, time.Millisecond)
}

// recorder is an http.ResponseWriter with nothing but what the interface asks
// for: no Flush, no CloseNotify, no deadlines. Writers of other servers, such
// as that of HTTP/3, have hardly more.
type recorder struct {
	header http.Header
	status int
	bytes.Buffer
}

func newRecorder() *recorder { return &recorder{header: http.Header{}} }

func (r *recorder) Header() http.Header    { return r.header }
func (r *recorder) WriteHeader(status int) { r.status = status }

// eventsOf reads a body to its end.
func eventsOf(t *testing.T, body string) (events []ssegintest.Event) {
	t.Helper()
	reader := ssegintest.NewReader(strings.NewReader(body))
	reader.Limit(16 << 20)
	for e, err := range reader.Events() {
		require.NoError(t, err)
		events = append(events, e)
	}
	return events
}

// listen runs an engine on a port of the loopback interface, until the end of
// the test.
func listen(t testing.TB, h http.Handler, setUp ...func(*http.Server)) *httptest.Server {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	for _, f := range setUp {
		f(srv.Config)
	}
	srv.Start()
	t.Cleanup(func() {
		srv.CloseClientConnections() // a stream does not end by itself
		srv.Close()
	})
	return srv
}
