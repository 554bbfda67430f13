package suites

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// made returns results with what each test is said to have done.
func made(actions map[string]string) *results {
	r := &results{tests: map[string]*result{}}
	for name, action := range actions {
		r.tests[name] = &result{name: name, action: action}
	}
	return r
}

func TestBroken_isWhatFailsOnlyBehind(t *testing.T) {
	bare := made(map[string]string{
		"fails": "pass", "hangs": "pass", "vanishes": "pass", "is skipped": "pass",
		"fails in both": "fail", "was skipped": "skip",
	})
	behind := made(map[string]string{
		"fails": "fail", "hangs": "run", "is skipped": "skip",
		"fails in both": "fail", "was skipped": "pass", "is new": "fail",
	})
	behind.miss(bare)
	assert.Equal(t, []string{"fails", "hangs", "is new", "vanishes"}, broken(bare, behind))
}

func TestRedirect_changesImportsAndNothingElse(t *testing.T) {
	dir := t.TempDir()
	for name, source := range map[string]string{
		"one.go":   "package one\n\nimport \"net/http/httptest\"\n\nvar name = \"net/http/httptest\" + httptest.DefaultRemoteAddr\n",
		"named.go": "package one\n\nimport plain \"net/http/httptest\"\n\nvar _ = plain.DefaultRemoteAddr\n",
		"other.go": "package one\n\nimport \"net/http\"\n\nvar _ = http.MethodGet\n",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(source), 0o600))
	}
	assert.Equal(t, 1, redirect(t, dir, "example.com/x"))
	one, err := os.ReadFile(filepath.Join(dir, "one.go"))
	require.NoError(t, err)
	assert.Equal(t, "package one\n\nimport httptest \"example.com/x\"\n\nvar name = \"net/http/httptest\" + httptest.DefaultRemoteAddr\n", string(one))
}
