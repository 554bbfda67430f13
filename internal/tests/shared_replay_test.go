package tests

import (
	"context"
	"fmt"
	"iter"
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

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin"
	"github.com/ssegin/ssegin/eventlog"
	"github.com/ssegin/ssegin/ssegintest"
)

// unread hides that a log can be read by topic.
type unread struct{ eventlog.Log }

// newcomers starts a hub over the log whose memory holds so many events, with a route
// for new clients.
func newcomers(t *testing.T, log eventlog.Log, memory int, opts ...ssegin.StreamOption) (*ssegin.Hub, http.Handler) {
	t.Helper()
	hub := ssegin.NewHub(ssegin.WithLog(log), ssegin.WithHistory(memory, 0, 0), ssegin.WithLogger(slog.New(slog.DiscardHandler)))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		assert.NoError(t, hub.Shutdown(ctx))
	})
	return hub, route(ssegin.Handler(hub, append([]ssegin.StreamOption{withTopics()}, opts...)...))
}

// A process has a few events in memory, and the engine has many: what a newcomer gets is
// the same as if memory had them all.
func TestWithLog_aNewcomerGetsWhatIsOlderThanMemory(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	names := []string{"a", "b", "c", "d", ""}
	given := 0
	for range 60 {
		synctest.Test(t, func(t *testing.T) {
			log := ssegintest.NewLog()
			writer, _ := newcomers(t, log, 1000)
			published := map[string][]int{}
			n := 0
			publishOne := func() {
				topics := []string{names[r.IntN(len(names))]}
				if topics[0] != "" && r.IntN(8) == 0 { // an entry that is no event
					_, err := writer.Disconnect(t.Context(), topics[0])
					require.NoError(t, err)
					return
				}
				n++
				switch {
				case topics[0] == "":
					broadcast(t, writer, n)
				case r.IntN(6) == 0:
					topics = append([]string{}, names[r.IntN(3):4]...)
					_, err := writer.PublishTo(t.Context(), topics, ssegin.Event{Data: n})
					require.NoError(t, err)
				default:
					publish(t, writer, topics[0], n)
				}
				for _, topic := range topics {
					published[topic] = append(published[topic], n)
				}
			}
			for range 5 + r.IntN(60) {
				publishOne()
			}
			last := 0
			replay := []ssegin.Replay{ssegin.ReplayAll(), ssegin.ReplayEach(1 + r.IntN(4))}[r.IntN(2)]
			if r.IntN(3) == 0 {
				last = 1 + r.IntN(30)
				replay = ssegin.ReplayLast(last)
			}
			conflate := last < 2 && r.IntN(4) == 0
			opts := []ssegin.StreamOption{ssegin.WithReplay(replay)}
			if conflate {
				opts = append(opts, ssegin.WithConflation())
			}
			hub, handler := newcomers(t, log, 1+r.IntN(20), opts...)
			srv := serve(t, handler)
			synctest.Wait()
			topics := names[r.IntN(4):4]
			s := request(t, srv, "?topic="+strings.Join(topics, "&topic="))
			opening := nextBlock(t, s)

			var want []int
			for _, topic := range append([]string{""}, topics...) {
				events := published[topic]
				switch most := 0; {
				case conflate:
					want = append(want, events[max(0, len(events)-1):]...)
				default:
					if _, err := fmt.Sscanf(replay.String(), "the newest %d", &most); err == nil {
						events = events[max(0, len(events)-most):]
					}
					want = append(want, events...)
				}
			}
			slices.Sort(want)
			if want = slices.Compact(want); last > 0 {
				want = want[max(0, len(want)-last):]
			}
			id := opening.Fields[len(opening.Fields)-1]
			require.Equal(t, "id", id.Name)
			require.Equal(t, len(want) == 0, id.Value != "", "seed %d: an ID before the first event", seed)
			newest := 0
			for i, n := range want {
				e := next(t, s)
				require.Equal(t, strconv.Itoa(n), e.Data, "seed %d: event %d of %v, replay %v, conflate %t, topics %q; %v", seed, i, want, replay, conflate, topics, published)
				require.NotEmpty(t, e.ID)
				newest = n
			}
			given += len(want)
			// What comes next is what is published next, also to a client that was cut.
			if r.IntN(2) == 0 && newest > 0 {
				s.Cut()
				resume(t, s)
			}
			publish(t, writer, "d", "live")
			require.Equal(t, "live", next(t, s).Data, "seed %d", seed)
			require.Zero(t, hub.Stats().Resets)
		})
	}
	t.Logf("seed %d: 60 newcomers given %d events: none missing, none twice", seed, given)
}

// Where the engine cannot tell what there was, the newcomer is told that the beginning is
// missing, and gets what memory has.
func TestWithLog_aNewcomerIsToldWhereTheBeginningIsMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		writer, _ := newcomers(t, log, 1000)
		for i := range 20 {
			publish(t, writer, "a", i)
		}
		for name, tc := range map[string]struct {
			log    eventlog.Log
			topics string
		}{
			"the engine is not read by topic": {unread{log}, "?topic=a"},
			"too many topics":                 {log, "?topic=a" + many(40)},
		} {
			_, handler := newcomers(t, tc.log, 2, ssegin.WithReplay(ssegin.ReplayEach(3)))
			srv := serve(t, handler)
			synctest.Wait()
			s := request(t, srv, tc.topics)
			nextBlock(t, s)
			reset := next(t, s)
			assert.Equal(t, "ssegin.reset", reset.Type, name)
			assert.Equal(t, `{"reason":"expired","missed":-1}`, reset.Data, name)
			assert.Equal(t, []string{"18", "19"}, nextData(t, s, 2), name)
		}
		_, handler := newcomers(t, unread{log}, 2, ssegin.WithReplay(ssegin.ReplayEach(3)), ssegin.WithPlain())
		srv := serve(t, handler)
		synctest.Wait()
		assert.Equal(t, "18", next(t, request(t, srv, "?topic=a")).Data, "a new plain client is not sent away")

		_, handler = newcomers(t, unread{log}, 100, ssegin.WithReplay(ssegin.ReplayEach(3)))
		srv = serve(t, handler)
		synctest.Wait()
		s := connect(t, srv, "?topic=a")
		assert.Equal(t, []string{"17", "18", "19"}, nextData(t, s, 3), "memory has all that there is")
	})
}

// A busyLog is one to which others append whenever it is read by topic.
type busyLog struct {
	*ssegintest.Log
	meanwhile func(topic string)
}

func (l busyLog) ReadTopic(ctx context.Context, topic string, after, until uint64, last int) iter.Seq2[eventlog.Entry, error] {
	l.meanwhile(topic)
	return l.Log.ReadTopic(ctx, topic, after, until, last)
}

// What comes while a newcomer's beginning is read, and what is no event, takes the place
// of nothing that it is to get.
func TestWithLog_aNewcomerGetsWhatItLacksWhateverElseComes(t *testing.T) {
	for name, memory := range map[string]int{"it is in memory until then": 15, "it has left memory by then": 3} {
		t.Run(name, func(t *testing.T) {
			onBothPaths(t, func(t *testing.T, path ssegin.StreamOption) {
				log := ssegintest.NewLog()
				writer, _ := newcomers(t, log, 1000)
				for i := range 5 {
					publish(t, writer, "a", i)
				}
				for range 10 { // some of them will be in memory
					_, err := writer.Disconnect(t.Context(), "a")
					require.NoError(t, err)
				}
				var id string
				for i := range 12 {
					id = publish(t, writer, "b", i)
				}
				n := 4
				var hub *ssegin.Hub
				hub, handler := newcomers(t, busyLog{log, func(topic string) {
					if topic != "a" {
						return
					}
					for range 4 {
						n++
						id = publish(t, writer, "a", n)
					}
					assert.Eventually(t, func() bool { return hub.LastID() == id }, patience, time.Millisecond)
				}}, memory, path, ssegin.WithReplay(ssegin.ReplayEach(3)))
				srv := listen(t, handler)
				require.Eventually(t, func() bool { return hub.LastID() == id }, patience, time.Millisecond)
				s := open(t, srv, "?topic=a")
				for want := 2; want <= 8; want++ {
					require.Equal(t, strconv.Itoa(want), next(t, s).Data)
				}
				publish(t, writer, "a", "live")
				for next(t, s).Data != "live" {
				}
				assert.Zero(t, hub.Stats().Resets)
				assert.Equal(t, 1, s.Connections())
			})
		})
	}
}

// Another program may name a topic twice.
func TestWithLog_aTopicThatAnEntryNamesTwiceIsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		hub, handler := newcomers(t, log, 100, ssegin.WithReplay(ssegin.ReplayAll()))
		synctest.Wait()
		srv := serve(t, handler)
		live := connect(t, srv, "?topic=a&topic=b")
		for i := range 2 {
			_, err := log.Append(t.Context(), eventlog.Entry{Topic: eventlog.SeveralTopics, Topics: []string{"a", "b", "a"}, Data: []byte(strconv.Itoa(i)), MessageID: strconv.Itoa(i)})
			require.NoError(t, err)
		}
		assert.Equal(t, []string{"0", "1"}, nextData(t, live, 2))
		assert.Len(t, hub.Retained("a"), 2)
		assert.Equal(t, []string{"0", "1"}, nextData(t, connect(t, srv, "?topic=a"), 2))
		require.NoError(t, live.Resume(t.Context()))
		publish(t, hub, "a", "live")
		assert.Equal(t, "live", next(t, live).Data)

		_, err := log.Append(t.Context(), eventlog.Entry{Topic: eventlog.SeveralTopics, Topics: []string{"", "a"}, MessageID: "everybody"})
		require.NoError(t, err)
		synctest.Wait()
		assert.EqualValues(t, 1, hub.Stats().Skipped, "everybody is not one of several")
	})
}

// Of events of several topics so many may be read, and that is no reason to tell those of
// a gap who lack less.
func TestWithLog_aNewcomerIsNotToldOfAGapBecauseOfManyEventsOfSeveralTopics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		writer, _ := newcomers(t, log, 10)
		broadcast(t, writer, "to all")
		for i := range 1100 {
			_, err := writer.PublishTo(t.Context(), []string{"a", "b"}, ssegin.Event{Data: i})
			require.NoError(t, err)
		}
		for name, tc := range map[string]struct {
			replay ssegin.Replay
			want   []string
		}{
			"each": {ssegin.ReplayEach(1), []string{"to all", "1099"}},
			"last": {ssegin.ReplayLast(12), []string{"1088", "1089"}},
			"all":  {ssegin.ReplayAll(), []string{"ssegin.reset"}},
		} {
			_, handler := newcomers(t, log, 4, ssegin.WithReplay(tc.replay))
			srv := serve(t, handler)
			synctest.Wait()
			s := connect(t, srv, "?topic=a")
			for _, want := range tc.want {
				e := next(t, s)
				require.Contains(t, []string{e.Data, e.Type}, want, name)
			}
		}
	})
}

// Newcomers share what was read a moment ago, and what comes later they have from memory.
func TestWithLog_newcomersShareWhatIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		writer, _ := newcomers(t, log, 1000)
		var want []string
		for i := range 30 {
			publish(t, writer, "a", i)
			want = append(want, strconv.Itoa(i))
		}
		hub, handler := newcomers(t, log, 10, ssegin.WithReplay(ssegin.ReplayAll()))
		srv := serve(t, handler)
		synctest.Wait()
		before := log.Requests().Reads
		for i := range 8 {
			s := connect(t, srv, "?topic=a")
			require.Equal(t, want, nextData(t, s, len(want)))
			s.Close()
			publish(t, writer, "a", 30+i)
			want = append(want, strconv.Itoa(30+i))
			synctest.Wait()
		}
		assert.Equal(t, 3, log.Requests().Reads-before, "of the topic, of the broadcasts, and of several topics")
		for i := range 12 { // so that memory reaches back less far than what was read
			publish(t, writer, "a", 38+i)
			want = append(want, strconv.Itoa(38+i))
		}
		synctest.Wait()
		require.Equal(t, want, nextData(t, connect(t, srv, "?topic=a"), len(want)))
		assert.Equal(t, 6, log.Requests().Reads-before)
		time.Sleep(time.Minute)
		require.Equal(t, want, nextData(t, connect(t, srv, "?topic=a"), len(want)))
		assert.Equal(t, 9, log.Requests().Reads-before, "and what is old is read anew")
		assert.Zero(t, hub.Stats().Resets)
	})
}

// Whoever comes back to a gap is given what newcomers get, after the reset.
func TestWithLog_whoIsToldOfAGapGetsWhatNewcomersGet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		writer, _ := newcomers(t, log, 1000)
		for i := range 20 {
			publish(t, writer, "a", i)
		}
		for name, tc := range map[string]struct {
			log  eventlog.Log
			want []string
		}{
			"read by topic": {log, []string{"15", "16", "17", "18", "19"}},
			"not":           {unread{log}, []string{"18", "19"}},
		} {
			_, handler := newcomers(t, tc.log, 2, ssegin.WithReplay(ssegin.ReplayEach(5)))
			srv := serve(t, handler)
			synctest.Wait()
			s := request(t, srv, "?topic=a", ssegintest.WithLastEventID("of another server"))
			nextBlock(t, s)
			reset := next(t, s)
			require.Equal(t, `ssegin.reset {"reason":"invalid","missed":-1}`, reset.Type+" "+reset.Data, name)
			require.Equal(t, tc.want, nextData(t, s, len(tc.want)), name)
			publish(t, writer, "a", "live")
			require.Equal(t, "live", next(t, s).Data, name)
			publish(t, writer, "a", 19) // for the other one
			s.Close()
			for i := range 20 {
				publish(t, writer, "a", i)
			}
		}
	})
}

func many(n int) (query string) {
	for i := range n {
		query += "&topic=b" + strconv.Itoa(i)
	}
	return query
}

// An engine that hangs costs a newcomer a few seconds, and the beginning.
func TestWithLog_aNewcomerDoesNotWaitLongForAnEngineThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		_, handler := newcomers(t, log, 2, ssegin.WithReplay(ssegin.ReplayAll()))
		writer, _ := newcomers(t, log, 10)
		for i := range 5 {
			publish(t, writer, "a", i)
		}
		srv := serve(t, handler)
		synctest.Wait()
		log.Hang()
		begin := time.Now()
		s := request(t, srv, "?topic=a")
		nextBlock(t, s)
		assert.Equal(t, "ssegin.reset", next(t, s).Type)
		assert.Equal(t, []string{"3", "4"}, nextData(t, s, 2))
		assert.LessOrEqual(t, time.Since(begin), 3*time.Second)
		log.Back()
	})
}

// Pages are reloaded while three processes publish, on both paths.
func TestWithLog_reloadsAtRandomMomentsHaveNeitherGapNorDuplicate(t *testing.T) {
	onBothPaths(t, func(t *testing.T, path ssegin.StreamOption) {
		log := ssegintest.NewLog()
		hub, handler := newcomers(t, log, 20, path, ssegin.WithReplay(ssegin.ReplayLast(60)))
		srv := listen(t, handler)
		ctx, stop := context.WithCancel(t.Context())
		var publishing sync.WaitGroup
		publishing.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				_, _ = hub.Publish(ctx, "a", ssegin.Event{Data: i})
				time.Sleep(100 * time.Microsecond)
			}
		})
		defer publishing.Wait()
		defer stop()
		require.Eventually(t, func() bool { return hub.Stats().Published > 100 }, patience, time.Millisecond)
		reads, lagged := 0, 0
		for range 30 {
			s := open(t, srv, "?topic=a")
			last := -1
			for range 10 + rand.IntN(150) {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				e, err := s.Next(ctx)
				cancel()
				if err != nil {
					lagged++ // it is sent back to the engine
					break
				}
				n, err := strconv.Atoi(e.Data)
				require.NoError(t, err)
				require.True(t, last < 0 || n == last+1, "%d after %d", n, last)
				last, reads = n, reads+1
			}
			s.Cut()
		}
		t.Logf("30 reloads, %d events: gaps 0, duplicates 0; %d lagged behind a memory of 20 events", reads, lagged)
		require.Greater(t, reads, 300)
	})
}

// A client takes its replay slowly, so heartbeats are due between its parts: they have the
// ID of what it was given last, and not that of where it will go on from memory.
func TestWithLog_noHeartbeatVouchesForTheRestOfAReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		writer, _ := newcomers(t, log, 1000)
		for i := range 300 {
			publish(t, writer, "a", fmt.Sprint(i, strings.Repeat("x", 1000)))
		}
		_, handler := newcomers(t, log, 2, ssegin.WithReplay(ssegin.ReplayAll()), ssegin.WithHeartbeat(time.Second))
		srv := serve(t, handler, ssegintest.WithBuffer(1000))
		synctest.Wait()
		s := request(t, srv, "?topic=a")
		nextBlock(t, s)
		last, beats := "", 0
		for events := 0; events < 300; {
			b := nextBlock(t, s)
			if b.Event != nil && b.Event.Type == "message" {
				last = b.Event.ID
				if events++; events%60 == 0 {
					time.Sleep(3 * time.Second)
				}
				continue
			}
			beats++
			require.Equal(t, last, b.LastEventID, "after %d events of 300", events)
		}
		assert.Greater(t, beats, 2)
	})
}

// The end of a topic is known, and its events are older than memory: a newcomer is given
// them, and after that its client stops.
func TestWithLog_aNewcomerGetsWhatHasEndedFromTheEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		hub, handler := newcomers(t, log, 2, ssegin.WithReplay(ssegin.ReplayAll()))
		for i := range 3 {
			publish(t, hub, "job", i)
		}
		_, err := hub.End(t.Context(), "job", ssegin.Event{Data: "done"})
		require.NoError(t, err)
		for range 5 {
			publish(t, hub, "other", "x")
		}
		synctest.Wait()
		srv := serve(t, handler)
		s := request(t, srv, "?topic=job")
		require.Equal(t, http.StatusOK, s.Response().StatusCode)
		nextBlock(t, s)
		assert.Equal(t, []string{"0", "1", "2", "done"}, nextData(t, s, 4))
		requireEnd(t, s)
		again := request(t, srv, "?topic=job", ssegintest.WithLastEventID(s.LastEventID()))
		assert.Equal(t, http.StatusNoContent, again.Response().StatusCode)

		plain := serve(t, route(ssegin.Handler(hub, withTopics(), ssegin.WithReplay(ssegin.ReplayAll()), ssegin.WithPlain())))
		assert.Equal(t, "0", next(t, request(t, plain, "?topic=job")).Data)
		log.Trim(100)               // nothing is left
		time.Sleep(2 * time.Second) // what was read is not kept for others any more
		gone := request(t, srv, "?topic=job")
		assert.Equal(t, http.StatusNoContent, gone.Response().StatusCode)
		assert.Zero(t, hub.Stats().Streams)
	})
}

// Who comes back with an ID that even the engine has let go of is told, and gets what a
// new client gets, also of what is older than memory: as it comes, and in mid-stream.
func TestWithLog_whoIsTooLateForTheEngineGetsWhatANewClientGets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 3000, 10, 300*time.Millisecond)
		srv := serve(t, route(ssegin.Handler(c.hub, withTopics(), ssegin.WithReplay(ssegin.ReplayEach(2)))))
		given := func(s *ssegintest.Stream) {
			t.Helper()
			var ids []string
			e := next(t, s)
			for ; e.Type != "ssegin.reset"; e = next(t, s) { // pages that were read before
			}
			assert.Contains(t, e.Data, "expired")
			for range 2 {
				ids = append(ids, next(t, s).ID)
			}
			assert.Equal(t, c.ids[2998:], ids)
			id := publish(t, c.hub, "past", "live")
			assert.Equal(t, id, next(t, s).ID)
			c.ids = append(c.ids[:2998:2998], c.ids[2999], id)
		}
		behind := connect(t, srv, "?topic=past", withLastID(c.ids[0]))
		time.Sleep(400 * time.Millisecond)
		c.engine.Trim(2900)
		given(behind)
		_, other := newcomers(t, c.engine, 10, ssegin.WithReplay(ssegin.ReplayEach(2))) // which has read no page
		given(connect(t, serve(t, other), "?topic=past", withLastID(c.ids[0])))
	})
}

// slowTopics takes its time for each read of a topic; below zero it does not answer, but
// for what is of several topics, which all newcomers ask for first.
type slowTopics struct {
	*ssegintest.Log
	takes time.Duration
}

func (l *slowTopics) ReadTopic(ctx context.Context, topic string, after, until uint64, last int) iter.Seq2[eventlog.Entry, error] {
	return func(yield func(eventlog.Entry, error) bool) {
		answer := time.After(l.takes)
		if l.takes < 0 && topic != eventlog.SeveralTopics {
			answer = nil
		}
		select {
		case <-answer:
			l.Log.ReadTopic(ctx, topic, after, until, last)(yield)
		case <-ctx.Done():
			yield(eventlog.Entry{}, context.Cause(ctx))
		}
	}
}

// An engine that answers each request in time is not given up because newcomers on many
// topics have to wait for their turn; one that does not answer keeps nobody for long.
func TestWithLog_newcomersOnManyTopicsWaitForTheirTurn(t *testing.T) {
	const topics = 24
	for takes, served := range map[time.Duration]bool{time.Second: true, -1: false} {
		synctest.Test(t, func(t *testing.T) {
			log := &slowTopics{ssegintest.NewLog(), takes}
			hub, handler := newcomers(t, log, 2, ssegin.WithReplay(ssegin.ReplayEach(5)))
			for n := range topics * 5 {
				publish(t, hub, fmt.Sprint("t", n%topics), n)
			}
			synctest.Wait()
			srv := serve(t, handler)
			begin := time.Now()
			var all sync.WaitGroup
			for n := range topics - 2 { // of the others memory has something
				all.Go(func() {
					s := request(t, srv, fmt.Sprint("?topic=t", n))
					defer s.Close()
					if !served {
						assert.Equal(t, "ssegin.reset", next(t, s).Type)
						return
					}
					for i := range 5 {
						assert.Equal(t, strconv.Itoa(i*topics+n), next(t, s).Data)
					}
				})
			}
			all.Wait()
			if served {
				assert.Greater(t, time.Since(begin), 5*time.Second, "they have waited")
			} else {
				assert.Less(t, time.Since(begin), 5*time.Second)
			}
		})
	}
}
