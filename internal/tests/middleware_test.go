package tests

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
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

// streamHeaders are all headers of a stream, but for Date.
var streamHeaders = http.Header{
	"Content-Type":      {"text/event-stream; charset=utf-8"},
	"Cache-Control":     {"no-cache, no-transform"},
	"X-Accel-Buffering": {"no"},
}

func headersOf(resp *http.Response) http.Header {
	h := resp.Header.Clone()
	h.Del("Date")
	h.Del("Last-Event-ID") // an ID is never the same
	return h
}

func TestHandler_sendsTheHeadersAndTheFirstBytesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := serve(t, route(ssegin.Handler(ssegin.NewHub(), ssegin.WithRetry(1500*time.Millisecond))))
		s := request(t, srv, "")
		assert.Equal(t, http.StatusOK, s.Response().StatusCode)
		assert.Equal(t, streamHeaders, headersOf(s.Response()))

		b := nextBlock(t, s)
		require.Len(t, b.Fields, 4)
		assert.Equal(t, ssegintest.Field{Name: "retry", Value: "1500"}, b.Fields[0])
		assert.Equal(t, ssegintest.Field{Name: "event", Value: "ssegin.cursor"}, b.Fields[1])
		assert.Equal(t, ssegintest.Field{Name: "data", Value: "{}"}, b.Fields[2])
		assert.Equal(t, ssegintest.Field{Name: "id", Value: s.Response().Header.Get("Last-Event-ID")}, b.Fields[3], "also for who sees headers only")
		assert.Equal(t, 1, s.Bookmarks())
	})
}

func TestMiddleware_sendsTheHeadersWhenTheStreamBegins(t *testing.T) {
	begins := map[string]func(c *gin.Context){
		"Send":     func(c *gin.Context) { _ = ssegin.From(c).Send(ssegin.Event{Data: "x"}) },
		"Comment":  func(c *gin.Context) { _ = ssegin.From(c).Comment("") },
		"SSEvent":  func(c *gin.Context) { c.SSEvent("", "x"); c.Writer.Flush() },
		"c.Stream": func(c *gin.Context) { c.Stream(func(io.Writer) bool { <-c.Request.Context().Done(); return false }) },
		"Flush":    func(c *gin.Context) { c.Writer.Flush() },
		"a type":   func(c *gin.Context) { c.Header("Content-Type", "text/event-stream; charset=utf-8"); c.Writer.Flush() },
		"a block":  func(c *gin.Context) { _, _ = c.Writer.WriteString("id: 1\ndata: x\n\n"); c.Writer.Flush() },
	}
	for name, begin := range begins {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := serve(t, route(ssegin.Middleware(), func(c *gin.Context) {
					begin(c)
					<-c.Request.Context().Done()
				}))
				start := time.Now()
				s := request(t, srv, "")
				h := headersOf(s.Response())
				h.Set("Content-Type", strings.Replace(h.Get("Content-Type"), ";charset", "; charset", 1)) // c.SSEvent's own stays
				assert.Equal(t, streamHeaders, h)
				if name == "c.Stream" || name == "Flush" {
					assert.Equal(t, 500*time.Millisecond, time.Since(start), "of a handler that says nothing, the headers come then")
				} else {
					assert.Zero(t, time.Since(start))
				}
			})
		})
	}
}

// As nginx speaks to its upstream by default: no chunks, the end of the body is
// the end of the connection.
func TestHandler_speaksHTTP10(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := ssegin.NewHub()
		srv := serve(t, route(ssegin.Handler(hub)))
		conn, err := srv.Dial(t.Context())
		require.NoError(t, err)
		defer conn.Close()
		fmt.Fprintf(conn, "GET /events HTTP/1.0\r\nHost: x\r\n\r\n")
		synctest.Wait()
		broadcast(t, hub, "live")
		synctest.Wait()
		read := make([]byte, 4096)
		n, err := conn.Read(read)
		require.NoError(t, err)
		head, body, _ := strings.Cut(string(read[:n]), "\r\n\r\n")
		assert.True(t, strings.HasPrefix(head, "HTTP/1.0 200 OK\r\n"), head)
		assert.NotContains(t, head, "Transfer-Encoding")
		assert.NotContains(t, head, "Connection")
		assert.Equal(t, "live", eventsOf(t, body)[0].Data)
	})
}

func TestHandler_takesTheLastEventIDFromHeaderOrQueryAndTheHeaderWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := ssegin.NewHub()
		srv := serve(t, route(ssegin.Handler(hub)))
		var ids []string
		for i := range 4 {
			ids = append(ids, broadcast(t, hub, i))
		}
		for name, test := range map[string]struct {
			path, header string
			first        string
		}{
			"header":             {"", ids[0], "1"},
			"lastEventId":        {"?lastEventId=" + ids[1], "", "2"},
			"last_event_id":      {"?last_event_id=" + ids[1], "", "2"},
			"the header wins":    {"?lastEventId=" + ids[0], ids[2], "3"},
			"an empty one is no": {"?lastEventId=&last_event_id=" + ids[2], "", "3"},
		} {
			s := request(t, srv, test.path, ssegintest.WithLastEventID(test.header))
			assert.Equal(t, test.first, next(t, s).Data, name)
		}
	})
}

func TestHandler_answersAnyLastEventIDWithAStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := ssegin.NewHub()
		srv := serve(t, route(ssegin.Handler(hub)),
			ssegintest.WithServer(func(s *http.Server) { s.MaxHeaderBytes = 4 << 20 }))
		id := broadcast(t, hub, "before")
		epoch, _, _ := strings.Cut(id, "-")
		var streams []*ssegintest.Stream
		for _, hostile := range []string{
			"0", "-1", "-", "null", "undefined", "NaN", "1e9", "18446744073709551616", "../../etc/passwd",
			"' OR 1=1; DROP TABLE events; --", "$(reboot)", "ünïcödé ☃", "\xff\xfe", strings.Repeat("9", 1<<20),
			strings.Repeat("-", 1<<16), epoch, epoch + "-", epoch + "-01", epoch + "-+1", epoch + "--1", epoch + "-1.0",
			epoch + "-99999999999999999999", epoch + "-2", "aaaaaaaaaa-1", strings.ToUpper(id), id + "," + id,
			"ssegin.reset", "ssegin.", "ssegin.end.",
		} {
			for _, way := range [][]ssegintest.ConnectOption{
				{ssegintest.WithLastEventID(hostile)},
				{ssegintest.WithLastEventID(hostile + "\x00"), ssegintest.WithIDInQuery("lastEventId")},
			} {
				s := request(t, srv, "", way...)
				require.Equal(t, http.StatusOK, s.Response().StatusCode, "%.20q", hostile)
				e := next(t, s)
				assert.Equal(t, "ssegin.reset", e.Type, "%.20q", hostile)
				assert.Equal(t, id, e.ID, "the reset gives an ID to go on from, to %.20q", hostile)
				streams = append(streams, s)
			}
		}
		broadcast(t, hub, "after")
		for _, s := range streams {
			assert.Equal(t, "after", next(t, s).Data)
		}
		t.Logf("%d hostile IDs: panics 0, status 200 and a reset each, live after it", len(streams))
	})
}

func TestHandler_primesClientsThatHaveSeenNoEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := ssegin.NewHub()
		srv := serve(t, route(ssegin.Handler(hub)))
		s := connect(t, srv, "")
		s.Cut()
		broadcast(t, hub, "missed")
		resume(t, s)
		assert.Equal(t, "missed", next(t, s).Data)
	})
}

func TestHandler_tellsClientsToComeBackInTheWayTheyUnderstand(t *testing.T) {
	refuse := fmt.Errorf("the room is full: %w", ssegin.ErrTooManyStreams)
	for name, opt := range map[string]ssegin.StreamOption{
		"after Shutdown": ssegin.WithHeartbeat(time.Second),
		"by WithTopics":  ssegin.WithTopics(func(*gin.Context) ([]string, error) { return nil, refuse }),
		"by OnConnect":   ssegin.OnConnect(func(*gin.Context, *ssegin.Stream) error { return refuse }),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hub := ssegin.NewHub()
				if name == "after Shutdown" {
					require.NoError(t, hub.Shutdown(t.Context()))
				}
				r := gin.New()
				r.Any("/events", ssegin.Handler(hub, opt))
				srv := serve(t, r)
				for _, accept := range []string{"text/event-stream", "text/html, text/event-stream;q=0.9, */*"} {
					resp, body := get(t, srv, http.MethodGet, "/events", "Accept", accept, "Last-Event-ID", "x")
					assert.Equal(t, http.StatusOK, resp.StatusCode, "an EventSource comes back after nothing else")
					resp.Header.Del("Content-Length") // of a stream that is whole it does no harm
					resp.Header.Del("Connection")     // see TestShutdown_whoIsSentAwayComesBackOverAnotherConnection
					assert.Equal(t, streamHeaders, headersOf(resp))
					assert.Regexp(t, `^retry: [23]\d\d\d\nevent: ssegin.later\ndata: {}\nid: x\n\n$`, body)
				}
				for _, method := range []string{http.MethodGet, http.MethodPost} {
					resp, body := get(t, srv, method, "/events", "Accept", "application/json")
					assert.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
					assert.Regexp(t, "^[2-4]$", resp.Header.Get("Retry-After"))
					assert.Empty(t, body)
				}
			})
		})
	}
}

func TestWithPlain_answers503WhateverTheClientAccepts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := ssegin.NewHub(ssegin.WithMaxStreams(1))
		srv := serve(t, route(ssegin.Handler(hub, ssegin.WithPlain(), ssegin.WithRetry(10*time.Second))))
		request(t, srv, "")
		resp, _ := get(t, srv, http.MethodGet, "/events", "Accept", "text/event-stream")
		assert.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
		assert.Regexp(t, "^(1[0-9]|20)$", resp.Header.Get("Retry-After"))
	})
}

func TestHandler_refusesAsTheCallbackSays(t *testing.T) {
	no := errors.New("no")
	for name, test := range map[string]struct {
		answer func(c *gin.Context) error
		status int
		body   string
	}{
		"an error alone":      {func(*gin.Context) error { return no }, 403, ""},
		"an answer":           {func(c *gin.Context) error { c.JSON(402, gin.H{"pay": 1}); return no }, 402, `{"pay":1}`},
		"an abort":            {func(c *gin.Context) error { c.AbortWithStatus(401); return no }, 401, ""},
		"a malformed topic":   {func(*gin.Context) error { return fmt.Errorf("%w: topic", ssegin.ErrInvalidEvent) }, 400, ""},
		"an abort, no answer": {func(c *gin.Context) error { c.Status(410); c.Abort(); return no }, 410, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hub := ssegin.NewHub()
				r := gin.New()
				r.GET("/topics", ssegin.Handler(hub, ssegin.WithTopics(func(c *gin.Context) ([]string, error) {
					return nil, test.answer(c)
				})))
				r.GET("/connect", ssegin.Handler(hub, ssegin.OnConnect(func(c *gin.Context, _ *ssegin.Stream) error {
					return test.answer(c)
				})))
				srv := serve(t, r)
				for _, path := range []string{"/topics", "/connect"} {
					resp, body := get(t, srv, http.MethodGet, path, "Accept", "text/event-stream")
					assert.Equal(t, test.status, resp.StatusCode, path)
					assert.Equal(t, test.body, body, path)
					assert.NotEqual(t, "text/event-stream", resp.Header.Get("Content-Type"), path)
				}
				assert.Zero(t, hub.Stats().Streams)
			})
		})
	}
}

// As Gin's handlers do: they abort and return.
func TestHandler_refusesWhenACallbackAborts(t *testing.T) {
	for name, option := range map[string]ssegin.StreamOption{
		"WithTopics": ssegin.WithTopics(func(c *gin.Context) ([]string, error) {
			c.AbortWithStatusJSON(http.StatusUnauthorized, "log in")
			return []string{"a"}, nil
		}),
		"WithExpiry": ssegin.WithExpiry(func(c *gin.Context) time.Time {
			c.AbortWithStatusJSON(http.StatusUnauthorized, "log in")
			return time.Time{}
		}),
		"OnConnect": ssegin.OnConnect(func(c *gin.Context, _ *ssegin.Stream) error {
			c.AbortWithStatusJSON(http.StatusUnauthorized, "log in")
			return nil
		}),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var refused []error
				hub := ssegin.NewHub(ssegin.WithObserver(ssegin.Observer{Refused: func(err error) { refused = append(refused, err) }}))
				srv := serve(t, route(ssegin.Handler(hub, option)))
				start := time.Now()
				resp, body := get(t, srv, http.MethodGet, "/events", "Accept", "text/event-stream")
				assert.Equal(t, http.StatusUnauthorized, resp.StatusCode)
				assert.Equal(t, `"log in"`, body)
				assert.Zero(t, time.Since(start), "at once")
				assert.Len(t, refused, 1)
				assert.Zero(t, hub.Stats().Streams)
			})
		})
	}
}

func TestHandler_refusesTopicsThatNoLogCouldCarry(t *testing.T) {
	hub := ssegin.NewHub()
	r := route(ssegin.Handler(hub, withTopics()))
	for _, topic := range []string{"", "%0A", "a%0Db", "%00", "%ff", strings.Repeat("t", 1025)} {
		w := httptest.NewRecorder()
		r.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/events?topic="+topic, nil))
		assert.Equal(t, http.StatusBadRequest, w.Code, topic)
	}
	assert.Zero(t, hub.Stats().Streams+hub.Stats().Topics)
}

func TestHandler_answersHEADWithTheHeadersOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := ssegin.NewHub()
		r := gin.New()
		methods := []string{"GET", "HEAD"}
		r.Match(methods, "/hub", ssegin.Handler(hub))
		r.Match(methods, "/own", ssegin.Middleware(), func(c *gin.Context) {
			err := ssegin.From(c).Send(ssegin.Event{Data: "x"})
			assert.ErrorIs(t, err, ssegin.ErrClosed)
			assert.ErrorIs(t, err, ssegin.ErrEnded)
			<-c.Request.Context().Done()
			_, err = c.Writer.WriteString("data: x\n\n")
			assert.ErrorIs(t, err, ssegin.ErrEnded)
		})
		srv := serve(t, r)
		for _, path := range []string{"/hub", "/own"} {
			resp, body := get(t, srv, "HEAD", path)
			assert.Equal(t, http.StatusOK, resp.StatusCode)
			assert.Equal(t, streamHeaders, headersOf(resp))
			assert.Empty(t, body)
		}
		assert.Zero(t, hub.Stats().Streams)
	})
}

func TestMiddleware_leavesOtherAnswersAsTheyAre(t *testing.T) {
	for name, answer := range map[string]gin.HandlerFunc{
		"json 400":       func(c *gin.Context) { c.JSON(400, gin.H{"error": "bad"}) },
		"json 200":       func(c *gin.Context) { c.JSON(200, gin.H{"ok": true}) },
		"late json":      func(c *gin.Context) { time.Sleep(time.Minute); c.JSON(200, gin.H{"ok": true}) },
		"string":         func(c *gin.Context) { c.String(200, "a\n\nb") },
		"nothing":        func(*gin.Context) {},
		"status":         func(c *gin.Context) { c.Status(http.StatusNoContent) },
		"abort":          func(c *gin.Context) { c.AbortWithStatus(http.StatusTeapot) },
		"redirect":       func(c *gin.Context) { c.Redirect(http.StatusFound, "/elsewhere") },
		"data":           func(c *gin.Context) { c.Data(200, "application/octet-stream", []byte{0, '\r', '\n'}) },
		"error by panic": func(*gin.Context) { panic("early") },
		"another stream": func(c *gin.Context) {
			c.Header("Content-Type", "application/x-ndjson")
			for i := range 3 {
				time.Sleep(time.Minute) // no heartbeats in between
				fmt.Fprintf(c.Writer, "{\"n\":%d}\n", i)
				c.Writer.Flush()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := gin.New()
				r.Use(gin.CustomRecoveryWithWriter(nil, func(c *gin.Context, _ any) { c.AbortWithStatus(500) }))
				r.GET("/plain", answer)
				r.GET("/under", ssegin.Middleware(), answer)
				srv := serve(t, r)
				srv.Client().CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
				want, wantBody := get(t, srv, http.MethodGet, "/plain")
				got, gotBody := get(t, srv, http.MethodGet, "/under")
				assert.Equal(t, want.StatusCode, got.StatusCode)
				assert.Equal(t, headersOf(want), headersOf(got))
				assert.Equal(t, wantBody, gotBody)
			})
		})
	}
}

// Who looks at the request after c.Next, to log it, say, finds the one that it
// had, with a context that lives as long as the client stays.
func TestMiddleware_givesTheRequestBack(t *testing.T) {
	stream := func(c *gin.Context) { assert.NoError(t, ssegin.From(c).Send(ssegin.Event{Data: "x"})) }
	replace := func(c *gin.Context) {
		c.Request = c.Request.WithContext(t.Context())
		stream(c)
	}
	for name, handlers := range map[string][]gin.HandlerFunc{
		"a plain answer":  {ssegin.Middleware(), func(c *gin.Context) { c.JSON(http.StatusOK, gin.H{"ok": true}) }},
		"a stream":        {ssegin.Middleware(), stream},
		"a stream's end":  {ssegin.Middleware(), func(c *gin.Context) { assert.NoError(t, ssegin.From(c).End(ssegin.Event{})) }},
		"an early panic":  {ssegin.Middleware(), func(*gin.Context) { panic("early") }},
		"a late panic":    {ssegin.Middleware(), func(c *gin.Context) { c.String(http.StatusOK, "x"); panic("late") }},
		"two layers":      {ssegin.Middleware(), sameRequest(t), ssegin.Middleware(), stream},
		"a hub within":    {ssegin.Middleware(), sameRequest(t), ssegin.Handler(ssegin.NewHub(), ssegin.WithMaxAge(time.Second))},
		"another request": {ssegin.Middleware(), replace},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				handlers := append([]gin.HandlerFunc{sameRequest(t), gin.RecoveryWithWriter(nil)}, handlers...)
				get(t, serve(t, route(handlers...)), http.MethodGet, "/events")
			})
		})
	}
}

// sameRequest checks that the handlers after it leave the request as it is, and
// alive.
func sameRequest(t *testing.T) gin.HandlerFunc {
	return func(c *gin.Context) {
		before := c.Request
		c.Next()
		assert.Same(t, before, c.Request)
		assert.NoError(t, c.Request.Context().Err())
	}
}

// httptest.ResponseRecorder and the writers of http.TimeoutHandler and HTTP/3
// have no CloseNotify, and c.Stream panics on them without the middleware.
func TestHandlerAndMiddleware_workOnWritersThatCanDoLittle(t *testing.T) {
	for name, serve := range map[string]func(http.Handler, *http.Request) string{
		"httptest": func(h http.Handler, r *http.Request) string {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			return w.Body.String()
		},
		"http.TimeoutHandler": func(h http.Handler, r *http.Request) string {
			w := httptest.NewRecorder()
			http.TimeoutHandler(h, time.Minute, "").ServeHTTP(w, r)
			return w.Body.String()
		},
		"as of HTTP/3": func(h http.Handler, r *http.Request) string {
			w := newRecorder()
			r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/3.0", 3, 0
			h.ServeHTTP(w, r)
			return w.String()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hub := ssegin.NewHub(ssegin.WithLogger(slog.New(slog.DiscardHandler)))
				r := gin.New()
				r.GET("/hub", ssegin.Handler(hub, withTopics()))
				r.GET("/own", ssegin.Middleware(), func(c *gin.Context) {
					n := 0
					c.Stream(func(io.Writer) bool {
						n++
						c.SSEvent("tick", n)
						return n < 3
					})
				})
				time.AfterFunc(time.Second, func() {
					publish(t, hub, "job", "step")
					_, _ = hub.End(t.Context(), "job", ssegin.Event{Data: "done"})
				})
				events := eventsOf(t, serve(r, httptest.NewRequest(http.MethodGet, "/hub?topic=job", nil)))
				require.Len(t, events, 2)
				assert.Equal(t, "done", events[1].Data)
				events = eventsOf(t, serve(r, httptest.NewRequest(http.MethodGet, "/own", nil)))
				require.Len(t, events, 3)
				assert.Equal(t, ssegintest.Event{Type: "tick", Data: "3"}, events[2])
			})
		})
	}
}

func TestHandler_endsWhenATimeoutHandlerGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := ssegin.NewHub(ssegin.WithLogger(slog.New(slog.DiscardHandler)))
		w := httptest.NewRecorder()
		http.TimeoutHandler(route(ssegin.Handler(hub)), time.Minute, "too late").
			ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/events", nil))
		synctest.Wait()
		assert.Equal(t, http.StatusServiceUnavailable, w.Code)
		assert.Equal(t, "too late", w.Body.String())
		assert.Zero(t, hub.Stats().Streams)
	})
}

func TestFrom_panicsWhereTheRouteHasNoStream(t *testing.T) {
	r := route(func(c *gin.Context) {
		assert.PanicsWithValue(t, "ssegin: From needs ssegin.Middleware on the route /events", func() { ssegin.From(c) })
	})
	r.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/events", nil))
}
