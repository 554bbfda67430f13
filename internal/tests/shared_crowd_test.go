package tests

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"net/http"
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

// An engine is a log whose Reads take a while, and are counted.
type engine struct {
	*ssegintest.Log
	takes time.Duration

	mu      sync.Mutex
	reads   int
	ended   int // of these, how many their context has ended
	bytes   int
	entries int
}

func (e *engine) Read(ctx context.Context, after, until uint64) iter.Seq2[eventlog.Entry, error] {
	return func(yield func(eventlog.Entry, error) bool) {
		e.mu.Lock()
		e.reads++
		e.mu.Unlock()
		if e.takes > 0 {
			select {
			case <-time.After(e.takes):
			case <-ctx.Done():
				e.mu.Lock()
				e.ended++
				e.mu.Unlock()
				yield(eventlog.Entry{}, context.Cause(ctx))
				return
			}
		}
		for entry, err := range e.Log.Read(ctx, after, until) {
			e.mu.Lock()
			e.entries++
			e.bytes += len(entry.Data)
			e.mu.Unlock()
			if !yield(entry, err) {
				return
			}
		}
	}
}

// figures are what was read.
func (e *engine) figures() (reads, entries, bytes int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.reads, e.entries, e.bytes
}

// A crowd is a node whose log has events of that size that are older than its memory,
// with their IDs, and one event more in memory for everybody.
type crowd struct {
	*node
	engine *engine
	ids    []string
}

func newCrowd(t *testing.T, events, size int, takes time.Duration, opts ...ssegin.HubOption) *crowd {
	t.Helper()
	e := &engine{Log: ssegintest.NewLog(ssegintest.WithMaxEntries(events + 1000)), takes: takes}
	c := &crowd{node: start(t, e, append([]ssegin.HubOption{ssegin.WithHistory(10, 0, 0)}, opts...)...), engine: e}
	data := strings.Repeat("x", size)
	for range events {
		c.ids = append(c.ids, publish(t, c.hub, "past", data))
	}
	for range 10 {
		publish(t, c.hub, "nobody", "")
	}
	publish(t, c.hub, "due", "due")
	synctest.Wait()
	return c
}

// requireDue reads the event that is due to everybody.
func requireDue(t *testing.T, s *ssegintest.Stream) {
	t.Helper()
	require.Equal(t, "due", next(t, s).Data)
}

// A log of 20 MB, which fits into what is kept of it.
func TestCrowd_fromEverywhereReadsALogThatIsKeptAboutOnce(t *testing.T) {
	readsTheLog(t, 1000, 500, 3)
}

// A log of 40 MB, which is more than what is kept of it. Its pages are read 1.5 to 1.8
// times, as goroutines have their turns; each client for itself would read dozens of logs.
func TestCrowd_fromEverywhereReadsALongLogAFewTimes(t *testing.T) {
	readsTheLog(t, 2000, 300, 3)
}

// readsTheLog lets a crowd come at once, and requires that it reads no more than so many
// times the log.
func readsTheLog(t *testing.T, events, clients, most int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		const size = 20 << 10
		c := newCrowd(t, events, size, 10*time.Millisecond)
		begin := time.Now()
		var all sync.WaitGroup
		for n := range clients {
			all.Go(func() {
				requireDue(t, connect(t, c.srv, "?topic=due", withLastID(c.ids[(n*7919)%events])))
			})
		}
		all.Wait()
		synctest.Wait() // who has been given what was due may have to note that yet
		reads, _, bytes := c.engine.figures()
		t.Logf("%d clients: %d reads, %.2f logs, %v", clients, reads, float64(bytes)/float64(events*size), time.Since(begin))
		assert.LessOrEqual(t, bytes, most*events*size)
		assert.LessOrEqual(t, time.Since(begin), 5*time.Second)
		stats := c.hub.Stats()
		assert.Zero(t, stats.CatchingUp)
		assert.Zero(t, stats.EngineDown)
		assert.Zero(t, stats.Resets)
	})
}

func TestCrowd_withOneIDReadsTheLogOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 1000, 100, 10*time.Millisecond)
		var all sync.WaitGroup
		for range 500 {
			all.Go(func() { requireDue(t, connect(t, c.srv, "?topic=due", withLastID(c.ids[3]))) })
		}
		all.Wait()
		reads, _, _ := c.engine.figures()
		assert.LessOrEqual(t, reads, 1000/256+2)
	})
}

// Whoever follows what is in the log is given it, whatever the others do.
func TestCrowd_ofDifferentAgesAndTopicsLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const events, topics = 3000, 7
		e := &engine{Log: ssegintest.NewLog(), takes: 20 * time.Millisecond}
		n := start(t, e, ssegin.WithHistory(50, 0, 0))
		var ids []string
		for i := range events {
			ids = append(ids, publish(t, n.hub, "t"+strconv.Itoa(i%topics), i))
		}
		synctest.Wait()
		var all sync.WaitGroup
		for client := range 100 {
			all.Go(func() {
				r := rand.New(rand.NewPCG(uint64(client), 3))
				time.Sleep(time.Duration(r.IntN(200)) * time.Millisecond)
				from, a, b := r.IntN(events-1), r.IntN(topics), r.IntN(topics)
				s := connect(t, n.srv, fmt.Sprintf("?topic=t%d&topic=t%d", a, b), withLastID(ids[from]))
				for i := from + 1; i < events; i++ {
					if i%topics != a && i%topics != b {
						continue
					}
					require.Equal(t, strconv.Itoa(i), next(t, s).Data)
					if r.IntN(300) == 0 {
						time.Sleep(time.Duration(r.IntN(100)) * time.Millisecond)
					}
				}
				if i := r.IntN(3); i == 0 {
					s.Close()
				}
			})
		}
		all.Wait()
		reads, entries, _ := e.figures()
		t.Logf("%d reads, %.1f logs", reads, float64(entries)/events)
		assert.LessOrEqual(t, entries, 3*events)
	})
}

// An ID that was never given costs a read of its page at the most, once for all.
func TestCrowd_forgedIDsAreReadOnceAndHoldNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const events = 8000 // of 40 MB, which is more than what is kept of it
		c := newCrowd(t, events, 5<<10, 20*time.Millisecond)
		resume := func(n int) time.Duration {
			begin := time.Now()
			s := connect(t, c.srv, "?topic=past", withLastID(c.ids[n]))
			next(t, s)
			s.Close()
			return time.Since(begin)
		}
		alone := resume(events - 300)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var storm sync.WaitGroup
		for loop := range 40 {
			storm.Go(func() {
				r := rand.New(rand.NewPCG(uint64(loop), 1))
				for ctx.Err() == nil {
					parts := strings.Split(c.ids[r.IntN(events-600)], "-")
					leaves, leave := context.WithTimeout(ctx, 5*time.Millisecond)
					if s, err := c.srv.Connect(leaves, "/events", withLastID(parts[0]+"-"+parts[1]+"-aaaab")); err == nil {
						<-leaves.Done()
						s.Cut()
					}
					leave()
				}
			})
		}
		for n := range 10 {
			time.Sleep(10 * time.Millisecond)
			assert.LessOrEqual(t, resume(n*700), 2*alone)
		}
		time.Sleep(300 * time.Millisecond)
		before, _, _ := c.engine.figures()
		assert.LessOrEqual(t, before, events/256+60, "each page once, and those of the honest one")
		time.Sleep(300 * time.Millisecond)
		cancel()
		storm.Wait()
		after, _, _ := c.engine.figures()
		assert.Equal(t, before, after, "then nothing is read any more")
		s := request(t, c.srv, "?topic=past", withLastID(c.ids[5]))
		next(t, s)
		parts := strings.Split(c.ids[5], "-")
		requireReset(t, request(t, c.srv, "?topic=past", withLastID(parts[0]+"-"+parts[1]+"-aaaab")), ssegin.ReasonEpoch)
	})
}

// The head of the response does not wait for more than a page.
func TestCrowd_withLargeEventsTheHeadComesSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 600, 64<<10, 10*time.Millisecond)
		for _, n := range []int{511 - 1000%256, 300, 255, 256} {
			_, _, before := c.engine.figures()
			begin := time.Now()
			s := connect(t, c.srv, "?topic=past", withLastID(c.ids[n]))
			_, _, after := c.engine.figures()
			assert.LessOrEqual(t, time.Since(begin), 20*time.Millisecond)
			assert.LessOrEqual(t, after-before, 2*(2<<20+64<<10))
			next(t, s)
			s.Close()
		}
	})
}

// A read that nobody waits for any more ends.
func TestCrowd_whoHasLeftIsReadNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 1000, 10, 5*time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := c.srv.Connect(ctx, "/events?topic=due", withLastID(c.ids[0]))
		require.Error(t, err)
		time.Sleep(time.Second)
		c.engine.mu.Lock()
		defer c.engine.mu.Unlock()
		assert.Equal(t, 1, c.engine.reads)
		assert.Equal(t, 1, c.engine.ended)
	})
}

func TestWithMaxCatchingUp_boundsThoseWhoWaitForTheEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var refused []error
		var took []time.Duration
		c := newCrowd(t, 1000, 10, time.Second, ssegin.WithMaxCatchingUp(2), ssegin.WithObserver(ssegin.Observer{
			Refused:  func(err error) { mu.Lock(); defer mu.Unlock(); refused = append(refused, err) },
			CaughtUp: func(after time.Duration) { mu.Lock(); defer mu.Unlock(); took = append(took, after) },
		}))
		var streams [2]*ssegintest.Stream
		var all sync.WaitGroup
		for n := range streams {
			all.Go(func() { streams[n] = connect(t, c.srv, "?topic=due", withLastID(c.ids[n])) })
		}
		synctest.Wait()
		assert.Equal(t, 2, c.hub.Stats().CatchingUp)
		requireEnd(t, request(t, c.srv, "?topic=due", withLastID(c.ids[7])))
		plain := request(t, c.srv, "?topic=due", withLastID(c.ids[7]), ssegintest.WithHeader("Accept", "application/json"))
		assert.Equal(t, http.StatusServiceUnavailable, plain.Response().StatusCode)
		assert.NotEmpty(t, plain.Response().Header.Get("Retry-After"))
		connect(t, c.srv, "?topic=due").Close() // who needs nothing of the engine is let in
		all.Wait()
		for _, s := range streams {
			requireDue(t, s)
		}
		synctest.Wait()
		assert.Zero(t, c.hub.Stats().CatchingUp)
		assert.Zero(t, c.hub.Stats().EngineDown)
		mu.Lock()
		require.Len(t, refused, 2)
		for _, err := range refused {
			assert.ErrorIs(t, err, ssegin.ErrTooManyCatchingUp)
			assert.NotErrorIs(t, err, ssegin.ErrUnavailable)
		}
		assert.Len(t, took, 2)
		mu.Unlock()
		requireDue(t, connect(t, c.srv, "?topic=due", withLastID(c.ids[7])))
	})
}

// Requests that wait for the engine are within every limit.
func TestWithMaxStreamsPer_countsRequestsThatWaitForTheEngine(t *testing.T) {
	for name, opts := range map[string][]ssegin.HubOption{
		"of a key":          {ssegin.WithMaxStreamsPer(func(*gin.Context) string { return "one" }, 1)},
		"of all":            {ssegin.WithMaxStreams(1)},
		"of those who wait": {ssegin.WithMaxCatchingUp(1)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := ssegintest.NewLog()
				n := start(t, log, append(opts, ssegin.WithHistory(10, 0, 0))...)
				parts := strings.Split(publish(t, n.hub, "x", 1), "-")
				synctest.Wait()
				log.Hang()
				var all sync.WaitGroup
				var mu sync.Mutex
				later := 0
				for range 50 {
					all.Go(func() {
						s := request(t, n.srv, "?topic=x", withLastID(parts[0]+"-1000000-"+parts[2]))
						defer s.Close()
						if b, err := s.NextBlock(t.Context()); err == nil && b.Event == nil {
							_, told := s.Retry()
							mu.Lock()
							defer mu.Unlock()
							if told {
								later++
							}
						}
					})
				}
				synctest.Wait()
				assert.Equal(t, 1, n.hub.Stats().Arriving)
				mu.Lock()
				assert.Equal(t, 49, later, "at once")
				mu.Unlock()
				log.Back()
				all.Wait()
				synctest.Wait()
				assert.Zero(t, n.hub.Stats().Arriving)
				requireDue := connect(t, n.srv, "?topic=x")
				publish(t, n.hub, "x", 2)
				requireNumbers(t, requireDue, 2, 2)
			})
		})
	}
}

// Nobody waits past the end of the hub, whatever the engine does.
func TestShutdown_whileTheEngineHangsAndClientsAreBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 2000, 10, time.Millisecond, ssegin.WithDrain(100*time.Millisecond))
		s := connect(t, c.srv, "?topic=nothing", withLastID(c.ids[0]))
		synctest.Wait()
		c.engine.Hang()
		var all sync.WaitGroup
		for n := range 20 {
			all.Go(func() {
				got := request(t, c.srv, "?topic=due", withLastID(c.ids[n*10]))
				for {
					if _, err := got.Next(t.Context()); err != nil {
						assert.ErrorIs(t, err, io.EOF)
						break
					}
				}
				if got.Response().StatusCode == http.StatusOK {
					retry, ok := got.Retry()
					assert.True(t, ok)
					assert.Positive(t, retry)
				}
			})
		}
		time.Sleep(500 * time.Millisecond)
		begin := time.Now()
		require.NoError(t, c.hub.Shutdown(t.Context()))
		assert.LessOrEqual(t, time.Since(begin), 200*time.Millisecond)
		all.Wait()
		requireEnd(t, s)
	})
}

// A stream that is behind is told of another life of the log once, in mid-stream or when
// it comes back, and goes on.
func TestCrowd_isToldOnceOfAnotherLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 3000, 10, 300*time.Millisecond)
		var streams []*ssegintest.Stream
		for n := range 10 {
			streams = append(streams, connect(t, c.srv, "?topic=due", withLastID(c.ids[n*100])))
		}
		assert.NotZero(t, c.hub.Stats().CatchingUp)
		c.engine.Renew()
		for _, s := range streams {
			resets := 0
			for quiet := false; !quiet; {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				e, err := s.Next(ctx)
				cancel()
				switch {
				case errors.Is(err, context.DeadlineExceeded):
					quiet = true
				case err != nil:
					resume(t, s)
					nextBlock(t, s)
				case e.Type == "ssegin.reset":
					resets++
				default:
					assert.Fail(t, "an event that is not due", e.Data)
				}
			}
			assert.Equal(t, 1, resets)
		}
		publish(t, c.hub, "due", 1)
		for _, s := range streams {
			requireNumbers(t, s, 1, 1)
		}
		publish(t, c.hub, "due", 2)
		for _, s := range streams {
			requireNumbers(t, s, 2, 2)
		}
		assert.Zero(t, c.hub.Stats().CatchingUp)
	})
}

// A process that sees that the log was rolled back does not know at once where it stands
// now. Who catches up is told when it does, once, and can prove that place.
func TestCrowd_isToldOfARollbackAtAPlaceThatIsKnown(t *testing.T) {
	for _, query := range []string{"?topic=due", ""} {
		t.Run(query, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCrowd(t, 3000, 10, 300*time.Millisecond)
				s := connect(t, c.srv, query, withLastID(c.ids[100]))
				require.NotZero(t, c.hub.Stats().CatchingUp)
				c.engine.Rollback(5)
				for n := range 9 {
					put(t, c.engine.Log, "new "+strconv.Itoa(n))
				}
				requireReset(t, s, ssegin.ReasonEpoch)
				assert.Len(t, strings.Split(s.LastEventID(), "-"), 3)
				if query != "" {
					requireEnd(t, s)
				}
				resume(t, s)
				broadcast(t, c.hub, "live")
				assert.Equal(t, "live", next(t, s).Data)
				assert.EqualValues(t, 1, c.hub.Stats().Resets)
			})
		})
	}
}

// An engine that fails while clients are behind ends their streams; they come back.
func TestCrowd_comesBackWhenTheEngineWasAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 3000, 10, 300*time.Millisecond)
		s := connect(t, c.srv, "?topic=due", withLastID(c.ids[0]))
		c.engine.Away(errors.New("away"))
		requireEnd(t, s)
		c.engine.Back()
		time.Sleep(5 * time.Second)
		s = connect(t, c.srv, "?topic=due", withLastID(s.LastEventID()))
		requireDue(t, s)
	})
}

// Heartbeats carry those on for whom there is nothing, and say where they are.
func TestCrowd_isCarriedOnByHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 3000, 10, 500*time.Millisecond)
		srv := serve(t, route(ssegin.Handler(c.hub, withTopics(), ssegin.WithHeartbeat(time.Second))))
		s := connect(t, srv, "?topic=due", withLastID(c.ids[0]))
		before := s.LastEventID()
		for range 3 {
			b := nextBlock(t, s)
			require.NotEmpty(t, b.Fields)
			require.Equal(t, "ssegin.cursor", b.Fields[0].Value)
			assert.Contains(t, c.ids, s.LastEventID())
			assert.NotEqual(t, before, s.LastEventID())
			before = s.LastEventID()
		}
		again := connect(t, srv, "?topic=due", withLastID(before))
		s.Close()
		requireDue(t, again)
	})
}

// A process that has just begun does not know what the event before its memory was. The
// engine does.
func TestWithLog_anIDOfARolledBackEventIsKnownWhereMemoryBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		a := start(t, log)
		ids := a.fill(t, "x", 20)
		log.Rollback(10)
		time.Sleep(5 * time.Second)
		after := a.fill(t, "x", 15)
		b := start(t, log, ssegin.WithHistory(5, 0, 0)) // what it remembers begins after the position of ids[19]
		synctest.Wait()
		requireReset(t, request(t, b.srv, "?topic=x", withLastID(ids[19])), ssegin.ReasonEpoch)
		s := connect(t, b.srv, "?topic=x", withLastID(after[9]))
		requireNumbers(t, s, 11, 15)
		assert.EqualValues(t, 1, b.hub.Stats().Resets)
	})
}

// Disconnect reaches those who wait for a page.
func TestDisconnect_endsThoseWhoAreBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 3000, 10, time.Second)
		s := connect(t, c.srv, "?topic=due", withLastID(c.ids[0]))
		begin := time.Now()
		assert.Equal(t, 1, disconnect(t, c.hub, "due"))
		requireEnd(t, s)
		assert.Zero(t, time.Since(begin))
		synctest.Wait()
		assert.Zero(t, c.hub.Stats().CatchingUp)
	})
}

// A callback that panics takes nothing with it.
func TestCrowd_aPanicLeavesNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 3000, 10, time.Millisecond)
		srv := serve(t, route(ssegin.Handler(c.hub, withTopics(), ssegin.OnReset(func(*ssegin.Stream, ssegin.Reset) { panic("reset") }))))
		position, err := strconv.ParseUint(strings.Split(c.ids[1500], "-")[1], 10, 64)
		require.NoError(t, err)
		c.engine.Delete(position)
		s := request(t, srv, "?topic=due", withLastID(c.ids[0]))
		for err == nil {
			_, err = s.Next(t.Context())
		}
		synctest.Wait()
		assert.Zero(t, c.hub.Stats().CatchingUp)
		assert.Zero(t, c.hub.Stats().Streams)
		requireDue(t, connect(t, c.srv, "?topic=due", withLastID(c.ids[2000])))
	})
}
