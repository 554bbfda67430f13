package gate

import (
	"slices"
	"strings"
	"testing"
)

func TestRecord_oneMoreFailsTheGate(t *testing.T) {
	recorded, err := load("figures.json")
	if err != nil {
		t.Fatal(err)
	}
	more := map[Kind]float64{ // for each event, client or stream
		Allocations: 1, Writes: 1, Heap: 80, Stack: 2048, // the next size class; the next size of a stack
	}
	for i, f := range recorded.Figures {
		added, ok := more[f.Kind]
		if !ok {
			continue // bytes come with allocations, and instructions with anything
		}
		now := recorded
		now.Figures = slices.Clone(recorded.Figures)
		now.Figures[i].Value += added
		if v := recorded.judge(now, ""); len(v.faults) != 1 {
			t.Errorf("%v and %v more: the faults are %q, want one", f, added, v.faults)
		}
	}
}

func TestRecord_judge(t *testing.T) {
	figure := func(kind Kind, value float64) []Figure { return []Figure{{"fan-out", kind, "delivery", value}} }
	before := Record{"go1.26", "amd64", 1, figure(Heap, 1000)}
	for _, tc := range []struct {
		name          string
		before, now   Record
		uncounted     string
		fault, remark string // parts of the only ones
	}{
		{name: "the same", now: before},
		{name: "within the bound", now: Record{"go1.26", "amd64", 1, figure(Heap, 1064)}},
		{name: "worse", now: Record{"go1.26", "amd64", 1, figure(Heap, 1065)}, fault: "worse: fan-out: 1065 bytes of heap per delivery; recorded are 1000, and 64 more are allowed"},
		{name: "better", now: Record{"go1.26", "amd64", 1, figure(Heap, 935)}, remark: "renew the record"},
		{name: "another release of Go", now: Record{"go1.27", "amd64", 1, figure(Heap, 2000)}, remark: "recorded with go1.26 on amd64, measured with go1.27 on amd64"},
		{name: "another processor", now: Record{"go1.26", "arm64", 1, figure(Heap, 2000)}, remark: "measured with go1.26 on arm64"},
		{
			name:   "another release of Go, and a count that is ours alone",
			before: Record{"go1.26", "amd64", 1, figure(Allocations, 1)},
			now:    Record{"go1.27", "amd64", 1, figure(Allocations, 2)},
			fault:  "worse", remark: "go1.27",
		},
		{name: "another number of processors", now: Record{"go1.26", "amd64", 2, figure(Heap, 1000)}, fault: "GOMAXPROCS=1, measured with 2"},
		{name: "new", before: Record{"go1.26", "amd64", 1, nil}, now: before, fault: "not recorded: fan-out"},
		{name: "gone", now: Record{"go1.26", "amd64", 1, nil}, fault: "not measured any more: fan-out"},
		{
			name:   "instructions that cannot be counted here",
			before: Record{"go1.26", "amd64", 1, figure(Instructions, 1000)}, now: Record{"go1.26", "amd64", 1, nil},
			uncounted: "no such device", remark: "does not count them: no such device",
		},
		{
			name:   "instructions that are not measured any more",
			before: Record{"go1.26", "amd64", 1, figure(Instructions, 1000)}, now: Record{"go1.26", "amd64", 1, nil},
			fault: "not measured any more",
		},
		{
			name:   "instructions that could not be recorded",
			before: Record{"go1.26", "amd64", 1, nil}, now: Record{"go1.26", "amd64", 1, figure(Instructions, 1000)},
			remark: "not recorded",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.before.Go == "" {
				tc.before = before
			}
			v := tc.before.judge(tc.now, tc.uncounted)
			if !only(v.faults, tc.fault) || !only(v.remarks, tc.remark) {
				t.Errorf("the faults are %q, want %q; the remarks are %q, want %q", v.faults, tc.fault, v.remarks, tc.remark)
			}
		})
	}
}

// only reports whether texts has one text, with that part, or none if that is
// empty.
func only(texts []string, part string) bool {
	if part == "" {
		return len(texts) == 0
	}
	return len(texts) == 1 && strings.Contains(texts[0], part)
}
