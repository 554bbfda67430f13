package gate

import "fmt"

// A Kind is what a figure counts.
type Kind string

// The kinds of figures.
const (
	Allocations  Kind = "allocations"
	Bytes        Kind = "bytes allocated"
	Writes       Kind = "write calls"
	Instructions Kind = "instructions"
	Heap         Kind = "bytes of heap"
	Stack        Kind = "bytes of stack"
)

// A bound says how much more than recorded a figure may be: so much, or that
// share of it, whichever is more.
type bound struct {
	least, share float64
	sameGo       bool // Go makes the figure as much as ssegin does: another release or processor has others
}

// bounds are two to four times what twenty runs differed by, ten of them beside
// four busy loops on two cores; but no machine was at hand that counts
// instructions. What differs is a few allocations of Go's runtime in a run
// (threads, waiting lists), which makes up to 1 byte for each delivery, and the
// spans of 32 KB that stacks come in. All of them lie well under what one
// allocation, write call or field more for each event or stream makes.
var bounds = map[Kind]bound{
	Allocations:  {least: 0.02, share: 0.01},
	Bytes:        {least: 4, share: 0.03},
	Writes:       {least: 0.01, share: 0.02},
	Instructions: {share: 0.10, sameGo: true},
	Heap:         {least: 64, sameGo: true},
	Stack:        {least: 512, sameGo: true},
}

// room is by how much f may be exceeded.
func (f Figure) room() float64 {
	b := bounds[f.Kind]
	return max(b.least, b.share*f.Value)
}

// A verdict is what a comparison with the record has found.
type verdict struct {
	faults  []string // each of them fails the gate
	remarks []string
}

// judge compares what was measured now with the record r. Uncounted is why
// instructions were not counted, empty if they were.
func (r Record) judge(now Record, uncounted string) (v verdict) {
	if uncounted != "" {
		v.remark("instructions are not compared, because this machine does not count them: %s", uncounted)
	}
	if !r.sameGo(now) {
		v.remark("heap, stack and instructions are not compared: recorded with %s on %s, measured with %s on %s", r.Go, r.Arch, now.Go, now.Arch)
	}
	if r.GOMAXPROCS != now.GOMAXPROCS {
		v.fault("recorded with GOMAXPROCS=%d, measured with %d", r.GOMAXPROCS, now.GOMAXPROCS)
	}
	for _, f := range now.Figures {
		recorded, ok := r.find(f)
		switch {
		case !ok && f.Kind == Instructions:
			v.remark("not recorded: %v", f) // the file may come from a machine that does not count them
		case !ok:
			v.fault("not recorded: %v", f)
		case r.sameGo(now) || !bounds[f.Kind].sameGo:
			v.compare(recorded, f)
		}
	}
	for _, f := range r.Figures {
		if _, ok := now.find(f); !ok && (f.Kind != Instructions || uncounted == "") {
			v.fault("recorded, and not measured any more: %v", f)
		}
	}
	return v
}

func (v *verdict) compare(recorded, now Figure) {
	switch room := recorded.room(); {
	case now.Value > recorded.Value+room:
		v.fault("worse: %v; recorded are %v, and %.3g more are allowed", now, recorded.Value, room)
	case now.Value < recorded.Value-room:
		v.remark("better, so renew the record: %v; recorded are %v", now, recorded.Value)
	}
}

func (v *verdict) fault(format string, args ...any) {
	v.faults = append(v.faults, fmt.Sprintf(format, args...))
}

func (v *verdict) remark(format string, args ...any) {
	v.remarks = append(v.remarks, fmt.Sprintf(format, args...))
}
