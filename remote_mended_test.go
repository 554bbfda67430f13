package ssegin_test

import (
	"context"
	"errors"
	"fmt"
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

// while Follow fails for ever, Stats.Away says ~0 and Away flaps.

func TestWithLog_followFailsForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls, back atomic.Int64
		a := start(t, failingLog{ssegintest.NewLog(), errors.New("no permission to follow")}, ssegin.WithObserver(ssegin.Observer{Away: func(err error) {
			if calls.Add(1); err == nil {
				back.Add(1)
			}
		}}))
		time.Sleep(10 * time.Minute)
		t.Logf("Away %v, observer called %d times, %d of them 'back'", a.hub.Stats().Away, calls.Load(), back.Load())
		assert.Greater(t, a.hub.Stats().Away, 9*time.Minute)
		assert.LessOrEqual(t, calls.Load(), int64(2))
	})
}

// Follow returns nil: Away(nil) means that it is back.

func TestWithLog_followReturnsNil(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var first atomic.Value
		start(t, failingLog{ssegintest.NewLog(), nil}, ssegin.WithObserver(ssegin.Observer{Away: func(err error) {
			first.CompareAndSwap(nil, fmt.Sprint(err))
		}}))
		time.Sleep(time.Minute)
		assert.NotEqual(t, "<nil>", first.Load())
	})
}

// an unsendable entry at the head is counted once.

func TestWithLog_skippedOncePerEntry(t *testing.T) {
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

// Published counts what was in the log before the hub.

func TestWithLog_publishedSinceTheHubWasMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		start(t, log).fill(t, "x", 100)
		b := start(t, log)
		synctest.Wait()
		assert.EqualValues(t, 0, b.hub.Stats().Published)
	})
}

// the returned ID after a renewal that the hub has not noticed.

// Shutdown sends away clients who wait to arrive.

func TestWithLog_shutdownFreesThoseWhoWait(t *testing.T) {
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

// ErrClosed says that nothing was sent.

// Shutdown with a drain window: those who catch up end each at its moment, with a retry.

func TestWithLog_catchingUpStreamsDrain(t *testing.T) {
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

// IDs go up while a slow client catches up.

func TestWithLog_iDsGoUpWhileCatchingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		hub := start(t, log, ssegin.WithHistory(2, 0, 0)).hub
		srv := serve(t, route(ssegin.Handler(hub, withTopics(), ssegin.WithHeartbeat(time.Second))), ssegintest.WithBuffer(1<<10))
		first := publish(t, hub, "x", "0")
		for n := range 12 {
			publish(t, hub, "x", strconv.Itoa(n+1)+strings.Repeat("x", 40<<10))
		}
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

// pages of the old life poison the cache of the new one.

func TestWithLog_pagesOfAnEarlierLife(t *testing.T) {
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

// a client ahead of this process, when the log is rolled back while it waits.

// A held log keeps entries and bounds from its follower for a while.

// 204 for a client with the end's ID at a process that has not seen the end.

func TestWithLog_theEndIsKnownWithItsOwnID(t *testing.T) {
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

// catching up over large events reads each page about once.

func TestWithLog_catchingUpReadsEachPageOnce(t *testing.T) {
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

// Observer.Lagged is called when a stream was too slow, and only then.

func TestWithLog_forgedPositionsWhileTheEngineIsAway(t *testing.T) {
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

// heartbeats while the engine gives no page.

func TestWithLog_heartbeatsWhileCatchingUp(t *testing.T) {
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

// a rolled-back log in which a retried event lies at the same position.

func TestWithLog_theSameEventAtTheSamePositionAfterARollback(t *testing.T) {
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

// Shutdown's error says what it waited for.

// memory that slow clients at many different places hold.

// a message ID is remembered while the event is in the history, by age.

func TestWithLog_messageIDAge(t *testing.T) {
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

// trimmed-empty log, made anew between Bounds and Follow.

// an ID without a check, and a restore of an older copy.

// expiry while arriving: OnConnect is called after the time has passed.

func TestWithLog_expiryWhileArriving(t *testing.T) {
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

// a new epoch that this process has not heard of.

// a lost wake-up: the place is sure again without an entry that says so.

func TestWithLog_lostWakeUpWhenSureAgain(t *testing.T) {
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

// a hole before a client's place is no gap for it.
