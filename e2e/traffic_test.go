package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gin-gonic/gin"

	"github.com/ssegin/ssegin"
)

// talkers is how many clients follow streams at a time, and how many make POSTs.
const talkers = 6

// A traffic is the clients of one server: some follow streams that end at once,
// one after the other, and others make POSTs.
type traffic struct {
	tally
	hub    *ssegin.Hub
	url    string
	client *http.Client
	topics atomic.Int64
	fault  atomic.Value // a string: what the last request that failed met with
}

// A tally counts what the clients did.
type tally struct {
	answered, failed atomic.Int64 // POSTs
	ended, broken    atomic.Int64 // streams
}

// through says it in words.
func (n *tally) through(what string) string {
	return fmt.Sprintf("failed %s of %s through %s: POSTs beside %s streams that ended",
		grouped(n.failed.Load()), grouped(n.posts()), what, grouped(n.ended.Load()))
}

// grouped writes 20000 as 20,000.
func grouped(n int64) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", grouped(n/1000), n%1000)
}

func (n *tally) posts() int64 { return n.answered.Load() + n.failed.Load() }

func (n *tally) add(other *tally) {
	n.answered.Add(other.answered.Load())
	n.failed.Add(other.failed.Load())
	n.ended.Add(other.ended.Load())
	n.broken.Add(other.broken.Load())
}

// startTraffic starts a server, with that handler around it, and what stands in
// front of it.
func startTraffic(t *testing.T, pool func(*testing.T, string) string, around func(http.Handler) http.Handler, opts []ssegin.StreamOption) *traffic {
	t.Helper()
	hub := ssegin.NewHub()
	r := events(hub, opts...)
	r.POST("/say", func(c *gin.Context) {
		said, err := io.ReadAll(c.Request.Body)
		if err != nil {
			c.AbortWithStatus(http.StatusBadRequest)
			return
		}
		c.Data(http.StatusOK, "text/plain", said)
	})
	addr := startServer(t, &http.Server{Handler: around(r)}, hub)
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 2 * talkers // with 2, its default, hardly any would be used again
	transport.IdleConnTimeout = patience        // before any of the proxies closes it
	t.Cleanup(transport.CloseIdleConnections)
	return &traffic{hub: hub, url: pool(t, addr), client: &http.Client{Transport: transport, Timeout: 4 * patience}}
}

// run makes so many POSTs while streams end.
func (x *traffic) run(posts int64) {
	var following, saying sync.WaitGroup
	var begun atomic.Int64 // POSTs
	var over atomic.Bool
	for range talkers {
		following.Go(func() {
			for !over.Load() {
				x.note(x.follow(), &x.ended, &x.broken)
			}
		})
		saying.Go(func() {
			for begun.Add(1) <= posts {
				x.note(x.say(), &x.answered, &x.failed)
			}
		})
	}
	saying.Wait()
	over.Store(true)
	following.Wait()
}

// note counts a request as good or bad.
func (x *traffic) note(err error, good, bad *atomic.Int64) {
	if err == nil {
		good.Add(1)
		return
	}
	bad.Add(1)
	x.fault.Store(err.Error())
}

// follow follows a stream that ends in good order as soon as it is open.
func (x *traffic) follow() error {
	topic := fmt.Sprint("topic-", x.topics.Add(1))
	resp, err := x.client.Get(x.url + "/events?topic=" + topic)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %s", resp.Status)
	}
	if _, err := x.hub.End(context.Background(), topic, ssegin.Event{Data: "the end"}); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// say makes a POST, which nobody may repeat once it has been sent.
func (x *traffic) say() error {
	resp, err := x.client.Post(x.url+"/say", "text/plain", strings.NewReader("hello"))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(resp.Body)
	if err == nil && (resp.StatusCode != http.StatusOK || string(said) != "hello") {
		err = fmt.Errorf("status %s: %q", resp.Status, said)
	}
	return err
}
