package ssegin

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
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
	middleware.go admit.go stream.go session.go session_begin.go attached.go detached.go polled.go
	options.go stream_options.go plain.go limits.go fleet.go conn_linux.go conn_other.go`)

// The timeline and what lies in it know nothing that is above them.
var timelineFiles = strings.Fields("timeline.go timeline_streams.go timeline_rights.go timeline_engine.go timeline_topics.go tail.go memory.go history.go " +
	"topic.go ends.go replay.go cursor.go verdict.go batch.go ring.go id.go")

// The walls: packages of this module that know nothing of what is built on them,
// and neither Gin nor HTTP. All files may know them.
var walls = []string{"internal/epoll", "internal/pages"}

func TestImports_theHubKnowsNeitherGinNorHTTP(t *testing.T) {
	for _, file := range sources(t, ".") {
		if slices.Contains(mayKnowGinAndHTTP, file) {
			continue
		}
		for _, path := range imports(t, file) {
			own, isOwn := strings.CutPrefix(path, "github.com/ssegin/ssegin/")
			if isOwn && (own == "eventlog" || slices.Contains(walls, own)) || file == "errors.go" && own == "internal/response" {
				continue // some of the response's errors have their public names in errors.go
			}
			assert.False(t, strings.HasPrefix(path, "net") || strings.Contains(path, "."), "%s imports %s", file, path)
		}
	}
}

func TestImports_behindTheWallsThereIsOnlyTheStandardLibrary(t *testing.T) {
	for _, wall := range walls {
		for _, file := range sources(t, wall) {
			for _, path := range imports(t, filepath.Join(wall, file)) {
				assert.False(t, strings.HasPrefix(path, "net/http") || strings.Contains(path, "."), "%s imports %s", file, path)
			}
		}
	}
}

func TestImports_theExceptionsAreNeeded(t *testing.T) {
	all := sources(t, ".")
	for _, file := range append(slices.Clone(mayKnowGinAndHTTP), timelineFiles...) {
		assert.Contains(t, all, file)
	}
	for _, file := range timelineFiles {
		assert.NotContains(t, mayKnowGinAndHTTP, file)
	}
}

// sources are the files of the package in that folder, without its tests.
func sources(t *testing.T, folder string) (files []string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	require.NoError(t, err)
	for _, e := range entries {
		if name := e.Name(); strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") {
			files = append(files, name)
		}
	}
	return files
}

// imports are the paths that a file imports.
func imports(t *testing.T, file string) (paths []string) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
	require.NoError(t, err)
	for _, spec := range parsed.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		require.NoError(t, err)
		paths = append(paths, path)
	}
	return paths
}
