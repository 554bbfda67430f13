package tests

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin"
	"github.com/ssegin/ssegin/ssegintest"
)

// plainly makes a request as plain clients do.
func plainly(t *testing.T, srv *ssegintest.Server, path, lastID string) *http.Response {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, srv.URL+path, nil)
	require.NoError(t, err)
	if lastID != "" {
		req.Header.Set("Last-Event-ID", lastID)
	}
	resp, err := srv.Client().Do(req)
	require.NoError(t, err)
	return resp
}

// any serves every method.
func anyMethod(handlers ...gin.HandlerFunc) *gin.Engine {
	r := gin.New()
	r.Any("/events", handlers...)
	return r
}

// From the first byte to the last, whatever happens, a plain client is given what the
// application has sent: by the strictest habit that there is.
func TestWithPlain_aPlainClientGetsNothingButTheApplicationsEvents(t *testing.T) {
	for name, opts := range map[string][]ssegin.StreamOption{
		"by its method": nil,
		"by the option": {ssegin.WithPlain()},
		"with a retry":  {ssegin.WithRetry(7 * time.Second)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hub := ssegin.NewHub()
				opts := append(opts, withTopics(), ssegin.WithMaxAge(10*time.Minute), ssegin.WithHeartbeat(time.Second))
				srv := serve(t, anyMethod(ssegin.Handler(hub, opts...)))
				resp := plainly(t, srv, "/events?topic=a", "")
				first := resp.Header.Get("Last-Event-ID")
				require.NotEmpty(t, first, "the place that it begins with")
				var body bytes.Buffer
				read := make(chan error, 1)
				go func() {
					_, err := io.Copy(&body, resp.Body)
					read <- err
				}()
				publish(t, hub, "b", "for others, so that the position moves on")
				time.Sleep(5 * time.Second)
				id := publish(t, hub, "a", "one")
				_, err := hub.Publish(t.Context(), "a", ssegin.Event{Retry: time.Second})
				require.NoError(t, err)
				time.Sleep(10 * time.Minute)
				require.NoError(t, <-read, "a clean end")
				text := body.String()
				assert.NoError(t, ssegintest.CheckPlain(strings.NewReader(text)))
				assert.Equal(t, []ssegintest.Event{{ID: id, Type: "message", Data: "one"}}, eventsOf(t, text))
				assert.NotContains(t, text, "ssegin.")
				assert.Equal(t, name == "with a retry", strings.HasPrefix(text, "retry: 7000\n:\n"), "%.40q", text)
				assert.Equal(t, name == "with a retry", strings.Contains(text[1:], "etry:"), "and no farewell")
				assert.LessOrEqual(t, strings.Count(text, "retry:"), 1)

				last := publish(t, hub, "a", "two")
				for _, from := range []string{first, id} { // exactly what it missed
					resp = plainly(t, srv, "/events?topic=a", from)
					reader := ssegintest.NewReader(resp.Body)
					for _, want := range map[string][]string{first: {"one", "two"}, id: {"two"}}[from] {
						e, err := reader.Next()
						require.NoError(t, err)
						assert.Equal(t, want, e.Data)
					}
					assert.Equal(t, last, reader.LastEventID())
					resp.Body.Close()
				}
				end, err := hub.End(t.Context(), "a", ssegin.Event{})
				require.NoError(t, err)
				resp = plainly(t, srv, "/events?topic=a", last)
				rest, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				assert.NotContains(t, string(rest), "data", "the end is no event of the application's")
				for _, told := range []string{end, "ssegin.end"} {
					complete := plainly(t, srv, "/events?topic=a", told)
					assert.Equal(t, http.StatusNoContent, complete.StatusCode)
					assert.Equal(t, "no-store", complete.Header.Get("Cache-Control"))
				}
			})
		})
	}
}

// Who is plain, and who is not.
func TestWithPlain_theRequestTellsUnlessTheApplicationDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := ssegin.NewHub()
		r := gin.New()
		r.Any("/differ", ssegin.Handler(hub))
		r.Any("/plain", ssegin.Handler(hub, ssegin.WithPlain()))
		r.Any("/native", ssegin.Handler(hub, ssegin.WithNative()))
		srv := serve(t, r)
		for _, test := range []struct {
			method, accept string
			plain          bool
		}{
			{"GET", "text/event-stream", false},
			{"GET", "*/*", false},
			{"GET", "", false},
			{"GET", "Text/Event-Stream", false},
			{"GET", "text/html, text/event-stream;q=0.9", false},
			{"GET", "application/json", true},
			{"GET", "text/html", true},
			{"POST", "text/event-stream", true},
			{"PUT", "*/*", true},
		} {
			for path, plain := range map[string]bool{"/differ": test.plain, "/plain": true, "/native": false} {
				ctx, cancel := context.WithCancel(t.Context())
				req, err := http.NewRequestWithContext(ctx, test.method, srv.URL+path, nil)
				require.NoError(t, err)
				if test.accept != "" {
					req.Header.Set("Accept", test.accept)
				}
				resp, err := srv.Client().Do(req)
				require.NoError(t, err)
				first := make([]byte, 8)
				n, err := io.ReadAtLeast(resp.Body, first, 2)
				require.NoError(t, err)
				assert.Equal(t, plain, string(first[:n]) == ":\n", "%s %q %s: %q", test.method, test.accept, path, first[:n])
				cancel()
				resp.Body.Close()
			}
		}
	})
}

// A plain client that cannot be given what it missed is told, in one way or another.
func TestWithPlain_aGapIsNeverSilent(t *testing.T) {
	onBothPaths(t, func(t *testing.T, path ssegin.StreamOption) {
		hub := ssegin.NewHub(ssegin.WithHistory(2, 0, 0))
		r := gin.New()
		snapshot := ssegin.OnReset(func(s *ssegin.Stream, reset ssegin.Reset) {
			_ = s.Send(ssegin.Event{Type: "snapshot", Data: reset.Reason})
		})
		r.POST("/told", ssegin.Handler(hub, path, snapshot))
		r.POST("/comment", ssegin.Handler(hub, path, ssegin.OnReset(func(s *ssegin.Stream, _ ssegin.Reset) {})))
		r.POST("/bare", ssegin.Handler(hub, path))
		r.POST("/connected", ssegin.Handler(hub, path, ssegin.OnConnect(func(_ *gin.Context, s *ssegin.Stream) error {
			return s.Send(ssegin.Event{Type: "snapshot", Data: "connected"})
		})))
		srv := listen(t, r)
		first := broadcast(t, hub, 0)
		for i := range 5 {
			broadcast(t, hub, i)
		}
		ask := func(path, lastID string) *http.Response {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL+path, nil)
			require.NoError(t, err)
			req.Header.Set("Last-Event-ID", lastID)
			resp, err := http.DefaultClient.Do(req)
			require.NoError(t, err)
			t.Cleanup(func() { resp.Body.Close() })
			return resp
		}
		for lastID, reason := range map[string]string{first: "expired", "x": "invalid", first[:10] + "-999": "future", "aaaaaaaaaa-1": "epoch"} {
			for _, path := range []string{"/bare", "/comment"} {
				resp := ask(path, lastID)
				assert.Equal(t, http.StatusGone, resp.StatusCode)
				assert.Equal(t, "no-store", resp.Header.Get("Cache-Control"), "or Chromium never asks again, whatever the ID")
				var reset ssegin.Reset
				require.NoError(t, json.NewDecoder(resp.Body).Decode(&reset))
				assert.Equal(t, reason, string(reset.Reason))
				assert.Empty(t, resp.Header.Get("Last-Event-ID"))
			}
			for path, data := range map[string]string{"/told": reason, "/connected": "connected"} {
				resp := ask(path, lastID)
				require.Equal(t, http.StatusOK, resp.StatusCode)
				assert.Empty(t, resp.Header.Get("Last-Event-ID"), "who has it would not ask for what it missed again")
				reader := ssegintest.NewReader(resp.Body)
				reader.Habit(ssegintest.Strict)
				e, err := reader.Next()
				require.NoError(t, err)
				assert.Equal(t, ssegintest.Event{Type: "snapshot", Data: data}, e)
				id := broadcast(t, hub, "live")
				e, err = reader.Next()
				require.NoError(t, err)
				assert.Equal(t, ssegintest.Event{ID: id, Type: "message", Data: "live"}, e)
				resp.Body.Close()
			}
		}
		requireGone(t, hub)
	})
}

// One that becomes too slow in mid-stream sees a broken end, and comes back to a 410; or
// it gets the snapshot.
func TestWithPlain_whoLagsSeesABrokenEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, told := range []bool{false, true} {
			causes := make(chan error, 1)
			hub := ssegin.NewHub(ssegin.WithHistory(4, 0, 0))
			opts := []ssegin.StreamOption{ssegin.OnDisconnect(func(s *ssegin.Stream) { causes <- context.Cause(s.Context()) })}
			if told {
				opts = append(opts, ssegin.OnReset(func(s *ssegin.Stream, _ ssegin.Reset) { _ = s.Send(ssegin.Event{Data: "snapshot"}) }))
			}
			srv := serve(t, anyMethod(ssegin.Handler(hub, opts...)), ssegintest.WithBuffer(1<<10))
			resp := plainly(t, srv, "/events", "")
			synctest.Wait()
			for i := range 20 { // more than the buffer takes, so it lies behind
				broadcast(t, hub, fmt.Sprint(i, strings.Repeat("x", 1000)))
				synctest.Wait()
			}
			var body bytes.Buffer
			done := make(chan error, 1)
			go func() {
				_, err := io.Copy(&body, resp.Body)
				done <- err
			}()
			synctest.Wait()
			if told {
				assert.NoError(t, hub.Shutdown(t.Context()))
				assert.NoError(t, <-done)
				assert.Contains(t, body.String(), "data: snapshot\n")
				assert.ErrorIs(t, <-causes, ssegin.ErrShutdown)
			} else {
				assert.ErrorIs(t, <-done, io.ErrUnexpectedEOF)
				assert.ErrorIs(t, <-causes, ssegin.ErrGap)
			}
			assert.NoError(t, ssegintest.CheckPlain(strings.NewReader(body.String()[:strings.LastIndex(body.String(), "\n\n")+2])))
		}
	})
}

// A first answer of Middleware has nothing but the application's, by the strictest habit.
func TestMiddleware_firstAnswersAreTheApplicationsAlone(t *testing.T) {
	for name, handler := range map[string]gin.HandlerFunc{
		"Send":    func(c *gin.Context) { _ = ssegin.From(c).Send(ssegin.Event{Data: "x"}) },
		"SSEvent": func(c *gin.Context) { c.SSEvent("", "x") },
		"a loop":  func(c *gin.Context) { n := 0; c.Stream(func(io.Writer) bool { c.SSEvent("", "x"); n++; return n < 3 }) },
		"a model": func(c *gin.Context) {
			time.Sleep(time.Minute)
			c.SSEvent("", "x")
			_ = ssegin.From(c).End(ssegin.Event{Data: "[DONE]"})
		},
		"a pause": func(c *gin.Context) {
			c.SSEvent("", "x")
			c.Writer.Flush()
			time.Sleep(time.Minute)
			c.SSEvent("", "x")
		},
		"silence": func(c *gin.Context) {
			c.Stream(func(io.Writer) bool { time.Sleep(time.Minute); c.SSEvent("", "x"); return false })
		},
		"comments": func(c *gin.Context) {
			_ = ssegin.From(c).Comment("working")
			_ = ssegin.From(c).Send(ssegin.Event{Data: "x"})
		},
		"a retry": func(c *gin.Context) { _ = ssegin.From(c).Send(ssegin.Event{Retry: time.Second}); c.SSEvent("", "x") },
		"nothing": func(c *gin.Context) { _ = ssegin.From(c).Send(ssegin.Event{}); c.SSEvent("", "x") },
	} {
		for _, opts := range [][]ssegin.StreamOption{nil, {ssegin.WithRetry(time.Second)}, {ssegin.WithHeartbeat(time.Second)}} {
			synctest.Test(t, func(t *testing.T) {
				srv := serve(t, route(ssegin.Middleware(opts...), handler))
				_, body := get(t, srv, http.MethodGet, "/events")
				assert.NoError(t, ssegintest.CheckPlain(strings.NewReader(body)), "%s: %q", name, body)
				assert.Contains(t, body, "x\n\n", name)
			})
		}
	}
}

// However a response is cut, WebKit, which goes on with the half of a block, sees what
// the standard has.
func TestNative_noCutForgesAnEventInWebKit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := ssegin.NewHub()
		srv := serve(t, route(ssegin.Handler(hub, ssegin.WithMaxAge(time.Minute))))
		own := serve(t, route(ssegin.Middleware(), func(c *gin.Context) {
			_ = ssegin.From(c).Send(ssegin.Event{ID: "1", Type: "own", Data: "one\ntwo"})
			_ = ssegin.From(c).Send(ssegin.Event{ID: "2", Data: "three"})
		}))
		id := broadcast(t, hub, "zero")
		for range 3 {
			_, err := hub.Broadcast(t.Context(), ssegin.Event{Type: "t", Data: "a\nb"})
			require.NoError(t, err)
		}
		_, first := get(t, srv, http.MethodGet, "/events", "Last-Event-ID", id)
		_, again := get(t, own, http.MethodGet, "/events", "Last-Event-ID", "1")
		_, fresh := get(t, own, http.MethodGet, "/events")
		for cut := range first {
			before := ssegintest.Standard.Events(first[:cut])
			last := id // where it goes on
			if len(before) > 0 {
				last = before[len(before)-1].ID
			}
			_, second := get(t, srv, http.MethodGet, "/events", "Last-Event-ID", last)
			assert.Equal(t, ssegintest.Standard.Events(first[:cut], second), ssegintest.WebKit.Events(first[:cut], second), "cut at %d", cut)
		}
		for cut := range fresh {
			if strings.Contains(fresh[:cut], "id: 1\n\n") { // it knows an ID
				assert.Equal(t, ssegintest.Standard.Events(fresh[:cut], again), ssegintest.WebKit.Events(fresh[:cut], again), "cut at %d", cut)
			}
		}
	})
}

// Nothing that a client sent is sent back unless it is short and clean.
func TestNative_noIDOfAClientForgesAnything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := ssegin.NewHub(ssegin.WithMaxStreams(1))
		request(t, serve(t, route(ssegin.Handler(hub))), "")
		full := serve(t, route(ssegin.Handler(hub)))
		own := serve(t, route(ssegin.Middleware(), func(c *gin.Context) { _ = ssegin.From(c).Send(ssegin.Event{Data: "x"}) }))
		free := serve(t, route(ssegin.Handler(ssegin.NewHub(), ssegin.WithMaxAge(time.Second))))
		for _, id := range []string{"x%0Adata:forged%0A%0A", "x%0Ddata:forged", "x%00y", "%FF", strings.Repeat("x", 257), "x%0D%0A%0D%0Adata:%20forged%0A%0A"} {
			for name, srv := range map[string]*ssegintest.Server{"full": full, "own": own, "free": free} {
				_, body := get(t, srv, http.MethodGet, "/events?last_event_ID="+id)
				assert.NotContains(t, body, "forged", "%s %s", name, id)
				assert.NotContains(t, body, "id: x", "%s %s", name, id)
			}
		}
		for name, srv := range map[string]*ssegintest.Server{"full": full, "own": own} {
			_, body := get(t, srv, http.MethodGet, "/events?Last-Event-ID=clean")
			assert.Contains(t, body, "id: clean\n", name)
		}
	})
}

func TestLastEventID_inAnySpelling(t *testing.T) {
	for _, name := range []string{"lastEventId", "lastEventID", "last_event_id", "Last-Event-ID", "LAST_EVENT_ID", "lasteventid", "last%5Fevent%5Fid"} {
		synctest.Test(t, func(t *testing.T) {
			var got string
			srv := serve(t, route(ssegin.Middleware(), func(c *gin.Context) { got = ssegin.From(c).LastEventID() }))
			get(t, srv, http.MethodGet, "/events?a=b&"+name+"=a%2Db+c&x=1")
			assert.Equal(t, "a-b c", got, name)
			get(t, srv, http.MethodGet, "/events?my"+name+"=7&lastEventIds=8")
			assert.Empty(t, got)
		})
	}
}

// A heartbeat that a page can see, and the switch that withholds it.
func TestWithHeartbeatEvent_pagesSeeIt(t *testing.T) {
	onBothPaths(t, func(t *testing.T, path ssegin.StreamOption) {
		hub := ssegin.NewHub()
		streams := make(chan *ssegin.Stream, 1)
		beat := []ssegin.StreamOption{ssegin.WithHeartbeat(20 * time.Millisecond), ssegin.WithHeartbeatEvent(ssegin.Event{Type: "ping", Data: gin.H{}})}
		r := gin.New()
		r.Any("/events", ssegin.Handler(hub, append([]ssegin.StreamOption{path, ssegin.OnConnect(func(_ *gin.Context, s *ssegin.Stream) error {
			streams <- s
			return nil
		})}, beat...)...))
		goOn := make(chan bool)
		r.Any("/events/own", ssegin.Middleware(beat...), func(c *gin.Context) {
			c.SSEvent("", "x")
			c.Writer.Flush()
			<-goOn
			ssegin.From(c).HoldHeartbeats(true)
			_ = ssegin.From(c).Send(ssegin.Event{Data: "held"})
			time.Sleep(200 * time.Millisecond) // several would be due
			_ = ssegin.From(c).Send(ssegin.Event{Data: "the next"})
			<-c.Request.Context().Done()
		})
		srv := listen(t, r)
		s := open(t, srv, "")
		id := s.LastEventID()
		for range 3 {
			assert.Equal(t, ssegintest.Event{ID: id, Type: "ping", Data: "{}"}, next(t, s))
		}
		assert.Zero(t, hub.Stats().Published, "it is not in the log")
		stream := <-streams
		stream.HoldHeartbeats(true)
		broadcast(t, hub, "after them")
		for e := next(t, s); e.Data != "after them"; e = next(t, s) {
			assert.Equal(t, "ping", e.Type)
		}
		time.Sleep(600 * time.Millisecond) // several would be due, on both paths
		broadcast(t, hub, "the next that comes")
		assert.Equal(t, "the next that comes", next(t, s).Data)
		stream.HoldHeartbeats(false)
		assert.Equal(t, "ping", next(t, s).Type)
		s.Close()
		own := open(t, srv, "/own")
		for e := next(t, own); e.Type != "ping"; e = next(t, own) {
			assert.Equal(t, "x", e.Data)
		}
		goOn <- true
		for e := next(t, own); e.Data != "held"; e = next(t, own) {
			assert.Equal(t, "ping", e.Type)
		}
		assert.Equal(t, "the next", next(t, own).Data)
		own.Close()
	})
	assert.PanicsWithValue(t, `ssegin: WithHeartbeatEvent: ssegin: invalid event: Type "a\nb" contains LF`, func() { ssegin.WithHeartbeatEvent(ssegin.Event{Type: "a\nb"}) })
	assert.Panics(t, func() { ssegin.WithHeartbeatEvent(ssegin.Event{ID: "1"}) })
}

// An end that is not complete can be seen, where the application wants that.
func TestWithBrokenEnds_showsThatMoreWasToCome(t *testing.T) {
	ends := map[string]func(*ssegin.Hub){
		"Shutdown":   func(h *ssegin.Hub) { _ = h.Shutdown(context.Background()) },
		"Disconnect": func(h *ssegin.Hub) { _, _ = h.Disconnect(context.Background(), "a") },
		"max age":    func(*ssegin.Hub) {},
		"complete":   func(h *ssegin.Hub) { _, _ = h.End(context.Background(), "a", ssegin.Event{Data: "done"}) },
	}
	for name, end := range ends {
		for _, broken := range []bool{true, false} {
			onBothPaths(t, func(t *testing.T, path ssegin.StreamOption) {
				hub := ssegin.NewHub()
				opts := []ssegin.StreamOption{path, withTopics()}
				if broken {
					opts = append(opts, ssegin.WithBrokenEnds())
				}
				if name == "max age" {
					opts = append(opts, ssegin.WithMaxAge(2*time.Second))
				}
				srv := listen(t, anyMethod(ssegin.Handler(hub, opts...)))
				resp, err := http.Get(srv.URL + "/events?topic=a")
				require.NoError(t, err)
				defer resp.Body.Close()
				publish(t, hub, "a", "x")
				reader := ssegintest.NewReader(resp.Body)
				e, err := reader.Next()
				require.NoError(t, err)
				assert.Equal(t, "x", e.Data)
				end(hub)
				for err == nil {
					_, err = reader.Next()
				}
				if errors.Is(err, io.EOF) {
					err = nil
				}
				if broken && name != "complete" {
					assert.ErrorIs(t, err, io.ErrUnexpectedEOF, name)
				} else {
					assert.NoError(t, err, name)
				}
			})
		}
	}
}

// Who is told to come back and does so at once cannot hammer, and Shutdown waits for
// nobody of them.
func TestLater_isHeldForAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := ssegin.NewHub(ssegin.WithMaxStreams(1))
		srv := serve(t, route(ssegin.Handler(hub)))
		request(t, srv, "")
		requests, begin := 0, time.Now()
		for time.Since(begin) < time.Minute {
			get(t, srv, http.MethodGet, "/events")
			requests++
		}
		t.Logf("a full hub: %d requests a minute of a client that comes back at once", requests)
		assert.LessOrEqual(t, requests, 60)
		var held sync.WaitGroup
		for range 1500 {
			held.Go(func() {
				_, body := get(t, srv, http.MethodGet, "/events")
				assert.Contains(t, body, "event: ssegin.later\ndata: {}\n")
			})
		}
		synctest.Wait()
		begin = time.Now()
		require.NoError(t, hub.Shutdown(t.Context()))
		held.Wait()
		assert.Zero(t, time.Since(begin))
	})
}

// Whose stream it was is known when it is over, on both paths.
func TestOnDisconnect_knowsWhoHasLeft(t *testing.T) {
	onBothPaths(t, func(t *testing.T, path ssegin.StreamOption) {
		hub := ssegin.NewHub(ssegin.WithMaxStreamsPer(func(c *gin.Context) string { return c.Query("user") }, 9))
		left := make(chan string, 1)
		type tenant struct{}
		srv := listen(t, route(ssegin.Handler(hub, path, withTopics(), ssegin.OnConnect(func(c *gin.Context, s *ssegin.Stream) error {
			s.Set(tenant{}, "acme")
			return nil
		}), ssegin.OnDisconnect(func(s *ssegin.Stream) {
			left <- fmt.Sprint(s.Topics(), s.Key(), s.Value(tenant{}), s.Value("none"))
		}))))
		s := open(t, srv, "?topic=b&topic=a&topic=b&user=ann")
		s.Cut()
		assert.Equal(t, "[b a]annacme<nil>", await(t, left))
	})
}

func TestHandler_answersOPTIONS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := serve(t, anyMethod(ssegin.Handler(ssegin.NewHub())))
		resp, body := get(t, srv, http.MethodOptions, "/events")
		assert.Equal(t, http.StatusNoContent, resp.StatusCode)
		assert.Equal(t, "GET, HEAD, OPTIONS, POST", resp.Header.Get("Allow"))
		assert.Empty(t, body)
	})
}

// A client that leaves is told as such, whatever the protocol's errors are.
func TestStreamContext_ofAClientThatHasLeftSaysSo(t *testing.T) {
	for name, opts := range map[string][]ssegintest.ServerOption{"HTTP/1.1": nil, "HTTP/2": {ssegintest.WithHTTP2()}} {
		for _, busy := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " busy ", busy), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					hub := ssegin.NewHub()
					causes := make(chan error, 2)
					r := gin.New()
					r.GET("/events", ssegin.Handler(hub, ssegin.OnDisconnect(func(s *ssegin.Stream) { causes <- context.Cause(s.Context()) })))
					r.GET("/events/own", ssegin.Middleware(), func(c *gin.Context) {
						s := ssegin.From(c)
						for s.Send(ssegin.Event{Data: "x"}) == nil && c.Request.Context().Err() == nil {
							time.Sleep(time.Millisecond)
						}
						causes <- context.Cause(s.Context())
					})
					srv := serve(t, r, opts...)
					for _, path := range []string{"", "/own"} {
						s := request(t, srv, path)
						stop := make(chan struct{})
						if busy {
							go func() {
								for {
									select {
									case <-stop:
										return
									case <-time.After(time.Microsecond):
										_, _ = hub.Broadcast(t.Context(), ssegin.Event{Data: "x"})
									}
								}
							}()
						}
						time.Sleep(10 * time.Millisecond)
						s.Cut()
						err := await(t, causes)
						assert.ErrorIs(t, err, context.Canceled)
						close(stop)
					}
				})
			})
		}
	}
}

// The end of a stream of the handler's own carries its last event.
func TestStreamEnd_carriesTheLastEvent(t *testing.T) {
	for want, e := range map[string]ssegin.Event{
		"data: [DONE]\nid: ssegin.end\n\n":                 {Data: "[DONE]"},
		"event: done\ndata: {\"n\":1}\nid: ssegin.end\n\n": {Type: "done", Data: gin.H{"n": 1}},
		"event: ssegin.end\ndata: {}\nid: ssegin.end\n\n":  {},
		"event: bye\ndata: \nid: ssegin.end\n\n":           {Type: "bye"},
	} {
		synctest.Test(t, func(t *testing.T) {
			srv := serve(t, anyMethod(ssegin.Middleware(), func(c *gin.Context) {
				s := ssegin.From(c)
				assert.ErrorIs(t, s.End(ssegin.Event{ID: "7", Data: "x"}), ssegin.ErrInvalidEvent)
				assert.ErrorIs(t, s.End(ssegin.Event{Data: "\xff"}), ssegin.ErrInvalidEvent)
				if err := s.End(e); err != nil {
					assert.ErrorIs(t, err, ssegin.ErrEnded)
				}
			}))
			_, body := get(t, srv, http.MethodGet, "/events")
			assert.Equal(t, want, body)
			_, body = get(t, srv, http.MethodPost, "/events")
			if e == (ssegin.Event{}) {
				want = ""
			}
			assert.Equal(t, want, body, "a plain client gets no control event")
			resp, _ := get(t, srv, http.MethodGet, "/events", "Last-Event-ID", "ssegin.end")
			assert.Equal(t, http.StatusNoContent, resp.StatusCode)
			assert.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
		})
	}
}

// An end without anything in it is none that a plain client could see. One that comes
// back by itself must learn of it all the same, or it comes back for ever.
func TestWithPlain_whoHasSeenAllGets204AlsoIfTheEndIsNoEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := ssegin.NewHub()
		srv := serve(t, anyMethod(ssegin.Handler(hub, withTopics())))
		first := publish(t, hub, "a", "one")
		second := publish(t, hub, "a", "two")
		_, err := hub.End(t.Context(), "a", ssegin.Event{})
		require.NoError(t, err)

		resp := plainly(t, srv, "/events?topic=a", first)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		assert.Equal(t, []ssegintest.Event{{ID: second, Type: "message", Data: "two"}}, eventsOf(t, string(body)))
		for _, lastID := range []string{second, ""} {
			assert.Equal(t, http.StatusNoContent, plainly(t, srv, "/events?topic=a", lastID).StatusCode, "last ID %q", lastID)
		}
		assert.Zero(t, hub.Stats().Streams)

		publish(t, hub, "b", "three")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, srv.URL+"/events?topic=a&topic=b", nil)
		require.NoError(t, err)
		req.Header.Set("Last-Event-ID", second)
		both, err := srv.Client().Do(req)
		require.NoError(t, err)
		defer both.Body.Close()
		assert.Equal(t, http.StatusOK, both.StatusCode, "one of its topics goes on")
	})
}
