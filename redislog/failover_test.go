package redislog_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin/redislog"
)

// A replica that lagged is made the master: the same epoch, and fewer entries.
func TestFollow_failoverToLaggingReplica(t *testing.T) {
	t.Parallel()
	old := startServer(t)
	relay := startProxy(t, old.addr())
	host, port, err := net.SplitHostPort(relay.listener.Addr().String())
	require.NoError(t, err)
	young := startServer(t, "--replicaof", host+" "+port, "--repl-diskless-sync-delay", "0")

	var master atomic.Pointer[server]
	master.Store(old)
	client := clientOf(t, &redis.Options{Dialer: func(context.Context, string, string) (net.Conn, error) {
		return net.Dial("tcp", master.Load().addr())
	}})
	l := redislog.New(client, redislog.Config{Name: "failover"})
	fill(t, l, 5)
	before := bounds(t, l)
	require.EqualValues(t, 1, old.client().Wait(t.Context(), 1, patience/4).Val(), "the replica has what there is")

	_, err = redislog.New(young.client(), redislog.Config{Name: "failover"}).Bounds(t.Context())
	require.ErrorContains(t, err, "READONLY", "a replica does not answer")

	relay.listener.Close()
	relay.cut()
	lost := entry()
	_, err = l.Append(t.Context(), lost)
	require.NoError(t, err)
	fill(t, l, 3)
	f := follow(t, l, 8)
	require.EqualValues(t, 9, f.next().Position)

	require.NoError(t, young.client().ReplicaOf(t.Context(), "NO", "ONE").Err())
	master.Store(young)
	old.kill()
	require.Error(t, f.ends())
	assert.Equal(t, before, bounds(t, l))
	require.Error(t, follow(t, l, 9).ends())
	r, err := l.Append(t.Context(), lost)
	require.NoError(t, err)
	assert.EqualValues(t, 6, r.Position)
}

// A master that becomes a replica keeps its connections: Follow ends all the
// same.
func TestFollow_masterIsDemoted(t *testing.T) {
	t.Parallel()
	s, other := startServer(t), startServer(t)
	l := open(s, redislog.Config{})
	fill(t, l, 3)
	f := follow(t, l, 2)
	f.next()
	require.NoError(t, l.client.ReplicaOf(t.Context(), "127.0.0.1", strconv.Itoa(other.port)).Err())
	require.Error(t, f.ends())
}

// Sentinels make a replica the master: the client finds it, and the log goes on.
func TestFollow_sentinelFailover(t *testing.T) {
	t.Parallel()
	old := startServer(t)
	young := startServer(t, "--replicaof", "127.0.0.1 "+strconv.Itoa(old.port), "--repl-diskless-sync-delay", "0")
	sentinel := newServer(t)
	config := filepath.Join(sentinel.dir, "sentinel.conf")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil,
		"sentinel monitor main 127.0.0.1 %d 1\nsentinel down-after-milliseconds main 3000\n", old.port), 0o600))
	sentinel.args = []string{config, "--sentinel"}
	sentinel.start()
	client := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: "main", SentinelAddrs: []string{sentinel.addr()}})
	t.Cleanup(func() { client.Close() })
	l := redislog.New(client, redislog.Config{})
	fill(t, l, 5)
	before := bounds(t, l)
	f := follow(t, l, 4)
	f.next()
	require.EqualValues(t, 1, old.client().Wait(t.Context(), 1, patience/4).Val())
	require.Eventually(t, func() bool { // the sentinel knows the replica
		replicas, err := sentinel.client().Do(t.Context(), "sentinel", "replicas", "main").Slice()
		return err == nil && len(replicas) == 1
	}, patience, 50*time.Millisecond)

	old.kill()
	require.Error(t, f.ends())
	require.Eventually(t, func() bool {
		b, err := l.Bounds(t.Context())
		return err == nil && b == before
	}, patience, 50*time.Millisecond)
	f = follow(t, l, 5)
	assert.EqualValues(t, 6, appendOne(t, l))
	assert.EqualValues(t, 6, f.next().Position)
	assert.Equal(t, 1, blocked(t, young.client()))
	f.stop()
}
