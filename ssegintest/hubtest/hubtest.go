// Package hubtest checks that hubs keep their promises over an engine, for whoever
// writes an [eventlog.Log]. It runs real hubs with real streams over it, as several
// processes have them. ssegintest.TestLog checks the log itself, rule by rule; run
// that first, because it says more when something is wrong.
package hubtest

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin"
	"github.com/ssegin/ssegin/eventlog"
	"github.com/ssegin/ssegin/ssegintest"
)

// An Engine is what a case does with an engine that was started for it. Each
// function ends the test itself when it fails. Cases that need a function that is
// nil are left out.
type Engine struct {
	// Open returns the one log, as one more process has it: with a connection
	// of its own.
	Open func(t *testing.T) eventlog.Log

	// Restart stops the engine, as hard as it must bear, and starts it again
	// with all that it has acknowledged.
	Restart func(t *testing.T)

	// Renew deletes the log, as somebody does by hand.
	Renew func(t *testing.T)

	// Backup makes a copy of the log. Calling restore puts it back: what was
	// appended after the copy is gone.
	Backup func(t *testing.T) (restore func())
}

// patience is how long something may take that must happen, on a slow machine, with
// an engine that has just been started again.
const patience = 2 * time.Minute

// TestHub runs each case over an engine that start has made for it alone, as
// subtests that run in parallel. Start stops the engine in a Cleanup.
func TestHub(t *testing.T, start func(t *testing.T) Engine) {
	gin.SetMode(gin.TestMode)
	for _, tc := range []struct {
		name  string
		needs func(Engine) bool // nil: nothing
		run   func(*testing.T, Engine)
	}{
		{"all processes show the same events under the same IDs", nil, sameEverywhere},
		{"a client goes on at another process", nil, goesOn},
		{"an event that is published again is there once", nil, onceOnly},
		{"an end is the same end everywhere", nil, endsEverywhere},
		{"rights end everywhere", nil, rightsEnd},
		{"a newcomer gets what the log has of its topics", nil, newcomersGetTheirs},
		{"reloads at random moments have neither gap nor duplicate", nil, reloads},
		{"an event of several topics is one event everywhere", nil, severalTopics},
		{"nothing is lost when the engine is started again", func(e Engine) bool { return e.Restart != nil }, losesNothing},
		{"a log that was made anew is told", func(e Engine) bool { return e.Renew != nil }, func(t *testing.T, e Engine) {
			toldOfAnother(t, e, func(t *testing.T) func() { return func() { e.Renew(t) } })
		}},
		{"publishing returns the ID on the wire while the log is made anew", func(e Engine) bool { return e.Renew != nil }, returnsTheID},
		{"a log that was rolled back is told", func(e Engine) bool { return e.Backup != nil }, func(t *testing.T, e Engine) {
			toldOfAnother(t, e, e.Backup)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if e := start(t); tc.needs == nil || tc.needs(e) {
				tc.run(t, e)
			}
		})
	}
}

// A process has a hub on the engine's log, and serves its streams.
type process struct {
	hub *ssegin.Hub
	url string
}

// process starts one more process.
func (e Engine) process(t *testing.T, opts ...ssegin.HubOption) process {
	t.Helper()
	hub := ssegin.NewHub(append(opts, ssegin.WithLog(e.Open(t)), ssegin.WithLogger(slog.New(slog.DiscardHandler)))...)
	p := process{hub: hub}.serve(t)
	t.Cleanup(func() { assert.NoError(t, hub.Shutdown(context.Background())) })
	return p
}

// serve returns the process with streams that have these options.
func (p process) serve(t *testing.T, opts ...ssegin.StreamOption) process {
	router := gin.New()
	router.GET("/events", ssegin.Handler(p.hub, append(opts, ssegin.WithTopics(func(c *gin.Context) ([]string, error) {
		return c.QueryArray("topic"), nil
	}))...))
	srv := httptest.NewServer(router)
	t.Cleanup(srv.Close)
	return process{p.hub, srv.URL + "/events"}
}

// insist publishes until that is known to have worked, or the test is over.
func (p process) insist(t *testing.T, data string) (id string) {
	t.Helper()
	for t.Context().Err() == nil {
		id, err := p.hub.Broadcast(t.Context(), ssegin.Event{Data: data, MessageID: "m" + data})
		if err == nil {
			return id
		}
		<-time.After(time.Millisecond)
	}
	return ""
}

// stream opens a stream. While the engine is away the client is told to come back,
// and does.
func (p process) stream(t *testing.T, query, lastID string) *ssegintest.Stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var s *ssegintest.Stream
	require.Eventually(t, func() bool {
		var err error
		s, err = ssegintest.Connect(ctx, p.url+query, ssegintest.WithLastEventID(lastID))
		if err == nil {
			_, err = s.NextBlock(ctx)
		}
		return err == nil
	}, patience, 10*time.Millisecond)
	t.Cleanup(func() { s.Close() })
	return s
}

func next(t *testing.T, s *ssegintest.Stream) ssegintest.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	e, err := s.Next(ctx)
	require.NoError(t, err)
	return e
}

func sameEverywhere(t *testing.T, e Engine) {
	a, b := e.process(t), e.process(t)
	onA, onB := a.stream(t, "?topic=x", ""), b.stream(t, "?topic=x", "")
	for n := range 30 {
		data := strconv.Itoa(n)
		id, err := []process{a, b}[n%2].hub.Publish(t.Context(), "x", ssegin.Event{Type: "n", Data: data})
		require.NoError(t, err)
		want := ssegintest.Event{ID: id, Type: "n", Data: data}
		assert.Equal(t, want, next(t, onA))
		assert.Equal(t, want, next(t, onB))
	}
}

func goesOn(t *testing.T, e Engine) {
	a, b := e.process(t), e.process(t)
	var ids []string
	for n := range 20 {
		ids = append(ids, a.insist(t, strconv.Itoa(n)))
	}
	late := e.process(t) // it has none of that from its own life
	for n, id := range ids[:19] {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		s, err := ssegintest.Connect(ctx, []process{b, late}[n%2].url, ssegintest.WithLastEventID(id))
		require.NoError(t, err)
		for want := n + 1; want < 20; want++ {
			require.Equal(t, strconv.Itoa(want), next(t, s).Data)
		}
		s.Close()
		cancel()
	}
}

func onceOnly(t *testing.T, e Engine) {
	a, b := e.process(t), e.process(t)
	s := b.stream(t, "", "")
	first := a.insist(t, "1")
	assert.Equal(t, first, b.insist(t, "1"), "the ID of the first one")
	last := b.insist(t, "2")
	assert.Equal(t, ssegintest.Event{ID: first, Type: "message", Data: "1"}, next(t, s))
	assert.Equal(t, ssegintest.Event{ID: last, Type: "message", Data: "2"}, next(t, s))
}

func endsEverywhere(t *testing.T, e Engine) {
	a, b := e.process(t), e.process(t)
	s := b.stream(t, "?topic=job", "")
	id, err := a.hub.End(t.Context(), "job", ssegin.Event{Data: "done"})
	require.NoError(t, err)
	assert.Equal(t, ssegintest.Event{ID: id, Type: "message", Data: "done"}, next(t, s))
	for _, p := range []process{b, e.process(t)} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"?topic=job", nil)
		require.NoError(t, err)
		request.Header.Set("Last-Event-ID", id)
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		assert.Equal(t, http.StatusNoContent, response.StatusCode)
		assert.NoError(t, response.Body.Close())
		cancel()
	}
}

// losesNothing starts the engine again and again. Those who stay see every event
// once, and so does one who goes from process to process.
func losesNothing(t *testing.T, e Engine) {
	processes := []process{e.process(t), e.process(t)}
	stay := []*ssegintest.Stream{processes[0].stream(t, "", ""), processes[1].stream(t, "", "")}
	roaming := processes[0].stream(t, "", "")
	const events, restarts = 300, 5
	var publisher sync.WaitGroup
	t.Cleanup(publisher.Wait)
	publisher.Go(func() {
		for n := range events {
			processes[n%2].insist(t, strconv.Itoa(n+1))
		}
	})
	for n := range events {
		want := strconv.Itoa(n + 1)
		for _, stream := range append(stay, roaming) {
			got := next(t, stream)
			require.Equal(t, "message "+want, got.Type+" "+got.Data)
		}
		if n%(events/restarts) == events/restarts/2 {
			e.Restart(t)
		}
		if n%10 == 0 {
			roaming.Cut()
			roaming = processes[n/10%2].stream(t, "", roaming.LastEventID())
		}
	}
	resets := processes[0].hub.Stats().Resets + processes[1].hub.Stats().Resets
	t.Logf("restarts %d, events %d, resets %d", restarts, events, resets)
	assert.Zero(t, resets)
}

// toldOfAnother lets the log become another one. Those who are there are told, and
// those who come back, here or at a process that has seen neither log.
func toldOfAnother(t *testing.T, e Engine, prepare func(*testing.T) (become func())) {
	p := e.process(t)
	p.insist(t, "before")
	become := prepare(t)
	require.Eventually(t, func() bool { return p.hub.Stats().Published == 1 }, patience, time.Millisecond)
	stays, away := p.stream(t, "", ""), p.stream(t, "", "")
	for n := range 5 {
		p.insist(t, strconv.Itoa(n))
		require.Equal(t, strconv.Itoa(n), next(t, stays).Data)
		require.Equal(t, strconv.Itoa(n), next(t, away).Data)
	}
	away.Cut()
	become()
	for n := range 8 {
		p.insist(t, "after "+strconv.Itoa(n))
	}
	got := next(t, stays)
	assert.Equal(t, "ssegin.reset", got.Type, "the one who has stayed: %q", got.Data)
	for _, p := range []process{p, e.process(t)} {
		require.Eventually(t, func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			back, err := ssegintest.Connect(ctx, p.url, ssegintest.WithLastEventID(away.LastEventID()))
			if err != nil {
				return false
			}
			defer back.Close()
			got, err := back.Next(ctx)
			return err == nil && assert.Equal(t, "ssegin.reset", got.Type, "the one who comes back: %q", got.Data)
		}, patience, 10*time.Millisecond)
	}
}

// returnsTheID publishes at two processes while the log is made anew again and
// again, and compares the IDs that this gives with those that streams are sent. Some
// events no stream is given: they go down with their log, or are there before a
// process knows of the new one. Others are tried again and lie in two lives, of which
// the later one counts.
func returnsTheID(t *testing.T, e Engine) {
	const publishers, each, renewals = 4, 500, 3
	processes := []process{e.process(t), e.process(t)}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var mu sync.Mutex
	onWire := map[string]map[string]bool{} // by data
	var readers, writers sync.WaitGroup
	defer readers.Wait()
	defer cancel()
	for _, p := range processes {
		s := p.stream(t, "", "")
		readers.Go(func() {
			for ctx.Err() == nil {
				got, err := s.Next(ctx)
				if err != nil {
					_ = s.Resume(ctx) // or again
					continue
				}
				mu.Lock()
				if onWire[got.Data] == nil {
					onWire[got.Data] = map[string]bool{}
				}
				onWire[got.Data][got.ID] = true
				mu.Unlock()
			}
		})
	}
	returned := make([]map[string]string, publishers)
	var count atomic.Int64
	for i := range returned {
		returned[i] = map[string]string{}
		writers.Go(func() {
			for n := range each {
				data := strconv.Itoa(i*each + n)
				returned[i][data] = processes[i%2].insist(t, data)
				count.Add(1)
				<-time.After(5 * time.Millisecond) // so that streams get to see most of them
			}
		})
	}
	for n := range renewals {
		require.Eventually(t, func() bool { return int(count.Load()) >= (2*n+1)*publishers*each/(2*renewals) }, patience, time.Millisecond)
		e.Renew(t)
	}
	writers.Wait()
	n := 0
	require.Eventually(t, func() bool { // a stream that is still to be told of the last renewal is not given all
		n++
		data := "last " + strconv.Itoa(n)
		id := processes[0].insist(t, data)
		time.Sleep(10 * time.Millisecond)
		mu.Lock()
		defer mu.Unlock()
		return onWire[data][id]
	}, patience, 10*time.Millisecond)
	mu.Lock()
	defer mu.Unlock()
	unseen, wrong := 0, 0
	for _, ids := range returned {
		for data, id := range ids {
			switch {
			case onWire[data] == nil:
				unseen++
			case !onWire[data][id]:
				wrong++
				t.Logf("%s: Publish returned %s, and on the wire were %v", data, id, onWire[data])
			}
		}
	}
	t.Logf("%d published, %d of them on no stream, %d IDs wrong", publishers*each, unseen, wrong)
	assert.Zero(t, wrong)
}
