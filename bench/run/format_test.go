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
		{Memory, 2048, "2.0"},
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
	if m.Values[Rate] != 2 || m.Lost != 3 || m.Err != "broken" || !math.IsNaN(m.Values[CPU]) {
		t.Errorf("got %+v", m)
	}
}

func TestResults_tablesAndPicture(t *testing.T) {
	w := Workload{Name: "broadcast-1000", Title: "Broadcast", Kind: Publish, Main: []Measure{Rate}}
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
