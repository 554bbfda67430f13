package proxies

import (
	"bytes"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience is how long anything may take that should take a moment.
const patience = 2 * time.Minute

// A process is a child with its output and its own children.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{}

	mu     sync.Mutex
	output bytes.Buffer
}

// start starts a child that is ended with the test, and waits until it has a port
// open, if that is not zero.
func start(t *testing.T, port int, name string, args ...string) *process {
	t.Helper()
	return startCommand(t, port, exec.Command(name, args...))
}

func startCommand(t *testing.T, port int, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{cmd: cmd, exited: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p, p
	cmd.WaitDelay = time.Second                           // should it leave children with its output behind
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that they can be ended, too
	require.NoError(t, cmd.Start())
	go func() {
		_ = cmd.Wait()
		close(p.exited)
	}()
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(cmd.Path), p.text())
		}
	})
	until(t, filepath.Base(cmd.Path)+" listens", func() bool { return !p.running() || port == 0 || listens(port) })
	require.True(t, p.running(), "%s did not start:\n%s", cmd.Path, p.text())
	return p
}

// stop asks it to end, as that is how it ends its children, and makes sure.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // an error only if it is gone
	select {
	case <-p.exited:
	case <-time.After(time.Second):
	}
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.exited
}

func (p *process) running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
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

func listens(port int) bool {
	conn, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(port))
	if err == nil {
		_ = conn.Close()
	}
	return err == nil
}

// freePort is a port that was free a moment ago.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// until polls until the condition holds.
func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(25 * time.Millisecond) {
		require.True(t, time.Now().Before(deadline), "not within %v: %s", patience, what)
	}
}
