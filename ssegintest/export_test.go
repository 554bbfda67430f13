package ssegintest

import (
	"strings"
	"testing"

	"github.com/ssegin/ssegin/eventlog"
)

// CheckLog is TestLog without its subtests, since a failing subtest fails its
// parent. It runs the cases whose names begin so, and returns the errors of
// those that fail, by name.
func CheckLog(t *testing.T, prefix string, newLog func(t *testing.T) eventlog.Log, faults LogFaults) map[string]error {
	t.Helper()
	s := newSuite(t, []LogFaults{faults})
	errs := make(map[string]error)
	for _, c := range logCases() {
		if !strings.HasPrefix(c.name, prefix) || !s.faults.have(c.needs) {
			continue
		}
		if err := s.run(t, c, newLog(t)); err != nil {
			errs[c.name] = err
		}
	}
	return errs
}
