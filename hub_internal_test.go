package ssegin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
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

	"github.com/ssegin/ssegin/ssegintest"
)

// A peer is a stream without a connection: what its feed gives is read at
// once, as a browser reads it.
type peer struct {
	hub     *Hub
	feed    *feed
	cursor  *cursor
	verdict verdict
	client  *ssegintest.Reader
	gone    bool // it has read its last and left the hub

	mu    sync.Mutex
	cause error
	cuts  int
}

func (p *peer) silent() bool { return false }

// dial joins a peer to the hub.
func dial(h *Hub, c *cursor, lastID string, topics ...string) (*peer, error) {
	p := &peer{hub: h, cursor: c, client: ssegintest.NewReader(nil)}
	c.waker, c.stream = make(bell, 1), p
	var err error
	if p.verdict, err = h.timeline.join(c, topics, h.timeline.disconnections(), lastID, nil); err != nil || p.verdict.complete {
		return p, err
	}
	pace := newStreamOptions(nil).pace
	pace.retry = defaultRetry
	p.feed = newFeed(h.timeline, c, &h.options, &pace, false, time.Now())
	h.joined(lastID, p.verdict)
	return p, nil
}

// connect joins a peer that is to get a stream, and reads its opening.
func connect(t testing.TB, h *Hub, lastID string, topics ...string) *peer {
	t.Helper()
	p, err := dial(h, &cursor{}, lastID, topics...)
	require.NoError(t, err)
	require.False(t, p.verdict.complete)
	p.receive(p.feed.opening(p.verdict, lastID))
	return p
}

// receive reads what came from the network.
func (p *peer) receive(bytesRead []byte) (events []ssegintest.Event) {
	p.client.Reset(bytes.NewReader(bytesRead))
	for {
		e, err := p.client.Next()
		if errors.Is(err, io.EOF) {
			return events
		} else if err != nil {
			panic(err)
		}
		events = append(events, e)
	}
}

// step takes what one write carries and returns the events, resets with them.
// A peer that is over leaves the hub.
func (p *peer) step() (events []ssegintest.Event, more bool) {
	b := &batch{}
	p.feed.next(time.Now(), p.over(), b)
	if len(b.data) > 0 {
		p.hub.wrote(b)
	}
	events = p.receive(b.data)
	if lines := strings.Split(string(b.data), "\n"); len(b.data) > 0 {
		last := lines[max(len(lines)-2, 0)] // a comment or a reconnection time, or the blank line that ends a block
		if lines[len(lines)-1] != "" || last != "" && last != ":" && !strings.HasPrefix(last, "retry: ") {
			panic(fmt.Sprintf("not whole blocks: %q", b.data))
		}
	}
	if b.cause != nil {
		p.end(b.cause)
		p.leave()
		p.gone = true
	}
	return events, b.more
}

// read takes everything that is due.
func (p *peer) read() (events []ssegintest.Event) {
	for {
		some, more := p.step()
		events = append(events, some...)
		if !more {
			return events
		}
	}
}

// serve reads until the peer is over, and hands over each event.
func (p *peer) serve(handle func(ssegintest.Event)) {
	for {
		for _, e := range p.read() {
			handle(e)
		}
		if p.gone {
			return
		}
		select {
		case <-p.cursor.waker.(bell):
		case <-time.After(p.feed.rest(time.Now())):
		}
	}
}

func (p *peer) leave() { p.hub.timeline.leave(p.cursor) }

func (p *peer) over() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cause
}

func (p *peer) end(cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cause == nil {
		p.cause = cause
	}
	p.cursor.waker.notify()
}

func (p *peer) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cuts++
}

func (p *peer) Context() context.Context { return context.Background() }

// position is the one in the last ID that the client has.
func (p *peer) position() uint64 { return positionOf(p.client.LastEventID()) }

func positionOf(id string) uint64 {
	_, at, ok := parseID(id)
	if !ok {
		panic("not an ID: " + id)
	}
	return at.position
}

// data are the payloads of the events.
func data(events []ssegintest.Event) (data []string) {
	for _, e := range events {
		data = append(data, e.Data)
	}
	return data
}

func say(text string) Event { return Event{Data: text} }

func ignore(ssegintest.Event) {}

// noKey is never called: without a request, a test gives the cursor its key.
func noKey(*gin.Context) string { panic("called") }

func TestHub_eachStreamGetsItsTopicsAndTheBroadcastsInOneOrder(t *testing.T) {
	h := NewHub()
	ctx := t.Context()
	everyone, a, ab := connect(t, h, ""), connect(t, h, "", "a"), connect(t, h, "", "a", "b")
	var ids []string
	for n, publish := range []func(Event) (string, error){
		func(e Event) (string, error) { return h.Publish(ctx, "a", e) },
		func(e Event) (string, error) { return h.Publish(ctx, "b", e) },
		func(e Event) (string, error) { return h.Broadcast(ctx, e) },
		func(e Event) (string, error) { return h.Publish(ctx, "c", e) },
		func(e Event) (string, error) { return h.Publish(ctx, "a", e) },
	} {
		id, err := publish(Event{Type: "n", Data: n})
		require.NoError(t, err)
		ids = append(ids, id)
	}
	event := func(n int) ssegintest.Event {
		return ssegintest.Event{ID: ids[n], Type: "n", Data: strconv.Itoa(n)}
	}
	assert.Equal(t, []ssegintest.Event{event(2)}, everyone.read())
	assert.Equal(t, []ssegintest.Event{event(0), event(2), event(4)}, a.read())
	assert.Equal(t, []ssegintest.Event{event(0), event(1), event(2), event(4)}, ab.read())
	assert.Empty(t, ab.read())
}

func TestHub_anErrorLeavesNothingAnywhere(t *testing.T) {
	h := NewHub(WithMaxEventBytes(1000))
	p := connect(t, h, "", "a")
	gone, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("client gone"))
	for text, publish := range map[string]func() (string, error){
		"ID":             func() (string, error) { return h.Broadcast(t.Context(), Event{ID: "7"}) },
		"Type":           func() (string, error) { return h.Publish(t.Context(), "a", Event{Type: "\n"}) },
		"topic is empty": func() (string, error) { return h.Publish(t.Context(), "", say("x")) },
		"topic":          func() (string, error) { return h.End(t.Context(), "a\n", say("x")) },
		"1000":           func() (string, error) { return h.Broadcast(t.Context(), say(strings.Repeat("x", 1000))) },
		"JSON":           func() (string, error) { return h.Broadcast(t.Context(), Event{Data: half{}}) },
		"client gone":    func() (string, error) { return h.Broadcast(gone, say("x")) },
	} {
		id, err := publish()
		assert.ErrorContains(t, err, text)
		assert.Empty(t, id)
	}
	assert.Empty(t, p.cursor.waker.(bell), "nobody was woken")
	assert.Empty(t, p.read())
	assert.Zero(t, h.Stats().Published)
	assert.Zero(t, h.Stats().HistoryBytes)
}

func TestHub_slowStreamNeverDelaysPublish(t *testing.T) {
	for name, streams := range map[string]int{"woken by the publisher": 10, "woken by a goroutine": 2 * fewStreams} {
		synctest.Test(t, func(t *testing.T) {
			const events, live = 2000, 5
			h := NewHub(WithHistory(events, 0, 0))
			var stalled []*peer
			for range streams - live {
				stalled = append(stalled, connect(t, h, "", "a"))
			}
			var received atomic.Int64
			for range live {
				go connect(t, h, "", "a").serve(func(ssegintest.Event) { received.Add(1) })
			}
			synctest.Wait()
			begin := time.Now()
			for range events {
				_, err := h.Publish(t.Context(), "a", say("x"))
				require.NoError(t, err)
			}
			assert.Zero(t, time.Since(begin))
			synctest.Wait()
			assert.EqualValues(t, live*events, received.Load())
			t.Logf("%s: live streams got %d of %d", name, received.Load(), live*events)

			for _, p := range stalled {
				assert.Len(t, p.read(), events, "nothing is lost to who comes back in time")
				p.leave()
			}
			require.NoError(t, h.Shutdown(t.Context()))
		})
	}
}

func TestHub_manyStreamsAreWokenByAGoroutineThatEndsItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub()
		peers := map[string][]*peer{}
		for range fewStreams + 1 {
			for _, topic := range []string{"a", "b"} {
				peers[topic] = append(peers[topic], connect(t, h, "", topic))
			}
		}
		for round := range 3 {
			for range 10 {
				h.Publish(t.Context(), "a", say("x"))
			}
			h.Publish(t.Context(), "b", say("x"))
			synctest.Wait()
			for _, p := range append(peers["a"], peers["b"]...) {
				require.Len(t, p.cursor.waker.(bell), 1, "round %d", round)
				<-p.cursor.waker.(bell)
			}
			assert.False(t, h.timeline.calling)
		}
		h.Publish(t.Context(), "a", say("x"))
		for _, p := range peers["a"] {
			p.leave() // perhaps before it is woken
		}
		synctest.Wait()
		assert.Zero(t, h.timeline.called.length)
	})
}

// 4,000 clients come, read a little, go and come back, while two publishers
// do not pause.
func TestHub_thereIsNoGapAndNoDuplicateBetweenReplayAndLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub(WithHistory(1<<14, 0, 0))
		for range fewStreams {
			connect(t, h, "") // and never reads: there are many to wake
		}
		var stop atomic.Bool
		var publishers sync.WaitGroup
		for range 2 {
			publishers.Go(func() {
				for !stop.Load() {
					_, err := h.Broadcast(t.Context(), say("x"))
					assert.NoError(t, err)
					runtime.Gosched()
				}
			})
		}
		const clients, joins = 8, 500
		var missing, duplicates, reordered, resets, reads atomic.Int64
		var wg sync.WaitGroup
		for range clients {
			wg.Go(func() {
				lastID := ""
				for n := range joins {
					if n%8 == 0 {
						lastID = "" // a new client
					}
					p := connect(t, h, lastID)
					position := p.position()
					if lastID != "" && p.verdict.reset.Reason == "" && position != positionOf(lastID) {
						missing.Add(1)
					}
					if p.verdict.reset.Reason != "" {
						resets.Add(1)
					}
					for count := 0; count < 5; {
						<-p.cursor.waker.(bell)
						for _, e := range p.read() {
							switch at := positionOf(e.ID); {
							case e.Type == typeReset:
								resets.Add(1)
							case at == position:
								duplicates.Add(1)
							case at < position:
								reordered.Add(1)
							case at > position+1:
								missing.Add(1)
							}
							position = positionOf(e.ID)
							count++
						}
					}
					reads.Add(int64(position))
					lastID = p.client.LastEventID()
					p.leave()
				}
			})
		}
		wg.Wait()
		stop.Store(true)
		publishers.Wait()
		for name, n := range map[string]*atomic.Int64{"missing": &missing, "duplicates": &duplicates, "reordered": &reordered} {
			assert.Zero(t, n.Load(), name)
		}
		t.Logf("%d joins: missing %d, dup %d, reordered %d, told of a gap %d",
			clients*joins, missing.Load(), duplicates.Load(), reordered.Load(), resets.Load())
	})
}

// Who has joined before an event was appended is woken by it; to who joins
// after, it is history.
func TestHub_nobodyJoinsBetweenAnEventAndItsWakeUp(t *testing.T) {
	h := NewHub()
	live, lost := 0, 0
	for range 5000 {
		var wg sync.WaitGroup
		var p *peer
		var event uint64
		wg.Go(func() { p = connect(t, h, "") })
		wg.Go(func() {
			id, err := h.Broadcast(t.Context(), say("x"))
			assert.NoError(t, err)
			event = positionOf(id)
		})
		wg.Wait()
		if p.position() < event {
			live++
			if len(p.cursor.waker.(bell)) == 0 {
				lost++
			}
		}
		p.leave()
	}
	assert.Zero(t, lost)
	t.Logf("%d of 5000 joined before the event: wake-ups lost %d", live, lost)
}

func TestHub_allStreamsSeeTheEventsOfManyPublishersInOneOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const publishers, events = 8, 500
		h := NewHub(WithHistory(publishers*events, 0, 0))
		logs := make([][]ssegintest.Event, fewStreams+1)
		for n := range logs {
			go connect(t, h, "").serve(func(e ssegintest.Event) { logs[n] = append(logs[n], e) })
		}
		var wg sync.WaitGroup
		for n := range publishers {
			wg.Go(func() {
				for i := range events {
					id, err := h.Broadcast(t.Context(), say(fmt.Sprintf("%d %d", n, i)))
					assert.NoError(t, err)
					assert.NotEmpty(t, id)
				}
			})
		}
		wg.Wait()
		require.NoError(t, h.Shutdown(t.Context()))
		synctest.Wait()
		next := map[string]int{}
		for i, e := range logs[0] {
			require.EqualValues(t, i+1, positionOf(e.ID))
			publisher, n, _ := strings.Cut(e.Data, " ")
			require.Equal(t, strconv.Itoa(next[publisher]), n, "a publisher's own order is kept")
			next[publisher]++
		}
		for _, log := range logs {
			require.Len(t, log, publishers*events)
			require.Equal(t, logs[0], log)
		}
	})
}

func TestHub_disconnectEndsTheStreamsOfATopicAndSendsThemNothingMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub()
		var after atomic.Int64
		var disconnected atomic.Bool
		var wg sync.WaitGroup
		for n := range 20 {
			p := connect(t, h, "", []string{"user:a", "user:b"}[n%2], "news")
			wg.Go(func() {
				p.serve(func(e ssegintest.Event) {
					if e.Data == "after" && n%2 == 0 {
						after.Add(1)
					}
				})
				if cause := p.over(); n%2 == 0 {
					assert.ErrorIs(t, cause, ErrDisconnected)
				} else {
					assert.ErrorIs(t, cause, ErrShutdown)
				}
			})
		}
		slow := connect(t, h, "", "user:a")
		wg.Go(func() {
			for !disconnected.Load() {
				h.Publish(t.Context(), "news", say("before"))
				runtime.Gosched()
			}
		})
		assert.Equal(t, 11, disconnect(t, h, "user:a"))
		disconnected.Store(true)
		h.Publish(t.Context(), "user:a", say("after"))
		h.Publish(t.Context(), "news", say("after"))
		h.Broadcast(t.Context(), say("after"))
		b := &batch{}
		slow.feed.next(time.Now(), nil, b) // it looked whether it is over a moment too early
		assert.Empty(t, b.data)
		assert.Empty(t, slow.read(), "what was due before is not sent either")
		synctest.Wait()
		assert.Equal(t, 10, h.Stats().Streams)
		assert.Zero(t, after.Load())
		t.Logf("events after Disconnect %d", after.Load())

		assert.Zero(t, disconnect(t, h, "user:a"), "they are gone")
		assert.Zero(t, disconnect(t, h, "nobody"))
		_, err := h.Disconnect(t.Context(), "")
		assert.ErrorIs(t, err, ErrInvalidEvent, "not everyone")
		assert.Equal(t, 10, h.Stats().Streams)
		require.NoError(t, h.Shutdown(t.Context()))
		wg.Wait()
	})
}

func TestHub_whoIsDisconnectedMayComeBackAndMissesNothing(t *testing.T) {
	h := NewHub()
	p := connect(t, h, "", "a")
	h.Publish(t.Context(), "a", say("1"))
	assert.Equal(t, []string{"1"}, data(p.read()))
	disconnect(t, h, "a")
	h.Publish(t.Context(), "a", say("2"))
	p.read()
	assert.ErrorIs(t, p.over(), ErrDisconnected)
	assert.Equal(t, []string{"2"}, data(connect(t, h, p.client.LastEventID(), "a").read()))
}

func TestHub_anIDOfAnEarlierLifeIsRecognised(t *testing.T) {
	before, after := NewHub(), NewHub()
	p := connect(t, before, "")
	for _, h := range []*Hub{before, after, after} {
		h.Broadcast(t.Context(), say("x"))
	}
	p.read()
	back := connect(t, after, p.client.LastEventID())
	assert.Equal(t, Reset{ReasonEpoch, -1}, back.verdict.reset, "position 1 is another event here")
	assert.Empty(t, back.read())
	after.Broadcast(t.Context(), say("live"))
	assert.Equal(t, []string{"live"}, data(back.read()))
}

func TestHub_limitsAreExactHoweverManyComeAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit, perKey, keys = 100, 3, 30
		for name, h := range map[string]*Hub{
			"all":     NewHub(WithMaxStreams(limit)),
			"per key": NewHub(WithMaxStreamsPer(noKey, perKey)),
		} {
			want := limit
			if name == "per key" {
				want = perKey * keys
			}
			for range 3 {
				var mu sync.Mutex
				var open []*peer
				var refused int
				var wg sync.WaitGroup
				for n := range 600 {
					wg.Go(func() {
						p, err := dial(h, &cursor{key: strconv.Itoa(n % keys)}, "", "a")
						mu.Lock()
						defer mu.Unlock()
						if err == nil {
							open = append(open, p)
						} else if assert.ErrorIs(t, err, ErrTooManyStreams) {
							refused++
						}
					})
				}
				wg.Wait()
				assert.Len(t, open, want, name)
				assert.Equal(t, 600, refused+want)
				assert.Equal(t, want, h.Stats().Streams)
				t.Logf("%s: %d of 600 let in, ± %d", name, len(open), len(open)-want)
				for _, p := range open {
					wg.Go(p.leave)
				}
				wg.Wait()
				assert.Zero(t, h.Stats().Streams)
				assert.Empty(t, h.timeline.perKey, "nothing is kept of a key")
			}
		}
	})
}

func TestHub_whoIsCompleteTakesNoPlace(t *testing.T) {
	h := NewHub(WithMaxStreams(1), WithMaxStreamsPer(noKey, 1))
	end, err := h.End(t.Context(), "job", say("done"))
	require.NoError(t, err)
	for range 3 {
		p, err := dial(h, &cursor{}, end, "job")
		require.NoError(t, err)
		assert.True(t, p.verdict.complete)
	}
	assert.Zero(t, h.Stats().Streams)
	assert.Empty(t, h.timeline.perKey)
}

func TestHub_nothingIsLeftOfTopicsThatWereSubscribedAndLeft(t *testing.T) {
	const topics = 20_000
	for name, visit := range map[string]func(*Hub){
		"at once": func(h *Hub) {
			open := make([]*cursor, topics)
			for n := range open {
				open[n] = &cursor{}
				_, err := h.timeline.join(open[n], []string{newEpoch()}, 0, "", nil)
				require.NoError(t, err)
			}
			for _, c := range open {
				h.timeline.leave(c)
			}
		},
		"one after the other, with an event each": func(h *Hub) {
			for range topics {
				c, topic := &cursor{waker: make(bell, 1)}, newEpoch()
				_, err := h.timeline.join(c, []string{topic}, 0, "", nil)
				require.NoError(t, err)
				h.Publish(t.Context(), topic, say("x"))
				h.timeline.leave(c)
			}
		},
	} {
		visit(NewHub()) // for what the runtime keeps
		h := NewHub(WithHistory(16, 0, 0))
		goroutines, heap := runtime.NumGoroutine(), heapInUse()
		visit(h)
		growth := max(0, heapInUse()-heap) / topics
		goroutines = max(0, runtime.NumGoroutine()-goroutines)
		assert.LessOrEqual(t, growth, int64(16))
		assert.Zero(t, goroutines)
		assert.LessOrEqual(t, h.Stats().Topics, 16)
		t.Logf("%s: %d goroutines, %d B a topic", name, goroutines, growth)
	}
}

func heapInUse() int64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC() // twice, for what pools keep
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// --- Shutdown ----------------------------------------------------------------

func TestHub_everyCallAfterShutdownReturnsErrClosed(t *testing.T) {
	h := NewHub()
	require.NoError(t, h.Shutdown(t.Context()))
	_, err := h.Broadcast(t.Context(), say("x"))
	assert.ErrorIs(t, err, ErrClosed)
	_, err = h.Publish(t.Context(), "a", say("x"))
	assert.ErrorIs(t, err, ErrClosed)
	_, err = h.End(t.Context(), "a", say("x"))
	assert.ErrorIs(t, err, ErrClosed)
	_, err = dial(h, &cursor{}, "")
	assert.ErrorIs(t, err, ErrClosed)
	assert.Zero(t, disconnect(t, h, "a"))
	assert.True(t, h.Stats().Closed)
	assert.NoError(t, h.Shutdown(t.Context()), "it is done")
}

func TestHub_publishersAndClientsDuringShutdown(t *testing.T) {
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			h := NewHub(WithHistory(1<<16, 0, 0))
			var published, okAfterClose, closed atomic.Int64
			var received [20]int64
			var wg sync.WaitGroup
			for n := range received {
				p := connect(t, h, "", "a")
				wg.Go(func() {
					p.serve(func(ssegintest.Event) { received[n]++ })
					assert.ErrorIs(t, p.over(), ErrShutdown)
				})
			}
			for range 8 {
				wg.Go(func() {
					for {
						after := closed.Load() > 0
						_, err := h.Publish(t.Context(), "a", say("x"))
						if err != nil {
							assert.ErrorIs(t, err, ErrClosed)
							closed.Add(1)
							return
						}
						published.Add(1)
						if after {
							okAfterClose.Add(1)
						}
						runtime.Gosched()
					}
				})
				wg.Go(func() { // clients that come and go
					for {
						p, err := dial(h, &cursor{}, "", "a")
						if err != nil {
							assert.ErrorIs(t, err, ErrClosed)
							return
						}
						p.leave()
						runtime.Gosched()
					}
				})
			}
			for published.Load() < 100 {
				runtime.Gosched()
			}
			require.NoError(t, h.Shutdown(t.Context()))
			assert.Zero(t, h.Stats().Streams)
			wg.Wait()
			assert.Zero(t, okAfterClose.Load())
			for _, n := range received {
				assert.Equal(t, published.Load(), n, "what was published before the end is given")
			}
		})
	}
	t.Log(`"ok" after close 0, leaks 0`) // synctest.Test waits for every goroutine
}

func TestHub_shutdownEndsEachStreamAtItsOwnMomentWithItsOwnRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const streams, window = 20, 10 * time.Second
		h := NewHub(WithDrain(window))
		begin := time.Now()
		moments, retries := map[time.Duration]bool{}, map[time.Duration]bool{}
		var mu sync.Mutex
		var last string
		for range streams {
			p := connect(t, h, "")
			go func() {
				p.serve(func(e ssegintest.Event) { assert.Equal(t, "last words", e.Data) })
				mu.Lock()
				defer mu.Unlock()
				moments[time.Since(begin)] = true
				retry, _ := p.client.Retry()
				retries[retry] = true
				last = p.client.LastEventID()
			}()
		}
		id, err := h.Broadcast(t.Context(), say("last words"))
		require.NoError(t, err)
		require.NoError(t, h.Shutdown(t.Context()))
		synctest.Wait()
		for n := range streams {
			assert.Contains(t, moments, window*time.Duration(n)/streams)
		}
		assert.Greater(t, len(retries), streams*9/10)
		for retry := range retries {
			assert.GreaterOrEqual(t, retry, defaultRetry)
			assert.LessOrEqual(t, retry, 2*defaultRetry, "the window has spread them already")
		}
		assert.Equal(t, id, last)
		t.Logf("%d streams ended at %d moments over %v", streams, len(moments), time.Since(begin))
	})
}

func TestHub_shutdownReturnsWhenTheLastStreamIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub(WithDrain(time.Hour))
		for range 10 {
			p := connect(t, h, "")
			time.AfterFunc(time.Minute, p.leave) // the client goes by itself
		}
		begin := time.Now()
		require.NoError(t, h.Shutdown(t.Context()))
		assert.Equal(t, time.Minute, time.Since(begin), "not at the end of the window")
	})
}

func TestHub_shutdownCutsTheRestWhenItsContextEnds(t *testing.T) {
	for _, drain := range []time.Duration{0, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			h := NewHub(WithDrain(drain))
			var stuck []*peer
			for range 10 {
				stuck = append(stuck, connect(t, h, ""))
			}
			go connect(t, h, "").serve(ignore)
			synctest.Wait()
			reason := errors.New("the machine goes down")
			ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Second, reason)
			defer cancel()
			begin := time.Now()
			err := h.Shutdown(ctx)
			require.ErrorIs(t, err, reason)
			assert.Equal(t, 10*time.Second, time.Since(begin))
			for _, p := range stuck {
				assert.ErrorIs(t, p.over(), ErrShutdown)
				assert.Equal(t, 1, p.cuts)
			}
			for _, p := range stuck {
				p.leave()
			}
			synctest.Wait()
			assert.NoError(t, h.Shutdown(t.Context()))
		})
	}
}

func TestHub_everyShutdownWaitsForTheSameEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub()
		p := connect(t, h, "")
		begin := time.Now()
		time.AfterFunc(time.Minute, p.leave)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				assert.NoError(t, h.Shutdown(t.Context()))
				assert.Equal(t, time.Minute, time.Since(begin))
			})
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		assert.ErrorIs(t, h.Shutdown(short), context.DeadlineExceeded)
		assert.Equal(t, time.Second, time.Since(begin))
		wg.Wait()
	})
}

func TestHub_shutdownWithoutStreamsIsDoneWhateverItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	assert.NoError(t, NewHub(WithDrain(time.Hour)).Shutdown(ctx))
}

func TestHub_anEventWithAMessageIDIsThereOnce(t *testing.T) {
	h := NewHub(WithHistory(3, 0, 0))
	p := connect(t, h, "", "a")
	once := Event{Data: "once", MessageID: "m"}
	id, err := h.Publish(t.Context(), "a", once)
	require.NoError(t, err)
	for range 2 {
		again, err := h.Publish(t.Context(), "a", once)
		require.NoError(t, err)
		assert.Equal(t, id, again)
	}
	assert.Equal(t, []string{"once"}, data(p.read()))
	assert.EqualValues(t, 1, h.Stats().Published)

	for range 3 { // it leaves the history, and with it what is known of it
		_, err = h.Publish(t.Context(), "a", say("x"))
		require.NoError(t, err)
	}
	assert.Empty(t, h.timeline.memory.sent)
	again, err := h.Publish(t.Context(), "a", once)
	require.NoError(t, err)
	assert.NotEqual(t, id, again)
}

// disconnect is Disconnect where nothing can be wrong with the topic.
func disconnect(t testing.TB, h *Hub, topic string) int {
	t.Helper()
	n, err := h.Disconnect(t.Context(), topic)
	require.NoError(t, err)
	return n
}
