package e2e

import (
	"context"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin"
	"github.com/ssegin/ssegin/ssegintest"
)

// Nothing drives the browser that shows this page: the page tells the server what
// it sees.
const tellingPage = `<!doctype html><title>e2e</title><link rel="icon" href="data:,"><script>
	const news = [];
	let telling = false;
	async function tell(what) {
		news.push(what);
		if (telling) return;
		telling = true;
		while (news.length > 0) await fetch("/seen", { method: "POST", body: JSON.stringify(news.splice(0)) });
		telling = false;
	}
	const source = new EventSource("/events?topic=talk");
	source.onerror = () => tell({ type: source.readyState === EventSource.CLOSED ? "closed" : "away" });
	for (const type of ["hello", "message", "bye", "ssegin.cursor", "ssegin.reset"])
		source.addEventListener(type, (e) => tell({ type, id: e.lastEventId, data: e.data }));
</script>`

// A telling server serves that page and knows what both sides have seen.
type tellingServer struct {
	hub *ssegin.Hub
	url string

	mu    sync.Mutex
	seen  []ssegintest.Event // by the page
	asked []*asked           // of the server, for the stream
}

type asked struct {
	lastID string
	conn   *net.TCPConn
	status int // zero while it is a stream
}

type connKey struct{}

// startTellingServer starts one whose stream that handler serves.
func startTellingServer(t *testing.T, hub *ssegin.Hub, stream gin.HandlerFunc) *tellingServer {
	t.Helper()
	s := &tellingServer{hub: hub}
	r := gin.New()
	r.GET("/", func(c *gin.Context) { c.Data(http.StatusOK, "text/html; charset=utf-8", []byte(tellingPage)) })
	r.POST("/seen", func(c *gin.Context) {
		var news []ssegintest.Event
		assert.NoError(t, c.BindJSON(&news))
		s.mu.Lock()
		defer s.mu.Unlock()
		s.seen = append(s.seen, news...)
	})
	r.GET("/events", s.note, stream)
	s.url = "http://" + startServer(t, &http.Server{Handler: r, ConnContext: func(ctx context.Context, c net.Conn) context.Context {
		return context.WithValue(ctx, connKey{}, c)
	}}, s.hub)
	return s
}

// note keeps what the browser asks for.
func (s *tellingServer) note(c *gin.Context) {
	a := &asked{lastID: c.GetHeader("Last-Event-ID"), conn: c.Request.Context().Value(connKey{}).(*net.TCPConn)}
	s.mu.Lock()
	s.asked = append(s.asked, a)
	s.mu.Unlock()
	c.Next()
	s.mu.Lock()
	defer s.mu.Unlock()
	a.status = c.Writer.Status()
}

// saw is what the page has seen of those types.
func (s *tellingServer) saw(types ...string) (events []ssegintest.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.seen {
		if slices.Contains(types, e.Type) {
			events = append(events, e)
		}
	}
	return events
}

// requests for the stream, up to now.
func (s *tellingServer) requests() (requests []asked) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.asked {
		requests = append(requests, *a)
	}
	return requests
}

// cut ends the stream, each time in another way, and waits until it is gone.
func (s *tellingServer) cut(t *testing.T, i int) {
	t.Helper()
	requests := s.requests()
	conn := requests[len(requests)-1].conn
	switch i % 3 {
	case 0: // RST
		require.NoError(t, conn.SetLinger(0))
		require.NoError(t, conn.Close())
	case 1: // FIN, before the end of the response
		require.NoError(t, conn.Close())
	case 2: // in order
		n, err := s.hub.Disconnect(t.Context(), "talk")
		require.NoError(t, err)
		require.Equal(t, 1, n)
	}
	until(t, "the stream is gone", patience, func() bool {
		return s.requests()[len(requests)-1].status != 0
	})
}

func TestBrowser_resumesWithoutLossAndStopsAtTheEnd(t *testing.T) {
	t.Parallel()
	rounds, quiet := 20, 5*time.Second
	switch {
	case long:
		rounds = 200
	case testing.Short():
		rounds, quiet = 3, 2*time.Second
	}
	for name, show := range browsers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hub := ssegin.NewHub(ssegin.WithHistory(100_000, 0, 0))
			s := startTellingServer(t, hub, ssegin.Handler(hub,
				ssegin.WithRetry(100*time.Millisecond), // Firefox makes 500 of them
				ssegin.WithTopics(func(c *gin.Context) ([]string, error) { return c.QueryArray("topic"), nil }),
				ssegin.OnConnect(func(_ *gin.Context, s *ssegin.Stream) error {
					return s.Send(ssegin.Event{Type: "hello", Data: "without an ID"})
				})))
			show(t, s.url)
			published := s.primed(t)
			published = s.storm(t, rounds, published)
			s.ends(t, quiet)

			check := ssegintest.NewChecker(1, number)
			for _, e := range s.saw("message") {
				check.Check(e)
			}
			verdict := check.Verdict(published)
			t.Logf("%s: cut %d times, by RST, by FIN and in order: %v, resets %d", name, rounds, verdict, len(s.saw("ssegin.reset")))
			assert.Equal(t, ssegintest.Verdict{Events: published}, verdict)
			assert.Empty(t, s.saw("ssegin.reset"))
		})
	}
}

// primed cuts a stream that has had nothing with an ID of its own yet. What is
// published before it is back must arrive.
func (s *tellingServer) primed(t *testing.T) (published uint64) {
	t.Helper()
	until(t, "the browser is here", 4*patience, func() bool { return len(s.saw("hello")) > 0 })
	s.cut(t, 0)
	cut := time.Now()
	_, err := s.hub.Publish(t.Context(), "talk", ssegin.Event{Data: 1})
	require.NoError(t, err)
	until(t, "the browser is back", patience, func() bool { return len(s.requests()) == 2 })
	t.Logf("cut before its first event, back after %v with the ID %q", time.Since(cut).Round(time.Millisecond), s.requests()[1].lastID)
	require.NotEmpty(t, s.requests()[1].lastID, "the priming moves no ID")
	until(t, "the event that it missed is there", patience, func() bool { return len(s.saw("message")) == 1 })
	return 1
}

// storm cuts the stream again and again while events are published, at least 50
// for each cut.
func (s *tellingServer) storm(t *testing.T, rounds int, published uint64) uint64 {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	last := make(chan uint64, 1) // with room for it, should nobody wait
	go func() {
		defer func() { last <- published }()
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			<-tick.C
			_, err := s.hub.Publish(ctx, "talk", ssegin.Event{Data: strconv.FormatUint(published+1, 10)})
			if err != nil {
				return
			}
			published++
		}
	}()
	for i := range rounds {
		asked := len(s.requests())
		s.cut(t, i)
		until(t, "the browser is back", patience, func() bool { return len(s.requests()) > asked })
		seen := len(s.saw("message"))
		until(t, "events arrive again", patience, func() bool { return len(s.saw("message")) > seen+50 })
	}
	stop()
	n := <-last
	until(t, "all is there", patience, func() bool { return uint64(len(s.saw("message"))) >= n })
	return n
}

// ends ends the topic, and sees that the browser asks once more and never again.
func (s *tellingServer) ends(t *testing.T, quiet time.Duration) {
	t.Helper()
	before := len(s.requests())
	id, err := s.hub.End(t.Context(), "talk", ssegin.Event{Type: "bye", Data: "and thanks"})
	require.NoError(t, err)
	until(t, "the browser has closed its EventSource", patience, func() bool { return len(s.saw("closed")) > 0 })
	<-time.After(quiet) // none waits longer than half a second before it comes back: this is several
	requests := s.requests()
	var statuses []int
	for _, r := range requests {
		statuses = append(statuses, r.status)
	}
	t.Logf("the end: status %v; none in the %v after", statuses[before:], quiet)
	assert.Equal(t, []int{http.StatusNoContent}, statuses[before:])
	assert.Equal(t, id, requests[len(requests)-1].lastID)
	assert.Len(t, s.saw("bye"), 1)
	assert.Len(t, s.saw("closed"), 1)
}
