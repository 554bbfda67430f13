package ssegin

import (
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The hub and what it stands on know neither Gin nor HTTP, so that a log can be in
// an engine, and a hub can be tested, without either. These are the files that
// may: what takes a request, and what writes a response or a connection.
var mayKnowGinAndHTTP = strings.Fields(`
	middleware.go admit.go stream.go attached.go options.go stream_options.go
	owner.go detached_conn.go fleet.go poller_linux.go poller_other.go conn_linux.go conn_other.go`)

// The timeline and what lies in it know nothing that is above them.
var timelineFiles = strings.Fields("timeline.go tail.go memory.go topic.go cursor.go verdict.go due.go batch.go ring.go id.go")

func TestImports_theHubKnowsNeitherGinNorHTTP(t *testing.T) {
	for _, file := range sources(t) {
		if slices.Contains(mayKnowGinAndHTTP, file) {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		require.NoError(t, err)
		for _, spec := range parsed.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			require.NoError(t, err)
			switch {
			case path == "github.com/ssegin/ssegin/eventlog":
				continue
			case file == "errors.go" && path == "github.com/ssegin/ssegin/internal/response":
				continue // some of the response's errors have their public names there
			}
			assert.False(t, strings.HasPrefix(path, "net") || strings.Contains(path, "."), "%s imports %s", file, path)
		}
	}
}

func TestImports_theExceptionsAreNeeded(t *testing.T) {
	all := sources(t)
	for _, file := range append(slices.Clone(mayKnowGinAndHTTP), timelineFiles...) {
		assert.Contains(t, all, file)
	}
	for _, file := range timelineFiles {
		assert.NotContains(t, mayKnowGinAndHTTP, file)
	}
}

// sources are the files of the package, without its tests.
func sources(t *testing.T) (files []string) {
	t.Helper()
	entries, err := os.ReadDir(".")
	require.NoError(t, err)
	for _, e := range entries {
		if name := e.Name(); strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") {
			files = append(files, name)
		}
	}
	return files
}
