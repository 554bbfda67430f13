package engines

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"
)

func TestFit(t *testing.T) {
	l := fit(map[int]float64{1: 12, 2: 14, 4: 18})
	if math.Abs(l.base-10) > 1e-9 || math.Abs(l.each-2) > 1e-9 {
		t.Errorf("%+v, want 10 and 2", l)
	}
	if l := fit(map[int]float64{1: 18, 2: 12}); l.base != 15 || l.each != 0 {
		t.Errorf("%+v, want 15 and nothing for each", l)
	}
}

func TestModel_limits(t *testing.T) {
	m := model{engine: line{10, 2}, hubs: line{20, 5}, clients: line{0, 3}, wire: 1000}
	for _, c := range []struct {
		n    int
		want float64
		name string
	}{
		{1, 1e6 / 25, "hub process"},
		{10, 1e6 / 30, "engine"},
		{100, 1e6 / 210, "engine"},
	} {
		got, name := m.limit(c.n).least()
		if math.Abs(got-c.want) > 1e-6 || name != c.name {
			t.Errorf("%d processes: %v at the %s, want %v at the %s", c.n, got, name, c.want, c.name)
		}
	}
	m.wire = 1e6
	if got, name := m.limit(10).least(); got != 125 || name != "network" {
		t.Errorf("%v at the %s", got, name)
	}
	if got := m.all(2); got != 14+30+6 {
		t.Errorf("all: %v", got)
	}
}

// The page is written from whatever was measured.
func TestResults_Write(t *testing.T) {
	c := Config{Engines: Engines, Rounds: 1, Time: time.Second}
	r := Results{Config: c, Of: make(map[Trial]Result)}
	for _, group := range c.groups() {
		for _, trial := range group {
			result := newResult()
			for _, m := range []Measure{EventRate, EngineCPU, HubCPU, ReaderCPU, AllCPU, WireIn, RatioP50} {
				result.Values[m] = float64(1000 * trial.Hubs)
			}
			r.Trials = append(r.Trials, trial)
			r.Of[trial] = result
		}
	}
	lost := r.Of[r.Trials[0]]
	lost.Lost = 7
	r.Of[r.Trials[0]] = lost
	slow := r.Of[r.Trials[1]]
	slow.Values[RatioP50] = 2.5
	var page bytes.Buffer
	if err := r.Write(&page); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| memory | – |", "**missed** |\n| the same", "| 1 | **missed** |", "| 7 lost |", "| nats-sync | 4 | 4,000 |", "16 (not in the fit)", "### Beyond one log", "| redis | 4,096 | 100 |",
	} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("the page has no %q", want)
		}
	}
	if strings.Contains(page.String(), "%!") {
		t.Error("the page has a wrong format")
	}
}

func TestMedian(t *testing.T) {
	rounds := []Result{newResult(), newResult(), newResult()}
	for i, v := range []float64{5, 1, 3} {
		rounds[i].Values[EventRate] = v
		rounds[i].Lost = i
	}
	if m := median(rounds); m.Values[EventRate] != 3 || m.Lost != 3 {
		t.Errorf("%+v", m)
	}
}
