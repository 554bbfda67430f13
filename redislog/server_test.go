package redislog_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// A server is a real Redis, in a folder and on a port of its own. It is ended
// with its test.
type server struct {
	t    testing.TB
	dir  string
	port int
	args []string

	process *exec.Cmd
	ended   chan struct{} // closed when the process has
	output  *bytes.Buffer // to be read after that
}

// program is where Debian's package redis-server puts it.
func program(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	require.NoError(t, err, "these tests start a real Redis: install it (on Debian: apt-get install redis-server)")
	return path
}

// startServer starts a Redis that keeps nothing on disk unless args say so.
func startServer(t testing.TB, args ...string) *server {
	t.Helper()
	s := newServer(t, args...)
	s.start()
	return s
}

func newServer(t testing.TB, args ...string) *server {
	t.Helper()
	s := &server{t: t, dir: t.TempDir(), port: freePort(t), args: args}
	t.Cleanup(func() {
		if s.process != nil {
			s.kill()
		}
	})
	return s
}

// The ports of freePort lie below those that the system gives to others, and
// each test process begins somewhere else.
var (
	firstPort = rand.Int64N(20_000)
	portsUsed atomic.Int64
)

// freePort returns a port that is free, and stays free while its server is not
// there.
func freePort(t testing.TB) int {
	t.Helper()
	for range 20_000 {
		port := int(10_000 + (firstPort+portsUsed.Add(1))%20_000)
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			defer listener.Close()
			return port
		}
	}
	require.Fail(t, "no port is free")
	panic("not reached")
}

func (s *server) addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

func (s *server) start() {
	s.t.Helper()
	args := []string{"--port", strconv.Itoa(s.port), "--bind", "127.0.0.1", "--dir", s.dir}
	if slices.Contains(s.args, "--sentinel") {
		args = append(s.args, args...) // its file of settings comes first
	} else {
		args = slices.Concat(args, []string{"--save", ""}, s.args)
	}
	s.process = exec.Command(program(s.t, "redis-server"), args...)
	s.output = new(bytes.Buffer)
	s.process.Stdout = s.output
	// The server ends with the test, even if that is killed.
	s.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(s.t, s.process.Start())
	s.ended = make(chan struct{})
	go func() {
		_ = s.process.Wait()
		close(s.ended)
	}()
	s.await()
}

// await returns when the server answers.
func (s *server) await() {
	s.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		conn, err := net.Dial("tcp", s.addr())
		if err == nil {
			fmt.Fprint(conn, "PING\r\n")
			answer := make([]byte, 64)
			n, _ := conn.Read(answer)
			conn.Close()
			// With a password or with TLS only, any answer will do.
			if n > 0 && !bytes.HasPrefix(answer, []byte("-LOADING")) {
				return
			}
		}
		select {
		case <-s.ended:
			s.t.Fatalf("redis-server has ended: %s", s.output)
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			s.t.Fatal("redis-server does not answer")
		}
	}
}

// kill ends the server as a crash does.
func (s *server) kill() {
	_ = s.process.Process.Signal(syscall.SIGCONT)
	_ = s.process.Process.Kill()
	<-s.ended
	s.process = nil
}

func (s *server) signal(signal os.Signal) {
	s.t.Helper()
	require.NoError(s.t, s.process.Process.Signal(signal))
}

// backup saves what the server has and returns a copy of it.
func (s *server) backup() []byte {
	s.t.Helper()
	require.NoError(s.t, s.client().Save(s.t.Context()).Err())
	dump, err := os.ReadFile(filepath.Join(s.dir, "dump.rdb"))
	require.NoError(s.t, err)
	return dump
}

// restore kills the server and starts it again with a backup.
func (s *server) restore(dump []byte) {
	s.t.Helper()
	s.kill()
	require.NoError(s.t, os.WriteFile(filepath.Join(s.dir, "dump.rdb"), dump, 0o600))
	s.start()
}

// client returns a client of the server, with the client's own defaults but for
// time.
func (s *server) client() *redis.Client { return clientOf(s.t, &redis.Options{Addr: s.addr()}) }

// clientOf returns a client that allows a server on a busy machine more than the
// three to five seconds of its defaults.
func clientOf(t testing.TB, options *redis.Options) *redis.Client {
	options.DialTimeout, options.ReadTimeout, options.WriteTimeout = patience/2, patience/2, patience/2
	client := redis.NewClient(options)
	t.Cleanup(func() { client.Close() })
	return client
}

// blocked returns how many connections wait in an XREAD.
func blocked(t testing.TB, client *redis.Client) (n int) {
	t.Helper()
	list, err := client.ClientList(context.Background()).Result()
	require.NoError(t, err)
	for line := range strings.Lines(list) {
		if strings.Contains(line, "flags=b ") && strings.Contains(line, "cmd=xread ") {
			n++
		}
	}
	return n
}

// A proxy passes TCP connections on, and can cut them.
type proxy struct {
	listener net.Listener
	target   string

	mu    sync.Mutex
	conns map[net.Conn]bool
}

func startProxy(t testing.TB, target string) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{listener: listener, target: target, conns: map[net.Conn]bool{}}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { p.serve(conn) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		p.cut()
		wg.Wait()
	})
	return p
}

func (p *proxy) serve(near net.Conn) {
	defer near.Close()
	far, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer far.Close()
	p.mu.Lock()
	p.conns[near] = true
	p.mu.Unlock()
	var wg sync.WaitGroup
	pass := func(to, from net.Conn) {
		buffer := make([]byte, 64<<10)
		for {
			n, err := from.Read(buffer)
			if _, errWrite := to.Write(buffer[:n]); err != nil || errWrite != nil {
				break
			}
		}
		to.Close()
		from.Close()
	}
	wg.Go(func() { pass(far, near) })
	pass(near, far)
	wg.Wait()
	p.mu.Lock()
	delete(p.conns, near)
	p.mu.Unlock()
}

// cut breaks all connections, and returns how many there were.
func (p *proxy) cut() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		conn.Close()
	}
	return len(p.conns)
}
