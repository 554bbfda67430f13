package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/ssegin/ssegin"
)

// A rest is what a server needs when a load is over.
type rest struct {
	Heap       uint64 // bytes
	Goroutines int

	Connections, Resumed int64 // of the load before
	Published            uint64
}

// soak puts two equal loads on a server, one after the other, and reports both
// rests. Its arguments are the kind of streams, and how often each of the 50
// clients of a load connects.
func soak(args []string) error {
	visits, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	hub := ssegin.NewHub(ssegin.WithHistory(1024, 0, 0)) // it is full after the first load, and takes no more after the second
	addr, stop, err := serve(&http.Server{Handler: events(hub, kinds[args[0]]...)}, hub)
	if err != nil {
		return err
	}
	defer stop()
	var rests []rest
	var topics atomic.Int64 // over both: no topic comes again
	for range 2 {
		before := hub.Stats().Published
		r, err := endure(addr, hub, &topics, visits)
		if err != nil {
			return err
		}
		r.Published = hub.Stats().Published - before
		rests = append(rests, r)
	}
	return printReport(rests)
}

// endure is one load: clients with topics that nobody had before come, read,
// are cut and resume, while events are published.
func endure(addr string, hub *ssegin.Hub, topics *atomic.Int64, visits int) (r rest, err error) {
	var connections, resumed atomic.Int64
	over := make(chan struct{})
	published := make(chan error)
	go func() { published <- publishUntil(over, hub, topics) }()
	var all sync.WaitGroup
	failed := make([]error, 50)
	for i := range failed {
		all.Go(func() {
			lastID := ""
			for range visits {
				if lastID != "" {
					resumed.Add(1)
				}
				path := fmt.Sprintf("/events?topic=topic+%d", topics.Add(1))
				if lastID, failed[i] = visit(addr, path, lastID); failed[i] != nil {
					return
				}
				connections.Add(1)
			}
		})
	}
	all.Wait()
	close(over)
	if err := errors.Join(append(failed, <-published, quiet(hub))...); err != nil {
		return r, err
	}
	r = atRest()
	r.Connections, r.Resumed = connections.Load(), resumed.Load()
	return r, nil
}

// publishUntil publishes every millisecond to all and to the newest topic.
func publishUntil(over chan struct{}, hub *ssegin.Hub, topics *atomic.Int64) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	filler := strings.Repeat("x", 200)
	for {
		select {
		case <-over:
			return nil
		case <-tick.C:
		}
		_, err := hub.Broadcast(context.Background(), ssegin.Event{Data: filler})
		if err == nil {
			_, err = hub.Publish(context.Background(), fmt.Sprintf("topic %d", topics.Load()), ssegin.Event{Data: filler})
		}
		if err != nil {
			return err
		}
	}
}

// visit is one connection of a client: it reads for some time, or does not, and
// breaks off in one way or another.
func visit(addr, path, lastID string) (string, error) {
	conn, err := dial(addr, path, lastID)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	until := time.Now().Add(20*time.Millisecond + rand.N(60*time.Millisecond))
	_ = conn.SetReadDeadline(until)
	lines := bufio.NewReader(conn)
	for rand.N(1000) > 0 { // else it goes before its time
		line, err := lines.ReadString('\n')
		if err != nil {
			break
		}
		if id, ok := strings.CutPrefix(line, "id: "); ok {
			lastID = strings.TrimSpace(id)
		}
	}
	if rand.N(2) == 0 {
		_ = conn.SetLinger(0)
	}
	if rand.N(4) == 0 {
		lastID = "" // somebody else comes
	}
	return lastID, nil
}

// quiet waits until all streams are gone.
func quiet(hub *ssegin.Hub) error {
	for began := time.Now(); hub.Stats().Streams > 0; time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > patience {
			return fmt.Errorf("%d streams are left", hub.Stats().Streams)
		}
	}
	return nil
}

// atRest measures when what was going to end has ended.
func atRest() (r rest) {
	same := 0 // looks; on a busy machine one is not enough
	for began := time.Now(); same < 20 && time.Since(began) < patience; time.Sleep(50 * time.Millisecond) {
		same++
		if n := runtime.NumGoroutine(); n != r.Goroutines {
			r.Goroutines, same = n, 0
		}
	}
	for range 3 { // pools let go of what they hold at the second
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	r.Heap = m.HeapAlloc
	return r
}

func TestSoak_twoEqualLoadsLeaveTheSameBehind(t *testing.T) {
	t.Parallel()
	visits, limit := "70", 4*patience // one takes 50 ms
	switch {
	case long:
		visits, limit = "6000", time.Hour
	case testing.Short():
		visits = "20"
	}
	for kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			rests := report[[2]rest](t, startRole(t, thisProgram(t), "soak", kind, visits), limit)
			one, two := rests[0], rests[1]
			more := func(a, b float64) float64 { return 100 * (b - a) / a }
			heap := more(float64(one.Heap), float64(two.Heap))
			goroutines := more(float64(one.Goroutines), float64(two.Goroutines))
			t.Logf("soak, %s: two equal loads, with %d and %d connections (%d and %d resumed) and %d and %d events: heap %d and %d KiB, %+.1f %%; goroutines %d and %d, %+.1f %%",
				kind, one.Connections, two.Connections, one.Resumed, two.Resumed, one.Published, two.Published,
				one.Heap>>10, two.Heap>>10, heap, one.Goroutines, two.Goroutines, goroutines)
			assert.LessOrEqual(t, heap, 10.0)
			assert.LessOrEqual(t, goroutines, 10.0)
			assert.Greater(t, one.Resumed, int64(100))
		})
	}
}
