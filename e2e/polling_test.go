package e2e

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin"
)

// Nothing drives the browser that shows this page: it counts what it is given, and how
// old that is, and tells the server about once a second.
const pollingPage = `<!doctype html><title>e2e</title><link rel="icon" href="data:,"><script>
	const seen = { events: 0, next: 0, lost: 0, twice: 0, opened: 0, resets: 0, delays: [] };
	let told = -1;
	const source = new EventSource("/events");
	source.onopen = () => seen.opened++;
	source.addEventListener("ssegin.reset", () => seen.resets++);
	source.onmessage = (e) => {
		const [n, at] = e.data.split(" ").map(Number);
		if (n < seen.next) seen.twice++; else { seen.lost += n - seen.next; seen.next = n + 1; }
		seen.events++;
		seen.delays.push(Date.now() - at);
	};
	setInterval(async () => {
		const telling = seen.opened + seen.events;
		if (told === telling) return;
		await fetch("/seen", { method: "POST", body: JSON.stringify(seen) });
		told = telling;
	}, 1000);
</script>`

// What a page of that kind has seen.
type pollingSeen struct {
	Events, Next, Lost, Twice, Opened, Resets int

	Delays []int // of the events, in milliseconds
}

// A hoarder is a proxy that reads the whole of each response before it passes anything on,
// and counts those that do not say how long they are.
type hoarder struct {
	addr     string
	client   *http.Client
	polls    atomic.Int64
	unending atomic.Int64
}

func startHoarder(t *testing.T, addr string) (url string, h *hoarder) {
	t.Helper()
	transport := http.DefaultTransport.(*http.Transport).Clone() // its pool must not outlive the test
	h = &hoarder{addr: addr, client: &http.Client{Transport: transport}}
	srv := httptest.NewServer(h)
	t.Cleanup(func() {
		srv.CloseClientConnections() // a browser may still wait
		srv.Close()
		transport.CloseIdleConnections()
	})
	return srv.URL, h
}

func (h *hoarder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	out := r.Clone(r.Context())
	out.RequestURI, out.URL.Scheme, out.URL.Host = "", "http", h.addr
	resp, err := h.client.Do(out)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	if r.URL.Path == "/events" {
		h.polls.Add(1)
		if resp.ContentLength != int64(len(body)) {
			h.unending.Add(1)
		}
	}
	maps.Copy(w.Header(), resp.Header)
	w.WriteHeader(resp.StatusCode)
	_, _ = w.Write(body) // an error only if the browser has gone
}

func TestBrowser_pollsWithoutLossThroughAProxyThatPassesNothingOnBeforeTheEnd(t *testing.T) {
	t.Parallel()
	events := 1000
	switch {
	case long:
		events = 10_000
	case testing.Short():
		events = 200
	}
	for name, show := range browsers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hub := ssegin.NewHub(ssegin.WithHistory(2*events, 0, 0))
			var mu sync.Mutex
			var seen pollingSeen
			look := func() pollingSeen {
				mu.Lock()
				defer mu.Unlock()
				return seen
			}
			r := gin.New()
			r.GET("/", func(c *gin.Context) { c.Data(http.StatusOK, "text/html; charset=utf-8", []byte(pollingPage)) })
			r.POST("/seen", func(c *gin.Context) {
				mu.Lock()
				defer mu.Unlock()
				assert.NoError(t, c.BindJSON(&seen))
			})
			r.GET("/events", ssegin.Handler(hub, ssegin.WithPolling(0), ssegin.WithRetry(100*time.Millisecond)))
			url, proxy := startHoarder(t, startServer(t, &http.Server{Handler: r, ConnContext: ssegin.ConnContext}, hub))
			show(t, url)
			until(t, "the page has an ID", patience, func() bool { return look().Opened > 0 })
			for i := range events {
				_, err := hub.Broadcast(t.Context(), ssegin.Event{Data: fmt.Sprint(i, " ", time.Now().UnixMilli())})
				require.NoError(t, err)
				time.Sleep(20 * time.Millisecond)
			}
			until(t, "the page has the last event", patience, func() bool { return look().Next == events })
			s := look()
			slices.Sort(s.Delays)
			t.Logf("polling through a proxy that reads the whole response first, %d events in %d responses: lost %d, twice %d, delay p50 %d ms, p99 %d ms",
				s.Events, proxy.polls.Load(), s.Lost, s.Twice, s.Delays[len(s.Delays)/2], s.Delays[len(s.Delays)*99/100])
			assert.Zero(t, s.Lost)
			assert.Zero(t, s.Twice)
			assert.Zero(t, s.Resets)
			assert.Equal(t, events, s.Events)
			assert.Zero(t, proxy.unending.Load(), "responses without a Content-Length")
		})
	}
}
