package tests

import (
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-contrib/cors"
	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin"
)

// A foreign writer that can be unwrapped, as many middlewares put one in place.
type foreign struct{ gin.ResponseWriter }

func (w foreign) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// A hiding writer has no Unwrap.
type hiding struct{ gin.ResponseWriter }

// between are what may lie between two layers.
var between = map[string]gin.HandlerFunc{
	"nothing":          func(*gin.Context) {},
	"a foreign writer": func(c *gin.Context) { c.Writer = foreign{c.Writer} },
	"a hiding writer":  func(c *gin.Context) { c.Writer = hiding{c.Writer} },
	"cors":             cors.New(cors.Config{AllowAllOrigins: true}),
}

// Two layers with their heartbeats on: only one of them may write.
func TestLayers_onlyTheInnerOneWrites(t *testing.T) {
	for name, middle := range between {
		t.Run(name, func(t *testing.T) {
			onBothPaths(t, func(t *testing.T, path ssegin.StreamOption) {
				h := ssegin.NewHub()
				r := gin.New()
				beat := ssegin.WithHeartbeat(time.Microsecond)
				g := r.Group("/", ssegin.Middleware(beat), middle)
				g.GET("/events", ssegin.Handler(h, path))
				g.GET("/own", ssegin.Middleware(beat), middle, ssegin.Middleware(beat), func(c *gin.Context) {
					for range 300 {
						require.NoError(t, ssegin.From(c).Send(ssegin.Event{Data: "own"}))
					}
				})
				srv := listen(t, r)
				s := open(t, srv, "")
				var publishing sync.WaitGroup
				publishing.Go(func() {
					for range 300 {
						_, _ = h.Broadcast(t.Context(), ssegin.Event{Data: "x"})
					}
				})
				nextData(t, s, 300)
				publishing.Wait()
				resp, err := http.Get(srv.URL + "/own")
				require.NoError(t, err)
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				assert.Len(t, eventsOf(t, string(body)), 300)
			})
		})
	}
}

func TestLayers_theOptionsOfTheInnerOneCount(t *testing.T) {
	for name, middle := range between {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := ssegin.NewHub()
				r := gin.New()
				outer := ssegin.Middleware(ssegin.WithRetry(time.Second), ssegin.WithHeartbeat(time.Second), ssegin.WithMaxAge(2*time.Second))
				inner := []ssegin.StreamOption{ssegin.WithRetry(7 * time.Second), ssegin.WithHeartbeat(time.Minute)}
				g := r.Group("/", outer, middle)
				g.GET("/events", ssegin.Handler(h, inner...))
				g.GET("/own", ssegin.Middleware(inner...), func(c *gin.Context) {
					s := ssegin.From(c)
					require.NoError(t, s.Send(ssegin.Event{Data: "begin"}))
					time.Sleep(50 * time.Second) // beyond the outer one's heartbeats and maximum age
					require.NoError(t, s.Send(ssegin.Event{Data: "end"}))
					require.NoError(t, c.Request.Context().Err())
				})
				srv := serve(t, r)
				_, body := get(t, srv, http.MethodGet, "/own")
				assert.Equal(t, "retry: 7000\ndata: begin\n\ndata: end\n\n", body)

				s := request(t, srv, "")
				nextBlock(t, s)
				retry, _ := s.Retry()
				assert.Equal(t, 7*time.Second, retry)
				requireSilence(t, s, 59*time.Second)
				broadcast(t, h, "there")
				assert.Equal(t, "there", next(t, s).Data)
			})
		})
	}
}

// The stream of the layer that was taken over refuses, and says why.
func TestLayers_theOuterStreamRefusesWhileTheInnerOneHasTheResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := gin.New()
		var kept *ssegin.Stream
		r.GET("/events", ssegin.Middleware(), func(c *gin.Context) {
			kept = ssegin.From(c)
			require.NoError(t, kept.Send(ssegin.Event{Data: "outer"}))
		}, ssegin.Middleware(), func(c *gin.Context) {
			err := kept.Send(ssegin.Event{Data: "both"})
			assert.ErrorIs(t, err, ssegin.ErrClosed)
			assert.ErrorContains(t, err, "From")
			assert.NoError(t, ssegin.From(c).Send(ssegin.Event{Data: "inner"}))
			assert.NotSame(t, kept, ssegin.From(c))
			assert.NoError(t, kept.Context().Err(), "the request goes on")
		})
		_, body := get(t, serve(t, r), http.MethodGet, "/events")
		events := eventsOf(t, body)
		require.Len(t, events, 2)
		assert.Equal(t, "outer", events[0].Data)
		assert.Equal(t, "inner", events[1].Data)
	})
}

// A layer within that has begun nothing gives the response back.
func TestLayers_theOuterOneGoesOnWhereTheInnerOneHasBegunNothing(t *testing.T) {
	for name, middle := range between {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := gin.New()
				after := func(answer func(*gin.Context)) gin.HandlerFunc {
					return func(c *gin.Context) {
						c.Next()
						answer(c)
					}
				}
				none := func(*gin.Context) {}
				stream := func(c *gin.Context) { assert.NoError(t, ssegin.From(c).Send(ssegin.Event{Data: "late"})) }
				r.GET("/json", ssegin.Middleware(), after(func(c *gin.Context) { c.JSON(http.StatusTeapot, "late") }), middle, ssegin.Middleware(), none)
				r.GET("/stream", ssegin.Middleware(), after(stream), middle, ssegin.Middleware(), none)
				r.GET("/begun", ssegin.Middleware(), after(stream), stream, middle, ssegin.Middleware(), none)
				r.GET("/inner", ssegin.Middleware(), middle, ssegin.Middleware(), func(c *gin.Context) { c.JSON(http.StatusTeapot, "inner") })
				srv := serve(t, r)
				for path, want := range map[string]string{"/json": `"late"`, "/inner": `"inner"`} {
					resp, body := get(t, srv, http.MethodGet, path)
					assert.Equal(t, http.StatusTeapot, resp.StatusCode)
					assert.Equal(t, want, body)
					assert.Equal(t, "application/json; charset=utf-8", resp.Header.Get("Content-Type"))
				}
				_, body := get(t, srv, http.MethodGet, "/stream")
				assert.Len(t, eventsOf(t, body), 1)
				_, body = get(t, srv, http.MethodGet, "/begun")
				assert.Len(t, eventsOf(t, body), 2)
			})
		})
	}
}
