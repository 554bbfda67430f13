package natslog

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin/eventlog"
	"github.com/ssegin/ssegin/natslog/embedded"
)

// An engine is a NATS server with a store, which a test can stop, start and set
// back. Its clients come through a cable that the test can cut.
type engine struct {
	t      testing.TB
	dir    string
	listen string
	opts   func(*server.Options)
	server *embedded.Server
	cable  *cable
}

func newEngine(t testing.TB, opts ...func(*server.Options)) *engine {
	t.Helper()
	e := &engine{t: t, dir: t.TempDir(), listen: freeAddress(t), opts: func(o *server.Options) {
		unhurried(o)
		for _, opt := range opts {
			opt(o)
		}
	}}
	e.start()
	e.cable = newCable(t, e.listen)
	t.Cleanup(func() { e.stop() })
	return e
}

func (e *engine) start() {
	e.t.Helper()
	s, err := embedded.Start(embedded.Config{Dir: e.dir, Listen: e.listen, MaxStore: 1 << 30, MaxPayload: 1 << 20, Options: e.opts})
	require.NoError(e.t, err)
	e.server = s
}

func (e *engine) stop() { e.server.Close() }

// connect returns a connection that comes back by itself, as New demands it.
func (e *engine) connect(opts ...nats.Option) *nats.Conn {
	e.t.Helper()
	return connect(e.t, e.cable.url(), opts...)
}

func connect(t testing.TB, url string, opts ...nats.Option) *nats.Conn {
	t.Helper()
	opts = append([]nats.Option{
		nats.Timeout(patience), nats.MaxReconnects(-1), nats.ReconnectWait(20 * time.Millisecond), nats.ReconnectJitter(0, 0),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}), // by default they are printed
	}, opts...)
	nc, err := nats.Connect(url, opts...)
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	return nc
}

var streams atomic.Int64

func newStream() string { return "s" + strconv.FormatInt(streams.Add(1), 10) }

// log returns a Log on a stream of its own.
func (e *engine) log(config ...Config) *Log {
	e.t.Helper()
	c := Config{Stream: newStream()}
	if len(config) > 0 {
		c = config[0]
	}
	return openLog(e.t, e.connect(), c)
}

func openLog(t testing.TB, nc *nats.Conn, config Config) *Log {
	t.Helper()
	l, err := New(t.Context(), nc, config)
	require.NoError(t, err)
	return l
}

// backup copies the store. restore puts the copy back.
func (e *engine) backup() (restore func()) {
	e.t.Helper()
	saved := filepath.Join(e.t.TempDir(), "store")
	store := filepath.Join(e.dir, "jetstream")
	e.stop()
	require.NoError(e.t, os.CopyFS(saved, os.DirFS(store)))
	e.start()
	return func() {
		e.stop()
		require.NoError(e.t, os.RemoveAll(store))
		require.NoError(e.t, os.CopyFS(store, os.DirFS(saved)))
		e.start()
	}
}

// A cable carries TCP connections until it is cut.
type cable struct {
	listener net.Listener
	target   string

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	dead  bool // new connections are closed at once
}

func newCable(t testing.TB, target string) *cable {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	c := &cable{listener: listener, target: target, conns: make(map[net.Conn]struct{})}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { c.carry(conn) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		c.cut(true)
		wg.Wait()
	})
	return c
}

func (c *cable) url() string { return "nats://" + c.listener.Addr().String() }

func (c *cable) carry(conn net.Conn) {
	defer conn.Close()
	peer, err := net.Dial("tcp", c.target)
	if err != nil {
		return
	}
	defer peer.Close()
	if !c.add(conn, peer) {
		return
	}
	defer c.remove(conn, peer)
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = io.Copy(peer, conn); peer.Close() }) // either end may break
	_, _ = io.Copy(conn, peer)
	conn.Close()
	wg.Wait()
}

func (c *cable) add(conns ...net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range conns {
		c.conns[conn] = struct{}{}
	}
	return !c.dead
}

func (c *cable) remove(conns ...net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range conns {
		delete(c.conns, conn)
	}
}

// cut breaks all connections, and with dead those to come.
func (c *cable) cut(dead bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dead = dead
	for conn := range c.conns {
		conn.Close()
	}
}

// --- What tests do with a Log ----------------------------------------------

// A tail is a Follow on its way.
type tail struct {
	t       testing.TB
	cancel  context.CancelFunc
	entries chan eventlog.Entry
	err     chan error
}

func follow(t testing.TB, l *Log, after uint64) *tail {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	f := &tail{t: t, cancel: cancel, entries: make(chan eventlog.Entry, 100_000), err: make(chan error, 1)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.err <- l.Follow(ctx, after, func(e eventlog.Entry) error { f.entries <- e; return nil })
	}()
	t.Cleanup(func() { cancel(); <-done })
	return f
}

// patience is how long a test waits for what must come, on a machine that may be
// very busy.
const patience = 2 * time.Minute

func (f *tail) next() eventlog.Entry {
	f.t.Helper()
	select {
	case e := <-f.entries:
		return e
	case err := <-f.err:
		require.NoError(f.t, err, "Follow has ended")
	case <-time.After(patience):
		require.Fail(f.t, "no entry")
	}
	panic("unreachable")
}

// fails waits for Follow to end by itself.
func (f *tail) fails() error {
	f.t.Helper()
	select {
	case err := <-f.err:
		return err
	case <-time.After(patience):
		require.Fail(f.t, "Follow goes on")
	}
	panic("unreachable")
}

func entry(id string) eventlog.Entry {
	return eventlog.Entry{Topic: "room:1", Type: "chat", Data: []byte("data of " + id), MessageID: id}
}

func appendN(t testing.TB, l *Log, ids string, n int) (last uint64) {
	t.Helper()
	for i := range n {
		r, err := l.Append(t.Context(), entry(fmt.Sprint(ids, i)))
		require.NoError(t, err)
		last = r.Position
	}
	return last
}

func read(t testing.TB, l *Log, after, until uint64) (entries []eventlog.Entry) {
	t.Helper()
	for e, err := range l.Read(t.Context(), after, until) {
		require.NoError(t, err)
		entries = append(entries, e)
	}
	return entries
}

// readAll reads from a log that may still have to come round.
func readAll(t testing.TB, l *Log, after, until uint64) (entries []eventlog.Entry) {
	t.Helper()
	var failed error
	require.Eventually(t, func() bool {
		entries, failed = nil, nil
		for e, err := range l.Read(t.Context(), after, until) {
			if failed = err; err == nil {
				entries = append(entries, e)
			}
		}
		return failed == nil
	}, patience, 50*time.Millisecond)
	return entries
}

func boundsOf(t testing.TB, l *Log) eventlog.Bounds {
	t.Helper()
	b, err := l.Bounds(t.Context())
	require.NoError(t, err)
	return b
}

// settle waits for the log to be there again.
func settle(t testing.TB, l *Log) (b eventlog.Bounds) {
	t.Helper()
	require.Eventually(t, func() bool {
		var err error
		b, err = l.Bounds(t.Context())
		return err == nil
	}, patience, 10*time.Millisecond)
	return b
}

func consumers(t testing.TB, l *Log) int {
	t.Helper()
	info, err := l.info(t.Context())
	require.NoError(t, err)
	return info.State.Consumers
}
