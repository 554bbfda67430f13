package redislog_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin/eventlog"
	"github.com/ssegin/ssegin/redislog"
)

// startCluster returns three masters that share the slots.
func startCluster(t *testing.T) (nodes []*server, addrs []string) {
	t.Helper()
	for range 3 {
		s := newServer(t, "--cluster-enabled", "yes", "--repl-ping-replica-period", "1")
		s.args = append(s.args, "--cluster-port", strconv.Itoa(freePort(t)))
		s.start()
		nodes, addrs = append(nodes, s), append(addrs, s.addr())
	}
	for i, s := range nodes {
		client := s.client()
		first, last := i*16384/3, (i+1)*16384/3-1
		require.NoError(t, client.ClusterAddSlotsRange(t.Context(), first, last).Err())
		bus := nodes[0].args[len(nodes[0].args)-1]
		require.NoError(t, client.Do(t.Context(), "cluster", "meet", "127.0.0.1", nodes[0].port, bus).Err())
	}
	for _, s := range nodes {
		client := s.client()
		require.Eventually(t, func() bool {
			info := client.ClusterInfo(t.Context()).Val()
			shards, err := client.ClusterShards(t.Context()).Result()
			return err == nil && len(shards) == 3 && len(info) > 0 && info[:len("cluster_state:ok")] == "cluster_state:ok"
		}, patience, 20*time.Millisecond)
	}
	return nodes, addrs
}

// A cluster keeps a log on one node, and hubs of different names on different
// ones. No replica is asked.
func TestLog_cluster(t *testing.T) {
	t.Parallel()
	nodes, addrs := startCluster(t)
	replica := joinCluster(t, nodes)
	for _, options := range []*redis.ClusterOptions{{Addrs: addrs}, {Addrs: addrs, RouteRandomly: true}} {
		client := redis.NewClusterClient(options)
		t.Cleanup(func() { client.Close() })
		homes := map[int]bool{}
		for i := range 12 {
			name := "hub " + strconv.Itoa(i)
			l := redislog.New(client, redislog.Config{Name: name})
			start := bounds(t, l)
			f := follow(t, l, start.Last)
			fill(t, l, 20)
			for range 20 {
				f.next()
			}
			f.stop()
			for range 4 {
				assert.Len(t, read(t, l, start.Last, start.Last+20), 20)
			}
			for home, s := range nodes {
				if s.client().Exists(t.Context(), "{"+name+"}:log").Val() == 1 {
					homes[home] = true
				}
			}
		}
		assert.Len(t, homes, 3, "all nodes have logs")
	}
	stats := replica.client().Info(t.Context(), "commandstats").Val()
	for _, command := range []string{"xrange", "xread", "evalsha"} {
		assert.NotContains(t, stats, "cmdstat_"+command+":")
	}
}

// joinCluster adds a replica of the first of them, of which all know.
func joinCluster(t *testing.T, masters []*server) *server {
	t.Helper()
	s := newServer(t, "--cluster-enabled", "yes", "--repl-diskless-sync-delay", "0", "--cluster-port", strconv.Itoa(freePort(t)))
	s.start()
	client, port := s.client(), s.port
	master := masters[0]
	bus := master.args[len(master.args)-1]
	require.NoError(t, client.Do(t.Context(), "cluster", "meet", "127.0.0.1", master.port, bus).Err())
	id, err := master.client().Do(t.Context(), "cluster", "myid").Text()
	require.NoError(t, err)
	require.Eventually(t, func() bool { return client.ClusterReplicate(t.Context(), id).Err() == nil },
		patience, 20*time.Millisecond)
	for _, s := range append(masters, s) {
		client := s.client()
		require.Eventually(t, func() bool { // all would send readers to the replica
			slots := fmt.Sprint(client.Do(t.Context(), "cluster", "slots").Val())
			return strings.Contains(slots, strconv.Itoa(port))
		}, patience, 20*time.Millisecond)
	}
	return s
}

// A log that moves to another node takes its life along: Follow ends, and goes on
// there.
func TestLog_clusterMovesTheSlot(t *testing.T) {
	t.Parallel()
	nodes, addrs := startCluster(t)
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs})
	t.Cleanup(func() { client.Close() })
	ctx := t.Context()
	l := redislog.New(client, redislog.Config{Name: "moving"})
	fill(t, l, 5)
	before := bounds(t, l)
	f := follow(t, l, 4)
	f.next()

	slot := int(client.ClusterKeySlot(ctx, "{moving}:log").Val())
	var from, to *server
	for _, s := range nodes {
		if s.client().Exists(ctx, "{moving}:log").Val() == 1 {
			from = s
		} else {
			to = s
		}
	}
	fromID, toID := from.client().Do(ctx, "cluster", "myid").Val(), to.client().Do(ctx, "cluster", "myid").Val()
	require.NoError(t, to.client().Do(ctx, "cluster", "setslot", slot, "importing", fromID).Err())
	require.NoError(t, from.client().Do(ctx, "cluster", "setslot", slot, "migrating", toID).Err())
	for _, key := range from.client().ClusterGetKeysInSlot(ctx, slot, 10).Val() {
		require.NoError(t, from.client().Migrate(ctx, "127.0.0.1", strconv.Itoa(to.port), key, 0, patience/4).Err())
	}
	for _, s := range []*server{to, from, nodes[0], nodes[1], nodes[2]} {
		require.NoError(t, s.client().Do(ctx, "cluster", "setslot", slot, "node", toID).Err())
	}

	require.Error(t, f.ends())
	require.Eventually(t, func() bool {
		b, err := l.Bounds(ctx)
		return err == nil && b == before
	}, patience, 20*time.Millisecond)
	require.Eventually(t, func() bool {
		f = follow(t, l, 4)
		select {
		case e := <-f.entries:
			return assert.EqualValues(t, 5, e.Position)
		case err := <-f.ended:
			t.Log(err)
			return false
		}
	}, patience, time.Millisecond)
	assert.EqualValues(t, 6, appendOne(t, l))
	assert.EqualValues(t, 6, f.next().Position)
	f.stop()
}

// certificate writes a self-made certificate for 127.0.0.1, and returns what
// trusts it.
func certificate(t *testing.T) (certFile, keyFile string, trust *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	public := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	require.NoError(t, os.WriteFile(certFile, public, 0o600))
	require.NoError(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	trust = x509.NewCertPool()
	require.True(t, trust.AppendCertsFromPEM(public))
	return certFile, keyFile, trust
}

// rights are what the package documentation says.
var rights = []any{
	"+evalsha", "+eval", "+xread", "+xrange", "+xrevrange", "+client|id", "+client|unblock",
	"+time", "+xinfo|stream", "+xadd", "+xtrim", "+hmget", "+hget", "+hset", "+hlen",
	"+del", "+unlink", "+rename", "+pttl", "+pexpire", "+persist",
}

func TestLog_tlsAndACL(t *testing.T) {
	t.Parallel()
	certFile, keyFile, trust := certificate(t)
	port := freePort(t)
	s := startServer(t, "--tls-port", strconv.Itoa(port), "--tls-cert-file", certFile, "--tls-key-file", keyFile,
		"--tls-ca-cert-file", certFile, "--tls-auth-clients", "no")
	admin := s.client()
	user := func(name string, rules ...any) *redislog.Log {
		args := append([]any{"acl", "setuser", name, "on", ">secret", "~{chat}:*"}, rules...)
		require.NoError(t, admin.Do(t.Context(), args...).Err())
		return redislog.New(clientOf(t, &redis.Options{
			Addr: fmt.Sprintf("127.0.0.1:%d", port), Username: name, Password: "secret", DisableIdentity: true,
			TLSConfig: &tls.Config{RootCAs: trust, MinVersion: tls.VersionTLS12},
		}), redislog.Config{Name: "chat", MaxAge: 320 * time.Millisecond, Duplicates: time.Second})
	}

	l := user("hub", rights...)
	f := follow(t, l, 0)
	began := time.Now()
	var b eventlog.Bounds
	require.Eventually(t, func() bool { // until the script has done all that it ever does
		appendOne(t, l)
		b = bounds(t, l)
		keys := admin.Exists(t.Context(), "{chat}:log", "{chat}:meta", "{chat}:ids", "{chat}:ids.before").Val()
		return time.Since(began) > 2200*time.Millisecond && keys == 4 && b.First > 1
	}, patience, time.Millisecond, "old entries leave")
	assert.Len(t, read(t, l, 0, b.Last), int(b.Last-b.First+1))
	f.stop()
	assert.Positive(t, unblocks(t, admin), "Follow may unblock itself")
	require.NoError(t, admin.Del(t.Context(), "{chat}:meta").Err())
	assert.NotEqual(t, b.Epoch, bounds(t, l).Epoch)
	log := admin.Do(t.Context(), "acl", "log").Val()
	assert.Empty(t, log, "nothing was denied")

	// Without the right to unblock, Follow takes its time, and ends all the same.
	l = user("slow", append(append([]any{}, rights...), "-client|unblock")...)
	f = follow(t, l, b.Last-1)
	f.next()
	f.stop()

	// To publish, less is enough.
	less := []any{"-xread", "-client|id", "-client|unblock", "-persist"}
	appendOne(t, user("publisher", append(append([]any{}, rights...), less...)...))

	// Without any one of the others, appending is refused.
	for _, right := range []string{"evalsha", "xadd", "hset", "time"} {
		l = user("less", append(append([]any{}, rights...), "-"+right)...)
		_, err := l.Append(t.Context(), entry())
		require.ErrorIs(t, err, eventlog.ErrRefused, "%s: %v", right, err)
	}
	require.NoError(t, admin.Do(t.Context(), "acl", "setuser", "less", "reset", "on", ">secret", "~other:*", "+@all").Err())
	_, err := l.Append(t.Context(), entry())
	require.ErrorIs(t, err, eventlog.ErrRefused)
}
