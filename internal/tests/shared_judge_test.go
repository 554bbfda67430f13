package tests

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"sync"
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

// A touch is how one process is with the engine, whatever the others are.
type touch int

const (
	inTouch touch = iota
	cut           // everything fails
	frozen        // nothing answers, and the follower has not noticed
	blind         // only the follower gets nothing, and has not noticed
)

// A wire is the log as one process has it. While that is out of touch, its follower
// is given nothing, and what ends it is told later.
type wire struct {
	eventlog.Log

	mu      sync.Mutex
	touch   touch
	changed chan struct{}
}

var errCut = errors.New("the connection is cut")

func newWire(log eventlog.Log) *wire { return &wire{Log: log, changed: make(chan struct{})} }

func (w *wire) set(touch touch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.touch = touch
	close(w.changed)
	w.changed = make(chan struct{})
}

// pass waits as long as one of these holds, and fails when the connection is cut.
func (w *wire) pass(ctx context.Context, waits ...touch) error {
	for {
		w.mu.Lock()
		now, changed := w.touch, w.changed
		w.mu.Unlock()
		waiting := false
		for _, touch := range waits {
			waiting = waiting || now == touch
		}
		switch {
		case now == cut:
			return errCut
		case !waiting:
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (w *wire) Append(ctx context.Context, e eventlog.Entry) (eventlog.Receipt, error) {
	if err := w.pass(ctx, frozen); err != nil {
		return eventlog.Receipt{}, err
	}
	return w.Log.Append(ctx, e)
}

func (w *wire) Bounds(ctx context.Context) (eventlog.Bounds, error) {
	if err := w.pass(ctx, frozen); err != nil {
		return eventlog.Bounds{}, err
	}
	return w.Log.Bounds(ctx)
}

func (w *wire) Read(ctx context.Context, after, until uint64) iter.Seq2[eventlog.Entry, error] {
	return func(yield func(eventlog.Entry, error) bool) {
		if err := w.pass(ctx, frozen); err != nil {
			yield(eventlog.Entry{}, err)
			return
		}
		w.Log.Read(ctx, after, until)(yield)
	}
}

func (w *wire) Follow(ctx context.Context, after uint64, deliver func(eventlog.Entry) error) error {
	lost := false // out of touch since: what comes now may not follow
	pass := func() error {
		w.mu.Lock()
		lost = lost || w.touch != inTouch
		w.mu.Unlock()
		if err := w.pass(ctx, frozen, blind); err != nil {
			return err
		}
		if lost {
			return errCut
		}
		return nil
	}
	err := w.Log.Follow(ctx, after, func(e eventlog.Entry) error {
		if err := pass(); err != nil {
			return err
		}
		return deliver(e)
	})
	if stuck := pass(); stuck != nil {
		return stuck
	}
	return err
}

// A ledger is what was published, and who was told what. There is one break of the
// log in it.
type ledger struct {
	t   *testing.T
	log *ssegintest.Log

	mu     sync.Mutex
	order  []string          // the events in the log
	before map[string]string // what each event followed there
	events int
	broken bool
	fresh  map[string]bool // the events that came after the break
}

func (l *ledger) publish() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events++
	data := strconv.Itoa(l.events)
	if n := len(l.order); n > 0 {
		l.before[data] = l.order[n-1]
	}
	l.order = append(l.order, data)
	l.fresh[data] = l.broken
	put(l.t, l.log, data)
}

// A mover is a client that goes from process to process.
type mover struct {
	ledger  *ledger
	nodes   []*node
	r       *rand.Rand
	id      string
	saw     string
	renewed bool // it has seen an event of after the break
	resets  int
	wrong   []string
}

// visit is one connection, for so long.
func (m *mover) visit(d time.Duration) {
	ctx, cancel := context.WithTimeout(m.ledger.t.Context(), d)
	defer cancel()
	s, err := m.nodes[m.r.IntN(len(m.nodes))].srv.Connect(ctx, "/events?topic=x", withLastID(m.id))
	if err != nil {
		return
	}
	defer s.Cut()
	for {
		e, err := s.Next(ctx)
		m.id = s.LastEventID()
		if err != nil {
			return
		}
		m.see(e)
	}
}

func (m *mover) see(e ssegintest.Event) {
	m.ledger.mu.Lock()
	defer m.ledger.mu.Unlock()
	if e.Type == "ssegin.reset" {
		m.resets++
		if m.saw = ""; m.renewed {
			m.wrong = append(m.wrong, "a reset after it was in the new log: "+e.Data)
		}
		return
	}
	fresh := m.ledger.fresh[e.Data]
	switch {
	case m.renewed && !fresh:
		m.wrong = append(m.wrong, "back in the dead log: "+e.Data)
	case m.saw != "" && m.ledger.before[e.Data] != m.saw:
		m.wrong = append(m.wrong, fmt.Sprintf("silently %s after %s, but it follows %s", e.Data, m.saw, m.ledger.before[e.Data]))
	}
	m.saw, m.renewed = e.Data, m.renewed || fresh
}

// Three processes lose touch with the log, each in its way and for as long as it
// pleases, while that becomes another one. Clients move between them at any moment:
// each is told of the one break at most once, and nobody loses anything unsaid.
func TestWithLog_oneBreakIsToldOnceWhoeverNoticesFirst(t *testing.T) {
	seeds := uint64(60)
	if os.Getenv("SSEGIN_LONG") != "" {
		seeds = 3000
	}
	resets, connections := 0, atomic.Int64{}
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 45))
			l := &ledger{t: t, log: ssegintest.NewLog(), before: map[string]string{}, fresh: map[string]bool{}}
			var nodes []*node
			var wires []*wire
			for range 3 {
				wires = append(wires, newWire(l.log))
				nodes = append(nodes, start(t, wires[len(wires)-1], ssegin.WithHistory([]int{5, 30, 1000}[seed%3], 0, 0)))
			}
			for range 40 {
				l.publish()
			}
			stop := make(chan struct{})
			var clients sync.WaitGroup
			movers := make([]*mover, 10)
			for i := range movers {
				movers[i] = &mover{ledger: l, nodes: nodes, r: rand.New(rand.NewPCG(r.Uint64(), 1))}
				clients.Go(func() {
					m := movers[i]
					for {
						select {
						case <-stop:
							return
						default:
							connections.Add(1)
							m.visit(time.Duration(m.r.IntN(1500)) * time.Millisecond)
							time.Sleep(time.Duration(m.r.IntN(300)) * time.Millisecond)
						}
					}
				})
			}
			live := func(d time.Duration) {
				for range r.IntN(10) {
					l.publish()
					time.Sleep(d / 10)
				}
				time.Sleep(time.Duration(r.Int64N(int64(d))))
			}
			live(5 * time.Second)
			for _, w := range wires {
				if r.IntN(3) > 0 {
					w.set(touch(r.IntN(4)))
					time.AfterFunc(time.Duration(r.Int64N(int64(12*time.Second))), func() { w.set(inTouch) })
				}
			}
			live(2 * time.Second)
			l.become(r)
			for range r.IntN(30) {
				l.publish()
			}
			for range 5 {
				live(4 * time.Second)
			}
			time.Sleep(15 * time.Second)
			l.publish()
			close(stop)
			clients.Wait()
			for i, m := range movers {
				for range 3 {
					m.visit(10 * time.Second)
				}
				assert.Empty(t, m.wrong, "seed %d, client %d", seed, i)
				assert.LessOrEqual(t, m.resets, 1, "seed %d, client %d", seed, i)
				assert.Contains(t, []string{"", strconv.Itoa(l.events)}, m.saw, "seed %d, client %d: the end has not come", seed, i)
				resets += m.resets
			}
		})
	}
	t.Logf("%d breaks, %d connections, %d resets", seeds, connections.Load(), resets)
	assert.NotZero(t, resets)
}

// become makes the log another one: emptied, or rolled back.
func (l *ledger) become(r *rand.Rand) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken = true
	if r.IntN(2) == 0 {
		l.order = nil
		l.log.Renew()
		return
	}
	n := 1 + r.IntN(20)
	l.order = l.order[:len(l.order)-n]
	l.log.Rollback(n)
}

// requireLater makes a request, and is told to come back.
func requireLater(t *testing.T, n *node, lastID string) {
	t.Helper()
	s := request(t, n.srv, "?topic=x", withLastID(lastID))
	require.Equal(t, http.StatusOK, s.Response().StatusCode)
	requireEnd(t, s)
}

// A process that does not know yet that the log is another one judges nobody who does.
func TestWithLog_aProcessThatHasNotNoticedSaysNothing(t *testing.T) {
	for name, become := range map[string]func(*ssegintest.Log){
		"made anew":                        (*ssegintest.Log).Renew,
		"rolled back":                      func(log *ssegintest.Log) { log.Rollback(15) },
		"rolled back to nothing":           func(log *ssegintest.Log) { log.Rollback(20) },
		"rolled back, and as long as that": func(log *ssegintest.Log) { log.Rollback(5); putMany(t, log, 5) },
	} {
		for _, history := range []int{5, 1000} {
			t.Run(fmt.Sprint(name, ", ", history), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					log := ssegintest.NewLog()
					w := newWire(log)
					a, b := start(t, log), start(t, w, ssegin.WithHistory(history, 0, 0))
					ids := a.fill(t, "x", 20)
					synctest.Wait()
					s := connect(t, a.srv, "?topic=x", withLastID(ids[18]))
					requireNumbers(t, s, 20, 20)
					w.set(blind)
					time.Sleep(time.Second) // or what comes in place of others could have their time
					become(log)
					requireBreak(t, s, ssegin.ReasonEpoch)
					requireLater(t, b, s.LastEventID())
					if history == 5 && (name == "made anew" || name == "rolled back to nothing") { // older than memory, and gone
						requireLater(t, b, ids[2])
					}
					synctest.Wait()
					putMany(t, log, 3)
					requireLater(t, b, s.LastEventID())
					w.set(inTouch)
					time.Sleep(5 * time.Second)
					requireNumbers(t, connect(t, b.srv, "?topic=x", withLastID(s.LastEventID())), 1, 3)
				})
			})
		}
	}
}

// putMany is put for events that are numbered from 1 on.
func putMany(t *testing.T, log eventlog.Log, n int) {
	t.Helper()
	for i := range n {
		_, err := log.Append(t.Context(), eventlog.Entry{Topic: "x", Data: []byte(strconv.Itoa(i + 1)), MessageID: crand.Text()})
		require.NoError(t, err)
	}
}

// A process that knows that it is out of touch gives a newcomer no place in a log that
// is not there any more, if the engine can say so. If it cannot, it costs nobody a
// stream.
func TestWithLog_aNewcomerAtAProcessOutOfTouch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		w := newWire(log)
		a, b := start(t, log), start(t, w)
		a.fill(t, "x", 20)
		time.Sleep(time.Minute)
		for _, fault := range []touch{cut, frozen} {
			w.set(fault)
			time.Sleep(time.Minute)
			begin := time.Now()
			connect(t, b.srv, "?topic=x").Close()
			assert.LessOrEqual(t, time.Since(begin), 300*time.Millisecond)
		}
		w.set(cut)
		log.Renew()
		time.Sleep(time.Minute)
		w.set(inTouch) // and it asks a second or two later
		s := request(t, b.srv, "?topic=x")
		nextBlock(t, s)
		putMany(t, log, 1)
		requireNumbers(t, s, 1, 1)
		assert.Zero(t, b.hub.Stats().Resets)
	})
}

// IDs of other logs are claimed at no cost, and keep nobody out.
func TestWithLog_forgedEpochsCostLittleAndLockNobodyOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		hangs := &altered{Log: log}
		a := start(t, hangs)
		ids := a.fill(t, "x", 20)
		time.Sleep(time.Second)
		hangs.bounds = func(ctx context.Context) (eventlog.Bounds, error) {
			time.Sleep(100 * time.Millisecond)
			return log.Bounds(ctx)
		}
		before := log.Requests().Bounds
		forgers := joined(t)
		ctx, cancel := context.WithCancel(t.Context())
		for range 200 {
			forgers.Go(func() {
				for ctx.Err() == nil {
					soon, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
					if s, err := a.srv.Connect(soon, "/events?topic=x", withLastID("abcdefg234-1000000-aaaab")); err == nil {
						s.Cut()
					}
					cancel()
					time.Sleep(time.Millisecond)
				}
			})
		}
		time.Sleep(time.Second)
		begin := time.Now()
		requireNumbers(t, connect(t, a.srv, "?topic=x", withLastID(ids[9])), 11, 20)
		assert.Zero(t, time.Since(begin), "memory vouches for it")
		s := request(t, a.srv, "?topic=x", withLastID("zbcdefg234-5-aaaab"))
		requireReset(t, s, ssegin.ReasonEpoch)
		t.Logf("the judged one waited %v", time.Since(begin))
		assert.LessOrEqual(t, time.Since(begin), 300*time.Millisecond, "the question on its way, and its own")
		asked := log.Requests().Bounds - before
		t.Logf("%d questions in %v", asked, time.Second+time.Since(begin))
		assert.LessOrEqual(t, asked, 10)
		cancel()
		forgers.Wait()
	})
}

// A client that is told the end never comes back, so that must be true of the log as it is.
func TestWithLog_aProcessThatHasNotNoticedTellsNoEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		w := newWire(log)
		a, b := start(t, log), start(t, w, ssegin.WithHistory(3, 0, 0))
		a.fill(t, "x", 5)
		_, err := a.hub.End(t.Context(), "x", ssegin.Event{Data: "done"})
		require.NoError(t, err)
		a.fill(t, "y", 10)
		time.Sleep(time.Second)
		w.set(blind)
		log.Rollback(14)
		time.Sleep(time.Second)
		id := a.fill(t, "x", 6)[5] // where b has events of y
		requireLater(t, b, id)
		w.set(inTouch)
		time.Sleep(10 * time.Second)
		s := connect(t, b.srv, "?topic=x", withLastID(id))
		putMany(t, log, 1)
		requireNumbers(t, s, 1, 1)
	})
}

// A break is told to a plain client by what OnReset sends, and then its stream breaks off,
// so that it comes back.
func TestWithLog_aPlainStreamBreaksOffAfterItsReset(t *testing.T) {
	onBothPaths(t, func(t *testing.T, path ssegin.StreamOption) {
		log := ssegintest.NewLog()
		causes := make(chan error, 1)
		n := start(t, log, ssegin.WithObserver(ssegin.Observer{Closed: func(cause error, _ time.Duration) { causes <- cause }}))
		srv := listen(t, route(ssegin.Handler(n.hub, path, withTopics(), ssegin.WithPlain(), ssegin.OnReset(func(s *ssegin.Stream, r ssegin.Reset) {
			_ = s.Send(ssegin.Event{Data: "snapshot"})
		}))))
		s := requestTCP(t, srv, "?topic=x", "")
		n.fill(t, "x", 3)
		requireNumbers(t, s, 1, 3)
		log.Renew()
		assert.Equal(t, "snapshot", next(t, s).Data)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		_, err := s.Next(ctx)
		assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
		cause := await(t, causes)
		assert.ErrorIs(t, cause, ssegin.ErrDisconnected)
		assert.ErrorIs(t, cause, ssegin.ErrUnavailable)
	})
}
