package tests

import (
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin"
	"github.com/ssegin/ssegin/ssegintest"
)

// The loops that Gin's users have: c.Stream with c.SSEvent, which is six
// writes for each event.
func TestMiddleware_keepsEventsOfTheHandlerWholeBesideHeartbeatsAndSends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 300
		srv := serve(t, route(ssegin.Middleware(), func(c *gin.Context) {
			s := ssegin.From(c)
			require.NoError(t, s.Comment("the response begins before others write"))
			for _, kind := range []string{"a", "b"} {
				go func() {
					for i := range n {
						_ = s.Send(ssegin.Event{Type: kind, Data: fmt.Sprintf("%d\n%s", i, kind)})
						time.Sleep(7 * time.Millisecond)
					}
				}()
			}
			i := 0
			c.Stream(func(w io.Writer) bool {
				c.SSEvent("gin", fmt.Sprintf("%d\ngin", i))
				time.Sleep(5 * time.Millisecond)
				i++
				return i < n
			})
			time.Sleep(time.Minute)
		}))
		s := connect(t, srv, "")
		counts := map[string]int{}
		for range 3 * n {
			b := nextBlock(t, s)
			for b.Event == nil {
				b = nextBlock(t, s)
			}
			assert.Empty(t, b.Comments, "nothing between the lines of an event")
			assert.Equal(t, fmt.Sprintf("%d\n%s", counts[b.Event.Type], b.Event.Type), b.Event.Data)
			counts[b.Event.Type]++
		}
	})
}

func TestMiddleware_beatsOnlyBetweenTheEventsOfASlowHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pieces := []string{"event: sl", "ow\r\n", "data: 1\r", "\ndata: 2", "\n", "\n"}
		srv := serve(t, route(ssegin.Middleware(ssegin.WithHeartbeat(10*time.Second)), func(c *gin.Context) {
			c.Header("Content-Type", "text/event-stream")
			c.Writer.Flush()
			for range 3 {
				for _, piece := range pieces {
					time.Sleep(12 * time.Second) // a heartbeat is due before each piece
					_, _ = io.WriteString(c.Writer, piece)
					c.Writer.Flush()
				}
			}
		}))
		start := time.Now()
		s := connect(t, srv, "")
		var seen []string
		for range 24 {
			b := nextBlock(t, s)
			if b.Event == nil {
				seen = append(seen, ":")
				continue
			}
			assert.Empty(t, b.Comments)
			assert.Equal(t, ssegintest.Event{Type: "slow", Data: "1\n2"}, *b.Event)
			seen = append(seen, "slow")
			if len(seen) == 24 {
				break
			}
		}
		assert.Equal(t, 3, strings.Count(strings.Join(seen, " "), "slow"), "%v", seen)
		assert.Equal(t, 216*time.Second, time.Since(start))
		requireEnd(t, s)
	})
}

func TestMiddleware_passesOnWholeBlocksOnly(t *testing.T) {
	for _, text := range []string{
		"data: x\n\ndata: y\n\n", "data: x\r\n\r\ndata: y\r\n\r\n", "data: x\r\rdata: y\r\r", "data: x\n\rid: 1\r\n\ndata: y",
		":\n\n\n\n\r\n\r:\n\n", "\ndata: x\n\n", "\r\n\r\n", "data: x\r\n", "data", "data: a\r\ndata: b\r\n\r\nda",
	} {
		whole := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text)
		whole = whole[:strings.LastIndex("\n"+whole, "\n\n")+1] // up to the last blank line
		for size := 1; size <= len(text); size++ {
			w := httptest.NewRecorder()
			r := route(ssegin.Middleware(ssegin.WithHeartbeat(0)), func(c *gin.Context) {
				c.Header("Content-Type", "text/event-stream")
				c.Writer.Flush()
				w.Body.Reset() // the opening
				for piece := range chunks(text, size) {
					n, err := c.Writer.WriteString(piece)
					require.NoError(t, err)
					require.Equal(t, len(piece), n)
					assert.True(t, w.Body.Len() == 0 || blank(w.Body.String()), "%q is passed on of %q", w.Body, text)
				}
				passed := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(w.Body.String())
				assert.Equal(t, whole, passed, "%q in pieces of %d", text, size)
			})
			r.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/events", nil))
			got := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(w.Body.String())
			assert.Equal(t, strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text), got, "the rest follows at the end, %q in pieces of %d", text, size)
		}
	}
}

// chunks cuts text into pieces of so many bytes.
func chunks(text string, size int) iter.Seq[string] {
	return func(yield func(string) bool) {
		for len(text) > 0 {
			n := min(size, len(text))
			if !yield(text[:n]) {
				return
			}
			text = text[n:]
		}
	}
}

// blank reports whether text ends in a blank line.
func blank(text string) bool {
	lines := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace("\n" + text)
	return strings.HasSuffix(lines, "\n\n")
}

// What is left without its blank line is passed on at a normal end, like everything else
// that the handler writes. Half of an event of which the handler has told an error is
// not, and its client must see that.
func TestMiddleware_passesOnWhatIsLeftUnlessSomethingHasFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := gin.New()
		r.Use(gin.CustomRecoveryWithWriter(io.Discard, func(c *gin.Context, _ any) { c.AbortWithStatus(http.StatusInternalServerError) }))
		half := func(c *gin.Context) {
			c.SSEvent("", "whole")
			_, _ = c.Writer.WriteString("id: 9\ndata: half")
		}
		r.GET("/normal", ssegin.Middleware(), half)
		r.GET("/error", ssegin.Middleware(), half, func(c *gin.Context) { _ = c.Error(io.ErrUnexpectedEOF) })
		r.GET("/panic", ssegin.Middleware(), half, func(*gin.Context) { panic("boom") })
		r.GET("/abort", ssegin.Middleware(), half, func(*gin.Context) { panic(http.ErrAbortHandler) })
		srv := serve(t, r)
		for path, want := range map[string]string{
			"/normal": "data:whole\n\nid: 9\ndata: half <nil>",
			"/error":  "data:whole\n\n unexpected EOF",
			"/panic":  "data:whole\n\n unexpected EOF",
			"/abort":  "data:whole\n\n unexpected EOF",
		} {
			resp, err := srv.Client().Get(srv.URL + path)
			require.NoError(t, err)
			body, err := io.ReadAll(resp.Body)
			assert.Equal(t, want, fmt.Sprint(string(body), " ", err), path)
			resp.Body.Close()
		}
	})
}

// c.SSEvent tells of data that does not encode in c.Errors only, after it has
// written half of the event.
func TestMiddleware_sendsNothingOfAnEventThatSSEventCouldNotEncode(t *testing.T) {
	r := route(ssegin.Middleware(), func(c *gin.Context) {
		for i, data := range []any{"one", map[string]any{"f": func() {}}, "three", []any{make(chan int)}} {
			c.SSEvent(fmt.Sprint("e", i), data)
			c.Writer.Flush()
		}
		assert.Len(t, c.Errors, 2)
		assert.NoError(t, ssegin.From(c).Send(ssegin.Event{Data: "four"}))
	})
	w := httptest.NewRecorder()
	r.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/events", nil))
	assert.Equal(t, []ssegintest.Event{{Type: "e0", Data: "one"}, {Type: "e2", Data: "three"}, {Type: "message", Data: "four"}},
		eventsOf(t, w.Body.String()))
}

// What is held is bounded, not what may be sent: images of models are events of several
// MiB, which relays write in pieces.
func TestMiddleware_passesOnEventsOfAnySize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		image := strings.Repeat("A", 5<<20)
		beat := ssegin.WithHeartbeat(time.Second)
		r := gin.New()
		r.GET("/sse", ssegin.Middleware(beat), func(c *gin.Context) {
			c.SSEvent("image", image)
			c.SSEvent("done", "x")
		})
		r.GET("/relay", ssegin.Middleware(beat), func(c *gin.Context) {
			c.Header("Content-Type", "text/event-stream")
			for piece := range chunks("event: image\r\ndata: "+image+"\r\n\r\nevent: done\r\ndata: x\r\n\r\n", 100_000) {
				time.Sleep(time.Second) // a heartbeat would be due
				_, err := c.Writer.WriteString(piece)
				require.NoError(t, err)
				c.Writer.Flush()
			}
			require.NoError(t, ssegin.From(c).Send(ssegin.Event{Type: "own", Data: "y"}))
		})
		srv := serve(t, r)
		for _, path := range []string{"/sse", "/relay"} {
			_, body := get(t, srv, http.MethodGet, path)
			events := eventsOf(t, body)
			require.Greater(t, len(events), 1)
			assert.True(t, events[0].Type == "image" && events[0].Data == image, path)
			assert.Equal(t, ssegintest.Event{Type: "done", Data: "x"}, events[1])
		}
	})
}

// A stream of another goroutine does not tear an event that is on its way, and is told.
func TestMiddleware_letsNothingFallIntoALargeEvent(t *testing.T) {
	r := route(ssegin.Middleware(), func(c *gin.Context) {
		c.Header("Content-Type", "text/event-stream")
		_, _ = c.Writer.WriteString("data: " + strings.Repeat("A", 2<<20))
		err := ssegin.From(c).Send(ssegin.Event{Data: "between"})
		assert.ErrorIs(t, err, ssegin.ErrTooLarge)
		_, _ = c.Writer.WriteString("\n\n")
		assert.NoError(t, ssegin.From(c).Send(ssegin.Event{Data: "after"}))
	})
	w := httptest.NewRecorder()
	r.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/events", nil))
	events := eventsOf(t, w.Body.String())
	require.Len(t, events, 2)
	assert.Equal(t, "after", events[1].Data)
}

func TestMiddleware_takesAnyNumberOfWholeEventsInOneWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 3000
		srv := serve(t, route(ssegin.Middleware(), func(c *gin.Context) {
			_, err := c.Writer.WriteString(strings.Repeat("data: "+strings.Repeat("x", 1000)+"\n\n", n) + "data: half")
			require.NoError(t, err)
		}))
		s := request(t, srv, "")
		assert.Len(t, nextData(t, s, n), n)
		requireEnd(t, s)
	})
}

func TestStream_thatAnswersOtherwiseSendsNothing(t *testing.T) {
	r := route(ssegin.Middleware(), func(c *gin.Context) {
		c.JSON(http.StatusBadRequest, gin.H{"error": "bad"})
		err := ssegin.From(c).Send(ssegin.Event{Data: "x"})
		assert.ErrorIs(t, err, ssegin.ErrClosed)
		assert.ErrorContains(t, err, "400")
		assert.ErrorContains(t, err, "application/json")
	})
	w := httptest.NewRecorder()
	r.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/events", nil))
	assert.Equal(t, `{"error":"bad"}`, w.Body.String())
}

// Middlewares ask the writer such things while heartbeats and Sends go on; the
// race detector is the judge.
func TestMiddleware_letsOthersLookAtTheResponseWhileItIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := serve(t, route(ssegin.Middleware(ssegin.WithHeartbeat(time.Millisecond)), func(c *gin.Context) {
			c.Header("Content-Type", "text/event-stream")
			c.Writer.Flush()
			go func() {
				for range 100 {
					_ = ssegin.From(c).Send(ssegin.Event{Data: "x"})
				}
			}()
			for range 100 {
				time.Sleep(time.Millisecond)
				assert.True(t, c.Writer.Written())
				assert.Positive(t, c.Writer.Size())
				assert.Equal(t, http.StatusOK, c.Writer.Status())
				c.SSEvent("", "y") // writes to the header map each time
			}
		}))
		assert.Len(t, nextData(t, request(t, srv, ""), 200), 200)
	})
}

func TestHandler_worksUnderMiddleware(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := ssegin.NewHub()
		r := gin.New()
		r.Use(ssegin.Middleware())
		r.GET("/events", ssegin.Handler(hub))
		srv := serve(t, r)
		s := connect(t, srv, "")
		broadcast(t, hub, "x")
		assert.Equal(t, "x", next(t, s).Data)
		require.NoError(t, hub.Shutdown(t.Context()))
		requireEnd(t, s)
	})
}

// A write deadline is for the write that it was set for, not for a flush long
// after it.
func TestMiddleware_flushesWhatWasWrittenLongAgo(t *testing.T) {
	for name, opts := range map[string][]ssegintest.ServerOption{"HTTP/1.1": nil, "HTTP/2": {ssegintest.WithHTTP2()}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := serve(t, route(ssegin.Middleware(ssegin.WithHeartbeat(time.Hour)), func(c *gin.Context) {
					c.SSEvent("late", "1")
					time.Sleep(20 * time.Second) // the write timeout is half of that
					c.Writer.Flush()
					time.Sleep(20 * time.Second)
					c.SSEvent("late", "2")
				}), opts...)
				s := request(t, srv, "")
				assert.Equal(t, []string{"1", "2"}, nextData(t, s, 2))
				requireEnd(t, s)
			})
		})
	}
}
