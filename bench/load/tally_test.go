package load

import "testing"

func TestTally(t *testing.T) {
	for name, test := range map[string]struct {
		seen                        []uint64
		lost, duplicated, reordered int
	}{
		"all":                {[]uint64{1, 2, 3, 4, 5}, 0, 0, 0},
		"none":               {nil, 5, 0, 0},
		"the end is lost":    {[]uint64{1, 2, 3}, 2, 0, 0},
		"the start is lost":  {[]uint64{3, 4, 5}, 2, 0, 0},
		"the middle is lost": {[]uint64{1, 5}, 3, 0, 0},
		"late":               {[]uint64{1, 5, 3, 2, 4}, 0, 0, 3},
		"late and twice":     {[]uint64{1, 5, 3, 3}, 2, 1, 1},
		"twice":              {[]uint64{1, 1, 2, 3, 4, 5, 2}, 0, 2, 0},
	} {
		var tally tally
		for _, seq := range test.seen {
			tally.see(seq)
		}
		if lost := tally.lost(5); lost != test.lost || tally.duplicated != test.duplicated || tally.reordered != test.reordered {
			t.Errorf("%s: lost %d, duplicated %d, reordered %d", name, lost, tally.duplicated, tally.reordered)
		}
	}
}
