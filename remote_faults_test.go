package ssegin_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
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
	"github.com/ssegin/ssegin/eventlog"
	"github.com/ssegin/ssegin/ssegintest"
)

// An altered log does some things its own way: those that are not nil.
type altered struct {
	eventlog.Log
	append func(context.Context, eventlog.Entry) (uint64, error)
	follow func(ctx context.Context, after uint64, deliver func(eventlog.Entry) error) error
	bounds func(context.Context) (eventlog.Bounds, error)
}

func (l *altered) Append(ctx context.Context, e eventlog.Entry) (uint64, error) {
	if l.append != nil {
		return l.append(ctx, e)
	}
	return l.Log.Append(ctx, e)
}

func (l *altered) Follow(ctx context.Context, after uint64, deliver func(eventlog.Entry) error) error {
	if l.follow != nil {
		return l.follow(ctx, after, deliver)
	}
	return l.Log.Follow(ctx, after, deliver)
}

func (l *altered) Bounds(ctx context.Context) (eventlog.Bounds, error) {
	if l.bounds != nil {
		return l.bounds(ctx)
	}
	return l.Log.Bounds(ctx)
}

// put appends an entry of topic x as another program does, under a message ID.
func put(t *testing.T, log eventlog.Log, data string) {
	t.Helper()
	_, err := log.Append(t.Context(), eventlog.Entry{Topic: "x", Data: []byte(data), MessageID: data})
	require.NoError(t, err)
}

// --- Publishing --------------------------------------------------------------------

func TestWithLog_whatIsPublishedArrivesAsItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := start(t, ssegintest.NewLog())
		s := connect(t, a.srv, "?topic=x")
		for _, tc := range []struct {
			event ssegin.Event
			want  []ssegintest.Field
		}{
			{ssegin.Event{Retry: 1500 * time.Millisecond}, []ssegintest.Field{{Name: "retry", Value: "1500"}}},
			{ssegin.Event{Data: ""}, []ssegintest.Field{{Name: "data", Value: ""}}},
			{ssegin.Event{Data: []byte{}}, []ssegintest.Field{{Name: "data", Value: ""}}},
			{ssegin.Event{Type: "y", Data: map[string]int{"n": 1}}, []ssegintest.Field{{Name: "event", Value: "y"}, {Name: "data", Value: `{"n":1}`}}},
		} {
			id, err := a.hub.Publish(t.Context(), "x", tc.event)
			require.NoError(t, err)
			assert.Equal(t, append(tc.want, ssegintest.Field{Name: "id", Value: id}), nextBlock(t, s).Fields)
		}
	})
}

func TestWithLog_anEndNeedsNoDataThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		a := start(t, log)
		s := connect(t, a.srv, "?topic=x")
		_, err := log.Append(t.Context(), eventlog.Entry{Topic: "x", Type: "ssegin.end"}) // it is none
		require.NoError(t, err)
		id, err := a.hub.End(t.Context(), "x", ssegin.Event{})
		require.NoError(t, err)
		assert.Equal(t, []ssegintest.Field{{Name: "event", Value: "ssegin.end"}, {Name: "data"}, {Name: "id", Value: id}}, nextBlock(t, s).Fields)
		requireEnd(t, s)
		assert.EqualValues(t, 1, a.hub.Stats().Skipped)
		assert.EqualValues(t, 2, a.hub.Stats().Published)
	})
}

func TestWithLog_anEntryThatTheLogRefusesIsNotTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		var published []string
		log := &altered{Log: ssegintest.NewLog()}
		a := start(t, log, ssegin.WithObserver(ssegin.Observer{Published: func(topic string, n int) { published = append(published, fmt.Sprint(topic, n)) }}))
		publish(t, a.hub, "x", "12345")
		assert.Equal(t, []string{"x" + strconv.Itoa(len("data: 12345\n"))}, published)
		log.append = func(context.Context, eventlog.Entry) (uint64, error) {
			tries++
			return 0, fmt.Errorf("too large: %w", eventlog.ErrRefused)
		}
		begin := time.Now()
		_, err := a.hub.Publish(t.Context(), "x", ssegin.Event{Data: "?"})
		assert.ErrorIs(t, err, ssegin.ErrRefused)
		assert.NotErrorIs(t, err, ssegin.ErrUnavailable)
		assert.ErrorContains(t, err, "too large")
		assert.Zero(t, time.Since(begin))
		assert.Equal(t, 1, tries)
		assert.Len(t, published, 1)
	})
}

// A request whose answer never comes is given up, and made again.
func TestWithLog_aRequestThatIsLostIsMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &altered{Log: ssegintest.NewLog()}
		lost := func(ctx context.Context) error {
			log.append, log.bounds = nil, nil // the next one is not
			<-ctx.Done()
			return context.Cause(ctx)
		}
		log.bounds = func(ctx context.Context) (eventlog.Bounds, error) { return eventlog.Bounds{}, lost(ctx) }
		begin := time.Now()
		a := start(t, log)
		publish(t, a.hub, "x", 1)
		assert.Less(t, time.Since(begin), 4*time.Second)
		log.append = func(ctx context.Context, _ eventlog.Entry) (uint64, error) { return 0, lost(ctx) }
		begin = time.Now()
		publish(t, a.hub, "x", 2)
		assert.Less(t, time.Since(begin), 4*time.Second)
	})
}

func TestWithLog_whoPublishesIsToldWhyItEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		a := start(t, log)
		publish(t, a.hub, "x", 1)
		log.Hang()
		enough := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(enough) })
		_, err := a.hub.Publish(ctx, "x", ssegin.Event{Data: "?", MessageID: "mine"})
		assert.ErrorIs(t, err, ssegin.ErrUnavailable)
		assert.ErrorIs(t, err, enough)
		assert.ErrorContains(t, err, `"mine"`)

		begin := time.Now()
		time.AfterFunc(time.Second, func() { assert.NoError(t, a.hub.Shutdown(context.Background())) })
		_, err = a.hub.Publish(t.Context(), "x", ssegin.Event{Data: "?"})
		assert.ErrorIs(t, err, ssegin.ErrClosed)
		assert.Equal(t, time.Second, time.Since(begin), "the hub's end does not wait for the engine")
	})
}

// Before the hub knows the log's epoch it could give no ID.
func TestWithLog_publishingWaitsUntilTheLogIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		gate := &gated{Log: log}
		gate.close()
		a, b := start(t, gate), start(t, log)
		s := connect(t, b.srv, "?topic=x")
		time.AfterFunc(time.Second, gate.open)
		id := publish(t, a.hub, "x", 1)
		assert.Equal(t, ssegintest.Event{ID: id, Type: "message", Data: "1"}, next(t, s))
	})
}

// --- Being away --------------------------------------------------------------------

func TestWithLog_anEngineThatIsAwayIsAskedWithPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		told, up := make(chan error, 10), make(chan time.Duration, 10)
		a := start(t, log, ssegin.WithPublishTimeout(time.Minute), ssegin.WithObserver(engineHooks(told, up)))
		s := connect(t, a.srv, "?topic=x")
		before := log.Requests()
		log.Away(nil)
		_, err := a.hub.Publish(t.Context(), "x", ssegin.Event{Data: "?"})
		require.ErrorIs(t, err, ssegin.ErrUnavailable)
		after := log.Requests()
		assert.InDelta(t, 35, after.Appends-before.Appends, 15)
		assert.InDelta(t, 35, after.Bounds-before.Bounds, 15)
		require.Len(t, told, 1)
		assert.ErrorIs(t, <-told, ssegintest.ErrAway)
		assert.InDelta(t, time.Minute, a.hub.Stats().EngineDown, float64(time.Second))
		log.Back()
		time.Sleep(time.Minute)
		require.Len(t, up, 1)
		assert.Greater(t, <-up, 50*time.Second)

		log.Drop() // for a moment: nobody hears of it, and it costs no more than that
		begin := time.Now()
		publish(t, a.hub, "x", 1)
		requireNumbers(t, s, 1, 1)
		assert.Less(t, time.Since(begin), 100*time.Millisecond)
		assert.Empty(t, told)
	})
}

func TestWithLog_whoIsSentAwayHasLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		a := start(t, log, ssegin.WithHistory(10, 0, 0), ssegin.WithMaxStreams(1))
		ids := a.fill(t, "x", 100)
		synctest.Wait()
		log.Away(nil)
		for range 3 {
			requireEnd(t, request(t, a.srv, "?topic=x", withLastID(ids[5]), ssegintest.WithHeader("Accept", "text/event-stream")))
			assert.Zero(t, a.hub.Stats().Streams)
		}
		log.Back()
		requireNumbers(t, connect(t, a.srv, "?topic=x", withLastID(ids[5])), 7, 100)
	})
}

func TestWithLog_aProcessThatLagsALittleAsksNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		ahead, behind := start(t, log), start(t, slow{log, 100 * time.Millisecond})
		synctest.Wait()
		id := ahead.fill(t, "x", 1)[0]
		asked := log.Requests().Bounds
		s := connect(t, behind.srv, "?topic=x", withLastID(id))
		assert.Equal(t, asked, log.Requests().Bounds)
		ahead.fill(t, "x", 1)
		requireNumbers(t, s, 1, 1)
	})
}

func TestWithLog_aClientWithTheNewestEventIsNotOfTheFuture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		ahead, behind := start(t, log), start(t, slow{log, time.Second})
		synctest.Wait()
		id := ahead.fill(t, "x", 1)[0]
		s := connect(t, behind.srv, "?topic=x", withLastID(id))
		ahead.fill(t, "x", 1)
		requireNumbers(t, s, 1, 1)
	})
}

func TestWithLog_anIDOfAnotherLogIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := start(t, ssegintest.NewLog())
		publish(t, a.hub, "x", 1)
		synctest.Wait()
		begin := time.Now()
		requireReset(t, request(t, a.srv, "?topic=x", withLastID("abcdefg234-1000000-aaaab")), ssegin.ReasonEpoch)
		assert.Zero(t, time.Since(begin))
	})
}

// A process that has lost touch for a moment serves those who come.
func TestWithLog_aProcessThatWasReadyStaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		var lags atomic.Bool
		a := start(t, &altered{Log: log, follow: func(ctx context.Context, after uint64, deliver func(eventlog.Entry) error) error {
			if lags.Load() {
				return slow{log, time.Hour}.Follow(ctx, after, deliver)
			}
			return log.Follow(ctx, after, deliver)
		}})
		b := start(t, log)
		publish(t, b.hub, "x", 0)
		time.Sleep(time.Second)
		lags.Store(true)
		log.Drop()
		b.fill(t, "x", 5)
		time.Sleep(time.Second)
		begin := time.Now()
		connect(t, a.srv, "?topic=x")
		assert.Zero(t, time.Since(begin))
	})
}

// --- Beginning ---------------------------------------------------------------------

func TestWithLog_aProcessBeginsWithAsMuchAsItMayHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		ids := start(t, log).fill(t, "x", 500)
		for history, want := range map[int]int{1: 1, 10: 10, 499: 499, 500: 500, 1000: 500} {
			delivered := 0
			counting := &altered{Log: log, follow: func(ctx context.Context, after uint64, deliver func(eventlog.Entry) error) error {
				return log.Follow(ctx, after, func(e eventlog.Entry) error {
					delivered++
					return deliver(e)
				})
			}}
			n := start(t, counting, ssegin.WithHistory(history, 0, 0))
			synctest.Wait()
			reads := log.Requests().Reads
			oldest := max(0, 499-want) // of those after which memory goes on
			requireNumbers(t, connect(t, n.srv, "?topic=x", withLastID(ids[oldest])), oldest+2, 500)
			assert.Equal(t, want, n.hub.Stats().HistoryEvents)
			assert.LessOrEqual(t, delivered, want+1)
			assert.Equal(t, reads, log.Requests().Reads, "memory reaches back so far")
		}
	})
}

// Whom it lets in before it knows what its oldest position was, it cannot judge.
func TestWithLog_aProcessThatBeginsJudgesNobodyTooSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		lost := start(t, log).fill(t, "x", 10)[8]
		log.Rollback(5)
		for n := range 5 {
			put(t, log, "new "+strconv.Itoa(n))
		}
		late := start(t, slow{log, time.Second}, ssegin.WithHistory(1, 0, 0))
		requireReset(t, request(t, late.srv, "?topic=x", withLastID(lost)), ssegin.ReasonEpoch)
	})
}

// --- Gaps --------------------------------------------------------------------------

// What was told once is told when there is nothing else to say, too.
func TestWithLog_oneEntryThatNobodyHasSeenIsAGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		gate := &gated{Log: log}
		a := start(t, gate)
		a.fill(t, "x", 3)
		s := connect(t, a.srv, "?topic=x")
		gate.close()
		log.Drop()
		put(t, log, "unseen")
		log.Purge()
		begin := time.Now()
		gate.open()
		requireReset(t, s, ssegin.ReasonExpired)
		assert.Less(t, time.Since(begin), 3*time.Second, "the stream is woken for it")
	})
}

func TestWithLog_whatLeavesTheEngineAfterItWasSeenIsNoGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		a := start(t, log)
		a.fill(t, "x", 3)
		s := connect(t, a.srv, "?topic=x")
		log.Purge()
		log.Drop()
		time.Sleep(time.Second)
		publish(t, a.hub, "x", 4)
		requireNumbers(t, s, 4, 4)
		log.Drop() // it is the only entry now
		time.Sleep(time.Second)
		publish(t, a.hub, "x", 5)
		requireNumbers(t, s, 5, 5)
		assert.Zero(t, a.hub.Stats().Resets)
	})
}

// All has left the log while the process was out of touch, so there is no entry
// to compare. What the log says of its newest position must do.
func TestWithLog_anEmptiedLogIsTheSameOrAnother(t *testing.T) {
	for _, tc := range []struct {
		name  string
		fault func(t *testing.T, log *ssegintest.Log)
		reset ssegin.Reason // empty: nothing was missed
	}{
		{"all entries have left", func(_ *testing.T, log *ssegintest.Log) { log.Purge() }, ""},
		{"it was rolled back, filled to the same position, and emptied", func(t *testing.T, log *ssegintest.Log) {
			log.Rollback(2)
			put(t, log, "other 2")
			put(t, log, "other 3")
			log.Purge()
		}, ssegin.ReasonEpoch},
		{"it was rolled back, filled further, and the head has left", func(t *testing.T, log *ssegintest.Log) {
			log.Rollback(2)
			put(t, log, "other 2")
			put(t, log, "other 3")
			put(t, log, "other 4")
			log.Trim(3)
		}, ssegin.ReasonExpired},
		{"it was rolled back, filled further, and emptied", func(t *testing.T, log *ssegintest.Log) {
			log.Rollback(2)
			for n := range 4 {
				put(t, log, "other "+strconv.Itoa(n))
			}
			log.Purge()
		}, ssegin.ReasonExpired},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := ssegintest.NewLog()
				gate := &gated{Log: log}
				a := start(t, gate)
				a.fill(t, "x", 3)
				s := connect(t, a.srv, "?topic=x")
				gate.close()
				log.Drop()
				synctest.Wait()
				time.Sleep(time.Second) // what comes now has another time
				tc.fault(t, log)
				gate.open()
				time.Sleep(5 * time.Second)
				if tc.reset != "" {
					requireReset(t, s, tc.reset)
				}
				for e := (ssegintest.Event{}); e.Data != "live"; { // after what was there already
					if e.Type == "" {
						publish(t, a.hub, "x", "live")
					}
					e = next(t, s)
					require.Equal(t, "message", e.Type, "a second reset")
				}
				assert.EqualValues(t, min(1, len(tc.reset)), a.hub.Stats().Resets)
			})
		})
	}
}

func TestWithLog_theOnlyEntryIsReplacedByAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		a := start(t, log)
		a.fill(t, "x", 1)
		s := connect(t, a.srv, "?topic=x")
		log.Rollback(1)
		put(t, log, "another")
		begin := time.Now()
		requireReset(t, s, ssegin.ReasonEpoch)
		assert.Less(t, time.Since(begin), 3*time.Second, "the stream is woken for it")
	})
}

// An entry that cannot be sent is known by its check like any other.
func TestWithLog_anEntryThatCannotBeSentIsNoGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		a := start(t, log)
		a.fill(t, "x", 1)
		s := connect(t, a.srv, "?topic=x")
		_, err := log.Append(t.Context(), eventlog.Entry{Topic: "x", Type: "a\nb"})
		require.NoError(t, err)
		log.Drop()
		time.Sleep(time.Second)
		publish(t, a.hub, "x", 2)
		requireNumbers(t, s, 2, 2)
		_, err = log.Append(t.Context(), eventlog.Entry{Topic: "x", Type: "c\nd"})
		require.NoError(t, err)
		synctest.Wait()
		log.Rollback(1)
		put(t, log, "another in its place")
		requireReset(t, s, ssegin.ReasonEpoch)
	})
}

// A log that was made anew and is as long as the old one has other IDs.
func TestWithLog_aLogMadeAnewThatIsLongerIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		gate := &gated{Log: log}
		a := start(t, gate)
		a.fill(t, "x", 3)
		s := connect(t, a.srv, "?topic=x")
		gate.close()
		log.Renew()
		for n := range 10 {
			put(t, log, "new "+strconv.Itoa(n))
		}
		gate.open()
		requireReset(t, s, ssegin.ReasonEpoch)
		time.Sleep(time.Second)
		id := publish(t, start(t, log).hub, "x", "live")
		assert.Equal(t, ssegintest.Event{ID: id, Type: "message", Data: "live"}, next(t, s))
	})
}

// Where the entry at which a process stood leaves as it begins to follow, nobody
// can say whether it was the one that it knows.
func TestWithLog_anEntryThatLeavesAsTheProcessComesBackIsAGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &altered{Log: ssegintest.NewLog()}
		engine := log.Log.(*ssegintest.Log)
		a := start(t, log)
		a.fill(t, "x", 3)
		s := connect(t, a.srv, "?topic=x")
		log.follow = func(ctx context.Context, after uint64, deliver func(eventlog.Entry) error) error {
			log.follow = nil
			put(t, engine, "new")
			engine.Trim(3)
			return engine.Follow(ctx, after, deliver)
		}
		engine.Drop()
		requireReset(t, s, ssegin.ReasonExpired)
		require.Equal(t, "new", next(t, s).Data)
	})
}

// What ends at once is told, although the engine says what it holds.
func TestWithLog_aLogThatCannotBeFollowedIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := make(chan error, 1)
		broken := errors.New("broken")
		log := &altered{Log: ssegintest.NewLog(), follow: func(context.Context, uint64, func(eventlog.Entry) error) error { return broken }}
		start(t, log, ssegin.WithObserver(ssegin.Observer{EngineDown: func(err error) {
			select {
			case told <- err:
			default: // one is enough
			}
		}}))
		assert.ErrorIs(t, await(t, told), broken)
	})
}

// Between the moment at which a process finds that the log was rolled back, and
// the one at which it knows what is there now, nobody is judged.
func TestWithLog_aRolledBackLogIsLookedAtBeforeAnybodyIsJudged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		gate := &gated{Log: log}
		a := start(t, gate)
		lost := a.fill(t, "x", 10)[9]
		s := connect(t, a.srv, "?topic=x")
		log.Rollback(5)
		for n := range 5 {
			put(t, log, "new "+strconv.Itoa(n))
		}
		requireReset(t, s, ssegin.ReasonEpoch)
		gate.close()
		time.AfterFunc(time.Second, gate.open)
		requireReset(t, request(t, a.srv, "?topic=x", withLastID(lost)), ssegin.ReasonEpoch)
	})
}

// --- Catching up -------------------------------------------------------------------

// What the engine holds after it was made anew is not what the client has missed.
func TestWithLog_whoMissedSomethingOfAnEarlierLogIsGivenNothingOfTheNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		n := start(t, log, ssegin.WithHistory(10, 0, 0))
		hold := make(chan struct{})
		srv := serve(t, route(ssegin.Handler(n.hub, withTopics(), ssegin.OnConnect(func(*gin.Context, *ssegin.Stream) error {
			<-hold // a snapshot that takes its time
			return nil
		}))))
		old := n.fill(t, "x", 100)[9]
		synctest.Wait()
		got := make(chan *ssegintest.Stream)
		go func() { got <- request(t, srv, "?topic=x", withLastID(old[:strings.LastIndex(old, "-")])) }()
		synctest.Wait()
		log.Renew()
		time.Sleep(time.Second) // the hub has noticed
		n.fill(t, "x", 100)
		close(hold)
		requireReset(t, <-got, ssegin.ReasonEpoch)
	})
}

func TestWithLog_aLogMadeAnewWhileAPageIsWrittenIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		hub := start(t, log, ssegin.WithHistory(2, 0, 0)).hub
		srv := serve(t, route(ssegin.Handler(hub, withTopics(), ssegin.WithWriteTimeout(0))), ssegintest.WithBuffer(1<<10))
		first := publish(t, hub, "x", 0)
		for range 5 {
			publish(t, hub, "x", strings.Repeat("x", 10_000))
		}
		synctest.Wait()
		s := connect(t, srv, "?topic=x", withLastID(first))
		next(t, s)
		log.Renew()
		time.Sleep(time.Second)
		nextData(t, s, 4)
		requireReset(t, s, ssegin.ReasonEpoch)
	})
}

// The memory of a process that has not noticed yet does not follow what the
// engine has.
func TestWithLog_whatIsOlderMustLeadToWhatIsInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		gate := &gated{Log: log}
		n := start(t, gate, ssegin.WithHistory(5, 0, 0))
		ids := n.fill(t, "x", 20)
		synctest.Wait()
		gate.close()
		defer gate.open()
		log.Rollback(10)
		for i := range 10 {
			put(t, log, "new "+strconv.Itoa(i))
		}
		s := connect(t, n.srv, "?topic=x", withLastID(ids[3]))
		requireNumbers(t, s, 5, 10)
		for i := range 10 {
			require.Equal(t, "new "+strconv.Itoa(i), next(t, s).Data)
		}
		requireReset(t, s, ssegin.ReasonEpoch)
	})
}

func TestWithLog_aTopicThatWentOnAfterItsEndHasNotEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		a := start(t, log)
		first := a.fill(t, "job", 1)[0]
		_, err := a.hub.End(t.Context(), "job", ssegin.Event{Data: "2"})
		require.NoError(t, err)
		publish(t, a.hub, "job", 3)
		a.fill(t, "other", 500)
		b := start(t, log, ssegin.WithHistory(10, 0, 0))
		synctest.Wait()
		s := connect(t, b.srv, "?topic=job", withLastID(first))
		requireNumbers(t, s, 2, 3)
		synctest.Wait()
		publish(t, a.hub, "job", 4)
		requireNumbers(t, s, 4, 4)
	})
}

func TestWithLog_conflatedEventsKeepTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog(ssegintest.WithFirstPosition(1))
		hub := start(t, log, ssegin.WithHistory(10, 0, 0)).hub
		srv := serve(t, route(ssegin.Handler(hub, withTopics(), ssegin.WithConflation())))
		first := publish(t, hub, "x", 0)
		var query strings.Builder
		query.WriteString("?topic=x")
		var want []string
		for n := range 20 {
			topic := "t" + strconv.Itoa(n)
			query.WriteString("&topic=" + topic)
			publish(t, hub, topic, "old")
		}
		for n := range 20 {
			publish(t, hub, "t"+strconv.Itoa(19-n), 19-n)
			want = append(want, strconv.Itoa(19-n))
		}
		synctest.Wait() // the hub has read them all
		assert.Equal(t, want, nextData(t, connect(t, srv, query.String(), withLastID(first)), 20))
	})
}

func TestWithLog_whatIsOlderIsWrittenAndCountedLikeTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const events = 40
		log := ssegintest.NewLog()
		var mu sync.Mutex
		var sizes []int
		n := start(t, log, ssegin.WithHistory(2, 0, 0), ssegin.WithObserver(ssegin.Observer{Delivered: func(_, bytes int, _ time.Duration) {
			mu.Lock()
			sizes = append(sizes, bytes)
			mu.Unlock()
		}}))
		first := publish(t, n.hub, "x", 0)
		for range events {
			publish(t, n.hub, "x", strings.Repeat("x", 10_000))
		}
		synctest.Wait()
		s := connect(t, n.srv, "?topic=x", withLastID(first))
		nextData(t, s, events)
		synctest.Wait()
		assert.EqualValues(t, events, n.hub.Stats().Delivered)
		mu.Lock()
		defer mu.Unlock()
		assert.LessOrEqual(t, slices.Max(sizes), 64<<10)
		assert.LessOrEqual(t, len(sizes), events/6+3)
	})
}

// The time to the next heartbeat counts from the last event, and that says where
// the client is.
func TestWithLog_heartbeatsFollowWhatIsOlder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := stuck{ssegintest.NewLog(), make(chan struct{})}
		n := start(t, log, ssegin.WithHistory(2, 0, 0))
		first := n.fill(t, "x", 20)[0]
		synctest.Wait()
		go func() {
			time.Sleep(9 * time.Second)
			log.reads <- struct{}{}
		}()
		s := connect(t, n.srv, "?topic=x", withLastID(first))
		requireNumbers(t, s, 2, 20)
		begin := time.Now()
		assert.Empty(t, nextBlock(t, s).Fields, "a comment: there is no other ID to tell")
		assert.Equal(t, 15*time.Second, time.Since(begin))
	})
}

func TestWithLog_aHoleInWhatIsOlderCallsOnReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		hub := start(t, log, ssegin.WithHistory(2, 0, 0)).hub
		srv := serve(t, route(ssegin.Handler(hub, withTopics(), ssegin.OnReset(func(s *ssegin.Stream, r ssegin.Reset) {
			assert.NoError(t, s.Send(ssegin.Event{Data: "snapshot after " + string(r.Reason)}))
		}))))
		ids := (&node{hub: hub}).fill(t, "x", 20)
		hole, err := strconv.ParseUint(strings.Split(ids[10], "-")[1], 10, 64)
		require.NoError(t, err)
		synctest.Wait()
		log.Delete(hole)
		s := connect(t, srv, "?topic=x", withLastID(ids[5]))
		requireNumbers(t, s, 7, 10)
		requireReset(t, s, ssegin.ReasonExpired)
		require.Equal(t, "snapshot after expired", next(t, s).Data)
		publish(t, hub, "x", "live")
		require.Equal(t, "live", next(t, s).Data)
		assert.EqualValues(t, 1, hub.Stats().Resets)
	})
}

// What is read from the engine and not yet written is not written any more.
func TestWithLog_whoIsDisconnectedIsGivenNoMoreOfThePast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		hub := start(t, log, ssegin.WithHistory(2, 0, 0)).hub
		srv := serve(t, route(ssegin.Handler(hub, withTopics(), ssegin.WithWriteTimeout(0))), ssegintest.WithBuffer(1<<10))
		first := publish(t, hub, "x", 0)
		for range 20 {
			publish(t, hub, "x", strings.Repeat("x", 60<<10)) // each is a write
		}
		synctest.Wait()
		s := connect(t, srv, "?topic=x", withLastID(first))
		next(t, s)
		synctest.Wait()
		require.Equal(t, 1, disconnect(t, hub, "x"))
		read := 1
		for ; ; read++ {
			if _, err := s.Next(t.Context()); err != nil {
				break
			}
		}
		assert.LessOrEqual(t, read, 3)
	})
}

func TestWithLog_aStreamThatCatchesUpEndsAtItsTime(t *testing.T) {
	for cause, option := range map[error]ssegin.StreamOption{
		ssegin.ErrMaxAge:  ssegin.WithMaxAge(5 * time.Second),
		ssegin.ErrExpired: ssegin.WithExpiry(func(*gin.Context) time.Time { return time.Now().Add(5 * time.Second) }),
	} {
		synctest.Test(t, func(t *testing.T) {
			log := stuck{ssegintest.NewLog(), make(chan struct{})}
			causes := make(chan error, 1)
			n := start(t, log, ssegin.WithHistory(2, 0, 0), ssegin.WithObserver(ssegin.Observer{
				Closed: func(cause error, _ time.Duration) { causes <- cause },
			}))
			srv := serve(t, route(ssegin.Handler(n.hub, withTopics(), option)))
			first := n.fill(t, "x", 1000)[0]
			synctest.Wait()
			go func() { log.reads <- struct{}{} }() // one page, and no more
			begin := time.Now()
			connect(t, srv, "?topic=x", withLastID(first))
			assert.ErrorIs(t, <-causes, cause)
			assert.Equal(t, 5*time.Second, time.Since(begin))
		})
	}
}

// A stream that is to be detached has a client, too.
func TestWithLog_aClientThatLeavesWhileItCatchesUpIsNoticed(t *testing.T) {
	onBothPaths(t, func(t *testing.T, path ssegin.StreamOption) {
		log := stuck{ssegintest.NewLog(), make(chan struct{})}
		causes := make(chan error, 1)
		n := start(t, log, ssegin.WithHistory(2, 0, 0), ssegin.WithObserver(ssegin.Observer{
			Closed: func(cause error, _ time.Duration) { causes <- cause },
		}))
		srv := listen(t, route(ssegin.Handler(n.hub, path, withTopics())))
		first := n.fill(t, "x", 500)[0]
		require.Eventually(t, func() bool { return n.hub.Stats().Published == 500 }, patience, time.Millisecond)
		joined(t).Go(func() {
			select {
			case log.reads <- struct{}{}:
			case <-t.Context().Done():
			}
		})
		s := open(t, srv, "?topic=x", withLastID(first))
		requireNumbers(t, s, 2, 3)
		s.Close()
		assert.ErrorIs(t, await(t, causes), context.Canceled)
	})
}

func TestWithLog_aReasonFoundOnArrivalIsInTheOpening(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		var opened []ssegin.Reset
		n := start(t, log, ssegin.WithHistory(2, 0, 0), ssegin.WithObserver(ssegin.Observer{
			Opened: func(_ bool, r ssegin.Reset) { opened = append(opened, r) },
		}))
		first := n.fill(t, "x", 20)[0]
		synctest.Wait()
		log.Trim(5)
		s := request(t, n.srv, "?topic=x", withLastID(first))
		require.Equal(t, http.StatusOK, s.Response().StatusCode)
		requireReset(t, s, ssegin.ReasonExpired)
		assert.Equal(t, []ssegin.Reset{{Reason: ssegin.ReasonExpired, Missed: -1}}, opened)
	})
}

// Whoever publishes gets what is needed to try again, whatever the reason.
func TestPublish_anUnknownOutcomeCarriesTheMessageID(t *testing.T) {
	for name, test := range map[string]struct {
		given string
		ended bool // the hub ends while it waits
		is    error
	}{
		"given by the application": {given: "order 7", is: ssegin.ErrUnavailable},
		"given by the hub":         {is: ssegin.ErrUnavailable},
		"the hub has ended":        {ended: true, is: ssegin.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := ssegintest.NewLog()
				a := start(t, log, ssegin.WithPublishTimeout(2*time.Second))
				s := connect(t, a.srv, "?topic=x")
				a.fill(t, "x", 1)
				log.LoseAnswers(1)
				log.Hang()
				if test.ended {
					time.AfterFunc(time.Second, func() { _ = a.hub.Shutdown(t.Context()) })
				}
				_, err := a.hub.Publish(t.Context(), "x", ssegin.Event{Data: 2, MessageID: test.given})
				unknown, ok := errors.AsType[*ssegin.UnknownOutcomeError](err)
				require.True(t, ok, "%v", err)
				assert.ErrorIs(t, err, test.is)
				assert.ErrorContains(t, err, unknown.MessageID)
				assert.NotEmpty(t, unknown.MessageID)
				if test.given != "" {
					assert.Equal(t, test.given, unknown.MessageID)
				}
				if log.Back(); test.ended {
					return
				}
				time.Sleep(10 * time.Second)
				publish := func() string {
					id, err := a.hub.Publish(t.Context(), "x", ssegin.Event{Data: 2, MessageID: unknown.MessageID})
					require.NoError(t, err)
					return id
				}
				first := publish()
				require.Equal(t, first, publish(), "it is there once")
				requireNumbers(t, s, 1, 2)
				requireSilence(t, s, time.Second)
			})
		})
	}
}
