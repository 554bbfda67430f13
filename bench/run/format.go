package run

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// heading is the measure's column in the table of w.
func (m Measure) heading(w Workload) string {
	switch m {
	case Rate:
		if w.Kind == Churn {
			return "clients/s"
		}
		return "deliveries/s"
	case CPU:
		return "CPU"
	case Writes:
		return "writes"
	case P50:
		return "p50 ms"
	case P99:
		return "p99 ms"
	case P999:
		return "p99.9 ms"
	case Max:
		return "max ms"
	case HostCPU:
		return "host CPU"
	case Settled:
		return "KB/stream"
	case Collected:
		return "KB/stream, collected"
	case Heap:
		return "heap B/stream"
	case Stacks:
		return "stack B/stream"
	case Peak:
		return "peak MB"
	case Goroutines:
		return "left behind"
	case LoadCPU:
		return "load CPU"
	default:
		return ""
	}
}

// format writes a value of the measure.
func (m Measure) format(v float64) string {
	if math.IsNaN(v) {
		return "–"
	}
	switch m {
	case Rate:
		return thousands(roundTo(v, 3))
	case CPU, HostCPU, LoadCPU, P50, P99, P999, Max:
		return significant(v)
	case Writes:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case Settled, Collected:
		return strconv.FormatFloat(v/1024, 'f', 1, 64)
	case Peak:
		return significant(v / (1 << 20))
	default:
		return thousands(v)
	}
}

// span writes r's value of the measure and, of several rounds, its bounds.
func (m Measure) span(r Result) string {
	text := m.format(r.Values[m])
	low, high := m.format(r.Low[m]), m.format(r.High[m])
	if math.IsNaN(r.Low[m]) || low == high {
		return text
	}
	return text + " (" + low + ".." + high + ")"
}

// faults says what should not have happened.
func (r Result) faults() string {
	var faults []string
	for _, f := range []struct {
		n    int
		what string
	}{
		{r.Lost, "lost"},
		{r.Duplicated, "duplicated"},
		{r.Reordered, "reordered"},
		{r.Gone, "cut off"},
		{r.Refused, "refused"},
	} {
		if f.n > 0 {
			faults = append(faults, thousands(float64(f.n))+" "+f.what)
		}
	}
	if r.Blocked {
		faults = append(faults, "publisher blocked")
	}
	if r.Err != "" {
		faults = append(faults, "failed: "+r.Err)
	}
	return strings.Join(faults, ", ")
}

// line says all of r in one line.
func (r Result) line(w Workload) string {
	var parts []string
	for _, m := range w.columns() {
		if v := r.Values[m]; !math.IsNaN(v) {
			parts = append(parts, m.heading(w)+" "+m.format(v))
		}
	}
	if f := r.faults(); f != "" {
		parts = append(parts, f)
	}
	return strings.Join(parts, ", ")
}

// ratio is v in terms of floor.
func ratio(v, floor float64) string {
	if math.IsNaN(v) || math.IsNaN(floor) || floor == 0 {
		return "–"
	}
	return strconv.FormatFloat(v/floor, 'f', 2, 64)
}

// roundTo keeps so many significant digits of v.
func roundTo(v float64, digits int) float64 {
	if v == 0 {
		return 0
	}
	scale := math.Pow10(int(math.Floor(math.Log10(math.Abs(v)))) + 1 - digits)
	if scale <= 1 {
		return math.Round(v)
	}
	return math.Round(v/scale) * scale
}

// significant writes about three digits.
func significant(v float64) string {
	switch {
	case v < 1:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case v < 100:
		return strconv.FormatFloat(v, 'f', 1, 64)
	default:
		return thousands(v)
	}
}

// thousands writes a whole number with a comma before each three digits.
func thousands(v float64) string {
	digits := fmt.Sprintf("%.0f", v)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
