package tests

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
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
	"github.com/ssegin/ssegin/eventlog"
	"github.com/ssegin/ssegin/ssegintest"
)

func TestWithReplay_saysWhatANewClientGets(t *testing.T) {
	onBothPaths(t, func(t *testing.T, path ssegin.StreamOption) {
		for _, tc := range []struct {
			name   string
			replay ssegin.Replay
			query  string
			want   []string
		}{
			{"nothing", ssegin.Replay{}, "", nil},
			{"all", ssegin.ReplayAll(), "", []string{"a1", "everybody", "b1", "a2", "a3", "b2"}},
			{"the newest of each", ssegin.ReplayEach(1), "", []string{"everybody", "a3", "b2"}},
			{"the newest two of each", ssegin.ReplayEach(2), "", []string{"everybody", "b1", "a2", "a3", "b2"}},
			{"the last three", ssegin.ReplayLast(3), "", []string{"a2", "a3", "b2"}},
			{"more than there are", ssegin.ReplayLast(300), "", []string{"a1", "everybody", "b1", "a2", "a3", "b2"}},
			{"on request, unasked", ssegin.ReplayAll().OnRequest(), "", nil},
			{"on request, asked for", ssegin.ReplayLast(2).OnRequest(), "&lastEventId=earliest", []string{"a3", "b2"}},
			{"asked for, at most what the option allows", ssegin.ReplayLast(1), "&lastEventId=earliest", []string{"b2"}},
			{"asked for, not allowed", ssegin.Replay{}, "&lastEventId=earliest", nil},
		} {
			t.Run(tc.name, func(t *testing.T) {
				hub := ssegin.NewHub()
				for _, data := range []string{"a1", "everybody", "b1", "c1", "a2", "a3", "b2", "c2"} {
					if data == "everybody" {
						broadcast(t, hub, data)
					} else {
						publish(t, hub, data[:1], data)
					}
				}
				srv := listen(t, route(ssegin.Handler(hub, path, withTopics(), ssegin.WithReplay(tc.replay))))
				s := open(t, srv, "?topic=a&topic=b"+tc.query)
				assert.Equal(t, len(tc.want) == 0, s.Response().Header.Get("Last-Event-ID") != "", "no ID before the first event of a replay")
				publish(t, hub, "b", "live")
				assert.Equal(t, append(tc.want, "live"), nextData(t, s, len(tc.want)+1))
				s.Cut()
				publish(t, hub, "a", "later")
				resume(t, s)
				assert.Equal(t, "later", next(t, s).Data, "and goes on from there, exactly")
			})
		}
	})
}

// A client may be cut before the first event of its replay, or in its midst.
func TestWithReplay_noIDVouchesForWhatWasNotGiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := ssegin.NewHub()
		srv := serve(t, route(ssegin.Handler(hub, ssegin.WithReplay(ssegin.ReplayAll()))))
		for i := range 3 {
			broadcast(t, hub, i)
		}
		s := request(t, srv, "")
		b := nextBlock(t, s)
		assert.Equal(t, []ssegintest.Field{{Name: "retry", Value: "2000"}, {Name: "event", Value: "ssegin.cursor"}, {Name: "data", Value: "{}"}, {Name: "id"}}, b.Fields,
			"the empty ID ends the half of an event that a WebKit may have kept")
		s.Cut()
		for want := range 3 {
			resume(t, s)
			assert.Equal(t, strconv.Itoa(want), next(t, s).Data)
			s.Cut()
		}
	})
}

func TestWithReplay_afterAResetAClientGetsWhatANewOneGets(t *testing.T) {
	onBothPaths(t, func(t *testing.T, path ssegin.StreamOption) {
		hub := ssegin.NewHub(ssegin.WithHistory(4, 0, 0))
		srv := listen(t, route(ssegin.Handler(hub, path, ssegin.WithReplay(ssegin.ReplayLast(3)))))
		old := broadcast(t, hub, 0)
		for i := range 9 {
			broadcast(t, hub, i+1)
		}
		for name, id := range map[string]string{"expired": old, "epoch": "abcdefg234-1", "invalid": "x"} {
			s := open(t, srv, "", ssegintest.WithLastEventID(id))
			reset := next(t, s)
			assert.Equal(t, "ssegin.reset", reset.Type)
			assert.Contains(t, reset.Data, name)
			assert.Equal(t, id, reset.ID, "it keeps its own until the first event")
			if name == "expired" {
				assert.Equal(t, `{"reason":"expired","missed":6}`, reset.Data, "7 to 9 are given")
			}
			assert.Equal(t, []string{"7", "8", "9"}, nextData(t, s, 3), name)
		}
	})
}

func TestWithReplay_givesAPlainClientTheEventsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := ssegin.NewHub()
		srv := serve(t, route(ssegin.Handler(hub, ssegin.WithPlain(), ssegin.WithReplay(ssegin.ReplayEach(1)))))
		broadcast(t, hub, "old")
		id := broadcast(t, hub, "new")
		s := request(t, srv, "")
		assert.Empty(t, s.Response().Header.Get("Last-Event-ID"))
		assert.Equal(t, ssegintest.Event{ID: id, Type: "message", Data: "new"}, next(t, s))
	})
}

// With conflation the newest event of each topic is a board of prices.
func TestWithReplay_withConflationIsTheStateOfABoard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := ssegin.NewHub(ssegin.WithTopicCeiling(1, 0, 0))
		srv := serve(t, route(ssegin.Handler(hub, withTopics(), ssegin.WithConflation(), ssegin.WithReplay(ssegin.ReplayAll()))))
		for price := range 1000 {
			publish(t, hub, "XAU", price)
			if price < 3 {
				publish(t, hub, "XAG", price)
			}
		}
		assert.Equal(t, 2, hub.Stats().HistoryEvents)
		s := connect(t, srv, "?topic=XAU&topic=XAG")
		assert.Equal(t, []string{"2", "999"}, nextData(t, s, 2))
		publish(t, hub, "XAG", 3)
		assert.Equal(t, "3", next(t, s).Data)
	})
}

// Pages are reloaded at random moments while events are published at full speed.
func TestWithReplay_reloadsAtRandomMomentsHaveNeitherGapNorDuplicate(t *testing.T) {
	onBothPaths(t, func(t *testing.T, path ssegin.StreamOption) {
		hub := ssegin.NewHub()
		srv := listen(t, route(ssegin.Handler(hub, path, withTopics(), ssegin.WithReplay(ssegin.ReplayLast(50)))))
		ctx, stop := context.WithCancel(t.Context())
		var publishing sync.WaitGroup
		for _, topic := range []string{"a", "b"} {
			publishing.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					_, _ = hub.Publish(ctx, topic, ssegin.Event{Data: i})
					if i%10 == 0 {
						time.Sleep(time.Millisecond)
					}
				}
			})
		}
		defer publishing.Wait()
		defer stop()
		require.Eventually(t, func() bool { return hub.Stats().Published > 100 }, patience, time.Millisecond)
		reads := 0
		for range 40 {
			s := open(t, srv, "?topic=a")
			first := next(t, s)
			last, _ := strconv.Atoi(first.Data)
			for range rand.IntN(200) {
				n, err := strconv.Atoi(next(t, s).Data)
				require.NoError(t, err)
				require.Equal(t, last+1, n, "gap or duplicate")
				last, reads = n, reads+1
			}
			s.Cut()
		}
		t.Logf("40 reloads, %d events: gaps 0, duplicates 0", reads)
	})
}

// A flood in one topic takes nothing from what a quiet one has to give.
func TestWithTopicFloor_aFloodTakesNothingFromAQuietTopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := ssegin.NewHub()
		srv := serve(t, route(ssegin.Handler(hub, withTopics(), ssegin.WithReplay(ssegin.ReplayAll()))))
		first := publish(t, hub, "user:42", "you have mail")
		publish(t, hub, "user:42", "and a parcel")
		for range 100_000 {
			publish(t, hub, "flood", "x")
		}
		assert.Equal(t, []string{"you have mail", "and a parcel"}, nextData(t, connect(t, srv, "?topic=user:42"), 2), "reloaded")
		assert.Equal(t, "and a parcel", next(t, connect(t, srv, "?topic=user:42", ssegintest.WithLastEventID(first))).Data, "resumed")
		assert.Less(t, hub.Stats().HistoryBytes, 8<<20+1)
		assert.Greater(t, hub.Stats().HistoryEvents, 30_000, "the default history is bounded by its bytes")
	})
}

func TestErrEnded_stopsAClientThatAsksForWhatIsOver(t *testing.T) {
	hub := ssegin.NewHub()
	r := route(ssegin.Handler(hub, ssegin.WithTopics(func(*gin.Context) ([]string, error) {
		return nil, fmt.Errorf("job 7 was done last week: %w", ssegin.ErrEnded)
	})))
	for _, id := range []string{"", "abcdefg234-7", "x"} {
		w := httptest.NewRecorder()
		req := httptest.NewRequest(http.MethodGet, "/events", nil)
		req.Header.Set("Last-Event-ID", id)
		r.ServeHTTP(w, req)
		assert.Equal(t, http.StatusNoContent, w.Code, id)
		assert.Equal(t, "no-store", w.Header().Get("Cache-Control"))
		assert.Empty(t, w.Body.String())
	}
}

// A cold laptop comes back an hour after the end, with an ID from before it.
func TestHub_anEndIsKnownLongAfterItsEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := ssegin.NewHub()
		srv := serve(t, route(ssegin.Handler(hub, withTopics())))
		before := publish(t, hub, "job", "50 %")
		end, err := hub.End(t.Context(), "job", ssegin.Event{Data: "done"})
		require.NoError(t, err)
		time.Sleep(time.Hour)
		broadcast(t, hub, "lunch")
		assert.Zero(t, hub.Stats().Topics)
		assert.Equal(t, 1, hub.Stats().Ends)

		s := connect(t, srv, "?topic=job", ssegintest.WithLastEventID(before))
		assert.Equal(t, `{"reason":"expired","missed":2}`, next(t, s).Data, "the end, and lunch")
		requireEnd(t, s)
		for _, id := range []string{end, s.LastEventID()} {
			s := request(t, srv, "?topic=job", ssegintest.WithLastEventID(id))
			assert.Equal(t, http.StatusNoContent, s.Response().StatusCode)
		}
		time.Sleep(24 * time.Hour)
		connect(t, srv, "?topic=job", ssegintest.WithLastEventID(end))
		assert.Zero(t, hub.Stats().Ends)
	})
}

// A page is rendered from data, and its stream goes on from exactly there.
func TestLastID_isWhereAPageThatWasRenderedGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := ssegin.NewHub()
		srv := serve(t, route(ssegin.Handler(hub)))
		empty := hub.LastID()
		broadcast(t, hub, 1)
		id := hub.LastID()
		broadcast(t, hub, 2)
		assert.Equal(t, "2", next(t, connect(t, srv, "?lastEventId="+id)).Data)
		assert.Equal(t, []string{"1", "2"}, nextData(t, connect(t, srv, "?lastEventId="+empty), 2))
	})
}

func TestPublishTo_aStreamOfTwoOfTheTopicsGetsItOnce(t *testing.T) {
	onBothPaths(t, func(t *testing.T, path ssegin.StreamOption) {
		hub := ssegin.NewHub()
		srv := listen(t, route(ssegin.Handler(hub, path, withTopics(), ssegin.WithReplay(ssegin.ReplayAll()))))
		want := map[string][]string{"?topic=a": {"1"}, "?topic=a&topic=b": {"1", "2"}, "?topic=c&topic=b&topic=a": {"1", "2"}, "?topic=d": nil}
		streams := map[string]*ssegintest.Stream{}
		for query := range want {
			streams[query] = open(t, srv, query)
		}
		id, err := hub.PublishTo(t.Context(), []string{"a", "b", "a", "c"}, ssegin.Event{Data: 1, MessageID: "m"})
		require.NoError(t, err)
		again, err := hub.PublishTo(t.Context(), []string{"a", "b"}, ssegin.Event{Data: 1, MessageID: "m"})
		require.NoError(t, err)
		assert.Equal(t, id, again)
		publish(t, hub, "b", 2)
		broadcast(t, hub, "end")
		for query, want := range want {
			assert.Equal(t, append(want, "end"), nextData(t, streams[query], len(want)+1), query)
			replayed := open(t, srv, query)
			assert.Equal(t, append(want, "end"), nextData(t, replayed, len(want)+1), "replayed: %s", query)
			if len(want) > 0 {
				resumed := open(t, srv, query, ssegintest.WithLastEventID(id))
				assert.Equal(t, append(want[1:len(want):len(want)], "end"), nextData(t, resumed, len(want)), "resumed: %s", query)
			}
		}
		assert.EqualValues(t, 3, hub.Stats().Published)
		for _, topics := range [][]string{nil, {}, {""}, {"a", "b\n"}} {
			_, err := hub.PublishTo(t.Context(), topics, ssegin.Event{Data: 1})
			assert.ErrorIs(t, err, ssegin.ErrInvalidEvent, "%q", topics)
		}
	})
}

// An event counts for each of its topics. What the history cannot hold for all of them is
// refused, and pushes nothing out.
func TestPublishTo_refusesWhatTheHistoryCannotHold(t *testing.T) {
	var topics []string
	for i := range 20 {
		topics = append(topics, strconv.Itoa(i))
	}
	hub := ssegin.NewHub()
	publish(t, hub, "a", "old")
	_, err := hub.PublishTo(t.Context(), topics, ssegin.Event{Data: strings.Repeat("x", 1<<19)})
	assert.ErrorIs(t, err, ssegin.ErrTooLarge)
	assert.Len(t, hub.Retained("a"), 1)
	_, err = hub.PublishTo(t.Context(), topics, ssegin.Event{Data: strings.Repeat("x", 1<<18)})
	require.NoError(t, err)
	for _, topic := range topics {
		assert.Len(t, hub.Retained(topic), 1)
	}
	_, err = ssegin.NewHub(ssegin.WithHistory(10, 0, 0)).PublishTo(t.Context(), topics, ssegin.Event{Data: 1})
	assert.ErrorIs(t, err, ssegin.ErrTooLarge)
}

func TestRetained_areTheEventsOfATopicAsTheyWentOnTheWire(t *testing.T) {
	hub := ssegin.NewHub()
	assert.Empty(t, hub.Retained("a"))
	want := []ssegin.Event{
		{Data: "one\ntwo\n\n three "}, {Type: "t", Data: ""}, {Type: "only"}, {Retry: 1500 * time.Millisecond, Data: `{"a":1}`},
	}
	for i := range want {
		id, err := hub.Publish(t.Context(), "a", want[i])
		require.NoError(t, err)
		publish(t, hub, "b", i)
		want[i].ID = id
	}
	want[2].Data = "" // an event with a type has data, if only empty
	assert.Equal(t, want, hub.Retained("a"))
	broadcast(t, hub, "x")
	assert.Len(t, hub.Retained(""), 1)
}

func TestErase_letsGoOfWhatATopicHas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := ssegin.NewHub()
		srv := serve(t, route(ssegin.Handler(hub, withTopics(), ssegin.WithReplay(ssegin.ReplayAll()))))
		first := publish(t, hub, "user:7", "secret")
		publish(t, hub, "user:7", "more")
		publish(t, hub, "user:8", "other")
		n, err := hub.Erase("user:7")
		require.NoError(t, err)
		assert.Equal(t, 2, n)
		assert.Empty(t, hub.Retained("user:7"))
		assert.Len(t, hub.Retained("user:8"), 1)
		s := connect(t, srv, "?topic=user:7", ssegintest.WithLastEventID(first))
		assert.Equal(t, `{"reason":"expired","missed":1}`, next(t, s).Data)
		s = connect(t, srv, "?topic=user:7")
		publish(t, hub, "user:7", "new")
		assert.Equal(t, "new", next(t, s).Data)
		n, err = hub.Erase("nobody")
		require.NoError(t, err)
		assert.Zero(t, n)
		_, err = hub.Erase("")
		assert.ErrorIs(t, err, ssegin.ErrInvalidEvent)
		_, err = start(t, ssegintest.NewLog()).hub.Erase("a")
		assert.ErrorIs(t, err, errors.ErrUnsupported)
	})
}

func TestWithLocalAudience_tellsOfTheFirstStreamAndTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []string
		var mu sync.Mutex
		tell := func(what string) func(string) {
			return func(topic string) {
				mu.Lock()
				defer mu.Unlock()
				told = append(told, what+topic)
			}
		}
		hub := ssegin.NewHub(ssegin.WithLocalAudience(tell("+"), tell("-")))
		srv := serve(t, route(ssegin.Handler(hub, withTopics())))
		a := connect(t, srv, "?topic=a")
		ab := connect(t, srv, "?topic=a&topic=b")
		synctest.Wait()
		assert.Equal(t, []string{"+a", "+b"}, told)
		assert.Equal(t, 2, hub.LocalStreams("a"))
		assert.Equal(t, 1, hub.LocalStreams("b"))
		assert.Zero(t, hub.LocalStreams("c"))
		a.Close()
		synctest.Wait()
		assert.Equal(t, []string{"+a", "+b"}, told)
		ab.Close()
		synctest.Wait()
		assert.ElementsMatch(t, []string{"+a", "+b", "-a", "-b"}, told)
		connect(t, srv, "?topic=a")
		synctest.Wait()
		require.NoError(t, hub.Shutdown(t.Context()))
		assert.Equal(t, []string{"+a", "-a"}, told[4:], "Shutdown waits for the last calls")
	})
}

// However streams come and go, the application knows in the end who is there, and first
// and last take turns.
func TestWithLocalAudience_isRightWhateverComesAndGoes(t *testing.T) {
	present := map[string]bool{} // no lock: the calls come one at a time
	hub := ssegin.NewHub(ssegin.WithLocalAudience(
		func(topic string) {
			assert.False(t, present[topic], "first twice")
			present[topic] = true
			time.Sleep(time.Duration(rand.IntN(200)) * time.Microsecond)
		},
		func(topic string) {
			assert.True(t, present[topic], "last twice")
			delete(present, topic)
		}))
	srv := listen(t, route(ssegin.Handler(hub, withTopics())))
	clients := joined(t)
	for range 8 {
		clients.Go(func() {
			for range 25 {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				s, err := ssegintest.Connect(ctx, srv.URL+"/events?topic=t"+strconv.Itoa(rand.IntN(4)))
				cancel()
				if assert.NoError(t, err) {
					s.Cut()
				}
			}
		})
	}
	clients.Wait()
	requireGone(t, hub)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, hub.Shutdown(ctx))
	assert.Empty(t, present)
}

func TestWithLocalAudience_aPanicIsLoggedAndTheNextIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		var told []string
		hub := ssegin.NewHub(ssegin.WithLogger(slog.New(slog.NewTextHandler(&out, nil))), ssegin.WithLocalAudience(
			func(topic string) {
				told = append(told, topic)
				if topic == "a" {
					panic("oh")
				}
			}, func(string) {}))
		srv := serve(t, route(ssegin.Handler(hub, withTopics())))
		connect(t, srv, "?topic=a")
		connect(t, srv, "?topic=b")
		synctest.Wait()
		assert.Equal(t, []string{"a", "b"}, told)
		assert.Contains(t, out.String(), "oh")
	})
}

func TestObserver_reachIsForHowLongAClientMayBeAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reaches []time.Duration
		hub := ssegin.NewHub(ssegin.WithHistory(10, 0, 0), ssegin.WithTopicFloor(0, 0, 0),
			ssegin.WithObserver(ssegin.Observer{Reach: func(d time.Duration) { reaches = append(reaches, d) }}))
		srv := serve(t, route(ssegin.Handler(hub)))
		time.Sleep(3 * time.Second)
		assert.Equal(t, 3*time.Second, hub.Stats().Reach, "nothing has left")
		var ids []string
		for i := range 100 {
			ids = append(ids, broadcast(t, hub, i))
			time.Sleep(100 * time.Millisecond)
		}
		assert.Equal(t, 1100*time.Millisecond, hub.Stats().Reach, "10 events at 10 a second")
		assert.Len(t, reaches, 9, "once a second")
		assert.Equal(t, time.Second, reaches[8])
		assert.Equal(t, "90", next(t, connect(t, srv, "", ssegintest.WithLastEventID(ids[89]))).Data)
		assert.Contains(t, next(t, connect(t, srv, "", ssegintest.WithLastEventID(ids[88]))).Data, "expired")
	})
}

// What is too old is gone for the next stream, so the reach does not count it.
func TestStats_reachIsWhatTheNextStreamIsGiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := ssegin.NewHub(ssegin.WithHistory(0, 0, 15*time.Minute), ssegin.WithTopicFloor(0, 0, 0))
		srv := serve(t, route(ssegin.Handler(hub)))
		first := broadcast(t, hub, 1)
		time.Sleep(40 * time.Minute)
		broadcast(t, hub, 2)
		time.Sleep(20 * time.Minute)
		assert.Equal(t, 20*time.Minute, hub.Stats().Reach)
		assert.Zero(t, hub.Stats().HistoryEvents)
		assert.Contains(t, next(t, connect(t, srv, "", ssegintest.WithLastEventID(first))).Data, "expired")
	})
}

// Who was here before the log in the engine was another one is told of a gap.
func TestStats_reachBeginsWithTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		node := start(t, log)
		synctest.Wait()
		time.Sleep(time.Hour)
		assert.Equal(t, time.Hour, node.hub.Stats().Reach)
		log.Renew()
		publish(t, node.hub, "a", 1)
		synctest.Wait()
		time.Sleep(time.Minute)
		assert.Less(t, node.hub.Stats().Reach, 2*time.Minute)
	})
}

// A poll of a new client carries the first batch of its replay, and the next polls the
// rest: from memory, and from an engine.
func TestWithPolling_givesANewcomerItsReplayInSeveralResponses(t *testing.T) {
	for name, memory := range map[string]int{"memory": 0, "an engine, and little memory": 7} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log eventlog.Log
				hub := ssegin.NewHub()
				if memory > 0 {
					log = ssegintest.NewLog()
					hub, _ = newcomers(t, log, 1000)
				}
				const n = 300
				var want []string
				for i := range n {
					want = append(want, fmt.Sprint(i, strings.Repeat("x", 1000)))
					publish(t, hub, "a", want[i])
				}
				handler := http.Handler(route(polling(hub, ssegin.WithReplay(ssegin.ReplayAll()))))
				if memory > 0 {
					_, handler = newcomers(t, log, memory, ssegin.WithPolling(0), ssegin.WithReplay(ssegin.ReplayAll()))
				}
				srv := serve(t, handler)
				synctest.Wait()
				var got []string
				polls, id := 0, ""
				for len(got) < n {
					p := ask(t, srv, "?topic=a", id).whole(t)
					require.NotEmpty(t, p.own(), "poll %d", polls)
					got, id, polls = append(got, p.own()...), p.lastID, polls+1
				}
				require.Equal(t, want, got)
				assert.Greater(t, polls, 3)
			})
		})
	}
}
