package clients

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func startDriver(t *testing.T, s *server, kind string) driver {
	t.Helper()
	switch kind {
	case "node":
		return startProgram(t, s, nodeBinary(t), "npm/driver.mjs")
	case "go":
		return startProgram(t, s, buildGolang(t))
	case "python":
		const python = "/usr/bin/python3" // Debian's, for its packages are in no other
		out, err := exec.Command(python, "-c", "import requests, httpx").CombinedOutput()
		require.NoError(t, err, "these tests need python3-requests and python3-httpx: make e2e-deps installs them: %s", out)
		return startProgram(t, s, python, "python/driver.py")
	case "page":
		return startPages(t, s)
	}
	t.Fatalf("there is no driver %q", kind)
	return nil
}

// A program runs clients in a process of its own: it reads commands from its standard
// input, and writes reports.
type program struct {
	mu sync.Mutex
	in io.Writer
}

// A command begins a cell, or stops it.
type command struct {
	Cell, Client, URL, Method, Mode, Scene string
	Stop                                   bool
}

func (c *cell) command() command {
	method := c.client.method
	switch {
	case c.mode == byPost:
		method = "POST"
	case method == "":
		method = "GET"
	}
	return command{Cell: c.id, Client: c.client.name, URL: c.url(), Method: method, Mode: c.mode, Scene: c.scene}
}

func (p *program) write(cmd command) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = json.NewEncoder(p.in).Encode(cmd) // an error only if it has ended, which fails its cells
}

func (p *program) begin(c *cell) { p.write(c.command()) }
func (p *program) stop(c *cell)  { p.write(command{Cell: c.id, Stop: true}) }

// startProgram starts one, which is ended with the test.
func startProgram(t *testing.T, s *server, name string, args ...string) *program {
	t.Helper()
	cmd := exec.Command(name, args...)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = cmd.Stdout
	require.NoError(t, cmd.Start())
	read := make(chan struct{})
	var others []string // what clients write by themselves
	go func() {
		defer close(read)
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			if other := s.tellLine(lines.Text()); other != "" && len(others) < 100 {
				others = append(others, other)
			}
		}
	}()
	t.Cleanup(func() {
		_ = in.Close() // which ends it
		_ = cmd.Process.Kill()
		<-read
		_ = cmd.Wait()
		if t.Failed() || *only != "" {
			t.Logf("%s says:\n%s", filepath.Base(name), strings.Join(others, "\n"))
		}
	})
	return &program{in: in}
}

// nodeBinary is Node as package.json pins it, because the newest packages need a newer
// one than Debian has, or the one that is installed where npm has none for the machine.
func nodeBinary(t *testing.T) string {
	t.Helper()
	const least = 22
	_, err := os.Stat("npm/node_modules/installed")
	require.NoError(t, err, "the clients are not installed: make e2e-deps does that")
	pinned, err := filepath.Glob("npm/node_modules/node-*/bin/node")
	require.NoError(t, err)
	if len(pinned) == 1 {
		path, err := filepath.Abs(pinned[0])
		require.NoError(t, err)
		return path
	}
	path, err := exec.LookPath("node")
	require.NoError(t, err, "these tests need Node %d or later", least)
	out, err := exec.Command(path, "-p", "process.versions.node.split('.')[0]").Output()
	require.NoError(t, err)
	var major int
	require.NoError(t, json.Unmarshal(out, &major))
	require.GreaterOrEqual(t, major, least, "these tests need Node %d or later, and %s is older", least, path)
	return path
}

// buildGolang builds the program of the clients that are Go packages, without the race
// detector: their races are not ours.
func buildGolang(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "golang")
	out, err := exec.Command("go", "build", "-o", path, "./golang").CombinedOutput()
	require.NoError(t, err, string(out))
	return path
}
