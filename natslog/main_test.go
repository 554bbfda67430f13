package natslog

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin/natslog/embedded"
)

const serverDir = "NATSLOG_TEST_SERVER_DIR"

// TestMain makes this program a server instead, if it is told to: one that a
// test can freeze and kill.
func TestMain(m *testing.M) {
	dir := os.Getenv(serverDir)
	if dir == "" {
		// A server on a busy machine is slow. Tests in which it says nothing
		// wait for less.
		defaultTiming.request, defaultTiming.silence = patience/2, patience/2
		os.Exit(m.Run())
	}
	s, err := embedded.Start(embedded.Config{Dir: dir, Listen: os.Args[1], MaxStore: 1 << 30, Options: unhurried})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(s.URL())
	_, _ = io.Copy(io.Discard, os.Stdin) // until the test has ended
}

// unhurried gives clients on a busy machine the time that they need to connect.
func unhurried(o *server.Options) { o.AuthTimeout = patience.Seconds() }

// startProcess starts a server in a process of its own, and returns its URL.
func startProcess(t *testing.T, dir, listen string) (process *os.Process, url string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], listen)
	cmd.Env = append(os.Environ(), serverDir+"="+dir)
	cmd.Stderr = os.Stderr
	_, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may be gone
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	return cmd.Process, strings.TrimSpace(line)
}
