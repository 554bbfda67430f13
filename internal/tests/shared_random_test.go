package tests

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin"
	"github.com/ssegin/ssegin/ssegintest"
)

// A world is a few processes with one log, their clients, and what goes wrong.
type world struct {
	t       *testing.T
	r       *rand.Rand
	log     *ssegintest.Log
	nodes   []*node
	history int

	mu          sync.Mutex
	at          map[uint64]string // the event at each position of the log
	before      map[string]string // what each event follows there
	events      int
	read        int
	resets      int
	connections int
	past        []visit  // where clients have been
	silent      []string // gaps and repetitions that the client was not told of
}

// The processes that the world has at any time.
const processes = 3

func (w *world) start() *node {
	return start(w.t, w.log, ssegin.WithHistory(w.history, 0, 0), ssegin.WithPublishTimeout(time.Second))
}

// publish publishes the next event at some process. If it is not known whether
// that worked, it is tried again at another.
func (w *world) publish() {
	w.events++
	data := strconv.Itoa(w.events)
	last := w.last()
	w.mu.Lock()
	w.before[data], w.at[last+1] = w.at[last], data
	w.mu.Unlock()
	for range 20 {
		e := ssegin.Event{Data: data, MessageID: "m" + data}
		if _, err := w.nodes[w.r.IntN(processes)].hub.Broadcast(w.t.Context(), e); err == nil {
			return
		}
		w.log.Back()
	}
	require.Fail(w.t, "cannot publish")
}

// last is the position of the newest event that there was.
func (w *world) last() uint64 {
	w.log.Back()
	bounds, err := w.log.Bounds(w.t.Context())
	require.NoError(w.t, err)
	return bounds.Last
}

// harmless are the faults that must cost nobody anything.
func (w *world) harmless() {
	switch w.r.IntN(5) {
	case 0:
		w.log.Drop()
	case 1:
		w.log.LoseAnswers(1 + w.r.IntN(3))
	case 2:
		w.log.Away(nil)
	case 3:
		w.log.Hang()
	case 4:
		i := w.r.IntN(processes)
		assert.NoError(w.t, w.nodes[i].hub.Shutdown(w.t.Context()))
		w.nodes[i] = w.start()
	}
}

// harmful are the faults that clients must be told of.
func (w *world) harmful() {
	w.log.Back()
	switch w.r.IntN(4) {
	case 0:
		w.log.Rollback(1 + w.r.IntN(20))
	case 1:
		w.log.Renew()
		clear(w.at)
	case 2:
		w.log.Trim(1 + w.r.IntN(50))
	case 3:
		w.log.Delete(w.last() - uint64(w.r.IntN(20)))
	}
}

// A roamer is a client that goes from one process to another.
type roamer struct {
	w   *world
	r   *rand.Rand
	id  string
	saw string // the last event; empty: none, or none that the next must follow
}

// A visit is where a client was at some time: it may come back from there much later.
type visit struct{ id, saw string }

// remember notes where c is, or lets it go on from where another one was.
func (c *roamer) remember() {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	if c.r.IntN(4) == 0 {
		c.w.past = append(c.w.past, visit{c.id, c.saw})
	}
	if n := len(c.w.past); n > 0 && c.r.IntN(4) == 0 {
		old := c.w.past[c.r.IntN(n)]
		c.id, c.saw = old.id, old.saw
	}
}

func (c *roamer) roam(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
			c.visit(time.Duration(c.r.IntN(2000)) * time.Millisecond)
			time.Sleep(time.Duration(c.r.IntN(500)) * time.Millisecond)
			c.remember()
		}
	}
}

// visit connects for so long.
func (c *roamer) visit(d time.Duration) {
	ctx, cancel := context.WithTimeout(c.w.t.Context(), d)
	defer cancel()
	c.w.mu.Lock()
	n := c.w.nodes[c.r.IntN(processes)]
	c.w.mu.Unlock()
	s, err := n.srv.Connect(ctx, "/events", withLastID(c.id))
	if err != nil {
		return
	}
	defer s.Cut()
	c.w.mu.Lock()
	c.w.connections++
	c.w.mu.Unlock()
	for {
		e, err := s.Next(ctx)
		c.id = s.LastEventID()
		if err != nil {
			return
		}
		c.see(e)
	}
}

func (c *roamer) see(e ssegintest.Event) {
	w := c.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if e.Type == "ssegin.reset" {
		w.resets++
		c.saw = ""
		return
	}
	w.read++
	if c.saw != "" && w.before[e.Data] != c.saw {
		w.silent = append(w.silent, fmt.Sprintf("%s after %s, but it follows %s", e.Data, c.saw, w.before[e.Data]))
	}
	c.saw = e.Data
}

// run lets the world go on for a while, and then has every client see the end.
func (w *world) run(steps int, fault func()) {
	const clients = 20
	stop := make(chan struct{})
	var wg sync.WaitGroup
	roamers := make([]*roamer, clients)
	for i := range roamers {
		roamers[i] = &roamer{w: w, r: rand.New(rand.NewPCG(w.r.Uint64(), 1))}
		wg.Go(func() { roamers[i].roam(stop) })
	}
	for range steps {
		for range w.r.IntN(20) {
			w.publish()
		}
		if w.r.IntN(3) == 0 {
			w.mu.Lock()
			fault()
			w.mu.Unlock()
		}
		time.Sleep(time.Duration(w.r.IntN(1000)) * time.Millisecond)
	}
	w.log.Back()
	time.Sleep(10 * time.Second)
	w.publish()
	close(stop)
	wg.Wait()
	for _, c := range roamers {
		for range 5 {
			c.visit(10 * time.Second)
		}
		assert.Contains(w.t, []string{"", strconv.Itoa(w.events)}, c.saw, "the end has not come")
	}
}

func TestWithLog_keepsItsPromisesWhateverHappens(t *testing.T) {
	seeds, steps := uint64(4), 60
	if os.Getenv("SSEGIN_LONG") != "" {
		seeds, steps = 200, 200
	}
	for _, tc := range []struct {
		name    string
		harmful bool
	}{{"faults that cost nothing", false}, {"faults that lose events", true}} {
		t.Run(tc.name, func(t *testing.T) {
			for seed := range seeds {
				synctest.Test(t, func(t *testing.T) {
					w := &world{t: t, r: rand.New(rand.NewPCG(seed, 7)), at: map[uint64]string{}, before: map[string]string{}, log: ssegintest.NewLog()}
					w.history = []int{5, 50, 1000}[seed%3]
					for range processes {
						w.nodes = append(w.nodes, w.start())
					}
					w.run(steps, func() {
						if tc.harmful && w.r.IntN(2) == 0 {
							w.harmful()
						} else {
							w.harmless()
						}
					})
					t.Logf("seed %d: %d events, %d connections, %d read, %d resets, silent %d",
						seed, w.events, w.connections, w.read, w.resets, len(w.silent))
					assert.Empty(t, w.silent)
					assert.NotZero(t, w.read)
					if !tc.harmful {
						assert.Zero(t, w.resets)
					}
				})
			}
		})
	}
}
