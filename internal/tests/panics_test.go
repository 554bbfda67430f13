package tests

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin"
	"github.com/ssegin/ssegin/ssegintest"
)

// A mine goes off once, in the one callback of that name, after it was armed.
type mine struct {
	name  string
	armed atomic.Bool
}

func (m *mine) step(name string) {
	if m.name == name && m.armed.CompareAndSwap(true, false) {
		panic("boom")
	}
}

// hub and handler have a mine in each of their callbacks.
func (m *mine) hub() *ssegin.Hub {
	return ssegin.NewHub(
		ssegin.WithHistory(50, 0, 0),
		ssegin.WithMaxStreamsPer(func(*gin.Context) string { m.step("key"); return "k" }, 10),
		ssegin.WithObserver(ssegin.Observer{
			Published: func(string, int) { m.step("Published") },
			Opened:    func(bool, ssegin.Reset) { m.step("Opened") },
			Refused:   func(error) { m.step("Refused") },
			Delivered: func(int, int, time.Duration) { m.step("Delivered") },
			Lagged:    func(ssegin.Reset) { m.step("Lagged") },
			Closed:    func(error, time.Duration) { m.step("Closed") },
		}),
	)
}

func (m *mine) handler(hub *ssegin.Hub) gin.HandlerFunc {
	return ssegin.Handler(hub,
		ssegin.WithTopics(func(c *gin.Context) ([]string, error) {
			m.step("WithTopics")
			if c.Query("refuse") != "" {
				return nil, errors.New("no")
			}
			return c.QueryArray("topic"), nil
		}),
		ssegin.WithExpiry(func(*gin.Context) time.Time { m.step("WithExpiry"); return time.Time{} }),
		ssegin.OnConnect(func(*gin.Context, *ssegin.Stream) error { m.step("OnConnect"); return nil }),
		ssegin.OnReset(func(_ *ssegin.Stream, r ssegin.Reset) {
			m.step("OnReset")
			if r.Reason == ssegin.ReasonLagged {
				m.step("OnReset in mid-stream")
			}
		}),
		ssegin.OnDisconnect(func(*ssegin.Stream) { m.step("OnDisconnect") }),
	)
}

func TestPanic_inACallbackEndsThatRequestOnly(t *testing.T) {
	// What makes the callback be called, with a client that has yet to come,
	// and then for one that is there.
	connect := func(query, id string) func(*testing.T, *ssegin.Hub, *ssegintest.Server) *ssegintest.Stream {
		return func(t *testing.T, _ *ssegin.Hub, srv *ssegintest.Server) *ssegintest.Stream {
			s, _ := srv.Connect(t.Context(), "/events"+query, ssegintest.WithLastEventID(id))
			return s
		}
	}
	publishTo := func(t *testing.T, hub *ssegin.Hub, _ *ssegintest.Stream) { publish(t, hub, "victim", "x") }
	leave := func(_ *testing.T, _ *ssegin.Hub, s *ssegintest.Stream) { s.Cut() }
	lag := func(t *testing.T, hub *ssegin.Hub, _ *ssegintest.Stream) {
		for range 500 {
			publish(t, hub, "victim", strings.Repeat("x", 1<<10))
		}
	}
	for name, test := range map[string]struct {
		come func(*testing.T, *ssegin.Hub, *ssegintest.Server) *ssegintest.Stream
		then func(*testing.T, *ssegin.Hub, *ssegintest.Stream)
	}{
		"WithTopics":            {connect("?topic=victim", ""), nil},
		"WithExpiry":            {connect("?topic=victim", ""), nil},
		"key":                   {connect("?topic=victim", ""), nil},
		"Opened":                {connect("?topic=victim", ""), nil},
		"OnConnect":             {connect("?topic=victim", ""), nil},
		"OnReset":               {connect("?topic=victim", "x"), nil},
		"Refused":               {connect("?refuse=1", ""), nil},
		"Delivered":             {connect("?topic=victim", ""), publishTo},
		"Lagged":                {connect("?topic=victim", ""), lag},
		"OnReset in mid-stream": {connect("?topic=victim", ""), lag},
		"Closed":                {connect("?topic=victim", ""), leave},
		"OnDisconnect":          {connect("?topic=victim", ""), leave},
	} {
		for _, recovery := range []bool{true, false} {
			t.Run(name+map[bool]string{true: " with gin.Recovery", false: ""}[recovery], func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					m := &mine{name: name}
					hub := m.hub()
					var seen visible
					r := gin.New()
					if recovery {
						r.Use(gin.RecoveryWithWriter(&seen))
					}
					r.GET("/events", m.handler(hub))
					srv := serve(t, r, ssegintest.WithBuffer(1<<10), ssegintest.WithServer(func(s *http.Server) {
						s.ErrorLog = log.New(&seen, "", 0)
					}))
					healthy := request(t, srv, "")
					nextBlock(t, healthy)

					m.armed.Store(true)
					victim := test.come(t, hub, srv)
					if test.then != nil {
						synctest.Wait()
						test.then(t, hub, victim)
					}
					if victim != nil { // it reads until its stream ends, in one way or the other
						ctx, cancel := context.WithTimeout(t.Context(), patience)
						for range victim.Events(ctx) {
						}
						require.NoError(t, ctx.Err(), "the stream of the victim ends")
						cancel()
					}
					synctest.Wait()
					assert.False(t, m.armed.Load(), "the callback was called")
					assert.Contains(t, seen.String(), "boom", "the panic is visible")
					assert.Equal(t, 1, hub.Stats().Streams, "the cursor of the victim is gone, that of the other is not")

					broadcast(t, hub, "alive")
					assert.Equal(t, "alive", next(t, healthy).Data)
					again := request(t, srv, "?topic=victim")
					nextBlock(t, again)
					publish(t, hub, "victim", "alive again")
					assert.Equal(t, "alive again", next(t, again).Data)
					again.Close()
					healthy.Close()
					requireGone(t, hub)
					assert.NoError(t, hub.Shutdown(t.Context()), "and every stream is accounted for")
				})
			})
		}
	}
}

// visible collects what is logged.
type visible struct {
	mu sync.Mutex
	bytes.Buffer
}

func (v *visible) Write(p []byte) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.Buffer.Write(p)
}

func (v *visible) String() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.Buffer.String()
}

func TestPanic_inAPublisherIsThePublishersAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mine{name: "Published"}
		hub := m.hub()
		srv := serve(t, route(m.handler(hub)))
		s := connect(t, srv, "")
		m.armed.Store(true)
		assert.Panics(t, func() { _, _ = hub.Broadcast(t.Context(), ssegin.Event{Data: "in the log by then"}) })
		assert.Panics(t, func() { _, _ = hub.Broadcast(t.Context(), ssegin.Event{Data: panicking{}}) })
		broadcast(t, hub, "alive")
		assert.Equal(t, []string{"in the log by then", "alive"}, nextData(t, s, 2))
	})
}

type panicking struct{}

func (panicking) MarshalJSON() ([]byte, error) { panic("boom") }

func TestPanic_inAHandlerUnderMiddlewareEndsItsStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kept *ssegin.Stream
		r := gin.New()
		r.Use(gin.RecoveryWithWriter(nil))
		r.GET("/events", ssegin.Middleware(), func(c *gin.Context) {
			kept = ssegin.From(c)
			c.Stream(func(io.Writer) bool {
				c.SSEvent("", "x")
				c.Writer.Flush()
				_, _ = c.Writer.WriteString("data: half")
				panic("boom")
			})
		})
		srv := serve(t, r)
		s := request(t, srv, "")
		assert.Equal(t, "x", next(t, s).Data)
		_, err := s.NextBlock(t.Context())
		assert.Equal(t, io.ErrUnexpectedEOF, err, "nobody takes half an answer for a whole one")
		require.NotNil(t, kept)
		assert.ErrorIs(t, kept.Send(ssegin.Event{Data: "late"}), ssegin.ErrClosed)
		assert.ErrorIs(t, context.Cause(kept.Context()), ssegin.ErrClosed)
		time.Sleep(time.Minute) // no heartbeat of a stream that is over
	})
}
