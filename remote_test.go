package ssegin_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin"
	"github.com/ssegin/ssegin/eventlog"
	"github.com/ssegin/ssegin/ssegintest"
)

// A node is one of several processes that share a log.
type node struct {
	hub *ssegin.Hub
	srv *ssegintest.Server
}

// start runs a node until the end of the test or bubble.
func start(t *testing.T, log eventlog.Log, opts ...ssegin.HubOption) *node {
	t.Helper()
	quiet := ssegin.WithLogger(slog.New(slog.DiscardHandler))
	hub := ssegin.NewHub(append([]ssegin.HubOption{quiet, ssegin.WithLog(log)}, opts...)...)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		assert.NoError(t, hub.Shutdown(ctx))
	})
	return &node{hub, serve(t, route(ssegin.Handler(hub, withTopics())))}
}

// fill publishes events, numbered from 1 on, and returns their IDs, when the
// node has read so many.
func (n *node) fill(t *testing.T, topic string, events int) (ids []string) {
	t.Helper()
	read := n.hub.Stats().Published
	for i := range events {
		ids = append(ids, publish(t, n.hub, topic, i+1))
	}
	for begin := time.Now(); n.hub.Stats().Published < read+uint64(events); time.Sleep(time.Millisecond) {
		require.Less(t, time.Since(begin), patience)
	}
	return ids
}

// requireNumbers reads the events numbered from one to another.
func requireNumbers(t *testing.T, s *ssegintest.Stream, from, to int) {
	t.Helper()
	for n := from; n <= to; n++ {
		require.Equal(t, strconv.Itoa(n), next(t, s).Data)
	}
}

// requireReset reads a reset.
func requireReset(t *testing.T, s *ssegintest.Stream, reason ssegin.Reason) {
	t.Helper()
	e := next(t, s)
	require.Equal(t, "ssegin.reset", e.Type, "instead: %q", e.Data)
	require.Equal(t, fmt.Sprintf(`{"reason":%q,"missed":-1}`, reason), e.Data)
}

func withLastID(id string) ssegintest.ConnectOption { return ssegintest.WithLastEventID(id) }

func TestWithLog_allProcessesShowTheSameEventsUnderTheSameIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		a, b := start(t, log), start(t, log)
		onA, onB := connect(t, a.srv, "?topic=x"), connect(t, b.srv, "?topic=x")
		var want []ssegintest.Event
		for n := range 50 {
			e := ssegin.Event{Type: "n", Data: strconv.Itoa(n), Retry: time.Second}
			var id string
			var err error
			switch n % 3 {
			case 0:
				id, err = a.hub.Publish(t.Context(), "x", e)
			case 1:
				id, err = b.hub.Broadcast(t.Context(), e)
			default:
				_, err = b.hub.Publish(t.Context(), "y", e)
			}
			require.NoError(t, err)
			if id != "" {
				want = append(want, ssegintest.Event{ID: id, Type: "n", Data: strconv.Itoa(n)})
			}
		}
		for _, e := range want {
			assert.Equal(t, e, next(t, onA))
			assert.Equal(t, e, next(t, onB))
		}
	})
}

func TestWithLog_aClientGoesOnAtAnotherProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		a, b := start(t, log), start(t, log)
		ids := a.fill(t, "x", 100)
		a.fill(t, "y", 10)
		for n, id := range ids[:99] {
			s := connect(t, b.srv, "?topic=x", withLastID(id))
			requireNumbers(t, s, n+2, 100)
			s.Close()
		}
		late := start(t, log) // it has none of that from its own life
		s := connect(t, late.srv, "?topic=x", withLastID(ids[42]))
		requireNumbers(t, s, 44, 100)
	})
}

// A slow log is one whose follower comes late with what is new.
type slow struct {
	eventlog.Log
	by time.Duration
}

func (l slow) Follow(ctx context.Context, after uint64, deliver func(eventlog.Entry) error) error {
	return l.Log.Follow(ctx, after, func(e eventlog.Entry) error {
		select {
		case <-time.After(l.by):
			return deliver(e)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
}

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
		s := request(t, a.srv, "?topic=x", withLastID(ids[498]))
		requireReset(t, s, ssegin.ReasonExpired)
		publish(t, a.hub, "x", "live")
		require.Equal(t, "live", next(t, s).Data)
		s = connect(t, a.srv, "?topic=x", withLastID(ids[499]))
		requireNumbers(t, s, 501, 1000)
		s = connect(t, a.srv, "?topic=x", withLastID(ids[500]))
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

func TestWithLog_aLogMadeAnewIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		a := start(t, log)
		id := a.fill(t, "x", 10)[4]
		s := connect(t, a.srv, "?topic=x")
		log.Renew()
		requireReset(t, s, ssegin.ReasonEpoch)
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
				requireReset(t, s, ssegin.ReasonEpoch)
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

func TestWithLog_aHoleIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		a := start(t, log)
		a.fill(t, "x", 2)
		s := connect(t, a.srv, "?topic=x")
		log.Away(nil)
		time.Sleep(time.Second)
		log.Back()
		appendNumbers(t, log, 4)
		requireNumbers(t, s, 1, 4)

		b := start(t, log, ssegin.WithHistory(1, 0, 0))
		id := a.fill(t, "x", 1)[0]
		bounds, err := log.Bounds(t.Context())
		require.NoError(t, err)
		a.fill(t, "x", 5)
		log.Delete(bounds.Last + 2)
		s = connect(t, b.srv, "?topic=x", withLastID(id))
		requireNumbers(t, s, 1, 1)
		requireReset(t, s, ssegin.ReasonExpired)
	})
}

// appendNumbers appends without a hub, as another program does.
func appendNumbers(t *testing.T, log eventlog.Log, n int) {
	t.Helper()
	for i := range n {
		_, err := log.Append(t.Context(), eventlog.Entry{Topic: "x", Data: []byte(strconv.Itoa(i + 1))})
		require.NoError(t, err)
	}
}

// Entries that left the engine before this process had seen them are a gap.
func TestWithLog_whatExpiredWhileTheProcessWasAwayIsTold(t *testing.T) {
	for _, hole := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			log := ssegintest.NewLog()
			gate := &gated{Log: log}
			a := start(t, gate)
			a.fill(t, "x", 3)
			s := connect(t, a.srv, "?topic=x")
			gate.close()
			log.Drop()
			before, err := log.Bounds(t.Context())
			require.NoError(t, err)
			appendNumbers(t, log, 4)
			if hole {
				log.Delete(before.Last + 2)
			} else {
				log.Trim(5)
			}
			gate.open()
			e := next(t, s)
			if e.Data == "1" { // it was fast enough to be given what came before the hole
				e = next(t, s)
			}
			require.Equal(t, ssegintest.Event{ID: e.ID, Type: "ssegin.reset", Data: `{"reason":"expired","missed":-1}`}, e)
			requireNumbers(t, s, 3, 4)
		})
	}
}

// A gated log can be kept from one process alone.
type gated struct {
	eventlog.Log
	closed chan struct{}
}

func (l *gated) close() { l.closed = make(chan struct{}) }
func (l *gated) open()  { close(l.closed) }

func (l *gated) Bounds(ctx context.Context) (eventlog.Bounds, error) {
	if l.closed != nil {
		<-l.closed
	}
	return l.Log.Bounds(ctx)
}

func TestWithLog_anAnswerThatIsLostMakesNoEventTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		a := start(t, log)
		s := connect(t, a.srv, "?topic=x")
		log.LoseAnswers(3)
		id := publish(t, a.hub, "x", 1)
		again, err := a.hub.Publish(t.Context(), "x", ssegin.Event{Data: 2, MessageID: "m"})
		require.NoError(t, err)
		twice, err := a.hub.Publish(t.Context(), "x", ssegin.Event{Data: 2, MessageID: "m"})
		require.NoError(t, err)
		assert.Equal(t, again, twice)
		publish(t, a.hub, "x", 3)
		assert.Equal(t, ssegintest.Event{ID: id, Type: "message", Data: "1"}, next(t, s))
		assert.Equal(t, ssegintest.Event{ID: again, Type: "message", Data: "2"}, next(t, s))
		requireNumbers(t, s, 3, 3)
	})
}

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
		other := request(t, a.srv, "", ssegintest.WithHeader("Accept", "*/*"))
		assert.Equal(t, http.StatusServiceUnavailable, other.Response().StatusCode)
		log.Back()
		s := request(t, a.srv, "") // it waits for as long as a person would
		nextBlock(t, s)
		broadcast(t, a.hub, 1)
		requireNumbers(t, s, 1, 1)
	})
}

func TestWithLog_entriesThatCannotBeSentAreSkippedAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		a := start(t, log, ssegin.WithHistory(3, 1<<16, 0), ssegin.WithMaxEventBytes(1<<10))
		first := publish(t, a.hub, "x", "first")
		synctest.Wait() // until the hub has read it, or the client is given it, too
		s := connect(t, a.srv, "?topic=x")
		bad := []eventlog.Entry{
			{Topic: "x", Type: "a\nb"},
			{Topic: "x", Type: "ssegin.reset", Data: []byte(`{"reason":"forged"}`)},
			{Topic: "x\r", Data: []byte("x")},
			{Topic: "x", Data: []byte{0xff}},
			{Topic: "x", Data: make([]byte, 2<<10)},
			{Topic: "x", Retry: -1, Data: []byte("x")},
		}
		for _, e := range bad {
			_, err := log.Append(t.Context(), e)
			require.NoError(t, err)
		}
		_, err := log.Append(t.Context(), eventlog.Entry{Topic: "x", Type: "plain", Data: []byte("from elsewhere")})
		require.NoError(t, err)
		for _, s := range []*ssegintest.Stream{s, connect(t, a.srv, "?topic=x", withLastID(first))} {
			e := next(t, s)
			assert.Equal(t, "plain", e.Type)
			assert.Equal(t, "from elsewhere", e.Data)
		}
		assert.EqualValues(t, len(bad), a.hub.Stats().Skipped)
	})
}

func TestWithLog_aSlowStreamIsSentToTheEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		causes, lagged := make(chan error, 1), make(chan ssegin.Reset, 1)
		a := start(t, log, ssegin.WithHistory(10, 0, 0), ssegin.WithObserver(ssegin.Observer{
			Closed: func(cause error, _ time.Duration) { causes <- cause },
			Lagged: func(reset ssegin.Reset) { lagged <- reset },
		}))
		srv := serve(t, route(ssegin.Handler(a.hub, withTopics())), ssegintest.WithBuffer(1<<10))
		s := connect(t, srv, "?topic=x")
		const n = 1000
		for i := range n {
			publish(t, a.hub, "x", i+1)
			if i%100 == 99 {
				synctest.Wait()
			}
		}
		read := 0
		for {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			e, err := s.Next(ctx)
			cancel()
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
			read++
			require.Equal(t, strconv.Itoa(read), e.Data)
		}
		assert.Less(t, read, n)
		assert.ErrorIs(t, <-causes, ssegin.ErrLagged)
		assert.Equal(t, ssegin.ReasonLagged, (<-lagged).Reason)
		resume(t, s)
		requireNumbers(t, s, read+1, n)
	})
}

func TestWithLog_nothingIsPublishedAfterShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		a, b := start(t, log), start(t, log)
		s := connect(t, a.srv, "?topic=x")
		a.fill(t, "x", 3)
		log.Hang()
		hanging := make(chan error)
		go func() {
			_, err := a.hub.Publish(t.Context(), "x", ssegin.Event{Data: "?"})
			hanging <- err
		}()
		synctest.Wait()
		require.NoError(t, a.hub.Shutdown(t.Context()))
		assert.ErrorIs(t, <-hanging, ssegin.ErrClosed)
		_, err := a.hub.Publish(t.Context(), "x", ssegin.Event{Data: "?"})
		assert.ErrorIs(t, err, ssegin.ErrClosed)
		requireNumbers(t, s, 1, 3)
		requireEnd(t, s)
		log.Back()
		b.fill(t, "x", 1)
		connect(t, b.srv, "?topic=x", withLastID(s.LastEventID()))
	})
}

func TestWithLog_refusesWhatNoLogCouldCarry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		a := start(t, log, ssegin.WithMaxEventBytes(1<<10))
		for _, e := range []ssegin.Event{
			{MessageID: "a\nb"}, {MessageID: string(make([]byte, 2000))}, {ID: "1"}, {Type: "a\rb"}, {Data: "\xff"}, {Data: func() {}}, {Retry: -1},
		} {
			_, err := a.hub.Broadcast(t.Context(), e)
			assert.ErrorIs(t, err, ssegin.ErrInvalidEvent, "%+v", e)
		}
		_, err := a.hub.Broadcast(t.Context(), ssegin.Event{Data: string(make([]byte, 2000))})
		assert.ErrorIs(t, err, ssegin.ErrTooLarge)
		assert.Zero(t, log.Requests().Appends)
	})
	assert.Panics(t, func() { ssegin.WithLog(nil) })
}

func TestWithLog_detachedStreamsAreServedTheSame(t *testing.T) {
	onBothPaths(t, func(t *testing.T, path ssegin.StreamOption) {
		log := ssegintest.NewLog()
		n := start(t, log, ssegin.WithHistory(10, 0, 0))
		srv := listen(t, route(ssegin.Handler(n.hub, path, withTopics())))
		ids := n.fill(t, "x", 500)
		s := open(t, srv, "?topic=x", withLastID(ids[9]))
		requireNumbers(t, s, 11, 500)
		publish(t, n.hub, "x", "live")
		require.Equal(t, "live", next(t, s).Data)
		log.Rollback(1)
		requireReset(t, s, ssegin.ReasonEpoch)
		publish(t, n.hub, "x", "live again")
		require.Equal(t, "live again", next(t, s).Data)
		log.Trim(400)
		requireReset(t, requestTCP(t, srv, "?topic=x", ids[9]), ssegin.ReasonExpired)
	})
}

// requestTCP is open without a look at what comes.
func requestTCP(t *testing.T, srv *httptest.Server, path, lastID string) *ssegintest.Stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s, err := ssegintest.Connect(ctx, srv.URL+"/events"+path, withLastID(lastID))
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

// A stuck log gives pages of its past only when it is told to.
type stuck struct {
	eventlog.Log
	reads chan struct{}
}

func (l stuck) Read(ctx context.Context, after, until uint64) iter.Seq2[eventlog.Entry, error] {
	return func(yield func(eventlog.Entry, error) bool) {
		select {
		case <-l.reads:
			for e, err := range l.Log.Read(ctx, after, until) {
				if !yield(e, err) {
					return
				}
			}
		case <-ctx.Done():
			yield(eventlog.Entry{}, context.Cause(ctx))
		}
	}
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

// engineHooks tell of an engine on channels.
func engineHooks(down chan<- error, up chan<- time.Duration) ssegin.Observer {
	return ssegin.Observer{
		EngineDown: func(err error) { down <- err },
		EngineUp:   func(after time.Duration) { up <- after },
	}
}
