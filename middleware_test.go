package ssegin_test

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin"
	"github.com/ssegin/ssegin/ssegintest"
)

// What the package is for, from a request to the last event, in one test each. The
// folder internal/tests has the rest of what users can rely on, one file for each
// subject.

// app is the smallest application: a hub with a route that broadcasts to it, and a
// loop of Gin's own.
func app(t *testing.T) (*ssegin.Hub, *ssegintest.Server) {
	t.Helper()
	hub := ssegin.NewHub()
	r := gin.New()
	r.GET("/events", ssegin.Handler(hub))
	r.POST("/say/:text", func(c *gin.Context) {
		_, err := hub.Broadcast(c, ssegin.Event{Type: "chat", Data: c.Param("text")})
		assert.NoError(t, err)
	})
	r.GET("/count", ssegin.Middleware(ssegin.WithHeartbeat(10*time.Second)), func(c *gin.Context) {
		n := 0
		c.Stream(func(io.Writer) bool {
			select {
			case <-ssegin.From(c).Context().Done():
				return false
			case <-time.After(time.Minute):
				n++
				c.SSEvent("n", strconv.Itoa(n))
				return true
			}
		})
	})
	r.GET("/json", ssegin.Middleware(), func(c *gin.Context) { c.JSON(http.StatusTeapot, "no stream") })
	return hub, ssegintest.NewServer(t, r, ssegintest.WithServer(func(s *http.Server) { s.WriteTimeout = 5 * time.Second }))
}

func open(t *testing.T, srv *ssegintest.Server, path string) *ssegintest.Stream {
	t.Helper()
	s, err := srv.Connect(t.Context(), path)
	require.NoError(t, err)
	return s
}

func TestMiddleware_makesALoopOfGinAStreamThatLasts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, srv := app(t)
		s := open(t, srv, "/count")
		assert.Equal(t, "text/event-stream; charset=utf-8", s.Response().Header.Get("Content-Type"))
		assert.Equal(t, "no", s.Response().Header.Get("X-Accel-Buffering"))
		for n := range 3 {
			e, err := s.Next(t.Context())
			require.NoError(t, err, "beyond the server's WriteTimeout")
			assert.Equal(t, ssegintest.Event{Type: "n", Data: strconv.Itoa(n + 1)}, e)
		}
		assert.GreaterOrEqual(t, s.Comments(), 15, "a heartbeat each 10 seconds in between")
	})
}

func TestMiddleware_leavesOtherAnswersAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, srv := app(t)
		s := open(t, srv, "/json")
		assert.Equal(t, http.StatusTeapot, s.Response().StatusCode)
		assert.Equal(t, "application/json; charset=utf-8", s.Response().Header.Get("Content-Type"))
		s.Close()
	})
}

func TestHandler_givesEachClientWhatIsBroadcastAndWhatItMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub, srv := app(t)
		say := func(text string) {
			response, err := srv.Client().Post(srv.URL+"/say/"+text, "", nil)
			require.NoError(t, err)
			assert.NoError(t, response.Body.Close())
		}
		read := func(s *ssegintest.Stream) string {
			e, err := s.Next(t.Context())
			require.NoError(t, err)
			return e.Data
		}
		stays, leaves := open(t, srv, "/events"), open(t, srv, "/events")
		say("one")
		assert.Equal(t, "one", read(stays))
		assert.Equal(t, "one", read(leaves))
		leaves.Cut()
		say("two")
		assert.Equal(t, "two", read(stays))
		require.NoError(t, leaves.Resume(t.Context()))
		assert.Equal(t, "two", read(leaves), "exactly what it missed")
		require.NoError(t, hub.Shutdown(context.Background()))
		_, err := stays.Next(t.Context())
		assert.Equal(t, io.EOF, err, "until the hub shuts down")
	})
}
