package ssegintest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ssegin/ssegin/eventlog"
)

// LogFaults are what a test can do to the engine behind a Log, for the cases of
// TestLog that need it. Each function is given what newLog has returned. It
// ends the test itself when it fails, and returns when the engine has done it;
// the Log may well return errors for some seconds more. Cases whose function is
// nil are left out.
type LogFaults struct {
	// Open returns a second Log on the log of the first, as another process
	// has it, with a connection and a memory of its own. Without it, the cases
	// for two processes run with the one Log.
	Open func(t *testing.T, log eventlog.Log) eventlog.Log

	// Renew deletes the log in the engine, as somebody does by hand. Bounds
	// makes it anew.
	Renew func(t *testing.T, log eventlog.Log)

	// Purge takes all entries out of the log and leaves the log there.
	Purge func(t *testing.T, log eventlog.Log)

	// Trim makes the n oldest entries leave, as a limit does.
	Trim func(t *testing.T, log eventlog.Log, n int)

	// Delete takes out the one entry at that position, in the middle.
	Delete func(t *testing.T, log eventlog.Log, position uint64)

	// Backup makes a copy of the log. Calling restore puts it back: what was
	// appended after the copy is gone.
	Backup func(t *testing.T, log eventlog.Log) (restore func())

	// Drop breaks the connections of the Log for a moment.
	Drop func(t *testing.T, log eventlog.Log)
}

// The times that a Log is given, for slow machines; a good one needs none of
// it. They are constants, because a rule that bends is none.
const (
	soon     = 2 * time.Second  // from Append to deliver
	prompt   = 5 * time.Second  // for any answer, and for a return after ctx has ended
	notice   = 15 * time.Second // to notice that the log was renewed, restored or out of reach
	caseTime = time.Minute      // for a whole case

	// Of what must not happen one can only wait for some time whether it does.
	quiet = 100 * time.Millisecond
)

// TestLog checks that logs keep each rule of [eventlog.Log]. Every case is a
// subtest with a log of its own; one that fails says what has happened, and
// quotes the rule that this breaks.
//
//	func TestLog(t *testing.T) {
//		ssegintest.TestLog(t, func(t *testing.T) eventlog.Log { return open(t) })
//	}
//
// Cases for what an engine may have besides, by topic, say, pass where the Log does
// not have it.
//
// newLog is called once for each subtest, and returns a Log on a new and empty
// log of the engine, which keeps 2,000 entries and 32 MiB at least. What newLog
// starts it also ends, by t.Cleanup. At most one LogFaults may follow; t.Log
// says which cases were left out for want of a function in it.
//
// TestLog runs in real time, as engines do, a few seconds for an engine that
// needs a millisecond for an answer.
func TestLog(t *testing.T, newLog func(t *testing.T) eventlog.Log, faults ...LogFaults) {
	t.Helper()
	s := newSuite(t, faults)
	for _, c := range logCases() {
		if !s.faults.have(c.needs) {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Helper()
			if err := s.run(t, c, newLog(t)); err != nil {
				t.Error(err)
			}
		})
	}
	s.sayWhatWasLeftOut(t)
}

// A logCase is one check of a Log: an error that names the broken rule, or nil.
type logCase struct {
	name  string
	needs string // the function of LogFaults without which it is left out, if any
	check func(ctx context.Context, s *trial) error
}

func logCases() []logCase {
	return slices.Concat(boundsCases, appendCases, conditionCases, entryCases, readCases, topicCases, followCases, endingCases, orderCases, faultCases)
}

// A suite is one run of all cases.
type suite struct {
	faults LogFaults
	epochs map[string]string // the case in which an epoch was used, by epoch
}

func newSuite(t *testing.T, faults []LogFaults) *suite {
	t.Helper()
	s := &suite{epochs: make(map[string]string)}
	switch len(faults) {
	case 0:
	case 1:
		s.faults = faults[0]
	default:
		t.Fatal("ssegintest: TestLog takes one LogFaults")
	}
	return s
}

// run gives the case its log, and checks at the end what holds in every case.
// It calls the check on the goroutine of the test, so that the functions of
// LogFaults may end the test.
func (s *suite) run(t *testing.T, c logCase, log eventlog.Log) error {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), caseTime,
		fmt.Errorf("the case has taken more than %v", caseTime))
	defer cancel()
	trial := newTrial(t, log, s.faults)
	err := c.check(ctx, trial)
	if err == nil {
		err = s.checkEpoch(ctx, c, trial)
	}
	return errors.Join(err, trial.finish())
}

// checkEpoch compares with the epochs of all earlier logs.
func (s *suite) checkEpoch(ctx context.Context, c logCase, trial *trial) error {
	b, err := trial.settle(ctx)
	if err != nil {
		return err
	}
	if earlier, ok := s.epochs[b.Epoch]; ok {
		return broke(ruleEpoch, "the epoch %q was that of another log, in the case %q", b.Epoch, earlier)
	}
	s.epochs[b.Epoch] = c.name
	return nil
}

func (s *suite) sayWhatWasLeftOut(t *testing.T) {
	t.Helper()
	if !s.faults.have("Open") {
		t.Log("no LogFaults.Open: the cases for two processes ran with one Log")
	}
	for _, c := range logCases() {
		if !s.faults.have(c.needs) {
			t.Logf("no LogFaults.%s: left out the case %q", c.needs, c.name)
		}
	}
}

// have says whether the function of that name is there.
func (f LogFaults) have(name string) bool {
	switch name {
	case "":
		return true
	case "Open":
		return f.Open != nil
	case "Renew":
		return f.Renew != nil
	case "Purge":
		return f.Purge != nil
	case "Trim":
		return f.Trim != nil
	case "Delete":
		return f.Delete != nil
	case "Backup":
		return f.Backup != nil
	case "Drop":
		return f.Drop != nil
	}
	panic("ssegintest: no LogFaults." + name)
}

// broke says what has happened, and which rule that breaks.
func broke(rule, format string, args ...any) error {
	return fmt.Errorf("%w\n\tthe rule of eventlog.Log: %q", fmt.Errorf(format, args...), rule)
}

// positions writes the positions of entries for a message: "3-5 8".
func positions(entries []eventlog.Entry) string {
	if len(entries) == 0 {
		return "none"
	}
	const most = 12 // of the runs, so that a message stays one
	var runs []string
	for i := 0; i < len(entries); {
		from := i
		for i++; i < len(entries) && entries[i].Position == entries[i-1].Position+1; i++ {
		}
		if len(runs) == most {
			return strings.Join(append(runs, "…"), " ")
		}
		if run := fmt.Sprint(entries[from].Position); i == from+1 {
			runs = append(runs, run)
		} else {
			runs = append(runs, fmt.Sprintf("%s-%d", run, entries[i-1].Position))
		}
	}
	return strings.Join(runs, " ")
}
