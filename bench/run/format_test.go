package run

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/ssegin/ssegin/bench/servers"
)

func TestMeasure_format(t *testing.T) {
	for _, test := range []struct {
		measure Measure
		value   float64
		want    string
	}{
		{Rate, 2_014_999, "2,010,000"},
		{Rate, 999, "999"},
		{Rate, 0, "0"},
		{CPU, 0.224, "0.22"},
		{P99, 15.94, "15.9"},
		{Max, 1234.5, "1,234"},
		{Writes, 1, "1.00"},
		{Settled, 2048, "2.0"},
		{Heap, 12345, "12,345"},
		{Peak, 3 << 20, "3.0"},
		{Goroutines, 1, "1"},
		{Rate, math.NaN(), "–"},
	} {
		if got := test.measure.format(test.value); got != test.want {
			t.Errorf("measure %d: %v is written %q, want %q", test.measure, test.value, got, test.want)
		}
	}
}

func TestMedian(t *testing.T) {
	var rounds []Result
	for _, v := range []float64{3, 1, 2} {
		r := newResult()
		r.Values[Rate], r.Lost, r.Err = v, 1, "broken"
		rounds = append(rounds, r)
	}
	m := median(rounds)
	if m.Low[Rate] != 1 || m.High[Rate] != 3 || !math.IsNaN(m.Low[CPU]) {
		t.Errorf("bounds %v and %v", m.Low[Rate], m.High[Rate])
	}
	if m.Values[Rate] != 2 || m.Lost != 3 || m.Err != "broken" || !math.IsNaN(m.Values[CPU]) {
		t.Errorf("got %+v", m)
	}
}

func TestResults_tablesAndPicture(t *testing.T) {
	w := Workload{Name: "broadcast-1000-64", Title: "Broadcast", Part: Saturated, Kind: Publish, Main: []Measure{Rate}}
	r := Results{
		Config:  Config{Servers: servers.All, Workloads: []Workload{w}, Rounds: 1, Time: time.Second},
		Machine: ThisMachine(),
		Of:      map[string]map[string]Result{w.Name: {}},
	}
	for i, e := range servers.All {
		result := newResult()
		result.Values[Rate] = float64(i+1) * 1000
		r.Of[w.Name][e.Name] = result
	}
	var b strings.Builder
	if err := r.WriteTables(&b); err != nil {
		t.Fatal(err)
	}
	columns := 0
	for line := range strings.Lines(b.String()) {
		switch n := strings.Count(line, "|"); {
		case n == 0:
			columns = 0
		case columns != 0 && n != columns:
			t.Errorf("a row has %d bars, those before %d: %s", n, columns, line)
		default:
			columns = n
		}
	}
	if picture := string(r.picture()); strings.Count(picture, "<rect") != len(servers.All) {
		t.Errorf("the picture has not one bar for each server:\n%s", picture)
	}
}

// figures makes results of one workload with these rates.
func figures(rates map[string]float64) Results {
	w := Workload{Name: "w", Title: "W", Part: Saturated, Kind: Publish, Main: []Measure{Rate}}
	r := Results{
		Config: Config{Servers: servers.All, Workloads: []Workload{w}, Rounds: 1},
		Of:     map[string]map[string]Result{"w": {}},
	}
	for name, rate := range rates {
		result := newResult()
		result.Values[Rate] = rate
		r.Of["w"][name] = result
	}
	return r
}

func TestResults_saysWhereAFloorIsNone(t *testing.T) {
	r := figures(map[string]float64{servers.FloorA: 200, servers.FloorC: 100, servers.Default: 112, "r3labs": 109})
	notes := r.beatenFloors(r.Config.Workloads[0])
	if len(notes) != 1 || !strings.Contains(notes[0], "floor-c is no floor") ||
		!strings.Contains(notes[0], "ssegin (deliveries/s, 1.12 times better)") || strings.Contains(notes[0], "r3labs") {
		t.Errorf("got %q", notes)
	}
	faulty := r.Of["w"][servers.Default]
	faulty.Lost = 1
	r.Of["w"][servers.Default] = faulty
	if notes := r.beatenFloors(r.Config.Workloads[0]); len(notes) != 0 {
		t.Errorf("a server that loses events counts: %q", notes)
	}
}

func TestResults_saysWhereAPeerIsAhead(t *testing.T) {
	r := figures(map[string]float64{servers.FloorC: 400, servers.Default: 200, "ssegin-detached": 500, "r3labs": 201, "tmaxmax": 200})
	var b strings.Builder
	r.summary(&errWriter{out: &b}, Saturated)
	if want := "- W: deliveries/s: r3labs 201; ssegin 200\n"; !strings.HasSuffix(b.String(), ":\n\n"+want) {
		t.Errorf("got %q", b.String())
	}
}

func TestMeasure_span(t *testing.T) {
	one, two := newResult(), newResult()
	one.Values[CPU], two.Values[CPU] = 1, 2.5
	for want, rounds := range map[string][]Result{"1.8 (1.0..2.5)": {one, two}, "1.0": {one, one}, "–": nil} {
		if got := CPU.span(median(rounds)); got != want {
			t.Errorf("%d rounds: got %q, want %q", len(rounds), got, want)
		}
	}
}
