package tests

import (
	"fmt"
	"net/http"
	"strconv"
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

func TestWithLog_aProcessThatIsBehindTheClientWaits(t *testing.T) {
	for _, by := range []time.Duration{10 * time.Millisecond, time.Second, time.Minute} {
		t.Run(by.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := ssegintest.NewLog()
				ahead, behind := start(t, log), start(t, slow{log, by})
				synctest.Wait()
				ids := ahead.fill(t, "x", 2)
				s := request(t, behind.srv, "?topic=x", withLastID(ids[0]), ssegintest.WithHeader("Accept", "text/event-stream"))
				if by == time.Minute { // for longer than a client should wait
					blocks := requireEnd(t, s)
					require.NotEmpty(t, blocks, "it is told when to come back")
					return
				}
				nextBlock(t, s)
				requireNumbers(t, s, 2, 2)
				ahead.fill(t, "x", 1)
				requireNumbers(t, s, 1, 1)
			})
		})
	}
}

func TestWithLog_positionsThatNobodyHasSeenCostTheEngineLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		a := start(t, log)
		id := publish(t, a.hub, "x", 1)
		before := log.Requests().Bounds
		begin := time.Now()
		const clients = 200
		done := make(chan struct{})
		for n := range clients {
			go func() {
				defer func() { done <- struct{}{} }()
				epoch := id[:10]
				s := request(t, a.srv, "?topic=x", withLastID(fmt.Sprintf("%s-%d", epoch, 1_000_000+n)))
				requireReset(t, s, ssegin.ReasonFuture)
			}()
		}
		for range clients {
			<-done
		}
		asked := log.Requests().Bounds - before
		t.Logf("%d clients with forged positions: %d requests, all answered after %v", clients, asked, time.Since(begin))
		assert.LessOrEqual(t, asked, 3)
	})
}

// Many clients that come back at once to a process that has just begun.
func TestWithLog_aStormOfReconnectionsIsFewRequests(t *testing.T) {
	takesSeconds(t, "it connects ten thousand clients")
	const clients, missed = 5000, 1000
	for _, tc := range []struct {
		name    string
		history int
	}{{"from memory", 2 * missed}, {"from the engine", 10}} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := ssegintest.NewLog()
				id := publish(t, start(t, log).hub, "x", 0)
				for range missed {
					_, err := log.Append(t.Context(), eventlog.Entry{Topic: "y", Data: []byte("x")})
					require.NoError(t, err)
				}
				_, err := log.Append(t.Context(), eventlog.Entry{Topic: "x", Data: []byte("1")})
				require.NoError(t, err)
				before := log.Requests()
				b := start(t, log, ssegin.WithHistory(tc.history, 0, 0))
				got := make(chan string)
				for range clients {
					go func() {
						s := request(t, b.srv, "?topic=x", withLastID(id))
						got <- next(t, s).Data
					}()
				}
				for range clients {
					require.Equal(t, "1", <-got)
				}
				requests := log.Requests().Total() - before.Total()
				t.Logf("%d clients, %d events behind: %d requests", clients, missed, requests)
				assert.Less(t, requests, 50)
			})
		})
	}
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
