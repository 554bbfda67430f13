package run

import (
	"fmt"
	"math"
	"strings"

	"github.com/ssegin/ssegin/bench/servers"
)

const summaryLegend = "Each figure is a median with its bounds, and then its ratio to floor-c. More is better of deliveries/s and clients/s, less of all others.\n"

// summary has a row for each server and a column for each main measure of the
// part's workloads, and says where ssegin does not lead.
func (r Results) summary(w *errWriter, part Part) {
	var columns []column
	for _, workload := range r.Config.Workloads {
		for _, m := range workload.Main {
			if workload.Part == part {
				columns = append(columns, column{workload, m})
			}
		}
	}
	if len(columns) == 0 {
		return
	}
	w.printf("\n### %s\n\n| server |", part)
	for _, c := range columns {
		w.printf(" %s |", c)
	}
	w.printf("\n|---|%s\n", strings.Repeat("---:|", len(columns)))
	for _, e := range r.Config.Servers {
		w.printf("| %s |", e.Name)
		for _, c := range columns {
			w.printf(" %s |", r.cell(c, e))
		}
		w.printf("\n")
	}
	r.peersAhead(w, columns)
}

// A column is one measure of one workload.
type column struct {
	Workload
	measure Measure
}

func (c column) String() string { return c.Title + ": " + c.measure.heading(c.Workload) }

// cell is a value of the summary with its ratio to floor C. One with faults is
// marked and compared to nothing.
func (r Results) cell(c column, e servers.Entry) string {
	result, ok := r.Of[c.Name][e.Name]
	if !ok {
		return "–"
	}
	text := c.measure.span(result)
	if result.faults() != "" {
		return text + " ✗"
	}
	if of := ratio(result.Values[c.measure], r.value(c.Workload, servers.FloorC, c.measure)); of != "–" {
		text += " " + of
	}
	return text
}

// peersAhead lists what is better with a peer than with ssegin's default.
func (r Results) peersAhead(w *errWriter, columns []column) {
	if own, err := servers.Find(servers.Default); err != nil || !r.measured(own) {
		return
	}
	w.printf("\nPeers ahead of %s here:\n\n", servers.Default)
	none := true
	for _, c := range columns {
		if ahead := r.ahead(c); len(ahead) > 0 {
			own := c.measure.format(r.value(c.Workload, servers.Default, c.measure))
			w.printf("- %s: %s; %s %s\n", c, strings.Join(ahead, ", "), servers.Default, own)
			none = false
		}
	}
	if none {
		w.printf("- none\n")
	}
}

// ahead are the peers without faults that are better than ssegin's default.
func (r Results) ahead(c column) []string {
	var ahead []string
	own := r.value(c.Workload, servers.Default, c.measure)
	for _, e := range r.Config.Servers {
		result := r.Of[c.Name][e.Name]
		if v := r.value(c.Workload, e.Name, c.measure); e.Kind == servers.Peer && result.faults() == "" && c.measure.better(v, own) > 1 {
			ahead = append(ahead, e.Name+" "+c.measure.format(v))
		}
	}
	return ahead
}

func (r Results) measured(e servers.Entry) bool {
	for _, of := range r.Of {
		if _, ok := of[e.Name]; ok {
			return true
		}
	}
	return false
}

// floorMargin is by how much a server may be better than a floor before that is
// none: more than runs differ from each other.
const floorMargin = 1.10

// beatenFloors has a sentence for each floor that some server has beaten by
// more than the margin.
func (r Results) beatenFloors(w Workload) []string {
	var notes []string
	for _, floor := range r.Config.Servers {
		if floor.Kind != servers.Floor {
			continue
		}
		var beaten []string
		for _, m := range w.Main {
			for _, e := range r.Config.Servers {
				times := m.better(r.value(w, e.Name, m), r.value(w, floor.Name, m))
				faults := r.Of[w.Name][e.Name].faults()
				if e.Kind != servers.Floor && faults == "" && times > floorMargin && !math.IsInf(times, 1) {
					beaten = append(beaten, fmt.Sprintf("%s (%s, %.2f times better)", e.Name, m.heading(w), times))
				}
			}
		}
		if len(beaten) > 0 {
			notes = append(notes, fmt.Sprintf("**Here %s is no floor:** it is beaten by %s. %s", floor.Name, strings.Join(beaten, ", "), floor.Limit))
		}
	}
	return notes
}
