package suites

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	replaced = "net/http/httptest"
	dropIn   = "internal/ginhttptest" // the folder in the copy
)

// copy returns the folder of a copy of the module whose tests use ginhttptest.
func (s *suite) copy(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS(download(t, s.module))))
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir(): // those of the module cache are read-only
			return os.Chmod(path, 0o755)
		}
		return os.Chmod(path, 0o644)
	}))
	if s.added != "" {
		require.NoError(t, os.CopyFS(filepath.Join(dir, s.into), os.DirFS(filepath.Join("testdata", s.added))))
	}
	module, _, _ := strings.Cut(s.module, "@")
	require.NotZero(t, redirect(t, dir, module+"/"+dropIn), "nothing in %s uses %s", s.module, replaced)
	require.NoError(t, os.CopyFS(filepath.Join(dir, dropIn), os.DirFS("ginhttptest")))
	mustRequire(t, dir)
	return dir
}

// download returns the folder of the module in the module cache.
func download(t *testing.T, module string) string {
	t.Helper()
	var got struct{ Dir, Error string }
	out, err := goCommand(t, "", "mod", "download", "-json", module).Output()
	if jsonErr := json.Unmarshal(out, &got); jsonErr != nil || got.Error != "" || err != nil {
		t.Fatalf("%s cannot be had from the module proxy: %v %s %s", module, err, got.Error, stderr(err))
	}
	return got.Dir
}

// redirect makes every import of net/http/httptest one of path, and returns how
// many files have one.
func redirect(t *testing.T, dir, path string) (files int) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(name) != ".go" || strings.Contains(name, "testdata") {
			return err
		}
		source, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, name, source, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			// Whoever has another name for it means the package itself.
			if spec.Path.Value != strconv.Quote(replaced) || spec.Name != nil {
				continue
			}
			files++
			with := "httptest " + strconv.Quote(path)
			at, end := set.Position(spec.Path.Pos()).Offset, set.Position(spec.Path.End()).Offset
			return os.WriteFile(name, bytes.Join([][]byte{source[:at], []byte(with), source[end:]}, nil), 0o644)
		}
		return nil
	}))
	return files
}

// mustRequire makes the module in dir require this repository and its Gin.
func mustRequire(t *testing.T, dir string) {
	t.Helper()
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	gin, err := goCommand(t, root, "list", "-m", "-f", "{{.Path}}@{{.Version}}", "github.com/gin-gonic/gin").Output()
	require.NoError(t, err, stderr(err))
	edit := goCommand(t, dir, "mod", "edit", "-require="+strings.TrimSpace(string(gin)),
		"-require=github.com/ssegin/ssegin@v0.0.0", "-replace=github.com/ssegin/ssegin="+root)
	out, err := edit.CombinedOutput()
	require.NoError(t, err, string(out))
	// The sums of what this repository requires, so that nothing needs to look them up.
	ours, err := os.ReadFile(filepath.Join(root, "go.sum"))
	require.NoError(t, err)
	sums, err := os.OpenFile(filepath.Join(dir, "go.sum"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	require.NoError(t, err)
	_, err = sums.Write(ours)
	require.NoError(t, err)
	require.NoError(t, sums.Close())
}

// goCommand is the go command in dir, whatever workspace and flags the caller has.
func goCommand(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod")
	return cmd
}

// stderr returns what a command said that failed with err.
func stderr(err error) string {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return string(exit.Stderr)
	}
	return ""
}
