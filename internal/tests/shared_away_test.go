package tests

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin"
	"github.com/ssegin/ssegin/eventlog"
	"github.com/ssegin/ssegin/ssegintest"
)

func TestWithLog_anEngineThatIsAwayCostsNoStream(t *testing.T) {
	for name, fault := range map[string]func(*ssegintest.Log){
		"refuses": func(l *ssegintest.Log) { l.Away(nil) },
		"hangs":   (*ssegintest.Log).Hang,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := ssegintest.NewLog()
				down, up := make(chan error, 10), make(chan time.Duration, 10)
				a := start(t, log, ssegin.WithHistory(10, 0, 0), ssegin.WithPublishTimeout(2*time.Second),
					ssegin.WithObserver(engineHooks(down, up)))
				ids := a.fill(t, "x", 100)
				s := connect(t, a.srv, "?topic=x")
				fault(log)

				begin := time.Now()
				_, err := a.hub.Publish(t.Context(), "x", ssegin.Event{Data: "?"})
				assert.ErrorIs(t, err, ssegin.ErrUnavailable)
				assert.Equal(t, 2*time.Second, time.Since(begin))
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				_, err = a.hub.Publish(ctx, "x", ssegin.Event{Data: "?"})
				cancel()
				assert.ErrorIs(t, err, ssegin.ErrUnavailable)
				assert.ErrorIs(t, err, context.DeadlineExceeded)
				assert.Equal(t, 3*time.Second, time.Since(begin))

				time.Sleep(30 * time.Second)
				assert.Error(t, <-down)
				assert.Greater(t, a.hub.Stats().EngineDown, 20*time.Second)
				assert.Empty(t, nextBlock(t, s).Fields, "a heartbeat")
				requireNumbers(t, connect(t, a.srv, "?topic=x", withLastID(ids[95])), 97, 100)
				later := request(t, a.srv, "?topic=x", withLastID(ids[5]), ssegintest.WithHeader("Accept", "text/event-stream"))
				requireEnd(t, later)

				log.Back()
				time.Sleep(10 * time.Second)
				require.Len(t, up, 1)
				assert.Greater(t, <-up, 20*time.Second)
				assert.Empty(t, down, "once for each time")
				assert.Zero(t, a.hub.Stats().EngineDown)
				publish(t, a.hub, "x", 101)
				requireNumbers(t, connect(t, a.srv, "?topic=x", withLastID(ids[5])), 7, 100)
				for {
					if e := next(t, s); e.Data != "?" {
						assert.Equal(t, "101", e.Data)
						break
					}
				}
			})
		})
	}
}

func TestWithLog_anEngineThatIsAwayAtTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		log.Away(nil)
		a := start(t, log)
		_, err := a.hub.Broadcast(t.Context(), ssegin.Event{Data: "x"})
		assert.ErrorIs(t, err, ssegin.ErrUnavailable)
		requireEnd(t, request(t, a.srv, "", ssegintest.WithHeader("Accept", "text/event-stream")))
		other := request(t, a.srv, "", ssegintest.WithHeader("Accept", "application/json"))
		assert.Equal(t, http.StatusServiceUnavailable, other.Response().StatusCode)
		log.Back()
		s := request(t, a.srv, "") // it waits for as long as a person would
		nextBlock(t, s)
		broadcast(t, a.hub, 1)
		requireNumbers(t, s, 1, 1)
	})
}

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
