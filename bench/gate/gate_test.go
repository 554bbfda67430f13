//go:build !race

// The race detector allocates by itself, and keeps pools from keeping anything:
// what is counted under it says nothing. So make test runs this file without it
// (make gate), and the other tests of the package with it.
package gate

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math"
	"os"
	"testing"
)

const recordPath = "figures.json"

var update = flag.Bool("update", false, "write "+recordPath+" instead of comparing with it")

// TestMain lets the test binary be the process that is measured.
func TestMain(m *testing.M) {
	ran, err := Child(os.Args[1:])
	switch {
	case !ran:
		os.Exit(m.Run())
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func TestGate_noCountIsWorseThanRecorded(t *testing.T) {
	recorded, err := load(recordPath)
	if err != nil && !(*update && errors.Is(err, fs.ErrNotExist)) {
		t.Fatal(err)
	}
	now, uncounted := measureAll(t)
	if *update {
		now = measuredAgain(t, measuredAgain(t, now, math.Max), math.Max)
		if err := now.withInstructionsOf(recorded).save(recordPath); err != nil {
			t.Fatal(err)
		}
		return
	}
	v := recorded.judge(now, uncounted)
	for again := 2; again > 0 && len(v.faults) > 0; again-- {
		t.Logf("measured again, because of %q", v.faults)
		now = measuredAgain(t, now, math.Min)
		v = recorded.judge(now, uncounted)
	}
	for _, remark := range v.remarks {
		t.Log(remark)
	}
	for _, fault := range v.faults {
		t.Error(fault)
	}
	if t.Failed() {
		t.Log("if that is as it must be, renew the record with make gate-renew")
	}
}

// measuredAgain measures once more. Chance adds to a count and takes nothing
// away, so the most of three is recorded, and the least of three is compared.
func measuredAgain(t *testing.T, before Record, pick func(a, b float64) float64) Record {
	anew, _ := measureAll(t)
	return before.merged(anew, pick)
}

func measureAll(t *testing.T) (now Record, uncounted string) {
	figures, uncounted, err := Measure(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return newRecord(figures), uncounted
}
