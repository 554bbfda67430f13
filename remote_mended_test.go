package ssegin_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
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

// A failing log's Follow fails at once, always, with that error.
type failingLog struct {
	eventlog.Log
	err error
}

func (l failingLog) Follow(context.Context, uint64, func(eventlog.Entry) error) error { return l.err }

// As long as Follow fails the engine is away, whatever Bounds says.
func TestWithLog_anEngineThatCannotBeFollowedIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down, up atomic.Int64
		a := start(t, failingLog{ssegintest.NewLog(), errors.New("no permission to follow")}, ssegin.WithObserver(ssegin.Observer{
			EngineDown: func(error) { down.Add(1) },
			EngineUp:   func(time.Duration) { up.Add(1) },
		}))
		time.Sleep(10 * time.Minute)
		t.Logf("down for %v, told of it %d times, and %d times that it was up", a.hub.Stats().EngineDown, down.Load(), up.Load())
		assert.Greater(t, a.hub.Stats().EngineDown, 9*time.Minute)
		assert.EqualValues(t, 1, down.Load())
		assert.Zero(t, up.Load())
	})
}

func TestWithLog_aFollowThatEndsWithoutAnErrorIsOneAllTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := make(chan error, 10)
		start(t, failingLog{ssegintest.NewLog(), nil}, ssegin.WithObserver(ssegin.Observer{EngineDown: func(err error) { told <- err }}))
		time.Sleep(time.Minute)
		assert.Error(t, await(t, told))
	})
}

// An entry at the head comes again after each loss of touch.
func TestWithLog_anEntryThatCannotBeSentIsCountedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		a := start(t, log)
		a.fill(t, "x", 1)
		_, err := log.Append(t.Context(), eventlog.Entry{Topic: "x", Type: "a\nb"})
		require.NoError(t, err)
		for range 5 {
			time.Sleep(5 * time.Second)
			log.Drop()
		}
		time.Sleep(5 * time.Second)
		assert.EqualValues(t, 1, a.hub.Stats().Skipped)
	})
}

// What was in the log before is read, and does not count.
func TestWithLog_countsWhatIsPublishedSinceTheHubWasMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		start(t, log).fill(t, "x", 100)
		b := start(t, log)
		synctest.Wait()
		assert.EqualValues(t, 0, b.hub.Stats().Published)
	})
}

func TestWithLog_shutdownSendsAwayThoseWhoWaitToArrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		log.Away(nil)
		a := start(t, log)
		begin := time.Now()
		done := make(chan time.Duration)
		go func() {
			requireEnd(t, request(t, a.srv, "", ssegintest.WithHeader("Accept", "text/event-stream")))
			done <- time.Since(begin)
		}()
		time.Sleep(time.Millisecond)
		require.NoError(t, a.hub.Shutdown(t.Context()))
		assert.Less(t, <-done, time.Second)
	})
}

// Those who catch up end each at its moment of the window, with a retry.
func TestWithLog_streamsThatCatchUpAreDrained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := stuck{ssegintest.NewLog(), make(chan struct{})}
		causes := make(chan error, 10)
		n := start(t, log, ssegin.WithHistory(10, 0, 0), ssegin.WithDrain(10*time.Second), ssegin.WithObserver(ssegin.Observer{
			Closed: func(cause error, _ time.Duration) { causes <- cause },
		}))
		first := n.fill(t, "x", 1000)[0]
		go func() { log.reads <- struct{}{} }()
		live := connect(t, n.srv, "?topic=y")
		s := connect(t, n.srv, "?topic=x", withLastID(first))
		requireNumbers(t, s, 2, 25)
		_ = live
		go func() { assert.NoError(t, n.hub.Shutdown(context.Background())) }()
		begin := time.Now()
		c1, c2 := <-causes, <-causes
		t.Log(c1, c2, time.Since(begin))
		assert.ErrorIs(t, c1, ssegin.ErrShutdown)
		assert.ErrorIs(t, c2, ssegin.ErrShutdown)
		blocks := requireEnd(t, s)
		assert.NotEmpty(t, blocks, "a farewell with a retry")
	})
}

// A heartbeat in between must not take the client back.
func TestWithLog_idsGoUpWhileASlowClientCatchesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		hub := start(t, log, ssegin.WithHistory(2, 0, 0)).hub
		srv := serve(t, route(ssegin.Handler(hub, withTopics(), ssegin.WithHeartbeat(time.Second))), ssegintest.WithBuffer(1<<10))
		first := publish(t, hub, "x", "0")
		for n := range 12 {
			publish(t, hub, "x", strconv.Itoa(n+1)+strings.Repeat("x", 40<<10))
		}
		synctest.Wait() // the hub has read them all, so the client is behind its memory
		s := connect(t, srv, "?topic=x", withLastID(first))
		last := uint64(0)
		for range 16 {
			time.Sleep(2 * time.Second) // slow, but well within the write timeout
			b := nextBlock(t, s)
			id := s.LastEventID()
			p, err := strconv.ParseUint(strings.Split(id, "-")[1], 10, 64)
			require.NoError(t, err)
			typ := ""
			if b.Event != nil {
				typ = b.Event.Type
			}
			t.Log(typ, p)
			assert.GreaterOrEqual(t, p, last, "the ID went back")
			last = p
			if p == 1012 {
				break
			}
		}
	})
}

// A page that was asked for in an earlier life of the log is of no use later.
func TestWithLog_pagesBelongToALifeOfTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog(ssegintest.WithFirstPosition(1))
		n := start(t, log, ssegin.WithHistory(10, 0, 0))
		hold := make(chan struct{})
		slowSrv := serve(t, route(ssegin.Handler(n.hub, withTopics(), ssegin.OnConnect(func(*gin.Context, *ssegin.Stream) error {
			<-hold // a snapshot that takes its time
			return nil
		}))))
		old := n.fill(t, "x", 600)
		got := make(chan *ssegintest.Stream)
		go func() { got <- request(t, slowSrv, "?topic=x", withLastID(old[9])) }()
		synctest.Wait()
		log.Renew()
		time.Sleep(5 * time.Second)
		fresh := n.fill(t, "x", 600)
		synctest.Wait()
		close(hold)
		requireReset(t, <-got, ssegin.ReasonEpoch)
		s := connect(t, n.srv, "?topic=x", withLastID(fresh[9]))
		for i := 10; i < 20; i++ {
			e := next(t, s)
			require.Equal(t, strconv.Itoa(i+1), e.Data)
			require.Equal(t, fresh[i], e.ID)
		}
	})
}

// The process has not seen the end; its client has.
func TestWithLog_theIDOfAnEndTellsOfIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		a := start(t, log)
		a.fill(t, "job", 3)
		id, err := a.hub.End(t.Context(), "job", ssegin.Event{Type: "done", Data: "4"})
		require.NoError(t, err)
		a.fill(t, "other", 500)
		b := start(t, log, ssegin.WithHistory(10, 0, 0))
		s := request(t, b.srv, "?topic=job", withLastID(id))
		if s.Response().StatusCode == http.StatusNoContent {
			return
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		_, err = s.Next(ctx)
		assert.Error(t, err)
		assert.NotErrorIs(t, err, context.DeadlineExceeded, "the stream stays open for ever")
	})
}

func TestWithLog_catchingUpReadsEachPageAboutOnce(t *testing.T) {
	for _, size := range []int{1 << 10, 64 << 10, 200 << 10} {
		t.Run(strconv.Itoa(size), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := ssegintest.NewLog(ssegintest.WithFirstPosition(1))
				n := start(t, log, ssegin.WithHistory(2, 0, 0))
				first := publish(t, n.hub, "x", "0")
				const events = 256
				for range events {
					publish(t, n.hub, "y", strings.Repeat("x", size))
				}
				publish(t, n.hub, "x", "1")
				synctest.Wait()
				counted := log.Requests().Reads
				s := connect(t, n.srv, "?topic=x", withLastID(first))
				requireNumbers(t, s, 1, 1)
				reads := log.Requests().Reads - counted
				ideal := events*size/(1<<20) + 3
				t.Logf("%d events of %d KiB: %d reads, %d would do", events, size>>10, reads, ideal)
				assert.LessOrEqual(t, reads, 3*ideal)
			})
		})
	}
}

// Clients can claim anything while there is no answer, too.
func TestWithLog_forgedPositionsCostAnEngineThatIsAwayLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		a := start(t, log)
		id := publish(t, a.hub, "x", 1)
		synctest.Wait()
		log.Away(nil)
		before := log.Requests().Bounds
		done := make(chan struct{})
		for n := range 200 {
			go func() {
				defer func() { done <- struct{}{} }()
				request(t, a.srv, "?topic=x", withLastID(fmt.Sprintf("%s-%d", id[:10], 1_000_000+n)))
			}()
		}
		begin := time.Now()
		for range 200 {
			<-done
		}
		t.Logf("%d requests in %v", log.Requests().Bounds-before, time.Since(begin))
		assert.LessOrEqual(t, log.Requests().Bounds-before, 20)
	})
}

func TestWithLog_beatsWhileTheEngineGivesNoPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := stuck{ssegintest.NewLog(), make(chan struct{})}
		n := start(t, log, ssegin.WithHistory(10, 0, 0))
		srv := serve(t, route(ssegin.Handler(n.hub, withTopics(), ssegin.WithHeartbeat(time.Second))))
		first := n.fill(t, "x", 1000)[0]
		go func() { log.reads <- struct{}{} }()
		s := connect(t, srv, "?topic=x", withLastID(first))
		requireNumbers(t, s, 2, 25)
		begin := time.Now()
		_, err := s.NextBlock(t.Context())
		t.Log(time.Since(begin), err)
		assert.LessOrEqual(t, time.Since(begin), 2*time.Second)
	})
}

// After a rollback an event that was tried again may lie where it was, and others
// before it that nobody has seen.
func TestWithLog_comparesMoreThanTheLastEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		a := start(t, log)
		a.fill(t, "x", 3)
		s := connect(t, a.srv, "?topic=x")
		put := func(id string) {
			_, err := log.Append(t.Context(), eventlog.Entry{Topic: "x", Data: []byte(id), MessageID: id})
			require.NoError(t, err)
		}
		put("A")
		put("B") // and its answer is lost
		require.Equal(t, "A", next(t, s).Data)
		require.Equal(t, "B", next(t, s).Data)
		log.Rollback(2) // fail-over to a replica that lagged
		put("C")
		put("B") // its publisher tries again
		put("D")
		e := next(t, s)
		assert.Equal(t, "ssegin.reset", e.Type, "C is passed over: %v", e)
	})
}

func TestHub_aMessageIDIsForgottenWithTheAgeOfItsEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := ssegin.NewHub(ssegin.WithHistory(0, 0, time.Minute))
		srv := serve(t, route(ssegin.Handler(hub, withTopics())))
		first, err := hub.Publish(t.Context(), "x", ssegin.Event{Data: "1", MessageID: "m"})
		require.NoError(t, err)
		time.Sleep(time.Hour)
		_ = srv
		second, err := hub.Publish(t.Context(), "x", ssegin.Event{Data: "1", MessageID: "m"})
		require.NoError(t, err)
		assert.NotEqual(t, first, second)
	})
}

// Nothing is called, and nothing sent, for a client whose time passes as it waits.
func TestWithLog_whoExpiresWhileArrivingIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		log.Away(nil)
		hub := start(t, log).hub
		var connected atomic.Bool
		srv := serve(t, route(ssegin.Handler(hub, withTopics(),
			ssegin.WithExpiry(func(*gin.Context) time.Time { return time.Now().Add(time.Second) }),
			ssegin.OnConnect(func(*gin.Context, *ssegin.Stream) error { connected.Store(true); return nil }))))
		time.AfterFunc(3*time.Second, log.Back)
		s := request(t, srv, "?topic=x")
		t.Log(s.Response().StatusCode)
		synctest.Wait()
		assert.False(t, connected.Load(), "OnConnect (a snapshot) runs for a client whose permission expired seconds ago")
	})
}

// The place in the log can be sure again without an entry that says so.
func TestWithLog_streamsHearWhenTheirPlaceIsSureAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine := ssegintest.NewLog()
		log := &altered{Log: engine}
		a := start(t, log)
		a.fill(t, "x", 10)
		s := connect(t, a.srv, "?topic=x")
		n := 0
		log.bounds = func(ctx context.Context) (eventlog.Bounds, error) {
			if n++; n == 2 {
				engine.Purge()
			}
			return engine.Bounds(ctx)
		}
		engine.Rollback(5)
		for i := range 5 {
			put(t, engine, "new "+strconv.Itoa(i))
		}
		begin := time.Now()
		requireReset(t, s, ssegin.ReasonEpoch)
		t.Log(time.Since(begin))
		assert.Less(t, time.Since(begin), 2*time.Second)
	})
}

// There is no request that a panic in this callback could end.
func TestWithLog_aPanicInTheEnginesHooksIsLoggedAndEndsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logged bytes.Buffer
		log := ssegintest.NewLog()
		a := start(t, log,
			ssegin.WithLogger(slog.New(slog.NewTextHandler(&logged, nil))),
			ssegin.WithObserver(ssegin.Observer{
				EngineDown: func(error) { panic("of the application") },
				EngineUp:   func(time.Duration) { panic("of the application, too") },
			}))
		s := connect(t, a.srv, "?topic=x")
		log.Away(nil)
		time.Sleep(10 * time.Second)
		log.Back()
		time.Sleep(10 * time.Second)
		publish(t, a.hub, "x", 1)
		requireNumbers(t, s, 1, 1)
		require.NoError(t, a.hub.Shutdown(t.Context())) // it writes no more
		assert.Contains(t, logged.String(), "of the application")
	})
}
