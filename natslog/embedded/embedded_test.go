package embedded

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// patience is how long a test waits for what must come, on a machine that may be
// very busy.
const patience = 2 * time.Minute

func start(t *testing.T, config Config) *Server {
	t.Helper()
	s, err := Start(config)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

// put publishes to a stream that is made if it is not there.
func put(t *testing.T, nc *nats.Conn, text string) (sequence uint64) {
	t.Helper()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	_, err = js.CreateOrUpdateStream(t.Context(), jetstream.StreamConfig{Name: "s"})
	require.NoError(t, err)
	ack, err := js.Publish(t.Context(), "s", []byte(text))
	require.NoError(t, err)
	return ack.Sequence
}

func TestStart_needsNoPortAndKeepsWhatItHas(t *testing.T) {
	dir := t.TempDir()
	for i := range uint64(3) {
		s := start(t, Config{Dir: dir, SyncAlways: i == 1})
		assert.Empty(t, s.URL())
		require.NoError(t, s.Ready(t.Context()))
		nc, err := s.Connect(nats.Name("me"))
		require.NoError(t, err)
		assert.EqualValues(t, 4<<20, nc.MaxPayload())
		assert.Equal(t, i+1, put(t, nc, "x"))
		nc.Close()
		s.Close()
		s.Close()
	}
}

func TestStart_listensForOtherProcesses(t *testing.T) {
	s := start(t, Config{Dir: t.TempDir(), Listen: "127.0.0.1:0", Options: func(o *server.Options) {
		o.Username, o.Password, o.AuthTimeout = "u", "p", patience.Seconds()
	}})
	_, err := nats.Connect(s.URL(), nats.Timeout(patience))
	require.ErrorIs(t, err, nats.ErrAuthorization)
	nc, err := nats.Connect(s.URL(), nats.UserInfo("u", "p"), nats.Timeout(patience))
	require.NoError(t, err)
	defer nc.Close()
	assert.EqualValues(t, 1, put(t, nc, "x"))
}

func TestStart_takesADirectoryForItself(t *testing.T) {
	dir := t.TempDir()
	s := start(t, Config{Dir: dir})
	_, err := Start(Config{Dir: dir})
	require.ErrorContains(t, err, "in use by another server")
	s.Close()
	start(t, Config{Dir: dir})
}

func TestStart_saysWhatIsWrong(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	for want, config := range map[string]Config{
		"Dir is empty":           {},
		"Config.Listen":          {Dir: t.TempDir(), Listen: "nowhere"},
		"Cluster.Listen":         {Dir: t.TempDir(), Cluster: &Cluster{Listen: "127.0.0.1"}},
		"Cluster.Routes":         {Dir: t.TempDir(), Listen: "127.0.0.1:0", Cluster: &Cluster{Listen: "127.0.0.1:0", Routes: []string{"::"}}},
		"needs Config.Listen":    {Dir: t.TempDir(), Cluster: &Cluster{Listen: "127.0.0.1:0"}},
		"address already in use": {Dir: t.TempDir(), Listen: taken.Addr().String()},
		"not a directory":        {Dir: "/dev/null/x"},
		"embedded: ":             {Dir: t.TempDir(), Options: func(o *server.Options) { o.MaxPending, o.MaxPayload = 1, 2 }},
	} {
		_, err := Start(config)
		assert.ErrorContains(t, err, want)
	}
}

func TestStart_reportsToTheLogger(t *testing.T) {
	var out strings.Builder
	s := start(t, Config{Dir: t.TempDir(), Name: "north", Logger: slog.New(slog.NewTextHandler(&out, nil))})
	s.Close()
	assert.Contains(t, out.String(), "Name:     north")
}

func TestStart_withoutJetStreamSaysWhy(t *testing.T) {
	l := &logger{to: slog.New(slog.DiscardHandler)}
	assert.Equal(t, "it took too long", l.reason())
	l.Errorf("a %s", "reason")
	l.Noticef("not this")
	l.Warnf("not this")
	l.Debugf("not this")
	l.Tracef("not this")
	assert.Equal(t, "a reason", l.reason())
	l.Fatalf("a %s", "worse one")
	assert.Equal(t, "a worse one", l.reason())
}

func TestReady_waitsForMostOfTheCluster(t *testing.T) {
	addresses := make([]string, 3)
	var routes []string
	for i := range addresses {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		addresses[i] = l.Addr().String()
		routes = append(routes, "nats://"+addresses[i])
		l.Close()
	}
	var servers []*Server
	for i, address := range addresses {
		servers = append(servers, start(t, Config{
			Dir: t.TempDir(), Name: []string{"a", "b", "c"}[i],
			Listen: "127.0.0.1:0", Cluster: &Cluster{Name: "c", Listen: address, Routes: routes},
		}))
		if i == 0 {
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			assert.ErrorIs(t, servers[0].Ready(ctx), context.DeadlineExceeded)
			cancel()
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, s := range servers {
		require.NoError(t, s.Ready(ctx))
	}
	nc, err := servers[2].Connect()
	require.NoError(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	require.Eventually(t, func() bool { // three are more than most, and may take longer
		_, err = js.CreateStream(ctx, jetstream.StreamConfig{Name: "s", Replicas: 3})
		return err == nil
	}, patience, 50*time.Millisecond)
}
