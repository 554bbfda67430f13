package tests

import (
	"context"
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

func TestWithLog_olderEventsComeFromTheEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		a := start(t, log, ssegin.WithHistory(10, 0, 0))
		ids := a.fill(t, "x", 1000)
		a.fill(t, "y", 1000)
		for _, n := range []int{0, 1, 24, 25, 255, 256, 700, 998} {
			s := connect(t, a.srv, "?topic=x", withLastID(ids[n]))
			requireNumbers(t, s, n+2, 1000)
			publish(t, a.hub, "x", "live")
			require.Equal(t, "live", next(t, s).Data)
			s.Close()
		}
		assert.Zero(t, a.hub.Stats().Resets)
	})
}

func TestWithLog_whatIsTooOldForTheEngineIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		a := start(t, log, ssegin.WithHistory(10, 0, 0))
		ids := a.fill(t, "x", 1000)
		log.Trim(500)
		for _, id := range ids[498:500] { // nobody can say any more what was at the second one
			s := request(t, a.srv, "?topic=x", withLastID(id))
			requireReset(t, s, ssegin.ReasonExpired)
			publish(t, a.hub, "x", "live")
			require.Equal(t, "live", next(t, s).Data)
		}
		s := connect(t, a.srv, "?topic=x", withLastID(ids[500]))
		requireNumbers(t, s, 502, 1000)
	})
}

func TestWithLog_anEndIsFoundInTheEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		a := start(t, log)
		ids := a.fill(t, "job", 3)
		_, err := a.hub.End(t.Context(), "job", ssegin.Event{Type: "done", Data: "4"})
		require.NoError(t, err)
		a.fill(t, "other", 500)
		b := start(t, log, ssegin.WithHistory(10, 0, 0)) // it has not seen the end
		s := connect(t, b.srv, "?topic=job", withLastID(ids[0]))
		requireNumbers(t, s, 2, 4)
		requireEnd(t, s)
		resume := request(t, b.srv, "?topic=job", withLastID(s.LastEventID()))
		assert.Equal(t, http.StatusNoContent, resume.Response().StatusCode)
	})
}

func TestWithLog_conflatesWhatComesFromTheEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		hub := start(t, log, ssegin.WithHistory(10, 0, 0)).hub
		srv := serve(t, route(ssegin.Handler(hub, withTopics(), ssegin.WithConflation())))
		first := publish(t, hub, "x", 0)
		for n := range 1000 {
			publish(t, hub, "x", n+1)
		}
		s := connect(t, srv, "?topic=x", withLastID(first))
		var got []string
		for len(got) == 0 || got[len(got)-1] != "1000" {
			got = append(got, next(t, s).Data)
		}
		assert.Less(t, len(got), 10, "%v", got)
	})
}

// A stream that is being given what is older than memory ends like any other.
func TestWithLog_aStreamThatCatchesUpEndsForEveryReason(t *testing.T) {
	for name, tc := range map[string]struct {
		end   func(*testing.T, *node, *ssegintest.Stream)
		cause error
	}{
		"disconnected": {func(t *testing.T, n *node, _ *ssegintest.Stream) { assert.Equal(t, 1, disconnect(t, n.hub, "x")) }, ssegin.ErrDisconnected},
		"shutdown": {func(t *testing.T, n *node, _ *ssegintest.Stream) {
			go func() { assert.NoError(t, n.hub.Shutdown(context.Background())) }()
		}, ssegin.ErrShutdown},
		"gone":        {func(_ *testing.T, _ *node, s *ssegintest.Stream) { s.Cut() }, context.Canceled},
		"engine away": {func(*testing.T, *node, *ssegintest.Stream) { time.Sleep(time.Minute) }, ssegin.ErrUnavailable},
		"expired":     {func(*testing.T, *node, *ssegintest.Stream) { time.Sleep(5 * time.Second) }, ssegin.ErrMaxAge},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := stuck{ssegintest.NewLog(), make(chan struct{})}
				causes := make(chan error, 1)
				n := start(t, log, ssegin.WithHistory(10, 0, 0), ssegin.WithObserver(ssegin.Observer{
					Closed: func(cause error, _ time.Duration) { causes <- cause },
				}))
				opts := []ssegin.StreamOption{withTopics()}
				if name == "expired" {
					opts = append(opts, ssegin.WithMaxAge(5*time.Second))
				}
				srv := serve(t, route(ssegin.Handler(n.hub, opts...)))
				first := n.fill(t, "x", 1000)[0]
				go func() { log.reads <- struct{}{} }() // one page, and no more
				s := connect(t, srv, "?topic=x", withLastID(first))
				requireNumbers(t, s, 2, 25) // up to where the page ends
				begin := time.Now()
				tc.end(t, n, s)
				assert.ErrorIs(t, <-causes, tc.cause)
				assert.LessOrEqual(t, time.Since(begin), time.Minute)
				if name != "gone" {
					requireEnd(t, s)
				}
			})
		})
	}
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
		requireEnd(t, s)
		retry, _ := s.Retry()
		assert.Greater(t, retry, 2*time.Second, "a farewell with a retry")
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
