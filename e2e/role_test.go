package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// roleKey names the variable of the environment that makes this program play a
// role instead of running tests. Tests start it again like this for what needs
// a process of its own: one that can be stopped or killed, or is measured alone.
const roleKey = "SSEGIN_E2E_ROLE"

var roles = map[string]func(args []string) error{
	"abandoned": abandoned,
	"crowd":     crowd,
	"stoppable": stoppable,
	"soak":      soak,
}

// play plays a role and exits.
func play(name string, args []string) {
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(1) // whoever started this is gone
	}()
	if err := roles[name](args); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// startRole starts a program that plays a role: this one, as a rule.
func startRole(t *testing.T, program, name string, args ...string) *process {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), roleKey+"="+name)
	_, err := cmd.StdinPipe() // which breaks if this process dies
	require.NoError(t, err)
	return startCommand(t, cmd)
}

// thisProgram is the path of this program.
func thisProgram(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	require.NoError(t, err)
	return path
}

// says waits until a child has written a line that begins like this.
func (p *process) says(t *testing.T, line string) {
	t.Helper()
	has := func() bool { return strings.Contains("\n"+p.text(), "\n"+line) }
	until(t, "the child says: "+line, patience, func() bool { return has() || !p.running() })
	require.True(t, has(), "the child ended without: %s\n%s", line, p.text())
}

// report waits until a child ends in order, which may take so long, and returns the report that its last
// line is, as JSON.
func report[T any](t *testing.T, p *process, limit time.Duration) (r T) {
	t.Helper()
	until(t, "the child ends", limit, func() bool { return !p.running() })
	require.NoError(t, p.err, p.text())
	text := strings.TrimSpace(p.text())
	require.NoError(t, json.Unmarshal([]byte(text[strings.LastIndexByte(text, '\n')+1:]), &r), text)
	return r
}

// printReport is the last thing that a role does.
func printReport(r any) error { return json.NewEncoder(os.Stdout).Encode(r) }
