package e2e

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience is how long anything may take that should take a moment.
const patience = 2 * time.Minute

// until polls until the condition holds.
func until(t *testing.T, what string, limit time.Duration, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !condition(); time.Sleep(25 * time.Millisecond) {
		require.True(t, time.Now().Before(deadline), "not within %v: %s", limit, what)
	}
}

// A process is a child with its output.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{}
	err    error // once exited

	mu     sync.Mutex
	output bytes.Buffer
}

// start starts a child, which is ended with the test.
func start(t *testing.T, name string, args ...string) *process {
	t.Helper()
	return startCommand(t, exec.Command(name, args...))
}

func startCommand(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{cmd: cmd, exited: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p, p
	p.cmd.WaitDelay = time.Second // should it leave children with its output behind
	require.NoError(t, p.cmd.Start())
	go func() {
		p.err = p.cmd.Wait()
		close(p.exited)
	}()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(cmd.Path), p.text())
		}
		_ = p.cmd.Process.Kill() // an error only if it is gone
		<-p.exited
	})
	return p
}

// Write takes the output.
func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.Write(b)
}

func (p *process) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.String()
}

func (p *process) running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// An example is the example, as a process.
type example struct {
	*process
	url     string // http://localhost:port
	corsURL string // of the page of another origin
	notURL  string // of the same page, from an origin that is not allowed
	addr    string // 127.0.0.1:port
}

var announced = regexp.MustCompile(`open http://localhost:(\d+) .* http://localhost:(\d+)`)

// startExample starts it on free ports, or on the address in args, and ends it
// with the test: in order, and without a data race.
func startExample(t *testing.T, args ...string) *example {
	t.Helper()
	e := launchExample(t, args...)
	t.Cleanup(func() { e.stop(t) })
	return e
}

// launchExample is startExample for a test that kills it.
func launchExample(t *testing.T, args ...string) *example {
	t.Helper()
	args = append([]string{"-addr", "localhost:0", "-cors-addr", "localhost:0"}, args...)
	p := start(t, exampleBinary, args...)
	var ports []string
	until(t, "the example is ready", patience, func() bool {
		ports = announced.FindStringSubmatch(p.text())
		return ports != nil || !p.running()
	})
	require.NotNil(t, ports, "the example did not start:\n%s", p.text())
	return &example{
		process: p,
		url:     "http://localhost:" + ports[1],
		addr:    "127.0.0.1:" + ports[1],
		corsURL: "http://localhost:" + ports[2],
		notURL:  "http://127.0.0.1:" + ports[2],
	}
}

// stop ends it as a deploy does.
func (e *example) stop(t *testing.T) {
	t.Helper()
	_ = e.cmd.Process.Signal(syscall.SIGTERM) // an error only if it is gone
	until(t, "the example ends after SIGTERM", patience, func() bool { return !e.running() })
	require.NoError(t, e.err, "the example did not end in order:\n%s", e.text())
	require.NotContains(t, e.text(), "DATA RACE")
}

// kill ends it as a crash does.
func (e *example) kill(t *testing.T) {
	t.Helper()
	require.NoError(t, e.cmd.Process.Kill())
	<-e.exited
}

// startNginx puts nginx in front of an address. The directives are those of
// its server block beyond the defaults.
func startNginx(t *testing.T, upstream, directives string) (url string) {
	t.Helper()
	return runNginx(t, "", fmt.Sprintf("%s location / { proxy_pass http://%s; }", directives, upstream))
}

// runNginx runs nginx with more than its defaults in the http block and in the
// one server block.
func runNginx(t *testing.T, http, server string) (url string) {
	t.Helper()
	dir, port := t.TempDir(), freePort(t)
	conf := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf(`
daemon off;
master_process off;
pid %[1]s/pid;
events {}
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	%[3]s
	server {
		listen 127.0.0.1:%[2]d;
		%[4]s
	}
}
`, dir, port, http, server)
	require.NoError(t, os.WriteFile(conf, []byte(text), 0o600))
	start(t, nginxBinary, "-e", "stderr", "-c", conf).listens(t, port)
	return fmt.Sprintf("http://localhost:%d", port)
}

// listens waits until a child listens on a port.
func (p *process) listens(t *testing.T, port int) {
	t.Helper()
	name := filepath.Base(p.cmd.Path)
	until(t, name+" listens", patience, func() bool {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			_ = conn.Close()
		}
		return err == nil || !p.running()
	})
	require.True(t, p.running(), "%s did not start:\n%s", name, p.text())
}

// freePort is a port that was free a moment ago.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
