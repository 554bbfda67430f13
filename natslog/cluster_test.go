package natslog

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin/eventlog"
	"github.com/ssegin/ssegin/natslog/embedded"
)

// A cluster is three servers, each of which reaches each other one by a cable of
// its own.
type cluster struct {
	t       *testing.T
	servers [3]*embedded.Server
	configs [3]embedded.Config
	cables  [3][3]*cable // from, to
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t}
	var ports [3]string
	for i := range ports {
		ports[i] = freeAddress(t)
	}
	for from := range c.servers {
		config := embedded.Config{
			Name: serverName(from), Dir: t.TempDir(), Listen: freeAddress(t), MaxStore: 1 << 30,
			Cluster: &embedded.Cluster{Name: "c", Listen: ports[from]},
			Options: func(o *server.Options) {
				// Servers tell each other where they are, and would go around the
				// cables: nobody is there.
				o.Cluster.Advertise = "127.0.0.1:1"
			},
		}
		for to := range c.servers {
			if to != from {
				c.cables[from][to] = newCable(t, ports[to])
				config.Cluster.Routes = append(config.Cluster.Routes, c.cables[from][to].url())
			}
		}
		c.configs[from] = config
		c.start(from)
	}
	t.Cleanup(func() {
		for _, s := range c.servers {
			s.Close()
		}
	})
	c.ready()
	return c
}

func serverName(i int) string { return fmt.Sprint("server", i) }

// The addresses of freeAddress lie below the ports that the system gives to
// others, and each test process begins somewhere else.
var (
	firstPort = rand.Int64N(20_000)
	portsUsed atomic.Int64
)

// freeAddress returns an address that is free, and stays free while its server
// is not there.
func freeAddress(t testing.TB) string {
	t.Helper()
	for range 20_000 {
		l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", 10_000+(firstPort+portsUsed.Add(1))%20_000))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	require.Fail(t, "no port is free")
	panic("not reached")
}

func (c *cluster) start(i int) {
	c.t.Helper()
	s, err := embedded.Start(c.configs[i])
	require.NoError(c.t, err)
	c.servers[i] = s
}

func (c *cluster) ready() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	for _, s := range c.servers {
		require.NoError(c.t, s.Ready(ctx))
	}
}

// partition cuts a server off from the others, or joins it again.
func (c *cluster) partition(i int, off bool) {
	for other := range c.servers {
		if other != i {
			c.cables[i][other].cut(off)
			c.cables[other][i].cut(off)
		}
	}
}

// log returns a Log whose connection stays with that server.
func (c *cluster) log(i int, config Config) *Log {
	c.t.Helper()
	nc := connect(c.t, "nats://"+c.configs[i].Listen, nats.IgnoreDiscoveredServers())
	var l *Log
	require.Eventually(c.t, func() bool {
		var err error
		l, err = New(c.t.Context(), nc, config)
		return err == nil
	}, patience, 50*time.Millisecond)
	return l
}

// leader returns the server that leads the stream.
func (c *cluster) leader(l *Log) int {
	c.t.Helper()
	at := -1
	require.Eventually(c.t, func() bool {
		info, err := l.info(c.t.Context())
		for i := range c.servers {
			if err == nil && serverName(i) == leader(info) {
				at = i
			}
		}
		return at >= 0
	}, patience, 50*time.Millisecond)
	return at
}

// A seer follows as a hub does: after every error it asks for the bounds, and
// goes on where it was.
type seer struct {
	mu      sync.Mutex
	entries []eventlog.Entry
	errs    []error
	back    int // how often the log seemed to be shorter than what was seen
}

func (s *seer) run(ctx context.Context, l *Log, after uint64) {
	for ctx.Err() == nil {
		b, err := l.Bounds(ctx)
		s.mu.Lock()
		if err == nil && b.Last < after {
			s.back++
			err = errBack
		}
		s.mu.Unlock()
		if err == nil {
			err = l.Follow(ctx, after, func(e eventlog.Entry) error {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.entries = append(s.entries, e)
				after = e.Position
				return nil
			})
		}
		s.mu.Lock()
		s.errs = append(s.errs, err)
		s.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// The leader goes away in the middle of appends, once cut off and once stopped,
// while each server has publishers and a follower.
func TestCluster_losesItsLeader(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	config := Config{Stream: "ev", Replicas: 3}
	var logs []*Log
	for i := range c.servers {
		logs = append(logs, c.log(i, config))
	}
	epoch, start := boundsOf(t, logs[0]).Epoch, boundsOf(t, logs[0]).Last
	for _, l := range logs { // those who are with a lost leader give up, and try again
		l.timing.request, l.timing.silence = 5*time.Second, 5*time.Second
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	seers := make([]seer, 3)
	for i, l := range logs {
		wg.Go(func() { seers[i].run(ctx, l, start) })
	}
	stop := make(chan struct{})
	wait := publish(t, logs, 6, stop)
	time.Sleep(500 * time.Millisecond)

	cut := c.leader(logs[0])
	c.partition(cut, true)
	time.Sleep(6 * time.Second) // long enough for them
	other := logs[(cut+1)%3]
	require.Eventually(t, func() bool { // on a busy machine the election takes longer
		info, err := other.info(t.Context())
		return err == nil && leader(info) != "" && leader(info) != serverName(cut)
	}, patience, 50*time.Millisecond)
	c.partition(cut, false)
	time.Sleep(time.Second)

	stopped := c.leader(logs[0])
	c.servers[stopped].Close()
	time.Sleep(500 * time.Millisecond)
	c.start(stopped)
	time.Sleep(500 * time.Millisecond)

	close(stop)
	acked := wait()
	b := settle(t, logs[0])
	assert.Equal(t, epoch, b.Epoch)
	keptOnce(t, logs[0], start, acked)
	all := readAll(t, logs[0], start, b.Last)
	for i := range seers {
		s := &seers[i]
		require.Eventually(t, func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.entries) >= len(all)
		}, patience, 10*time.Millisecond, "server %d", i)
	}
	cancel()
	wg.Wait()
	for i := range seers {
		require.Len(t, seers[i].entries, len(all))
		for k, e := range seers[i].entries {
			require.Equal(t, all[k], e, "all followers see what a reader sees")
		}
		t.Logf("server %d: seemed to go back %d times; %v", i, seers[i].back, seers[i].errs)
	}
}

// A client whose server is cut off sees what that server has, and no end of the
// log that is none.
func TestCluster_aServerThatIsCutOffDoesNotPretend(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	config := Config{Stream: "ev", Replicas: 3}
	first := c.log(0, config)
	lead := c.leader(first)
	off := (lead + 1) % 3
	good, bad := c.log(lead, config), c.log(off, config)
	bad.timing.request, bad.timing.silence = 5*time.Second, 5*time.Second
	known := appendN(t, good, "a", 5)
	start := known - 5
	require.Eventually(t, func() bool {
		entries, _, err := bad.piece(t.Context(), all, start+1, 5)
		return err == nil && len(entries) == 5
	}, patience, 10*time.Millisecond)
	f := follow(t, bad, start)
	for range 5 {
		f.next()
	}

	c.partition(off, true)
	var last uint64
	for i := range 5 {
		var err error
		last, err = persist(t.Context(), good, entry(fmt.Sprint("b", i)))
		require.NoError(t, err)
	}
	var got int
	var failed error
	for e, err := range bad.Read(t.Context(), start, last) {
		if failed = err; err == nil {
			got++
			assert.Equal(t, start+uint64(got), e.Position)
		}
	}
	t.Logf("read %d entries, then: %v", got, failed)
	assert.LessOrEqual(t, got, 5)
	require.Error(t, failed, "the rest is not there, and that is no end")
	_, err := bad.Bounds(t.Context())
	require.Error(t, err)
	_, err = bad.Append(t.Context(), entry("c"))
	require.Error(t, err)
	t.Logf("Follow: %v", f.fails())

	c.partition(off, false)
	position, err := persist(t.Context(), bad, entry("c"))
	require.NoError(t, err)
	assert.Equal(t, last+1, position)
	assert.Len(t, readAll(t, bad, start, position), 11)
}

// Reads by way of every server give all that was acknowledged, at any time:
// those that have it not yet are found out.
func TestCluster_readsAreNeverShort(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	config := Config{Stream: "ev", Replicas: 3}
	var logs []*Log
	for i := range c.servers {
		logs = append(logs, c.log(i, config))
	}
	start := boundsOf(t, logs[0]).Last
	var asked int
	for k := range 300 {
		r, err := logs[k%3].Append(t.Context(), entry(fmt.Sprint(k)))
		require.NoError(t, err)
		position := r.Position
		l := logs[(k+1)%3]
		before := l.nc.Stats().OutMsgs
		entries := read(t, l, position-1, position)
		require.Len(t, entries, 1, "entry %d was acknowledged", k)
		if l.nc.Stats().OutMsgs-before > 1 {
			asked++
		}
		require.Equal(t, entries, readTopic(t, l, "room:1", position-1, position+1, 0), "entry %d was acknowledged", k)
		require.Equal(t, entries, readTopic(t, l, "room:1", start, position+1, 1), "entry %d was acknowledged", k)
		require.GreaterOrEqual(t, boundsOf(t, l).Last, position)
	}
	assert.Len(t, read(t, logs[0], start, start+300), 300)
	t.Logf("a server lagged in %d of 300 reads", asked)
}

// Of producers at all servers of a cluster that name the same newest entry one
// wins, while the leader goes away in between; and what was not answered is
// answered in the end.
func TestCluster_oneProducerWins(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	config := Config{Stream: "ev", Replicas: 3}
	var logs []*Log
	for i := range c.servers {
		l := c.log(i, config)
		l.timing.request = 5 * time.Second
		logs = append(logs, l)
	}
	start := boundsOf(t, logs[0])
	newest := eventlog.Receipt{}
	var wins []eventlog.Receipt
	for round := range 40 {
		if round == 20 {
			stopped := c.leader(logs[0])
			c.servers[stopped].Close()
			c.start(stopped)
		}
		var mu sync.Mutex
		var won []eventlog.Receipt
		var wg sync.WaitGroup
		for i := range 9 {
			e := entry(fmt.Sprint("round ", round, " producer ", i))
			wg.Go(func() {
				require.Eventually(t, func() bool {
					r, err := logs[i%3].AppendIf(t.Context(), e, newest)
					conflict, refused := errors.AsType[*eventlog.ConflictError](err)
					mu.Lock()
					defer mu.Unlock()
					switch {
					case err == nil:
						won = append(won, r)
					case refused:
						assert.Greater(t, conflict.Newest.Position, newest.Position)
						assert.Equal(t, start.Epoch, conflict.Newest.Epoch)
					}
					return err == nil || refused
				}, patience, time.Millisecond)
			})
		}
		wg.Wait()
		require.Len(t, won, 1, "round %d", round)
		newest = won[0]
		wins = append(wins, newest)
	}
	b := settle(t, logs[0])
	assert.Equal(t, eventlog.Receipt{Position: b.Last, Epoch: b.Epoch}, newest)
	for i, e := range readAll(t, logs[1], start.Last, b.Last) {
		assert.Equal(t, wins[i].Position, e.Position, "nothing but what has won")
	}
	// A retry of the first is answered, whatever has followed.
	first := readAll(t, logs[2], start.Last, start.Last+1)[0]
	again, err := logs[2].AppendIf(t.Context(), first, eventlog.Receipt{})
	require.NoError(t, err)
	assert.Equal(t, wins[0], again)
}

// Three processes of a first deploy start together, and make one log.
func TestCluster_processesOfAFirstDeployStartTogether(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	var conns []*nats.Conn
	for i := range c.servers {
		conns = append(conns, connect(t, "nats://"+c.configs[i].Listen, nats.IgnoreDiscoveredServers()))
	}
	const rounds = 15
	started := 0
	for round := range rounds {
		config := Config{Stream: fmt.Sprint("first", round), Replicas: 3, MaxBytes: 1 << 20}
		epochs := make([]string, len(conns))
		errs := make([]error, len(conns))
		var wg sync.WaitGroup
		for i, nc := range conns {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				l, err := New(ctx, nc, config)
				if errs[i] = err; err == nil {
					epochs[i] = settle(t, l).Epoch
				}
			})
		}
		wg.Wait()
		for i := range conns {
			if assert.NoError(t, errs[i]) && assert.Equal(t, epochs[0], epochs[i]) {
				started++
			}
		}
	}
	t.Logf("%d of %d have started", started, rounds*len(conns))
}

// A topic is read by way of every server while the leader changes again and again, and
// one that has led comes back. Some reads fail; those that do not are never short.
func TestCluster_readsATopicBehindAChangedLeader(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	config := Config{Stream: "ev", Replicas: 3}
	var logs []*Log
	for i := range c.servers {
		l := c.log(i, config)
		l.timing.request = 2 * time.Second
		logs = append(logs, l)
	}
	topics := []string{"a", "b", eventlog.SeveralTopics}
	want := map[string][]uint64{}
	n, whole, failed := 0, 0, 0
	appendTo := func(l *Log, entries int) {
		for range entries {
			e := entry(fmt.Sprint("entry ", n))
			if e.Topic = topics[n%3]; e.Topic == eventlog.SeveralTopics {
				e.Topics = topics[:2]
			}
			position, err := persist(t.Context(), l, e)
			require.NoError(t, err)
			want[e.Topic] = append(want[e.Topic], position)
			n++
		}
	}
	// reads reports whether the newest of each topic can be read by way of l.
	reads := func(l *Log) bool {
		for _, topic := range topics {
			for _, last := range []int{1, 5, 1000, 0} {
				var got []uint64
				for e, err := range l.ReadTopic(t.Context(), topic, 0, math.MaxUint64, last) {
					if err != nil {
						failed++
						return false
					}
					got = append(got, e.Position)
				}
				all := want[topic]
				if last > 0 {
					all = all[max(0, len(all)-last):]
				}
				require.Equal(t, all, got, "the last %d of %q, acknowledged before", last, topic)
				whole++
			}
		}
		return true
	}
	appendTo(logs[0], 60)
	for range 3 {
		stopped := c.leader(logs[0])
		c.servers[stopped].Close()
		for i, l := range logs {
			if i != stopped {
				require.Eventually(t, func() bool { return reads(l) }, patience, 10*time.Millisecond)
				appendTo(l, 6)
			}
		}
		c.start(stopped)
		for _, l := range logs {
			require.Eventually(t, func() bool { return reads(l) }, patience, 10*time.Millisecond)
			appendTo(l, 6)
		}
		settle(t, logs[0])
	}
	t.Logf("%d reads were whole, %d attempts failed", whole, failed)
}
