package redislog_test

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin/eventlog"
	"github.com/ssegin/ssegin/redislog"
)

// A publisher appends one entry after the other, each with some seconds at a time
// and as often as it takes, as a hub does.
type publisher struct {
	t    testing.TB
	log  eventlog.Log
	ctx  context.Context
	stop context.CancelFunc
	done sync.WaitGroup

	failed atomic.Int64 // calls

	mu   sync.Mutex
	kept []eventlog.Entry // what was acknowledged
}

func publish(t testing.TB, l eventlog.Log, goroutines int) *publisher {
	p := &publisher{t: t, log: l}
	p.ctx, p.stop = context.WithCancel(context.Background())
	for range goroutines {
		p.done.Go(p.run)
	}
	t.Cleanup(func() { p.end() })
	return p
}

func (p *publisher) run() {
	for p.ctx.Err() == nil {
		e := entry()
		for {
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
			r, err := p.log.Append(ctx, e)
			cancel()
			if err == nil {
				e.Position = r.Position
				break
			}
			p.failed.Add(1)
			if time.Sleep(10 * time.Millisecond); p.ctx.Err() != nil {
				return // whether it is kept is what nobody knows
			}
		}
		p.mu.Lock()
		p.kept = append(p.kept, e)
		p.mu.Unlock()
	}
}

// count returns how many were acknowledged until now.
func (p *publisher) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.kept)
}

// end returns what was acknowledged.
func (p *publisher) end() []eventlog.Entry {
	p.stop()
	p.done.Wait()
	return p.kept
}

func (p *publisher) more(n int) {
	p.t.Helper()
	want := p.count() + n
	require.Eventually(p.t, func() bool { return p.count() >= want }, patience, time.Millisecond)
}

// requireOnce checks that each of them is in the log once, at its position, and
// that no message is there twice.
func requireOnce(t testing.TB, l eventlog.Log, kept []eventlog.Entry) {
	t.Helper()
	ids, at := map[string]bool{}, map[uint64]string{}
	for i, e := range read(t, l, 0, 1<<40) {
		require.False(t, ids[e.MessageID], "a message is there twice")
		require.EqualValues(t, i+1, e.Position)
		ids[e.MessageID], at[e.Position] = true, e.MessageID
	}
	for _, e := range kept {
		require.Equal(t, e.MessageID, at[e.Position], "at position %d", e.Position)
	}
}

var everything = redislog.Config{MaxEntries: 1_000_000, MaxBytes: 1 << 30}

// With appendfsync everysec this would not always hold: while the disk is slow,
// Redis acknowledges what it has not yet written.
func TestAppend_serverCrashes(t *testing.T) {
	t.Parallel()
	s := startServer(t, "--appendonly", "yes", "--appendfsync", "always")
	l := open(s, everything)
	before := bounds(t, l)
	p := publish(t, l, 8)
	for range 3 {
		p.more(200)
		f := follow(t, l, 0)
		f.next()
		s.kill()
		require.Eventually(t, func() bool { return len(f.ended) == 1 }, patience, time.Millisecond)
		s.start()
	}
	p.more(200)
	kept := p.end()
	require.Equal(t, before.Epoch, bounds(t, l).Epoch)
	requireOnce(t, l, kept)
}

func TestAppend_serverStops(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	l := open(s, everything)
	p := publish(t, l, 4)
	p.more(100)
	f := follow(t, l, 0)
	f.next()
	s.signal(syscall.SIGSTOP)
	require.Eventually(t, func() bool { return len(f.ended) == 1 }, patience, time.Millisecond, "a server that says nothing ends Follow")
	failed := p.failed.Load()
	require.Eventually(t, func() bool { return p.failed.Load() >= failed+4 }, patience, time.Millisecond, "Append keeps to its context")
	s.signal(syscall.SIGCONT)
	p.more(200)
	requireOnce(t, l, p.end())
}

func TestFollow_cancelledWhileServerStops(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	l := open(s, redislog.Config{})
	fill(t, l, 1)
	f := follow(t, l, 0)
	f.next()
	s.signal(syscall.SIGSTOP)
	began := time.Now()
	f.stop() // while the server still stands
	t.Logf("Follow returned after %v", time.Since(began))
}

// Connections break in the midst of everything: nothing is lost, twice, or out
// of order for one who goes on where Follow has ended.
func TestFollow_connectionsCut(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	direct := open(s, everything)
	relay := startProxy(t, s.addr())
	client := clientOf(t, &redis.Options{Addr: relay.listener.Addr().String()})
	config := everything
	config.Name = direct.name
	l := redislog.New(client, config)

	ctx, cancel := context.WithCancel(t.Context())
	var seen []eventlog.Entry
	var broken, delivered atomic.Int64
	var following sync.WaitGroup
	following.Go(func() {
		var after uint64
		for ctx.Err() == nil {
			err := l.Follow(ctx, after, func(e eventlog.Entry) error {
				seen = append(seen, e)
				after = e.Position
				delivered.Add(1)
				return nil
			})
			if assert.Error(t, err); ctx.Err() == nil {
				broken.Add(1)
			}
		}
	})
	p := publish(t, l, 4)
	for i := range int64(10) {
		p.more(20)
		before := delivered.Load()
		require.Eventually(t, func() bool { return delivered.Load() > before }, patience, time.Millisecond)
		relay.cut()
		require.Eventually(t, func() bool { return broken.Load() > i }, patience, time.Millisecond)
	}
	p.more(20)
	kept := p.end()
	requireOnce(t, direct, kept)
	last := bounds(t, direct).Last
	require.Eventually(t, func() bool { return blocked(t, direct.client) == 1 }, patience, time.Millisecond)
	cancel()
	following.Wait()
	require.Len(t, seen, int(last))
	for i, e := range seen {
		require.EqualValues(t, i+1, e.Position)
	}
}

// unblocks returns how often the server was asked to end an XREAD.
func unblocks(t testing.TB, client *redis.Client) (n int) {
	t.Helper()
	stats := client.Info(t.Context(), "commandstats").Val()
	if _, calls, found := strings.Cut(stats, "cmdstat_client|unblock:calls="); found {
		calls, _, _ = strings.Cut(calls, ",")
		n, _ = strconv.Atoi(calls)
	}
	return n
}

func TestFollow_blocksOneConnection(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	l := open(s, redislog.Config{})
	fill(t, l, 1)
	observer := s.client()
	for range 3 {
		var tails []*tail
		for range 3 {
			f := follow(t, l, 0)
			f.next()
			tails = append(tails, f)
		}
		require.Eventually(t, func() bool { return blocked(t, observer) == 3 }, patience, time.Millisecond)
		for i, f := range tails {
			unblocked := unblocks(t, observer)
			f.stop()
			assert.Greater(t, unblocks(t, observer), unblocked, "Follow does not wait until nothing comes")
			require.Eventually(t, func() bool { return blocked(t, observer) == 2-i }, patience, time.Millisecond)
		}
	}
	stats := l.client.PoolStats()
	assert.Equal(t, stats.TotalConns, stats.IdleConns, "the pool has all connections back")
	assert.LessOrEqual(t, stats.TotalConns, uint32(8))
}
