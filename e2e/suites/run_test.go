package suites

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ssegin/ssegin/e2e/suites/ginhttptest"
)

const (
	limit = 5 * time.Minute // of the tests of one package
	again = 3               // how often a test that fails is run again
	shown = 25              // lines of what a test that fails has printed
)

// A result is how one test ended.
type result struct {
	pkg, name string
	action    string // pass, fail or skip, or run where there was no end
	output    []string
}

func (r *result) passed() bool { return r.action == "pass" || r.action == "skip" }

// tail returns the end of what the test has printed.
func (r *result) tail() string {
	lines := r.output[max(0, len(r.output)-shown):]
	return "\t" + strings.TrimSpace(strings.Join(lines, "\t"))
}

// results are those of one run of a suite, by package and name.
type results struct {
	dir    string
	stands string // what stands before the handlers
	tests  map[string]*result
	flaky  map[string]string // what was printed by those that failed once
}

// run runs the tests of the suite in dir. What stands before the handlers is one
// of the constants of ginhttptest.
func (s *suite) run(t *testing.T, dir, stands string) *results {
	t.Helper()
	r := &results{dir: dir, stands: stands, flaky: map[string]string{}}
	pattern := s.short
	if long {
		pattern = ""
	}
	began := time.Now()
	r.tests = r.goTest(t, pattern, s.packages...)
	t.Logf("%s: %.0f s", stands, time.Since(began).Seconds())
	return r
}

// goTest runs the tests that match the pattern. It fails t if the failure is not
// that of a test, as where something does not compile.
func (r *results) goTest(t *testing.T, pattern string, packages ...string) map[string]*result {
	t.Helper()
	args := []string{
		"test", "-json", "-count=1", "-vet=off",
		"-trimpath", // the build cache serves a copy in any folder
		"-timeout=" + limit.String(), "-run=" + pattern,
	}
	cmd := goCommand(t, r.dir, append(args, packages...)...)
	cmd.Env = append(cmd.Env, ginhttptest.Key+"="+r.stands)
	cmd.WaitDelay = time.Minute
	var failure bytes.Buffer
	cmd.Stderr = &failure
	out, err := cmd.Output()
	tests := map[string]*result{}
	others := &result{} // what belongs to no test
	for line := range bytes.Lines(out) {
		var event struct{ Action, Package, Test, Output string }
		if json.Unmarshal(line, &event) != nil {
			continue
		}
		one := others
		if event.Test != "" {
			key := event.Package + "." + event.Test
			if tests[key] == nil {
				tests[key] = &result{pkg: event.Package, name: event.Test}
			}
			one = tests[key]
		}
		switch event.Action {
		case "run", "pass", "fail", "skip":
			one.action = event.Action
		case "output", "build-output":
			one.output = append(one.output, event.Output)
		}
	}
	if err != nil && len((&results{tests: tests}).failed()) == 0 {
		t.Fatalf("go test failed, and no test of it: %v\n%s\n%s", err, others.tail(), failure.String())
	}
	return tests
}

// miss counts as failed what was run in the other run only, as where a panic has
// ended all of a package's tests.
func (r *results) miss(other *results) {
	for key, one := range other.tests {
		if r.tests[key] == nil {
			r.tests[key] = &result{pkg: one.pkg, name: one.name, output: []string{"it was not run\n"}}
		}
	}
}

// failed returns the tests that did not pass, sorted.
func (r *results) failed() (names []string) {
	for key, one := range r.tests {
		if !one.passed() {
			names = append(names, key)
		}
	}
	slices.Sort(names)
	return names
}

// settle runs the tests that failed again, without the others: on a machine with
// much to do a test of another project may fail by chance.
func (r *results) settle(t *testing.T) {
	t.Helper()
	for range again {
		todo := map[string][]string{} // by package; a part of a test is run with the whole of it
		for _, key := range r.failed() {
			one := r.tests[key]
			top, _, _ := strings.Cut(one.name, "/")
			if !slices.Contains(todo[one.pkg], regexp.QuoteMeta(top)) {
				todo[one.pkg] = append(todo[one.pkg], regexp.QuoteMeta(top))
			}
		}
		for pkg, names := range todo {
			for key, one := range r.goTest(t, "^("+strings.Join(names, "|")+")$", pkg) {
				if before := r.tests[key]; one.passed() && before != nil && !before.passed() {
					r.flaky[key] = before.tail()
				}
				r.tests[key] = one
			}
		}
	}
}
