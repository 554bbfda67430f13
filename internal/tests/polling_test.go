package tests

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
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

// A poll is one response of WithPolling, as a client sees it that reads the whole of it.
type poll struct {
	*http.Response
	events []ssegintest.Event
	lastID string
	retry  time.Duration
	body   string
	took   time.Duration
}

// ask polls once. An ID that is empty is not sent.
func ask(t *testing.T, srv *ssegintest.Server, path, lastID string, header ...string) (p poll) {
	t.Helper()
	if lastID != "" {
		header = append(header, "Last-Event-ID", lastID)
	}
	start := time.Now()
	p.Response, p.body = get(t, srv, http.MethodGet, "/events"+path, header...)
	p.took = time.Since(start)
	reader := ssegintest.NewReader(strings.NewReader(p.body))
	reader.Limit(1 << 20)
	for e, err := range reader.Events() {
		require.NoError(t, err)
		p.events = append(p.events, e)
	}
	p.retry, _ = reader.Retry()
	p.lastID = cmp.Or(reader.LastEventID(), lastID)
	return p
}

// own are the events that are not this package's.
func (p poll) own() (data []string) {
	for _, e := range p.events {
		if !strings.HasPrefix(e.Type, "ssegin.") {
			data = append(data, e.Data)
		}
	}
	return data
}

// whole requires a response that was whole before it was sent.
func (p poll) whole(t *testing.T) poll {
	t.Helper()
	require.Equal(t, http.StatusOK, p.StatusCode)
	require.EqualValues(t, len(p.body), p.ContentLength, "a Content-Length")
	require.Equal(t, "text/event-stream; charset=utf-8", p.Header.Get("Content-Type"))
	return p
}

func polling(h *ssegin.Hub, opts ...ssegin.StreamOption) gin.HandlerFunc {
	return ssegin.Handler(h, append([]ssegin.StreamOption{ssegin.WithPolling(0), withTopics()}, opts...)...)
}

func TestWithPolling_answersWholeWithTheFirstBatchOrAfterTheWait(t *testing.T) {
	for name, opts := range map[string][]ssegintest.ServerOption{
		"HTTP/1.1": {ssegintest.WithServer(func(s *http.Server) { s.WriteTimeout = 2 * time.Second })},
		"HTTP/2":   {ssegintest.WithServer(func(s *http.Server) { s.WriteTimeout = 2 * time.Second }), ssegintest.WithHTTP2()},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hub := ssegin.NewHub()
				over := make(chan error, 10)
				srv := serve(t, route(polling(hub, ssegin.WithDetached(), ssegin.OnDisconnect(func(s *ssegin.Stream) { over <- context.Cause(s.Context()) }))), opts...)
				publish(t, hub, "a", "before it came")

				first := ask(t, srv, "?topic=a", "").whole(t)
				assert.Zero(t, first.took, "a newcomer is answered at once, to have an ID")
				assert.Empty(t, first.own())
				assert.NotEmpty(t, first.lastID)
				assert.Equal(t, 500*time.Millisecond, first.retry)
				assert.Equal(t, first.lastID, first.Header.Get("Last-Event-ID"))

				publish(t, hub, "a", "between")
				publish(t, hub, "a", "two responses")
				second := ask(t, srv, "?topic=a", first.lastID).whole(t)
				assert.Zero(t, second.took)
				assert.Equal(t, []string{"between", "two responses"}, second.own())

				time.AfterFunc(7*time.Second, func() { publish(t, hub, "a", "while it waits") })
				third := ask(t, srv, "?topic=a", second.lastID).whole(t)
				assert.Equal(t, 7*time.Second, third.took)
				assert.Equal(t, []string{"while it waits"}, third.own())

				time.AfterFunc(time.Second, func() { publish(t, hub, "b", "for others") })
				fourth := ask(t, srv, "?topic=a", third.lastID).whole(t)
				assert.Equal(t, 25*time.Second, fourth.took)
				assert.Empty(t, fourth.own())
				assert.NotEqual(t, third.lastID, fourth.lastID, "the cursor moves on past what is for others")

				fifth := ask(t, srv, "?topic=a", fourth.lastID).whole(t)
				assert.Equal(t, fourth.lastID, fifth.lastID)
				for range 5 {
					assert.ErrorIs(t, await(t, over), ssegin.ErrPolled)
				}
				assert.Zero(t, hub.Stats().Streams)
			})
		})
	}
}

func TestWithPolling_isExactWhateverHappensBetweenTwoResponses(t *testing.T) {
	for name, options := range map[string]func() []ssegin.HubOption{
		"in memory":      func() []ssegin.HubOption { return []ssegin.HubOption{ssegin.WithHistory(2000, 0, 0)} },
		"over an engine": func() []ssegin.HubOption { return []ssegin.HubOption{ssegin.WithLog(ssegintest.NewLog())} },
		"in pages of an engine": func() []ssegin.HubOption {
			return []ssegin.HubOption{ssegin.WithLog(ssegintest.NewLog()), ssegin.WithHistory(20, 0, 0)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(4) {
				synctest.Test(t, func(t *testing.T) {
					hub := ssegin.NewHub(options()...)
					srv := serve(t, route(polling(hub, ssegin.WithRetry(100*time.Millisecond))))
					const clients, events = 10, 1000
					r := rand.New(rand.NewPCG(seed, 1))
					var group sync.WaitGroup
					lost, twice, polls := make([]int, clients), make([]int, clients), make([]int, clients)
					for i := range clients {
						client := rand.New(rand.NewPCG(seed, uint64(i)+2))
						id := ask(t, srv, "?topic=a", "").lastID
						group.Go(func() {
							for next := 0; next < events && polls[i] < 10*events; {
								p := ask(t, srv, "?topic=a", id)
								polls[i]++
								if client.IntN(10) > 0 { // or the response was lost on its way
									for _, data := range p.own() {
										n, _ := strconv.Atoi(data)
										lost[i] += max(0, n-next)
										if n < next {
											twice[i]++
										}
										next = n + 1
									}
									id = p.lastID
								}
								time.Sleep(time.Duration(100+client.IntN(1000)) * time.Millisecond)
							}
						})
					}
					for i := range events {
						if r.IntN(5) == 0 {
							time.Sleep(time.Duration(r.IntN(3000)) * time.Millisecond)
						}
						if r.IntN(2) == 0 {
							publish(t, hub, "b", "for others")
						}
						publish(t, hub, "a", i)
					}
					group.Wait()
					sum := func(n []int) (sum int) {
						for _, n := range n {
							sum += n
						}
						return sum
					}
					t.Logf("seed %d: %d clients, %d events, %d polls, a tenth of them lost: lost %d, twice %d", seed, clients, events, sum(polls), sum(lost), sum(twice))
					for _, n := range polls {
						assert.Less(t, n, 10*events, "the end does not come")
					}
					assert.Zero(t, sum(lost))
					assert.Zero(t, sum(twice))
					require.NoError(t, hub.Shutdown(t.Context()))
				})
			}
		})
	}
}

func TestWithPolling_givesALongReplayInSeveralResponses(t *testing.T) {
	for name, opts := range map[string][]ssegin.HubOption{
		"from memory":    nil,
		"from an engine": {ssegin.WithHistory(10, 0, 0)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if opts != nil {
					opts = append(opts, ssegin.WithLog(ssegintest.NewLog()))
				}
				hub := ssegin.NewHub(opts...)
				srv := serve(t, route(polling(hub)))
				id := ask(t, srv, "", "").lastID
				for i := range 100 {
					broadcast(t, hub, fmt.Sprint(i, " ", strings.Repeat("x", 4<<10)))
				}
				broadcast(t, hub, "100 "+strings.Repeat("y", 500<<10))
				next, responses := 0, 0
				for next <= 100 {
					p := ask(t, srv, "", id).whole(t)
					responses++
					require.Zero(t, p.took)
					require.True(t, len(p.body) < 65<<10 || len(p.own()) == 1, "%d bytes", len(p.body))
					for _, data := range p.own() {
						require.True(t, strings.HasPrefix(data, fmt.Sprint(next, " ")))
						next++
					}
					id = p.lastID
				}
				assert.Greater(t, responses, 6)
				require.NoError(t, hub.Shutdown(t.Context()))
			})
		})
	}
}

func TestWithPolling_carriesWhatTheApplicationSends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := ssegin.NewHub()
		later := ""
		srv := serve(t, route(polling(hub, ssegin.OnConnect(func(_ *gin.Context, s *ssegin.Stream) error {
			require.NoError(t, s.Send(ssegin.Event{Type: "hello", Data: "you"}))
			time.AfterFunc(2*time.Second, func() { _ = s.Comment("a sign of life, of which nobody sees anything") })
			what := later
			time.AfterFunc(5*time.Second, func() {
				switch what {
				case "send":
					assert.NoError(t, s.Send(ssegin.Event{Data: "now"}))
				case "end":
					assert.NoError(t, s.End(ssegin.Event{Data: "[DONE]"}))
				}
				time.Sleep(time.Second)
				assert.ErrorIs(t, s.Send(ssegin.Event{Data: "too late"}), ssegin.ErrClosed)
			})
			return nil
		}))))
		first := ask(t, srv, "", "").whole(t)
		assert.Zero(t, first.took)
		assert.Equal(t, []string{"you"}, first.own())
		time.Sleep(time.Minute)

		later = "send"
		second := ask(t, srv, "", first.lastID).whole(t)
		assert.Equal(t, 5*time.Second, second.took, "neither what OnConnect has sent nor a comment ends the wait")
		assert.Equal(t, []string{"you", "now"}, second.own())
		time.Sleep(time.Minute)

		later = "end"
		third := ask(t, srv, "", first.lastID).whole(t)
		assert.Equal(t, 5*time.Second, third.took)
		assert.Equal(t, []string{"you", "[DONE]"}, third.own())
		assert.Equal(t, http.StatusNoContent, ask(t, srv, "", third.lastID).StatusCode)
		time.Sleep(time.Minute)
	})
}

func TestWithPolling_tellsOfGapsAndEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := ssegin.NewHub(ssegin.WithHistory(10, 0, 0))
		srv := serve(t, route(polling(hub, ssegin.OnReset(func(s *ssegin.Stream, reset ssegin.Reset) {
			assert.NoError(t, s.Send(ssegin.Event{Type: "snapshot", Data: reset.Missed}))
		}))))
		id := ask(t, srv, "?topic=a", "").lastID
		for i := range 20 {
			publish(t, hub, "a", i)
		}
		p := ask(t, srv, "?topic=a", id).whole(t)
		assert.Zero(t, p.took)
		types := []string{}
		for _, e := range p.events {
			types = append(types, e.Type)
		}
		assert.Equal(t, []string{"ssegin.reset", "snapshot"}, types)

		time.AfterFunc(3*time.Second, func() { _, _ = hub.End(t.Context(), "a", ssegin.Event{Data: "the last"}) })
		end := ask(t, srv, "?topic=a", p.lastID).whole(t)
		assert.Equal(t, 3*time.Second, end.took)
		assert.Equal(t, []string{"the last"}, end.own())
		assert.Equal(t, http.StatusNoContent, ask(t, srv, "?topic=a", end.lastID).StatusCode)
	})
}

func TestWithPolling_isToldOfAGapWhileItWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		hub := ssegin.NewHub(ssegin.WithLog(log))
		snapshot := ssegin.OnReset(func(s *ssegin.Stream, reset ssegin.Reset) {
			assert.NoError(t, s.Send(ssegin.Event{Type: "snapshot", Data: reset.Missed}))
		})
		r := gin.New()
		r.GET("/events", polling(hub, snapshot))
		r.GET("/events/plain", polling(hub, ssegin.WithPlain()))
		r.GET("/events/late", polling(hub, snapshot, ssegin.WithBatch(30*time.Second))) // the end of its wait comes first
		srv := serve(t, r)
		id := broadcast(t, hub, "x")
		time.AfterFunc(4*time.Second, func() { log.Renew() })
		var native, plain, late poll
		var group sync.WaitGroup
		group.Go(func() { native = ask(t, srv, "", id) })
		group.Go(func() { plain = ask(t, srv, "/plain", id) })
		group.Go(func() { late = ask(t, srv, "/late", id) })
		group.Wait()
		assert.Less(t, native.took, 25*time.Second)
		assert.Equal(t, 25*time.Second, late.took)
		for _, p := range []poll{native, late} {
			require.Len(t, p.whole(t).events, 2)
			assert.Equal(t, "ssegin.reset", p.events[0].Type)
			assert.Equal(t, "snapshot", p.events[1].Type)
		}
		assert.Equal(t, http.StatusGone, plain.StatusCode, "nothing was sent yet, so the status can say it")
		assert.JSONEq(t, `{"reason":"epoch","missed":-1}`, plain.body)
		assert.Empty(t, plain.Header.Get("Last-Event-ID"))
		require.NoError(t, hub.Shutdown(t.Context()))
	})
}

// The engine has what memory has lost while it waited, so it comes back as soon as ever.
func TestWithPolling_isNotSentAwayForWhatItsProcessHasLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := ssegin.NewHub(ssegin.WithLog(ssegintest.NewLog()), ssegin.WithHistory(10, 0, 0))
		srv := serve(t, route(polling(hub, ssegin.WithBatch(time.Second))))
		id := broadcast(t, hub, "x")
		time.AfterFunc(time.Second, func() {
			for i := range 50 {
				broadcast(t, hub, i)
			}
		})
		p := ask(t, srv, "", id).whole(t)
		assert.Equal(t, 2*time.Second, p.took)
		assert.Empty(t, p.own())
		assert.Equal(t, id, p.lastID)
		assert.Equal(t, 500*time.Millisecond, p.retry)
		again := ask(t, srv, "", id).whole(t).own()
		require.NotEmpty(t, again)
		assert.Equal(t, "0", again[0])
		require.NoError(t, hub.Shutdown(t.Context()))
	})
}

func TestWithPolling_endsWithWhatEndsStreams(t *testing.T) {
	for name, test := range map[string]struct {
		opts  []ssegin.StreamOption
		end   func(t *testing.T, h *ssegin.Hub)
		after time.Duration
		cause error
		again int // the status of the next poll
		close bool
	}{
		"Shutdown":   {nil, func(t *testing.T, h *ssegin.Hub) { assert.NoError(t, h.Shutdown(t.Context())) }, 3 * time.Second, ssegin.ErrShutdown, 200, true},
		"Disconnect": {nil, func(t *testing.T, h *ssegin.Hub) { disconnect(t, h, "a") }, 3 * time.Second, ssegin.ErrDisconnected, 200, false},
		"WithExpiry": {[]ssegin.StreamOption{expiresOnce(2 * time.Second)}, nil, 2 * time.Second, ssegin.ErrExpired, 403, false},
		"WithMaxAge": {[]ssegin.StreamOption{ssegin.WithMaxAge(time.Second)}, nil, time.Second, ssegin.ErrMaxAge, 200, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hub := ssegin.NewHub()
				over := make(chan error, 10)
				var opts []ssegintest.ServerOption
				if !test.close {
					opts = append(opts, ssegintest.WithHTTP2()) // where an end that is broken shows at once
				}
				srv := serve(t, route(polling(hub, append(test.opts, ssegin.WithBrokenEnds(), ssegin.OnDisconnect(func(s *ssegin.Stream) { over <- context.Cause(s.Context()) }))...)), opts...)
				id := publish(t, hub, "a", "x")
				if test.end != nil {
					time.AfterFunc(3*time.Second, func() { test.end(t, hub); _, _ = hub.Publish(t.Context(), "a", ssegin.Event{Data: "after"}) })
				}
				p := ask(t, srv, "?topic=a", id).whole(t)
				assert.Equal(t, test.after, p.took)
				assert.Empty(t, p.own())
				assert.Equal(t, id, p.lastID)
				assert.Equal(t, test.close, p.Close, "so that a balancer has the client come to another process")
				assert.ErrorIs(t, await(t, over), test.cause)
				if name == "Shutdown" || name == "WithMaxAge" {
					assert.GreaterOrEqual(t, p.retry, 2*time.Second, "away for longer than between two polls")
				}
				assert.Equal(t, test.again, ask(t, srv, "?topic=a", p.lastID).StatusCode)
			})
		})
	}
}

// expiresOnce lets the first request in for so long, and no other one.
func expiresOnce(d time.Duration) ssegin.StreamOption {
	asked := false
	return ssegin.WithExpiry(func(*gin.Context) time.Time {
		if asked {
			return time.Now().Add(-time.Second)
		}
		asked = true
		return time.Now().Add(d)
	})
}

func TestWithPolling_countsForLimitsWhileItWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := ssegin.NewHub(ssegin.WithMaxStreams(1))
		srv := serve(t, route(polling(hub)))
		id := broadcast(t, hub, "x")
		var group sync.WaitGroup
		group.Go(func() { assert.Equal(t, 25*time.Second, ask(t, srv, "", id).whole(t).took) })
		synctest.Wait()
		refused := ask(t, srv, "", id).whole(t)
		assert.Contains(t, refused.body, "event: ssegin.later\n")
		assert.Equal(t, id, refused.lastID)
		assert.NotZero(t, refused.took, "whoever would come back at once is held")
		assert.GreaterOrEqual(t, refused.retry, 2*time.Second)
		group.Wait()
	})
}

// A plain client takes the ID to come back with from its events or from the header, and
// 204 must not be what it gets when there was nothing.
func TestWithPolling_servesPlainClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := ssegin.NewHub()
		srv := serve(t, route(polling(hub, ssegin.WithPlain())))
		first := ask(t, srv, "?topic=a", "").whole(t)
		assert.Equal(t, 25*time.Second, first.took, "it would not learn of an ID from an answer at once")
		assert.Equal(t, ":\n", first.body)
		time.AfterFunc(time.Second, func() { publish(t, hub, "b", "for others") })
		second := ask(t, srv, "?topic=a", first.Header.Get("Last-Event-ID")).whole(t)
		assert.Equal(t, ":\n", second.body)
		assert.NotEqual(t, first.Header.Get("Last-Event-ID"), second.Header.Get("Last-Event-ID"))
		publish(t, hub, "a", "x")
		third := ask(t, srv, "?topic=a", second.Header.Get("Last-Event-ID")).whole(t)
		assert.Equal(t, []string{"x"}, third.own())
		assert.Len(t, third.events, 1)
	})
}

func TestWithPolling_isAnsweredBeforeADeadlineOfTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := ssegin.NewHub()
		id := broadcast(t, hub, "x")
		srv := serve(t, http.TimeoutHandler(route(polling(hub)), 10*time.Second, "too late"))
		p := ask(t, srv, "", id).whole(t)
		assert.Less(t, p.took, 10*time.Second)
		assert.Greater(t, p.took, 9*time.Second)
		time.AfterFunc(time.Second, func() { broadcast(t, hub, "y") })
		assert.Equal(t, []string{"y"}, ask(t, srv, "", id).whole(t).own())
	})
}

func TestWithPolling_suitsOtherOptionsAndLayers(t *testing.T) {
	for name, test := range map[string]struct {
		before []gin.HandlerFunc
		opts   []ssegin.StreamOption
		want   []string
		took   time.Duration
	}{
		"WithConflation":       {nil, []ssegin.StreamOption{ssegin.WithConflation()}, []string{"0"}, time.Second},
		"WithBatch":            {nil, []ssegin.StreamOption{ssegin.WithBatch(2500 * time.Millisecond)}, []string{"0", "1", "2"}, 3500 * time.Millisecond},
		"both":                 {nil, []ssegin.StreamOption{ssegin.WithConflation(), ssegin.WithBatch(2500 * time.Millisecond)}, []string{"2"}, 3500 * time.Millisecond},
		"Middleware before it": {[]gin.HandlerFunc{ssegin.Middleware()}, nil, []string{"0"}, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hub := ssegin.NewHub()
				srv := serve(t, route(append(slices.Clone(test.before), polling(hub, test.opts...))...))
				id := publish(t, hub, "a", "x")
				go func() {
					for i := range 4 {
						time.Sleep(time.Second)
						publish(t, hub, "a", i)
					}
				}()
				p := ask(t, srv, "?topic=a", id).whole(t)
				assert.Equal(t, test.took, p.took)
				assert.Equal(t, test.want, p.own())
				time.Sleep(time.Minute)
			})
		})
	}
}

// What is encoded has another length.
func TestWithPolling_goesThroughAMiddlewareThatCompresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := ssegin.NewHub(ssegin.WithLogger(slog.New(slog.DiscardHandler)))
		srv := serve(t, route(zipped(""), polling(hub)))
		broadcast(t, hub, "x")
		resp := live(t, srv, "/events")
		defer resp.Body.Close()
		reader := readerOf(t, resp)
		_, err := reader.Next()
		assert.Equal(t, io.EOF, err)
		assert.Equal(t, 1, reader.Bookmarks())
	})
}

func TestWithPolling_leavesOtherAnswersAsTheyAre(t *testing.T) {
	refused := errors.New("no")
	for name, test := range map[string]struct {
		connect func(*gin.Context, *ssegin.Stream) error
		status  int
		body    string
	}{
		"another answer": {func(c *gin.Context, _ *ssegin.Stream) error { c.String(http.StatusTeapot, "tea"); return nil }, http.StatusTeapot, "tea"},
		"a refusal after Send": {func(_ *gin.Context, s *ssegin.Stream) error {
			_ = s.Send(ssegin.Event{Data: "x"})
			return refused
		}, http.StatusForbidden, ""},
		"a panic after Send": {func(_ *gin.Context, s *ssegin.Stream) error {
			_ = s.Send(ssegin.Event{Data: "x"})
			panic("of the application's")
		}, http.StatusInternalServerError, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hub := ssegin.NewHub()
				r := route(gin.RecoveryWithWriter(io.Discard), polling(hub, ssegin.OnConnect(test.connect)))
				srv := serve(t, r)
				resp, body := get(t, srv, http.MethodGet, "/events")
				assert.Equal(t, test.status, resp.StatusCode)
				assert.Equal(t, test.body, body)
				resp, body = get(t, srv, http.MethodHead, "/events")
				assert.Equal(t, http.StatusNotFound, resp.StatusCode, "as on any route without HEAD")
				assert.Empty(t, body)
				requireGone(t, hub)
			})
		})
	}
}

func TestWithPolling_isCutWhereItsClientDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := ssegin.NewHub()
		over := make(chan error, 1)
		srv := serve(t, route(polling(hub, ssegin.WithPolling(time.Second), ssegin.OnDisconnect(func(s *ssegin.Stream) { over <- context.Cause(s.Context()) }))), ssegintest.WithBuffer(1<<10))
		id := broadcast(t, hub, "x")
		broadcast(t, hub, strings.Repeat("y", 60<<10))
		conn, err := srv.Dial(t.Context())
		require.NoError(t, err)
		defer conn.Close()
		fmt.Fprintf(conn, "GET /events HTTP/1.1\r\nHost: x\r\nLast-Event-ID: %s\r\n\r\n", id)
		assert.ErrorContains(t, await(t, over), "timeout")
		assert.Zero(t, hub.Stats().Streams)
	})
}
