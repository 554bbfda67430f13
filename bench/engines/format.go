package engines

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

func (t Trial) String() string {
	text := fmt.Sprintf("%s %s, %d hubs, %d B", t.Kind, t.Engine, t.Hubs, t.Size)
	if t.Bare != "" {
		text += ", beside " + t.Bare
	}
	if t.History > 0 {
		text += fmt.Sprintf(", history %d", t.History)
	}
	return text
}

// line says all of r in one line.
func (r Result) line() string {
	var parts []string
	for _, m := range slices.Sorted(maps.Keys(r.Values)) {
		parts = append(parts, string(m)+" "+m.format(r.Values[m]))
	}
	if f := r.faults(); f != "" {
		parts = append(parts, "FAULTS: "+f)
	}
	return strings.Join(parts, ", ")
}

// cell writes a value of the measure, or a dash if there is none.
func (r Result) cell(m Measure) string {
	v, ok := r.Values[m]
	if !ok {
		return "–"
	}
	return m.format(v)
}

func (m Measure) format(v float64) string {
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return "–"
	case m == Requests || m == Busy || m == WireIn || m == WireOut:
		return thousands(v)
	case m == RatioP50 || m == RatioP99:
		return strconv.FormatFloat(v, 'f', 2, 64)
	default:
		return digits(v)
	}
}

// digits writes about three digits of v.
func digits(v float64) string {
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return "–"
	case v < 1:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case v < 100:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case v < 1000:
		return thousands(v)
	}
	scale := math.Pow10(int(math.Log10(v)) - 2)
	return thousands(math.Round(v/scale) * scale)
}

// thousands writes a whole number with a comma before each three digits.
func thousands(v float64) string {
	text := fmt.Sprintf("%.0f", v)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
