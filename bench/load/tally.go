package load

// maxGaps bounds how many holes a tally remembers; a stream with more is so
// broken that telling late events from duplicates no longer matters.
const maxGaps = 1024

// A tally checks that the events of one stream come once each and in order.
// The zero tally expects them from 1 on.
type tally struct {
	last       uint64 // the highest number seen
	missing    []gap  // the holes below it, oldest first
	duplicated int
	reordered  int
}

// A gap is the numbers from through to, both included.
type gap struct{ from, to uint64 }

// see counts the event seq.
func (t *tally) see(seq uint64) {
	switch {
	case seq == t.last+1:
		t.last = seq
	case seq > t.last:
		if len(t.missing) < maxGaps {
			t.missing = append(t.missing, gap{t.last + 1, seq - 1})
		}
		t.last = seq
	case t.fill(seq):
		t.reordered++
	default:
		t.duplicated++
	}
}

// fill takes seq out of the hole it lies in, if any.
func (t *tally) fill(seq uint64) bool {
	for i, g := range t.missing {
		if seq < g.from || seq > g.to {
			continue
		}
		rest := make([]gap, 0, 2)
		if g.from < seq {
			rest = append(rest, gap{g.from, seq - 1})
		}
		if seq < g.to {
			rest = append(rest, gap{seq + 1, g.to})
		}
		t.missing = append(t.missing[:i:i], append(rest, t.missing[i+1:]...)...)
		return true
	}
	return false
}

// lost is how many of the events 1 to expected have not come.
func (t *tally) lost(expected uint64) int {
	lost := 0
	if t.last < expected {
		lost = int(expected - t.last)
	}
	for _, g := range t.missing {
		lost += int(g.to - g.from + 1)
	}
	return lost
}
