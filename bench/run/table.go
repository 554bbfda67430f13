package run

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/ssegin/ssegin/bench/servers"
)

// WriteTables writes the results as Markdown: a summary, in which each figure
// is followed by its ratio to floor C, and a table for each workload.
func (r Results) WriteTables(out io.Writer) error {
	w := &errWriter{out: out}
	w.printf("Measured on %s.\nMedians of %d rounds of %v, in which the servers took turns.\n", r.Machine, r.Config.Rounds, r.Config.Time)
	r.summary(w)
	for _, workload := range r.Config.Workloads {
		r.details(w, workload)
	}
	w.printf("\n## The servers\n\n| name | what it is |\n|---|---|\n")
	for _, e := range r.Config.Servers {
		w.printf("| %s | %s |\n", e.Name, e.About)
	}
	w.printf("\n%s", legend)
	return w.err
}

const legend = `**Deliveries** are events received by clients. **CPU** is the server's, **load CPU** the load generator's, in microseconds a delivery (or a client).
**Writes** are write calls a delivery. **KB/stream** is resident memory for each idle stream, **peak MB** the most that the process ever had.
Times are from publish to receipt. "/ A" and "/ C", and in the summary the figures in brackets, are ratios to the floors; ✗ marks figures with **faults**, which are told below and summed over all rounds.
`

// summary has a row for each main measure and a column for each server.
func (r Results) summary(w *errWriter) {
	w.printf("\n## Summary\n\n| workload | |")
	for _, e := range r.Config.Servers {
		w.printf(" %s |", e.Name)
	}
	w.printf("\n|---|---|%s\n", strings.Repeat("---:|", len(r.Config.Servers)))
	for _, workload := range r.Config.Workloads {
		for _, m := range workload.Main {
			w.printf("| %s | %s |", workload.Title, m.heading(workload))
			for _, e := range r.Config.Servers {
				w.printf(" %s |", r.cell(workload, e, m))
			}
			w.printf("\n")
		}
	}
}

// cell is a value of the summary with its ratio to floor C. One with faults is
// marked and compared to nothing.
func (r Results) cell(w Workload, e servers.Entry, m Measure) string {
	result, ok := r.Of[w.Name][e.Name]
	if !ok {
		return "–"
	}
	text := m.format(result.Values[m])
	if result.faults() != "" {
		return text + " ✗"
	}
	if of := ratio(result.Values[m], r.value(w, servers.FloorC, m)); of != "–" {
		text += " (" + of + ")"
	}
	return text
}

// value is NaN if that server was not measured.
func (r Results) value(w Workload, server string, m Measure) float64 {
	if result, ok := r.Of[w.Name][server]; ok {
		return result.Values[m]
	}
	return math.NaN()
}

// details has all measures of one workload.
func (r Results) details(w *errWriter, workload Workload) {
	w.printf("\n## %s\n\n| server |", workload.Title)
	columns := workload.columns()
	for _, m := range columns {
		w.printf(" %s |", m.heading(workload))
		if slices.Contains(workload.Main, m) {
			w.printf(" / A | / C |")
		}
	}
	w.printf(" faults |\n|---|%s---|\n", strings.Repeat("---:|", len(columns)+2*len(workload.Main)))
	for _, e := range r.Config.Servers {
		result, ok := r.Of[workload.Name][e.Name]
		if !ok {
			continue
		}
		w.printf("| %s |", e.Name)
		for _, m := range columns {
			v := result.Values[m]
			w.printf(" %s |", m.format(v))
			if slices.Contains(workload.Main, m) {
				w.printf(" %s | %s |",
					ratio(v, r.value(workload, servers.FloorA, m)),
					ratio(v, r.value(workload, servers.FloorC, m)))
			}
		}
		w.printf(" %s |\n", result.faults())
	}
}

// An errWriter keeps the first error, so that it need be looked at only once.
type errWriter struct {
	out io.Writer
	err error
}

func (w *errWriter) printf(format string, args ...any) {
	if w.err == nil {
		_, w.err = fmt.Fprintf(w.out, format, args...)
	}
}
