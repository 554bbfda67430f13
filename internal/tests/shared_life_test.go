package tests

import (
	"context"
	"fmt"
	"strconv"
	"strings"
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

func TestWithLog_aLogMadeAnewIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		a := start(t, log)
		id := a.fill(t, "x", 10)[4]
		s := connect(t, a.srv, "?topic=x")
		log.Renew()
		requireBreak(t, s, ssegin.ReasonEpoch)
		a.fill(t, "x", 10)
		requireNumbers(t, s, 1, 10)
		s.Cut()
		a.fill(t, "x", 2)
		resume(t, s)
		requireNumbers(t, s, 1, 2)
		for _, n := range []*node{a, start(t, log)} {
			requireReset(t, request(t, n.srv, "?topic=x", withLastID(id)), ssegin.ReasonEpoch)
		}
	})
}

func TestWithLog_aLogRolledBackIsTold(t *testing.T) {
	for _, tc := range []struct {
		name string
		then int // events that others append before anybody looks
	}{{"shorter than before", 0}, {"as long as before", 5}, {"longer than before", 20}} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := ssegintest.NewLog()
				a := start(t, log, ssegin.WithHistory(500, 0, 0))
				ids := a.fill(t, "x", 10)
				s := connect(t, a.srv, "?topic=x")
				log.Rollback(5)
				for n := range tc.then {
					_, err := log.Append(t.Context(), eventlog.Entry{Topic: "x", Data: []byte(strconv.Itoa(n)), MessageID: fmt.Sprint(n)})
					require.NoError(t, err)
				}
				requireBreak(t, s, ssegin.ReasonEpoch)
				publish(t, a.hub, "x", "live")
				require.Equal(t, "live", next(t, s).Data)
				for name, n := range map[string]*node{"the same process": a, "a new one": start(t, log), "from the engine": start(t, log, ssegin.WithHistory(1, 0, 0))} {
					for i, id := range ids {
						known := request(t, n.srv, "?topic=x", withLastID(id))
						e := next(t, known)
						if lost := i >= 5; lost {
							assert.Equal(t, "ssegin.reset", e.Type, "%s: %d of 10", name, i+1)
						} else if name != "the same process" { // that has told of the gap, and knows nothing before it
							assert.Equal(t, "message", e.Type, "%s: %d of 10", name, i+1)
						}
						known.Close()
					}
				}
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
		requireBreak(t, s, ssegin.ReasonEpoch)
		assert.Less(t, time.Since(begin), 3*time.Second, "the stream is woken for it")
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
		requireBreak(t, s, ssegin.ReasonEpoch)
		time.Sleep(time.Second)
		id := publish(t, start(t, log).hub, "x", "live")
		assert.Equal(t, ssegintest.Event{ID: id, Type: "message", Data: "live"}, next(t, s))
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
		requireBreak(t, s, ssegin.ReasonEpoch)
		gate.close()
		time.AfterFunc(time.Second, gate.open)
		requireReset(t, request(t, a.srv, "?topic=x", withLastID(lost)), ssegin.ReasonEpoch)
	})
}

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
		requireBreak(t, s, ssegin.ReasonEpoch)
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
		requireBreak(t, s, ssegin.ReasonEpoch)
		t.Log(time.Since(begin))
		assert.Less(t, time.Since(begin), 2*time.Second)
	})
}
