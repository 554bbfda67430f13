package ssegin

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// ways are all from one state of a cursor to another, as the type says.
var ways = map[[2]state]string{
	{absent, live}:            "join",
	{absent, waiting}:         "join",
	{waiting, catchingUp}:     "begin",
	{catchingUp, waiting}:     "await",
	{catchingUp, live}:        "rejoin",
	{live, interrupted}:       "align",
	{waiting, interrupted}:    "align",
	{catchingUp, interrupted}: "align",
	{interrupted, live}:       "take skip",
	{waiting, live}:           "skip",
	{live, mute}:              "disconnect",
	{waiting, mute}:           "disconnect",
	{catchingUp, mute}:        "disconnect",
	{interrupted, mute}:       "disconnect",
	{live, absent}:            "leave",
	{waiting, absent}:         "leave",
	{catchingUp, absent}:      "leave",
	{interrupted, absent}:     "leave",
	{mute, absent}:            "leave",
}

// A timeline does at random what hubs do to cursors. Each changes its state in the
// ways that are named, and all of these ways are taken.
func TestTimeline_movesCursorsFromStateToStateInTheWaysThatAreNamed(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	o := newHubOptions([]HubOption{WithHistory(4, 0, 0), WithLog(&teller{})})
	line := newTimeline(&o)
	last, epoch := uint64(20), 0
	bounds := func() Bounds {
		return Bounds{Epoch: fmt.Sprint(epoch), First: 1, Last: last}
	}
	follow := func() {
		after, _ := line.align(bounds())
		for p := after + 1; p <= last; p++ {
			_, err := line.receive(&Entry{Position: p, Topic: "x", MessageID: fmt.Sprint(p)}, []byte("data: x\n"))
			require.NoError(t, err)
		}
	}
	follow()
	type client struct {
		*cursor
		topics []string
	}
	var clients []client
	for range 8 {
		clients = append(clients, client{&cursor{waker: make(bell, 1), stream: &peer{}}, []string{"x"}})
	}
	taken := map[[2]state]int{}
	for range 20_000 {
		before := make([]state, len(clients))
		for i := range clients {
			before[i] = clients[i].state
		}
		c, by := clients[r.IntN(len(clients))], ""
		switch {
		case r.IntN(60) == 0:
			by, epoch = "align", epoch+1
			follow()
		case r.IntN(60) == 0:
			by = "disconnect"
			line.disconnect("x")
		case r.IntN(6) == 0:
			last++
			follow()
		case c.state == absent:
			at := mark{last - uint64(r.IntN(8)), 0}
			at.check = checkOf(&Entry{MessageID: fmt.Sprint(at.position)})
			id := string(appendID(nil, line.memory.life.epoch, at))
			by = "join"
			_, err := line.join(c.cursor, c.topics, line.disconnections(), id)
			require.NoError(t, err)
		case r.IntN(10) == 0:
			by = "leave"
			line.leave(c.cursor)
		case c.state == catchingUp && r.IntN(2) == 0:
			by = "await"
			_, _, _, _ = line.await(c.cursor)
		case c.state == catchingUp:
			by = "rejoin"
			at := line.memory.head
			if r.IntN(2) == 0 && line.memory.floor.position > 1 {
				at = mark{position: line.memory.floor.position - 1}
			}
			_, _, err := line.rejoin(c.cursor, at, nil)
			require.NoError(t, err)
		case c.state == waiting && r.IntN(2) == 0, c.state == interrupted && r.IntN(3) == 0:
			by = "skip"
			line.skip(c.cursor, ReasonExpired)
		case c.state == waiting:
			by = "begin"
			_, _, _ = line.begin(c.cursor)
		default:
			by = "take"
			b := newBatch(0)
			line.take(c.cursor, b, false)
			b.release()
		}
		for i := range clients {
			if step := [2]state{before[i], clients[i].state}; step[0] != step[1] {
				taken[step]++
				require.Contains(t, strings.Fields(ways[step]), by, "%v", step)
			}
		}
	}
	for step := range ways {
		assert.NotZero(t, taken[step], "from %d to %d by %s was never taken", step[0], step[1], ways[step])
	}
}

// Whoever wakes a crowd is awaited, and so is a page that is being read.
func TestShutdown_waitsForTheGoroutinesOfTheHub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub()
		ended := false
		h.timeline.run(func() {
			time.Sleep(time.Minute)
			ended = true
		})
		begin := time.Now()
		require.NoError(t, h.Shutdown(t.Context()))
		assert.Equal(t, time.Minute, time.Since(begin))
		assert.True(t, ended)
	})
	synctest.Test(t, func(t *testing.T) {
		b := newBacklog(slowReader{}, 1<<20)
		go func() { _, _ = b.page(t.Context(), pageKey{lifeHere, 0}) }()
		synctest.Wait()
		begin := time.Now()
		b.close(t.Context())
		assert.Equal(t, time.Minute, time.Since(begin))
	})
}

// A slowReader is a log that reads for a minute, whatever it is told.
type slowReader struct{ Log }

func (slowReader) Read(context.Context, uint64, uint64) iter.Seq2[Entry, error] {
	return func(func(Entry, error) bool) { time.Sleep(time.Minute) }
}
