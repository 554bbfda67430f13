package ssegintest_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin/eventlog"
	"github.com/ssegin/ssegin/ssegintest"
)

// A Log in memory is one log for all; what differs from process to process is
// the handle.
func memoryFaults() ssegintest.LogFaults {
	inMemory := func(log eventlog.Log) *ssegintest.Log {
		if m, ok := log.(interface{ Unwrap() *ssegintest.Log }); ok { // a mutant
			return m.Unwrap()
		}
		return log.(*ssegintest.Log)
	}
	return ssegintest.LogFaults{
		Open:   func(_ *testing.T, log eventlog.Log) eventlog.Log { return log },
		Renew:  func(_ *testing.T, log eventlog.Log) { inMemory(log).Renew() },
		Purge:  func(_ *testing.T, log eventlog.Log) { inMemory(log).Purge() },
		Trim:   func(_ *testing.T, log eventlog.Log, n int) { inMemory(log).Trim(n) },
		Delete: func(_ *testing.T, log eventlog.Log, position uint64) { inMemory(log).Delete(position) },
		Drop:   func(_ *testing.T, log eventlog.Log) { inMemory(log).Drop() },
		Backup: func(t *testing.T, log eventlog.Log) (restore func()) {
			saved, err := inMemory(log).Bounds(t.Context())
			require.NoError(t, err)
			return func() {
				now, err := inMemory(log).Bounds(t.Context())
				require.NoError(t, err)
				inMemory(log).Rollback(int(now.Last - saved.Last))
			}
		},
	}
}

func TestLog_isALog(t *testing.T) {
	ssegintest.TestLog(t, func(*testing.T) eventlog.Log { return ssegintest.NewLog() }, memoryFaults())
}

func TestLog_runsWithoutFaults(t *testing.T) {
	ssegintest.TestLog(t, func(*testing.T) eventlog.Log { return ssegintest.NewLog(ssegintest.WithFirstPosition(1)) })
}

// What TestLog quotes is what eventlog.Log says.
func TestLog_quotesTheRules(t *testing.T) {
	contract := words(t, "../eventlog/log.go")
	file, err := parser.ParseFile(token.NewFileSet(), "conform_rules.go", nil, 0)
	require.NoError(t, err)
	quoted := 0
	ast.Inspect(file, func(n ast.Node) bool {
		if text, ok := n.(*ast.BasicLit); ok {
			rule, err := strconv.Unquote(text.Value)
			require.NoError(t, err)
			assert.Contains(t, contract, rule)
			quoted++
		}
		return true
	})
	assert.Greater(t, quoted, 20)
}

// words returns the file as one line, without the marks of comments.
func words(t *testing.T, file string) string {
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	return strings.Join(strings.Fields(strings.ReplaceAll(string(text), "//", " ")), " ")
}
