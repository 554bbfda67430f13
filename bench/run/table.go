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
	w.printf("Measured on %s.\nMedians of %d rounds of %v, in which the servers took turns; in brackets the lowest and the highest.\n",
		r.Machine, r.Config.Rounds, r.Config.Time)
	for _, left := range r.Config.LeftOut {
		w.printf("Left out: %s.\n", left)
	}
	w.printf("\n## Summary\n\n%s", summaryLegend)
	for _, part := range Parts {
		r.summary(w, part)
	}
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

const legend = `**Deliveries** are events received by clients. **CPU** is the server's, **host CPU** that of the process that publishes to a server which is another program,
**load CPU** the load generator's, in microseconds a delivery (or a client). **Writes** are write calls a delivery. Times are from publish to receipt.
**KB/stream** is memory for each idle stream, as a container is charged for it, as it is and **collected**: after a forced garbage collection.
**Heap** and **stack** are what Go counts for each after that. **Peak MB** is the most that the server ever had, the program's text included.
"/ A" and "/ C" are ratios to floor-a-coalescing and floor-c. ✗ marks figures with **faults**, which the workload's own table tells, summed over all rounds.
`

// value is NaN if that server was not measured.
func (r Results) value(w Workload, server string, m Measure) float64 {
	if result, ok := r.Of[w.Name][server]; ok {
		return result.Values[m]
	}
	return math.NaN()
}

// details has all measures of one workload, and says where a floor was none.
func (r Results) details(w *errWriter, workload Workload) {
	w.printf("\n## %s\n\n| server |", workload.heading())
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
			w.printf(" %s |", m.span(result))
			if slices.Contains(workload.Main, m) {
				v := result.Values[m]
				w.printf(" %s | %s |",
					ratio(v, r.value(workload, servers.FloorA, m)),
					ratio(v, r.value(workload, servers.FloorC, m)))
			}
		}
		w.printf(" %s |\n", result.faults())
	}
	for _, note := range r.beatenFloors(workload) {
		w.printf("\n%s\n", note)
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
