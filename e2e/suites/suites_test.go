package suites

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/ssegin/ssegin/e2e/suites/ginhttptest"
)

// A suite is the tests of a module.
type suite struct {
	module   string // with its version
	packages []string
	short    string // which of the tests are run in the short form, as -run has it
	added    string // a folder of testdata whose files come in
	into     string // where they come in
}

// The versions are pinned: what another project changes must not fail here.
var suites = []suite{
	{
		module:   "github.com/modelcontextprotocol/go-sdk@v1.8.0",
		packages: []string{"./mcp"},
		short:    "SSE|Stream",
	},
	{
		module:   "github.com/mark3labs/mcp-go@v1.2.1",
		packages: []string{"./server"},
		short:    "SSE|Stream|HTTP",
	},
	{
		module:   "github.com/99designs/gqlgen@v0.17.98",
		packages: []string{"./graphql/handler/..."},
		short:    "SSE|Multipart|POST|GET|UrlEncoded|GRAPHQL|Headers",
	},
	{
		module:   "github.com/a2aproject/a2a-go@v0.3.3",
		packages: []string{"./..."},
		short:    "JSONRPC|SSE|Resolver|Card|HTTP|Push",
	},
	{
		module:   "github.com/starfederation/datastar-go@v1.2.2",
		packages: []string{"./..."},
		added:    "datastar",
		into:     "cmd/testserver",
	},
}

// long is set where the suites are run in full.
var long = os.Getenv("SSEGIN_LONG") != ""

func TestSuites(t *testing.T) {
	for _, s := range suites {
		t.Run(s.module[strings.LastIndex(s.module, "/")+1:], func(t *testing.T) {
			dir := s.copy(t)
			bare := s.run(t, dir, ginhttptest.Bare)
			bare.settle(t)
			behind := s.run(t, dir, ginhttptest.Behind)
			behind.miss(bare)
			behind.settle(t)
			t.Logf("tests run: %d, failed bare: %d, failed behind Middleware: %d", len(bare.tests), len(bare.failed()), len(behind.failed()))
			if len(bare.tests) == 0 {
				t.Error("no test was run")
			}
			for _, name := range bare.failed() {
				t.Logf("fails on bare Gin, and does not count: %s\n%s", name, bare.tests[name].tail())
			}
			for _, name := range slices.Sorted(maps.Keys(behind.flaky)) {
				t.Logf("failed behind Middleware, and passed when it was run again: %s\n%s", name, behind.flaky[name])
			}
			for _, name := range broken(bare, behind) {
				t.Errorf("fails only behind Middleware: %s\n%s", name, behind.tests[name].tail())
			}
		})
	}
}

// broken returns the tests that pass on bare Gin and do not behind Middleware.
func broken(bare, behind *results) (names []string) {
	for _, name := range behind.failed() {
		if bare.tests[name] == nil || bare.tests[name].passed() {
			names = append(names, name)
		}
	}
	return names
}
