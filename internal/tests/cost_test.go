package tests

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin"
)

// These two show what a handler as Gin's documentation has it, c.Stream with c.SSEvent,
// pays for Middleware: compare their ns/event. Each event is flushed, so most of both is
// the kernel's. The goal is at most 1.3 times the bare one. Figures of one run alone say
// little: let them take turns, with -count.
func BenchmarkCStream_bare(b *testing.B) { benchmarkCStream(b) }

func BenchmarkCStream_underMiddleware(b *testing.B) { benchmarkCStream(b, ssegin.Middleware()) }

// benchmarkCStream reads a response of many events over the loopback interface.
func benchmarkCStream(b *testing.B, before ...gin.HandlerFunc) {
	const events, token, block = 200_000, "a token of some length", "event:message\ndata:a token of some length\n\n"
	srv := listen(b, route(append(before, func(c *gin.Context) {
		left := events
		c.Stream(func(io.Writer) bool {
			c.SSEvent("message", token)
			left--
			return left > 0
		})
	})...))
	for b.Loop() {
		resp, err := http.Get(srv.URL + "/events")
		require.NoError(b, err)
		size, err := io.Copy(io.Discard, resp.Body)
		require.NoError(b, err)
		require.NoError(b, resp.Body.Close())
		require.EqualValues(b, events*len(block), size, "the same bytes, whoever writes them")
	}
	b.ReportMetric(float64(b.Elapsed())/float64(time.Nanosecond)/events/float64(b.N), "ns/event")
}
