package run

import (
	"context"
	"fmt"
	"math"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/ssegin/ssegin/bench/servers"
)

// TestMain lets the test binary be the server and the load generator, as the
// program is when it measures.
func TestMain(m *testing.M) {
	// Under the race detector each child would sleep for a second at its end.
	_ = os.Setenv("GORACE", "atexit_sleep_ms=0")
	ran, err := Child(os.Args[1:])
	switch {
	case !ran:
		os.Exit(m.Run())
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// small are the workloads in little, with the deliveries that each must have.
var small = []struct {
	Workload
	deliveries int
	long       bool // only for ssegin, unless the environment has SSEGIN_LONG
}{
	{Workload{Name: "saturated", Kind: Publish, Streams: 20, Topics: 1, Size: 128, Window: 64, Events: 500}, 20 * 500, false},
	{Workload{Name: "topics", Kind: Publish, Streams: 20, Topics: 4, Size: 40, Rate: 5000, Events: 500}, 20 * 500 / 4, true},
	{Workload{Name: "tokens", Kind: Tokens, Streams: 1, Topics: 1, Size: 32, Window: 64, Events: 500}, 500, true},
	{Workload{Name: "replay", Kind: Replay, Streams: 5, Topics: 1, Size: 32}, 5 * returning, true},
}

// installed are the servers that can be measured here. Where CI is true, that
// must be all.
func installed(t *testing.T) (all []servers.Entry) {
	t.Helper()
	for _, e := range servers.All {
		switch lacks := e.Lacks(); {
		case lacks == "":
			all = append(all, e)
		case os.Getenv("CI") == "true":
			t.Errorf("%s cannot be tested: %s; make bench-deps installs it", e.Name, lacks)
		default:
			t.Logf("%s is left out: %s", e.Name, lacks)
		}
	}
	return all
}

func TestTry_everyServerDeliversAll(t *testing.T) {
	for _, e := range installed(t) {
		for _, w := range small {
			if !w.fits(e) {
				continue
			}
			t.Run(e.Name+"/"+w.Name, func(t *testing.T) {
				t.Parallel()
				if w.long && e.Kind != servers.Own && os.Getenv("SSEGIN_LONG") == "" {
					t.Skip("SSEGIN_LONG is not set")
				}
				r := try(context.Background(), w.Workload, e, time.Minute)
				if faults := r.faults(); faults != "" {
					t.Fatal(faults)
				}
				if r.Deliveries != w.deliveries {
					t.Errorf("%d deliveries, want %d", r.Deliveries, w.deliveries)
				}
			})
		}
	}
}

func TestTry_stalledStreamsAreLeftOut(t *testing.T) {
	t.Parallel()
	w := Workload{Kind: Publish, Streams: 10, Stalled: 2, Topics: 1, Size: 16 << 10, Rate: 1000, Events: 200}
	r := try(context.Background(), w, entry(t, "floor-http"), time.Second)
	if faults := r.faults(); faults != "" || r.Deliveries != 8*200 {
		t.Errorf("%d deliveries, faults: %q", r.Deliveries, faults)
	}
}

func TestTry_aBlockedPublisherIsFoundOut(t *testing.T) {
	t.Parallel()
	w := Workload{Kind: Publish, Streams: 10, Stalled: 2, Topics: 1, Size: 64 << 10, Rate: 1000}
	r := try(context.Background(), w, entry(t, "gin-example"), 200*time.Millisecond)
	if !r.Blocked || r.Lost == 0 {
		t.Errorf("blocked %v, %d lost", r.Blocked, r.Lost)
	}
}

func TestTry_churn(t *testing.T) {
	t.Parallel()
	w := Workload{Kind: Churn, Streams: 10, Topics: 1, Size: 32, Rate: 100}
	r := try(context.Background(), w, entry(t, "floor-a"), 200*time.Millisecond)
	if faults := r.faults(); faults != "" || !(r.Values[Rate] > 0) {
		t.Errorf("%v clients a second, faults: %q", r.Values[Rate], faults)
	}
}

func TestTry_idle(t *testing.T) {
	for _, name := range []string{"floor-c", "nchan"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := entry(t, name)
			if !slices.ContainsFunc(installed(t), func(i servers.Entry) bool { return i.Name == name }) {
				return
			}
			r := try(context.Background(), Workload{Kind: Idle, Streams: 100, Topics: 1}, e, time.Second)
			if faults := r.faults(); faults != "" {
				t.Fatal(faults)
			}
			// What Go counts is exact; what the kernel counts need not grow with 100 streams.
			if heap := r.Values[Heap]; e.External != math.IsNaN(heap) || heap < 1<<10 {
				t.Errorf("%v bytes of heap for each stream", heap)
			}
			for _, m := range []Measure{Settled, Collected, Peak} {
				if math.IsNaN(r.Values[m]) {
					t.Errorf("no %s", m.heading(Workload{Kind: Idle}))
				}
			}
		})
	}
}

func TestTry_severalLoadGenerators(t *testing.T) {
	t.Parallel()
	w := Workload{Kind: Publish, Streams: 21, Loads: 2, Topics: 1, Size: 32, Window: 16, Events: 200}
	r := try(context.Background(), w, entry(t, "floor-a-coalescing"), time.Minute)
	if faults := r.faults(); faults != "" || r.Deliveries != 21*200 {
		t.Errorf("%d deliveries, faults: %q", r.Deliveries, faults)
	}
}

func entry(t *testing.T, name string) servers.Entry {
	t.Helper()
	e, err := servers.Find(name)
	if err != nil {
		t.Fatal(err)
	}
	return e
}
