package clients

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/ssegin/ssegin"
)

// The ways to serve a client.
const (
	byPost  = "POST"    // Middleware, the answer to a POST
	withIDs = "IDs"     // Middleware, whose handler gives IDs and goes on after the last one; with WithPlain if need be
	hubbed  = "Handler" // Handler by default
	plainly = "plain"   // Handler with WithPlain
)

// The scenes of a cell.
const (
	live  = "live"  // all is well, and then comes the end
	cut   = "cut"   // the connection is reset after the fourth event
	short = "short" // the stream ends in order, and is not complete
	quiet = "quiet" // the connection is lost before the first event
	gap   = "gap"   // what the client misses cannot be given any more
	full  = "full"  // there is no room for a while
)

// scenes of each way. A gap and a full hub are the application's business behind Middleware.
var scenes = map[string][]string{
	byPost:  {live, cut, short, quiet},
	withIDs: {live, cut, short, quiet},
	hubbed:  {live, cut, short, quiet, gap, full},
	plainly: {live, cut, short, quiet, gap, full},
}

// A cell is one client in one scene, served in one way.
type cell struct {
	id     string
	client *client
	mode   string
	scene  string
	server *server

	engine *gin.Engine
	hub    *ssegin.Hub

	mu      sync.Mutex
	changed chan struct{} // closed and made anew with each change of what is below
	moved   time.Time     // the last of them
	asked   []*asked
	opened  int       // streams
	got     []int     // steps, by the application
	odd     []string  // what else it was given
	seen    bool      // the end
	over    string    // why it has no stream any more: done, or an error
	before  int       // requests before the first stream
	staged  time.Time // when the scene was over
}

// An asked is a request for the stream.
type asked struct {
	method, lastID string
	conn           *net.TCPConn
	status         int // zero while it is served
}

// A report is what an application says.
type report struct {
	Cell string
	N    int    // a step
	Odd  string // something that is not the application's
	Last bool   // the end
	Over string // there is no stream any more: done, or an error
}

// change changes what the mutex guards.
func (c *cell) change(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
	c.moved = time.Now()
	close(c.changed)
	c.changed = make(chan struct{})
}

// wait waits until something is so, and reports whether it is.
func (c *cell) wait(ctx context.Context, limit time.Duration, is func() bool) bool {
	timeout := time.After(limit)
	for {
		c.mu.Lock()
		ok, changed := is(), c.changed
		c.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-changed:
		case <-timeout:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// hear takes a report.
func (c *cell) hear(r report) {
	c.change(func() {
		if r.N > 0 {
			c.got = append(c.got, r.N)
		}
		if r.Odd != "" && len(c.odd) < 10 {
			c.odd = append(c.odd, r.Odd)
		}
		if r.Last {
			c.seen = true
		}
		if r.Over != "" {
			c.over = r.Over
		}
	})
}

// has waits until the application has that step.
func (c *cell) has(ctx context.Context, n int) {
	c.wait(ctx, patience, func() bool { return slices.Contains(c.got, n) })
}

// streams waits until so many streams were opened.
func (c *cell) streams(ctx context.Context, n int, limit time.Duration) bool {
	return c.wait(ctx, limit, func() bool { return c.opened >= n })
}

// note records what is asked for.
func (c *cell) note(g *gin.Context) {
	lastID := g.GetHeader("Last-Event-ID")
	for key, values := range g.Request.URL.Query() {
		if strings.HasPrefix(strings.ToLower(key), "last") {
			lastID = values[0]
		}
	}
	if g.Query("holder") != "" {
		return
	}
	a := &asked{method: g.Request.Method, lastID: lastID, conn: g.Request.Context().Value(connKey{}).(*net.TCPConn)}
	c.change(func() { c.asked = append(c.asked, a) })
	g.Next()
	c.change(func() { a.status = g.Writer.Status() })
}

// open notes that a stream has begun.
func (c *cell) open() {
	c.change(func() {
		if c.opened++; c.opened == 1 {
			c.before = len(c.asked)
		}
	})
}

// cut closes the connections of the streams, and waits until these are gone.
func (c *cell) cut(ctx context.Context, reset bool) {
	c.mu.Lock()
	var now []*asked
	for _, a := range c.asked {
		if a.status == 0 {
			now = append(now, a)
		}
	}
	c.mu.Unlock()
	for _, a := range now {
		if reset {
			_ = a.conn.SetLinger(0) // an error only if it is gone
		}
		_ = a.conn.Close()
	}
	if c.hub != nil {
		c.wait(ctx, patience, func() bool {
			return !slices.ContainsFunc(now, func(a *asked) bool { return a.status == 0 })
		})
	}
}

// set makes the server of the cell.
func (c *cell) set() {
	c.engine = gin.New()
	c.engine.Use(gin.Recovery(), c.note)
	beats := ssegin.WithHeartbeat(25 * time.Millisecond)
	if c.client.silent {
		beats = ssegin.WithHeartbeat(0)
	}
	switch c.mode {
	case byPost:
		c.engine.Any("/c/:id", ssegin.Middleware(beats), c.answer)
	case withIDs:
		options := []ssegin.StreamOption{beats, ssegin.WithRetry(200 * time.Millisecond)}
		if c.client.plain {
			options = []ssegin.StreamOption{beats, ssegin.WithPlain()}
		}
		c.engine.Any("/c/:id", ssegin.Middleware(options...), c.answer)
	default:
		options := []ssegin.StreamOption{
			beats,
			ssegin.WithTopics(func(*gin.Context) ([]string, error) { return []string{topic}, nil }),
			ssegin.OnConnect(func(g *gin.Context, _ *ssegin.Stream) error {
				if g.Query("holder") == "" {
					c.open()
				}
				return nil
			}),
		}
		if c.mode == plainly {
			options = append(options, ssegin.WithPlain())
		} else {
			options = append(options, ssegin.WithRetry(200*time.Millisecond))
		}
		if c.client.broken {
			options = append(options, ssegin.WithBrokenEnds())
		}
		var hub []ssegin.HubOption
		switch c.scene {
		case gap:
			hub = append(hub, ssegin.WithHistory(8, 0, 0))
		case full:
			hub = append(hub, ssegin.WithMaxStreams(1))
		}
		c.hub = ssegin.NewHub(hub...)
		c.engine.Any("/c/:id", ssegin.Handler(c.hub, options...))
	}
}

const (
	topic  = "t"
	beaten = 250 * time.Millisecond // in which there are heartbeats
)

// answer is the handler behind Middleware.
func (c *cell) answer(g *gin.Context) {
	stream := ssegin.From(g)
	ctx := stream.Context()
	d := c.client.says()
	from := 0
	if c.mode == withIDs {
		from, _ = strconv.Atoi(stream.LastEventID())
		if stream.LastEventID() == "ssegin.end" {
			from = last
		}
	}
	c.open()
	c.mu.Lock()
	first := c.opened == 1
	c.mu.Unlock()
	if first && c.scene == quiet {
		_ = stream.Comment("") // the client is gone a moment later
		pause(ctx, time.Second)
		c.cut(ctx, false)
		return
	}
	for n := from + 1; n <= last; n++ {
		for i, e := range d.step(n) {
			if c.mode == withIDs && i == len(d.step(n))-1 {
				e.ID = strconv.Itoa(n)
			}
			if stream.Send(e) != nil {
				return
			}
		}
		if n == 3 {
			if !c.client.silent {
				_ = stream.Comment("a comment of the application's")
			}
			pause(ctx, beaten) // there are heartbeats
		}
		if first && n == 4 {
			if c.scene == cut || c.scene == short {
				c.has(ctx, 4)
				pause(ctx, beaten)
				if c.scene == cut {
					c.cut(ctx, true)
				}
				return
			}
		}
	}
	_ = stream.End(d.end) // an error only if the client is gone
}

// pause waits, if ctx lets it.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// publish publishes some steps.
func (c *cell) publish(ctx context.Context, from, to int) {
	for n := from; n <= to; n++ {
		for _, e := range c.client.says().step(n) {
			_, _ = c.hub.Publish(ctx, topic, e)
		}
		if n == 3 {
			pause(ctx, beaten)
		}
	}
}

// play plays the scene on a hub. Behind Middleware the handler does.
func (c *cell) play(ctx context.Context) {
	if c.scene == full {
		return // see fill
	}
	defer c.change(func() { c.staged = time.Now() })
	if c.hub == nil || !c.streams(ctx, 1, patience) {
		return
	}
	switch c.scene {
	case live:
		c.publish(ctx, 1, last)
	case cut, short:
		c.publish(ctx, 1, 4)
		c.has(ctx, 4)
		pause(ctx, beaten)
		if c.scene == cut {
			c.cut(ctx, true)
		} else {
			_, _ = c.hub.Disconnect(ctx, topic)
			c.wait(ctx, patience, func() bool { return c.asked[0].status != 0 })
		}
		c.publish(ctx, 5, 7)
		c.streams(ctx, 2, away)
		c.publish(ctx, 8, last)
	case quiet:
		pause(ctx, time.Second)
		c.cut(ctx, false)
		c.publish(ctx, 1, 3)
		c.streams(ctx, 2, away)
		c.publish(ctx, 4, last)
	case gap:
		c.publish(ctx, 1, 4)
		c.has(ctx, 4)
		pause(ctx, beaten)
		c.cut(ctx, true)
		c.publish(ctx, 11, 20)
		c.streams(ctx, 2, away)
		c.publish(ctx, 21, 24)
	}
	_, _ = c.hub.End(ctx, topic, c.client.says().end)
}

// fill takes the one place that the hub has, and gives it back when the client has
// been sent away for some time.
func (c *cell) fill(ctx context.Context) (err error) {
	held, release := context.WithCancel(ctx)
	r, err := http.NewRequestWithContext(held, http.MethodGet, c.url()+"?holder=1", nil)
	if err != nil {
		release()
		return err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		release()
		return err
	}
	go func() {
		defer release()
		c.wait(ctx, patience, func() bool { return len(c.asked) > 0 })
		pause(ctx, crowded)
		release()
		_ = resp.Body.Close()
		if c.streams(ctx, 1, away+crowded) {
			c.publish(ctx, 1, last)
			_, _ = c.hub.End(ctx, topic, c.client.says().end)
		}
		c.change(func() { c.staged = time.Now() })
	}()
	return nil
}

// url is where the client asks.
func (c *cell) url() string { return c.server.url + "/c/" + c.id }

// String names the cell.
func (c *cell) String() string { return fmt.Sprintf("%s / %s / %s", c.client.name, c.mode, c.scene) }
