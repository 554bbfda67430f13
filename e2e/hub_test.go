package e2e

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin"
	"github.com/ssegin/ssegin/ssegintest"
)

// kinds are the two ways in which a stream can be served.
var kinds = map[string][]ssegin.StreamOption{
	"attached": nil,
	"detached": {ssegin.WithDetached()},
}

// serve runs a server for the streams of a hub, in this process, on plain TCP;
// see ssegin.ConnContext. Stop cuts all that is left.
func serve(server *http.Server, hub *ssegin.Hub) (addr string, stop func(), err error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	listener, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	server.ErrorLog = log.New(io.Discard, "", 0) // clients come and go on purpose
	served := make(chan struct{})
	go func() {
		_ = server.Serve(listener)
		close(served)
	}()
	return listener.Addr().String(), func() {
		now, cancel := context.WithCancel(context.Background())
		cancel()
		_ = hub.Shutdown(now)
		_ = server.Close()
		<-served
	}, nil
}

// startServer is serve, until the end of the test.
func startServer(t *testing.T, server *http.Server, hub *ssegin.Hub) (addr string) {
	t.Helper()
	addr, stop, err := serve(server, hub)
	require.NoError(t, err)
	t.Cleanup(stop)
	return addr
}

// events is an engine that serves the streams of a hub at /events, with the
// topics that the query names: ?topic=a&topic=b.
func events(hub *ssegin.Hub, opts ...ssegin.StreamOption) *gin.Engine {
	r := gin.New()
	r.GET("/events", ssegin.Handler(hub, append(slices.Clip(opts), ssegin.WithTopics(func(c *gin.Context) ([]string, error) {
		return c.QueryArray("topic"), nil
	}))...))
	return r
}

// number is what the data of the tests' events begins with: it counts up by one.
func number(e ssegintest.Event) (uint64, bool) {
	digits, _, _ := strings.Cut(e.Data, " ")
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil && !strings.HasPrefix(e.Type, "ssegin.")
}

// times are how long calls took.
type times []time.Duration

// note calls f and notes how long that takes.
func (d *times) note(f func()) {
	began := time.Now()
	f()
	*d = append(*d, time.Since(began))
}

func (d times) percentile(p float64) time.Duration {
	slices.Sort(d)
	return d[int(p*float64(len(d)-1))]
}

func (d times) max() time.Duration { return d.percentile(1) }
