package tests

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-contrib/cors"
	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin"
	"github.com/ssegin/ssegin/ssegintest"
)

// readable says whether a browser would let a page of that origin read the
// response (Fetch standard, CORS check).
func readable(h http.Header, origin string, credentials bool) bool {
	allowed := h.Values("Access-Control-Allow-Origin")
	if len(allowed) != 1 {
		return false
	}
	if credentials {
		return allowed[0] == origin && h.Get("Access-Control-Allow-Credentials") == "true"
	}
	return allowed[0] == "*" || allowed[0] == origin
}

func TestHandler_isReadByThoseOriginsOnlyThatCorsAllows(t *testing.T) {
	const friend, foe = "https://app.example", "https://evil.example"
	engines := map[string]*cors.Config{
		"without cors": nil,
		"with credentials": {
			AllowOrigins: []string{friend}, AllowCredentials: true, AllowMethods: []string{"GET", "POST"},
			AllowHeaders: []string{"Last-Event-ID", "Authorization", "Content-Type"},
		},
		"without credentials": {
			AllowOrigins: []string{friend}, AllowMethods: []string{"GET"}, AllowHeaders: []string{"Last-Event-ID"},
		},
	}
	leaks, reads := 0, 0
	for name, config := range engines {
		synctest.Test(t, func(t *testing.T) {
			hub := ssegin.NewHub()
			r := gin.New()
			if config != nil {
				r.Use(cors.New(*config))
			}
			r.GET("/events", ssegin.Handler(hub))
			r.GET("/own", ssegin.Middleware(), func(c *gin.Context) { _ = ssegin.From(c).End(ssegin.Event{}) })
			srv := serve(t, r)
			for _, credentials := range []bool{false, true} {
				for _, origin := range []string{friend, foe, "null"} {
					cookie := ""
					if credentials {
						cookie = "session=1"
					}
					s := request(t, srv, "", ssegintest.WithHeader("Origin", origin), ssegintest.WithHeader("Cookie", cookie))
					if readable(s.Response().Header, origin, credentials) {
						reads++
						broadcast(t, hub, "hello")
						assert.Equal(t, "hello", next(t, s).Data)
						if origin != friend || credentials && !config.AllowCredentials {
							leaks++
						}
					} else if origin == friend && config != nil && (!credentials || config.AllowCredentials) {
						t.Errorf("%s: the page on %s cannot read its stream", name, origin)
					}
					if config == nil {
						resp, _ := get(t, srv, http.MethodGet, "/own", "Origin", origin)
						assert.Equal(t, streamHeaders, headersOf(resp), "CORS is not the library's")
					}
					s.Close()
				}
			}
		})
	}
	t.Logf("cross-origin pages: %d streams read, leaks %d", reads, leaks)
	assert.Equal(t, 3, reads)
	assert.Zero(t, leaks)
}

func TestHandler_addsNothingToThePreflightOfFetchClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := gin.New()
		r.Use(cors.New(cors.Config{
			AllowOrigins: []string{"https://app.example"}, AllowMethods: []string{"GET"}, AllowHeaders: []string{"Last-Event-ID"},
		}))
		hub := ssegin.NewHub()
		r.GET("/events", ssegin.Handler(hub))
		srv := serve(t, r)
		resp, _ := get(t, srv, "OPTIONS", "/events", "Origin", "https://app.example",
			"Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "last-event-id")
		assert.Equal(t, http.StatusNoContent, resp.StatusCode)
		assert.Contains(t, strings.ToLower(resp.Header.Get("Access-Control-Allow-Headers")), "last-event-id")
		s := request(t, srv, "", ssegintest.WithHeader("Origin", "https://app.example"))
		assert.Contains(t, s.Response().Header.Values("Vary"), "Origin", "what a middleware has put into Vary stays")
	})
}

func TestHandler_givesNothingOfOneUserToAnotherWhoHasHisID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := ssegin.NewHub()
		srv := serve(t, route(ssegin.Handler(hub, ssegin.WithTopics(func(c *gin.Context) ([]string, error) {
			return []string{"user:" + c.GetHeader("Authorization")}, nil // ids never name topics
		}))))
		as := func(user string) ssegintest.ConnectOption { return ssegintest.WithHeader("Authorization", user) }
		alice := connect(t, srv, "?topic=user:alice", as("alice"))
		const n = 20
		for i := range n {
			publish(t, hub, "user:alice", fmt.Sprint("a", i))
			publish(t, hub, "user:bob", fmt.Sprint("b", i))
		}
		var ids []string
		for range n {
			ids = append(ids, next(t, alice).ID)
		}
		got, ofAlice := 0, 0
		for i, id := range ids {
			bob := request(t, srv, "?topic=user:alice", as("bob"), ssegintest.WithLastEventID(id))
			for _, data := range nextData(t, bob, n-i) {
				got++
				if strings.HasPrefix(data, "a") {
					ofAlice++
				}
			}
			requireSilence(t, bob, time.Second)
			bob.Close()
		}
		t.Logf("A's ID used by B: %d of A's events in the %d that B got", ofAlice, got)
		assert.Zero(t, ofAlice)
	})
}

func TestWithExpiry_endsTheStreamAtThatMomentAndNothingComesAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := ssegin.NewHub()
		start := time.Now()
		asked := 0
		srv := serve(t, route(ssegin.Handler(hub, ssegin.WithBatch(time.Second), ssegin.WithExpiry(func(*gin.Context) time.Time {
			asked++
			return start.Add(time.Duration(asked) * time.Minute).Round(0) // of the wall clock, as from a token
		}))))
		s := connect(t, srv, "")
		broadcast(t, hub, "in time")
		assert.Equal(t, "in time", next(t, s).Data)

		time.Sleep(time.Minute - 500*time.Millisecond - time.Since(start))
		broadcast(t, hub, "held in a batch as the time ends")
		time.AfterFunc(time.Minute-time.Since(start), func() { broadcast(t, hub, "too late") })
		requireEnd(t, s)
		assert.Equal(t, time.Minute, time.Since(start), "the stream ends at its very moment")
		requireGone(t, hub)

		resume(t, s) // the application is asked again
		assert.Equal(t, []string{"held in a batch as the time ends", "too late"}, nextData(t, s, 2))
		assert.Equal(t, 2, asked)
	})
}

func TestWithExpiry_refusesThoseWhoseTimeHasPassed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		expiry := ssegin.WithExpiry(func(*gin.Context) time.Time { return time.Now().Add(-time.Second) })
		hub := ssegin.NewHub()
		r := gin.New()
		r.GET("/hub", ssegin.Handler(hub, expiry))
		r.GET("/own", ssegin.Middleware(expiry), func(*gin.Context) { t.Error("the handler is not to be reached") })
		srv := serve(t, r)
		for _, path := range []string{"/hub", "/own"} {
			resp, _ := get(t, srv, http.MethodGet, path, "Accept", "text/event-stream")
			assert.Equal(t, http.StatusForbidden, resp.StatusCode)
		}
	})
}

func TestWithExpiry_endsAStreamOfTheHandlersOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cause, sent error
		srv := serve(t, route(ssegin.Middleware(
			ssegin.WithMaxAge(time.Hour),
			ssegin.WithExpiry(func(*gin.Context) time.Time { return time.Now().Add(time.Minute) }),
		), func(c *gin.Context) {
			s := ssegin.From(c)
			for sent == nil {
				sent = s.Send(ssegin.Event{Data: "tick"})
				time.Sleep(7 * time.Second)
			}
			cause = context.Cause(c.Request.Context())
		}))
		s := request(t, srv, "")
		assert.Len(t, nextData(t, s, 9), 9) // at 0, 7, … 56 s
		requireEnd(t, s)
		assert.ErrorIs(t, sent, ssegin.ErrClosed)
		assert.ErrorIs(t, sent, ssegin.ErrExpired)
		assert.Equal(t, ssegin.ErrExpired, cause)
	})
}

func TestDisconnect_endsTheStreamsOfTheTopicAndNothingComesAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := ssegin.NewHub()
		var banned sync.Map
		srv := serve(t, route(ssegin.Handler(hub, ssegin.WithBatch(time.Second), ssegin.WithTopics(func(c *gin.Context) ([]string, error) {
			topics := c.QueryArray("topic")
			return slices.DeleteFunc(topics, func(topic string) bool { _, out := banned.Load(topic); return out }), nil
		}))))
		phone := connect(t, srv, "?topic=user:1&topic=news")
		tab := connect(t, srv, "?topic=news&topic=user:1")
		other := connect(t, srv, "?topic=user:2&topic=news")

		publish(t, hub, "user:1", "not yet written, in the batch")
		banned.Store("user:1", true)
		assert.Equal(t, 2, disconnect(t, hub, "user:1"))
		publish(t, hub, "user:1", "secret")
		publish(t, hub, "news", "to all")
		start := time.Now()
		after := 0
		for _, s := range []*ssegintest.Stream{phone, tab} {
			after += len(requireEnd(t, s))
		}
		assert.Zero(t, time.Since(start), "now, whatever they were waiting for")
		assert.Equal(t, "to all", next(t, other).Data)

		resume(t, phone) // its topics are decided afresh
		assert.Equal(t, "to all", next(t, phone).Data)
		requireSilence(t, phone, time.Second)
		assert.Zero(t, disconnect(t, hub, "user:1"))
		_, err := hub.Disconnect(t.Context(), "")
		assert.ErrorIs(t, err, ssegin.ErrInvalidEvent, "broadcasts are no topic of one's own")
		t.Logf("rights end in mid-stream: events after it %d", after)
		assert.Zero(t, after)
	})
}

func TestWithMaxStreams_isExact(t *testing.T) {
	const limit, clients = 50, 200
	hub := ssegin.NewHub(ssegin.WithMaxStreams(limit))
	requireExactly(t, hub, limit, clients, func(int) string { return "" })
}

// The key is what the application's function says, here the user and not an
// address: X-Forwarded-For, which anybody can send, changes nothing.
func TestWithMaxStreamsPer_isExactForEachKeyWhateverIsForged(t *testing.T) {
	const limit, users, clients = 5, 10, 200
	hub := ssegin.NewHub(ssegin.WithMaxStreamsPer(func(c *gin.Context) string { return c.Query("user") }, limit))
	requireExactly(t, hub, limit*users, clients, func(i int) string { return fmt.Sprint("?user=", i%users) })
}

// requireExactly lets many clients come at the same time, twice.
func requireExactly(t *testing.T, hub *ssegin.Hub, limit, clients int, path func(int) string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		srv := serve(t, route(ssegin.Handler(hub)))
		for round := range 2 {
			streams := make([]*ssegintest.Stream, clients)
			var all sync.WaitGroup
			for i := range clients {
				all.Go(func() {
					streams[i], _ = srv.Connect(t.Context(), "/events"+path(i), ssegintest.WithHeader("Accept", "application/json"),
						ssegintest.WithHeader("X-Forwarded-For", fmt.Sprintf("10.0.%d.%d", round, i)))
				})
			}
			all.Wait()
			open := 0
			for _, s := range streams {
				require.NotNil(t, s)
				if s.Response().StatusCode == http.StatusOK {
					open++
				}
			}
			t.Logf("limits: %d of %d clients let in, the limit is %d: ± %d", open, clients, limit, open-limit)
			assert.Equal(t, limit, open)
			assert.Equal(t, limit, hub.Stats().Streams)
			for _, s := range streams {
				s.Close()
			}
			requireGone(t, hub)
		}
	})
}

// A stream whose maximum age has passed before it could open is one that goes on
// elsewhere, and no client is sent away for good.
func TestWithMaxAge_thatPassesBeforeTheStreamOpensSendsTheClientBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := serve(t, route(ssegin.Handler(ssegin.NewHub(), ssegin.WithMaxAge(time.Second), ssegin.WithTopics(func(*gin.Context) ([]string, error) {
			time.Sleep(2 * time.Second)
			return nil, nil
		}))))
		resp, body := get(t, srv, http.MethodGet, "/events")
		assert.Equal(t, http.StatusOK, resp.StatusCode)
		assert.Contains(t, body, "event: ssegin.later\n")
	})
}
