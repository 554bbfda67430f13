package run

import (
	"math"
	"slices"
	"strings"
)

// A Measure is one figure of a run.
type Measure int

// What is measured. A delivery is one event that came to one client; where
// clients connect and leave, it is one that did.
const (
	Rate       Measure = iota // deliveries a second
	CPU                       // of the server: seconds a million deliveries
	HostCPU                   // of the process that publishes, if it is another one
	Writes                    // of the server: calls a delivery
	P50                       // from publish to receipt: milliseconds
	P99                       //
	P999                      //
	Max                       //
	Settled                   // bytes in memory for each idle stream, as it is
	Collected                 // the same after a forced collection
	Heap                      // bytes of live objects for each idle stream
	Stacks                    // bytes of goroutines' stacks for each idle stream
	Peak                      // the most resident bytes at any time
	Goroutines                // left when all clients are gone
	LoadCPU                   // of the load generator: seconds a million deliveries
	measures
)

// A Result is one run of one workload on one server, or several rounds of it.
type Result struct {
	Values     [measures]float64 // NaN where not measured
	Low, High  [measures]float64 // of several rounds
	Deliveries int
	Lost       int
	Duplicated int
	Reordered  int
	Gone       int    // streams that the server ended
	Refused    int    // streams that never opened
	Blocked    bool   // the publisher hung until the end
	Err        string // why there are no values
}

func newResult() Result {
	var r Result
	for i := range r.Values {
		r.Values[i] = math.NaN()
	}
	r.Low, r.High = r.Values, r.Values
	return r
}

// lessIsBetter is true of all measures but the rate.
func (m Measure) lessIsBetter() bool { return m != Rate }

// better is how many times better a is than b: above 1 if it is.
func (m Measure) better(a, b float64) float64 {
	if m.lessIsBetter() {
		return b / a
	}
	return a / b
}

// median takes the median of each value with its bounds, and the sum of
// everything that should not have happened, and of the deliveries.
func median(rounds []Result) Result {
	m := newResult()
	var errs []string
	for _, r := range rounds {
		m.Deliveries += r.Deliveries
		m.Lost += r.Lost
		m.Duplicated += r.Duplicated
		m.Reordered += r.Reordered
		m.Gone += r.Gone
		m.Refused += r.Refused
		m.Blocked = m.Blocked || r.Blocked
		if r.Err != "" && !slices.Contains(errs, r.Err) {
			errs = append(errs, r.Err)
		}
	}
	m.Err = strings.Join(errs, "; ")
	for i := range m.Values {
		var values []float64
		for _, r := range rounds {
			if !math.IsNaN(r.Values[i]) {
				values = append(values, r.Values[i])
			}
		}
		if len(values) > 0 {
			slices.Sort(values)
			m.Low[i], m.High[i] = values[0], values[len(values)-1]
			m.Values[i] = middle(values)
		}
	}
	return m
}

// middle is the median of sorted values.
func middle(values []float64) float64 {
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}
