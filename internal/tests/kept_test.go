package tests

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin"
)

// Of a context and a writer that are kept, the next request would suffer.
func TestStream_writesNothingAfterItsHandlerHasReturned(t *testing.T) {
	var stream *ssegin.Stream
	var w gin.ResponseWriter
	r := route(ssegin.Middleware(), func(c *gin.Context) {
		stream, w = ssegin.From(c), c.Writer
		require.NoError(t, stream.Send(ssegin.Event{Data: "x"}))
	})
	rec := httptest.NewRecorder()
	r.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/events", nil))
	before := rec.Body.String()

	assert.ErrorIs(t, stream.Send(ssegin.Event{Data: "late"}), ssegin.ErrClosed)
	assert.ErrorIs(t, stream.Comment("late"), ssegin.ErrClosed)
	assert.ErrorIs(t, stream.End(ssegin.Event{}), ssegin.ErrClosed)
	_, err := w.Write([]byte("data: late\n\n"))
	assert.ErrorIs(t, err, ssegin.ErrClosed)
	_, err = w.WriteString("data: late\n\n")
	assert.ErrorIs(t, err, ssegin.ErrClosed)
	w.WriteHeaderNow()
	w.Flush()
	assert.ErrorIs(t, http.NewResponseController(w).Flush(), ssegin.ErrClosed)
	assert.Error(t, http.NewResponseController(w).SetWriteDeadline(time.Unix(1, 0)), "the connection is another's")
	_, _, err = w.Hijack()
	assert.ErrorIs(t, err, ssegin.ErrClosed)
	w.Header().Set("X-Late", "1")
	w.WriteHeader(http.StatusTeapot)
	assert.True(t, w.Written())
	assert.Nil(t, w.Pusher())
	select {
	case <-w.CloseNotify():
	case <-time.After(patience):
		t.Error("a loop on the kept writer does not end")
	}
	assert.Equal(t, before, rec.Body.String())
	assert.Equal(t, http.StatusOK, rec.Code)
	assert.Empty(t, rec.Header().Get("X-Late"))
}

// Streams, writers and even the goroutines that use them outlive their handlers
// here, on connections that go on to carry other responses.
func TestFault_whatIsKeptOfAStreamNeverWritesIntoAnotherResponse(t *testing.T) {
	const requests, connections = 10_000, 8
	var kept atomic.Int64 // that returned an error, as they should
	senders := joined(t)
	r := gin.New()
	r.GET("/stream/:n", ssegin.Middleware(), func(c *gin.Context) {
		s, w, n := ssegin.From(c), c.Writer, c.Param("n")
		begun := make(chan struct{})
		senders.Go(func() {
			_ = s.Send(ssegin.Event{Data: n})
			close(begun)
			for range 10 { // and on, as the handler returns
				_ = s.Send(ssegin.Event{Data: n})
			}
			<-s.Context().Done()
			for range 3 {
				w.Header().Set("X-Kept", n)
				w.WriteHeader(http.StatusTeapot)
				_, err := w.WriteString("data: kept " + n + "\n\n")
				w.Flush()
				if err != nil && s.Send(ssegin.Event{Data: n}) != nil && s.Comment(n) != nil && s.End(ssegin.Event{}) != nil {
					kept.Add(1)
				}
				runtime.Gosched() // let other requests begin
			}
		})
		<-begun
	})
	r.GET("/plain/:n", func(c *gin.Context) { c.String(http.StatusOK, "plain "+c.Param("n")) })
	var opened atomic.Int64
	srv := listen(t, r, func(s *http.Server) {
		s.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				opened.Add(1)
			}
		}
	})
	var foreign atomic.Int64
	all := joined(t)
	for k := range connections {
		all.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for i := k; i < requests; i += connections {
				path := []string{"stream", "plain"}[i/connections%2]
				resp, err := client.Get(fmt.Sprintf("%s/%s/%d", srv.URL, path, i))
				if !assert.NoError(t, err) {
					return
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				assert.NoError(t, err)
				text := string(body)
				if path == "stream" {
					text = strings.TrimPrefix(text, "retry: 2000\n\n")
					text = strings.ReplaceAll(text, fmt.Sprintf("data: %d\n\n", i), "")
				} else {
					text = strings.TrimPrefix(text, fmt.Sprintf("plain %d", i))
				}
				if text != "" || resp.StatusCode != http.StatusOK || resp.Header.Get("X-Kept") != "" {
					foreign.Add(1)
				}
			}
		})
	}
	all.Wait()
	senders.Wait()
	t.Logf("handler returns while Send runs, stream and writer kept: written into another response %d of %d, errors %d of %d, connections %d",
		foreign.Load(), requests, kept.Load(), requests/2*3, opened.Load())
	assert.Zero(t, foreign.Load())
	assert.EqualValues(t, requests/2*3, kept.Load())
	// Go's client lets a connection go when it is itself late by 50 ms, as it
	// often is on a busy machine.
	assert.LessOrEqual(t, opened.Load(), int64(requests/4), "the connections are used again")
}
