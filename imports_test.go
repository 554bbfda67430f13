package ssegin

import (
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The hub and what it stands on know neither Gin nor HTTP, so that a log can
// be remote, and a hub can be tested, without either.
func TestImports_theHubKnowsNeitherGinNorHTTP(t *testing.T) {
	for file := range strings.FieldsSeq("hub.go disconnect.go shutdown.go log.go memory.go topic.go cursor.go due.go ring.go event.go feed.go stats.go errors.go observer.go remote.go verdict.go publish.go arrive.go backlog.go") {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		require.NoError(t, err)
		for _, spec := range parsed.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			require.NoError(t, err)
			if path == "github.com/ssegin/ssegin/eventlog" {
				continue
			}
			assert.False(t, strings.HasPrefix(path, "net") || strings.Contains(path, "."), "%s imports %s", file, path)
		}
	}
}
