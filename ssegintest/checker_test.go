package ssegintest_test

import (
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/ssegin/ssegin/ssegintest"
)

func dataAsNumber(e ssegintest.Event) (uint64, bool) {
	n, err := strconv.ParseUint(e.Data, 10, 64)
	return n, err == nil
}

func TestChecker_findsWhatHappened(t *testing.T) {
	type verdict = ssegintest.Verdict
	for name, test := range map[string]struct {
		seen []uint64
		last uint64
		want verdict
	}{
		"nothing due":              {nil, 0, verdict{}},
		"nothing seen":             {nil, 3, verdict{Missing: 3}},
		"all":                      {[]uint64{1, 2, 3}, 3, verdict{Events: 3}},
		"head missing":             {[]uint64{3}, 3, verdict{Events: 1, Missing: 2}},
		"tail missing":             {[]uint64{1}, 3, verdict{Events: 1, Missing: 2}},
		"hole":                     {[]uint64{1, 4}, 4, verdict{Events: 2, Missing: 2}},
		"twice":                    {[]uint64{1, 2, 2, 1}, 2, verdict{Events: 4, Duplicated: 2}},
		"swapped":                  {[]uint64{2, 1, 3}, 3, verdict{Events: 3, Reordered: 1}},
		"late, then again":         {[]uint64{5, 3, 3}, 5, verdict{Events: 3, Missing: 3, Reordered: 1, Duplicated: 1}},
		"gap filled from its ends": {[]uint64{4, 1, 3, 2}, 4, verdict{Events: 4, Reordered: 3}},
		"older than the first due": {[]uint64{0, 1}, 1, verdict{Events: 2, Duplicated: 1}},
		"more than was due":        {[]uint64{1, 2}, 1, verdict{Events: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			c := ssegintest.NewChecker(1, dataAsNumber)
			c.Check(ssegintest.Event{Data: "no number"})
			for _, n := range test.seen {
				c.Check(ssegintest.Event{Data: strconv.FormatUint(n, 10)})
			}
			assert.Equal(t, test.want, c.Verdict(test.last))
			assert.Equal(t, test.want, c.Verdict(test.last), "looking changes nothing")
		})
	}
}

func TestChecker_nextIsWhatMustComeNext(t *testing.T) {
	c := ssegintest.NewChecker(7, dataAsNumber)
	assert.EqualValues(t, 7, c.Next())
	for _, n := range []string{"7", "9", "8"} {
		c.Check(ssegintest.Event{Data: n})
	}
	assert.EqualValues(t, 10, c.Next())
}

// A set of what was seen is the simpler way to the same verdict.
func TestChecker_agreesWithASet(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		const last = 30
		c := ssegintest.NewChecker(1, dataAsNumber)
		var want ssegintest.Verdict
		seen, greatest := make(map[uint64]bool), uint64(0)
		for range rnd.IntN(60) {
			n := 1 + rnd.Uint64N(last)
			c.Check(ssegintest.Event{Data: strconv.FormatUint(n, 10)})
			want.Events++
			switch {
			case seen[n]:
				want.Duplicated++
			case n < greatest:
				want.Reordered++
			}
			seen[n], greatest = true, max(n, greatest)
		}
		want.Missing = last - uint64(len(seen))
		assert.Equal(t, want, c.Verdict(last), "seed %d", seed)
	}
}

func TestVerdict_sumsAndSaysWhatItFound(t *testing.T) {
	v := ssegintest.Verdict{Events: 1, Missing: 2, Duplicated: 3, Reordered: 4}
	assert.Equal(t, "lost 4, duplicated 6, reordered 8 over 2 reads", v.Plus(v).String())
}
