package engines

import "math"

// writeShort writes what came out, beside what was to come out.
func (r Results) writeShort(w *page) {
	log, before, requests := newSpan(), newSpan(), newSpan()
	tails, faulty, events, deliveries := newSpan(), 0, 0, 0
	for _, t := range r.Trials {
		of := r.Of[t]
		events += of.Events
		deliveries += of.Deliveries
		if of.faults() != "" {
			faulty++
		}
		switch {
		case t.Kind == latencyTrial && t.Bare == bareSubscription:
			before.add(of, RatioP50)
		case t.Kind == latencyTrial:
			log.add(of, RatioP50)
			tails.add(of, RatioP99)
		case t.Kind == stormTrial:
			requests.add(of, Requests)
		}
	}
	w.printf("\n## In short\n\n")
	w.head("", "goal", "measured", "")
	w.printf("| median latency of another process's client, to that of a bare reader of the log | at most 2 | %s | %s |\n", log.text(), log.verdict(2))
	w.printf("| the same of the 99th percentiles | at most 2 | %s | %s |\n", tails.text(), tails.verdict(2))
	w.printf("| median latency, to that of a bare NATS subscription, which has an event before it is in the log | | %s | |\n", before.text())
	w.printf("| requests to the engine when %s clients come at once | fewer than 50 | %s | %s |\n",
		thousands(float64(r.Config.scale().Clients)), requests.text(), requests.verdict(49))
	w.printf("| trials with events lost, twice, late, or in another order | 0 of %d, with %s events and %s deliveries | %d | %s |\n",
		len(r.Trials), thousands(float64(events)), thousands(float64(deliveries)), faulty, verdict(faulty == 0))
}

// A span is from the least to the greatest of some values.
type span struct {
	least, greatest float64
	format          func(float64) string
}

func newSpan() span { return span{least: math.Inf(1), greatest: math.Inf(-1)} }

// add adds the value of that measure, if there is one.
func (s *span) add(r Result, m Measure) {
	if v, ok := r.Values[m]; ok {
		s.least, s.greatest, s.format = min(s.least, v), max(s.greatest, v), m.format
	}
}

func (s *span) text() string {
	switch {
	case s.format == nil:
		return "–"
	case s.least == s.greatest:
		return s.format(s.least)
	default:
		return s.format(s.least) + " to " + s.format(s.greatest)
	}
}

func (s *span) verdict(most float64) string {
	if s.format == nil {
		return ""
	}
	return verdict(s.greatest <= most)
}

func verdict(kept bool) string {
	if kept {
		return "kept"
	}
	return "**missed**"
}
