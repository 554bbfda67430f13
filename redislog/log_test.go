package redislog_test

import (
	"context"
	"crypto/rand"
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin/eventlog"
	"github.com/ssegin/ssegin/redislog"
	"github.com/ssegin/ssegin/ssegintest"
)

// A named log is one of which the tests know the keys.
type named struct {
	*redislog.Log
	client *redis.Client
	name   string
}

func (n named) key(part string) string { return "{" + n.name + "}:" + part }

func (n named) keys() []string {
	return []string{n.key("log"), n.key("meta"), n.key("ids"), n.key("ids.before"), n.key("topics"), n.key("topics.before")}
}

// open returns a new log on the server, with a client of its own.
func open(s *server, config redislog.Config) named {
	if config.Name == "" {
		config.Name = rand.Text()
	}
	client := s.client()
	return named{redislog.New(client, config), client, config.Name}
}

func TestLog(t *testing.T) {
	for _, protocol := range []int{2, 3} {
		t.Run("RESP"+string(rune('0'+protocol)), func(t *testing.T) {
			s := startServer(t)
			connect := func(t *testing.T, name string) named {
				client := clientOf(t, &redis.Options{Addr: s.addr(), Protocol: protocol})
				return named{redislog.New(client, redislog.Config{Name: name}), client, name}
			}
			ssegintest.TestLog(t, func(t *testing.T) eventlog.Log { return connect(t, rand.Text()) }, faults(connect))
		})
	}
}

func faults(connect func(*testing.T, string) named) ssegintest.LogFaults {
	return ssegintest.LogFaults{
		Open: func(t *testing.T, log eventlog.Log) eventlog.Log { return connect(t, log.(named).name) },
		Renew: func(t *testing.T, log eventlog.Log) {
			l := log.(named)
			require.NoError(t, l.client.Del(t.Context(), l.keys()...).Err())
		},
		Purge: func(t *testing.T, log eventlog.Log) {
			l := log.(named)
			require.NoError(t, l.client.XTrimMaxLen(t.Context(), l.key("log"), 0).Err())
		},
		Trim: func(t *testing.T, log eventlog.Log, n int) {
			l := log.(named)
			length := l.client.XLen(t.Context(), l.key("log")).Val()
			require.NoError(t, l.client.XTrimMaxLen(t.Context(), l.key("log"), length-int64(n)).Err())
		},
		Delete: func(t *testing.T, log eventlog.Log, position uint64) {
			l := log.(named)
			require.EqualValues(t, 1, l.client.XDel(t.Context(), l.key("log"), id(position)).Val())
		},
		Backup: func(t *testing.T, log eventlog.Log) func() { return backup(t, log.(named)) },
		Drop: func(t *testing.T, log eventlog.Log) {
			require.NoError(t, log.(named).client.ClientKillByFilter(t.Context(), "TYPE", "normal", "SKIPME", "no").Err())
		},
	}
}

// backup copies the keys of the log.
func backup(t *testing.T, l named) (restore func()) {
	dumps := map[string]string{}
	for _, key := range l.keys() {
		dump, err := l.client.Dump(t.Context(), key).Result()
		if !errors.Is(err, redis.Nil) {
			require.NoError(t, err)
			dumps[key] = dump
		}
	}
	return func() {
		_, err := l.client.TxPipelined(t.Context(), func(p redis.Pipeliner) error {
			p.Del(t.Context(), l.keys()...)
			for key, dump := range dumps {
				p.RestoreReplace(t.Context(), key, 0, dump)
			}
			return nil
		})
		require.NoError(t, err)
	}
}

func TestNew_panicsOnContradictions(t *testing.T) {
	client := redis.NewClient(&redis.Options{})
	defer client.Close()
	ring := redis.NewRing(&redis.RingOptions{})
	defer ring.Close()
	for _, config := range []redislog.Config{
		{MaxEntries: -1}, {MaxBytes: -1}, {MaxAge: -1}, {Duplicates: -1}, {Name: "a}b"}, {Name: "{"},
	} {
		assert.Panics(t, func() { redislog.New(client, config) }, config)
	}
	assert.Panics(t, func() { redislog.New(ring, redislog.Config{}) })
	assert.Panics(t, func() { redislog.New(nil, redislog.Config{}) })
	assert.NotPanics(t, func() { redislog.New(client, redislog.Config{}) })
}

// An application may well have a client type of its own.
func TestLog_clientThatEmbedsOne(t *testing.T) {
	t.Parallel()
	type own struct{ *redis.Client }
	s := startServer(t)
	l := redislog.New(own{s.client()}, redislog.Config{})
	fill(t, l, 3)
	f := follow(t, l, 2)
	f.next()
	f.stop()

	type foreign struct{ redis.UniversalClient }
	l = redislog.New(foreign{s.client()}, redislog.Config{})
	assert.Len(t, read(t, l, 0, 3), 3)
	assert.ErrorContains(t, follow(t, l, 0).ends(), "lends no connection")
}

// The zero Config is what the documentation says.
func TestLog_zeroConfigKeepsTenThousand(t *testing.T) {
	s := startServer(t)
	client := s.client()
	l := redislog.New(client, redislog.Config{})
	fill(t, l, 10_050)
	bounds, err := l.Bounds(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 51, bounds.First)
	assert.EqualValues(t, 10_050, bounds.Last)
	assert.EqualValues(t, 10_000, client.XLen(t.Context(), "{ssegin}:log").Val())
	ttl := client.PTTL(t.Context(), "{ssegin}:ids").Val()
	assert.Greater(t, ttl, 3*time.Minute)
	assert.LessOrEqual(t, ttl, 4*time.Minute)
}

// What the helpers below are for: appending, and following as a hub does.

func entry() eventlog.Entry {
	id := rand.Text()
	return eventlog.Entry{Topic: "room:7", Type: "chat", Data: []byte("text of " + id), MessageID: id}
}

// fill appends n entries from as many goroutines as the client has connections.
func fill(t testing.TB, l eventlog.Log, n int) {
	t.Helper()
	const goroutines = 20
	var wg sync.WaitGroup
	for i := range goroutines {
		wg.Go(func() {
			for range (n + goroutines - 1 - i) / goroutines {
				_, err := l.Append(context.Background(), entry())
				assert.NoError(t, err)
			}
		})
	}
	wg.Wait()
}

func read(t testing.TB, l eventlog.Log, after, until uint64) []eventlog.Entry {
	t.Helper()
	var entries []eventlog.Entry
	for e, err := range l.Read(t.Context(), after, until) {
		require.NoError(t, err)
		entries = append(entries, e)
	}
	return entries
}

// A tail is one Follow.
type tail struct {
	t       testing.TB
	entries chan eventlog.Entry
	ended   chan error // holds what it has returned
	cancel  context.CancelCauseFunc
}

func follow(t testing.TB, l eventlog.Log, after uint64) *tail {
	ctx, cancel := context.WithCancelCause(t.Context())
	f := &tail{t, make(chan eventlog.Entry, 100_000), make(chan error, 1), cancel}
	var wg sync.WaitGroup
	wg.Go(func() {
		f.ended <- l.Follow(ctx, after, func(e eventlog.Entry) error {
			f.entries <- e
			return nil
		})
	})
	t.Cleanup(func() {
		cancel(nil)
		wg.Wait()
	})
	return f
}

// next returns the next entry that was delivered.
func (f *tail) next() eventlog.Entry {
	f.t.Helper()
	select {
	case e := <-f.entries:
		return e
	case err := <-f.ended:
		require.NoError(f.t, err, "Follow has ended")
	case <-time.After(patience):
		require.Fail(f.t, "nothing was delivered")
	}
	panic("not reached")
}

// ends waits for Follow to return by itself, and checks that it has delivered
// nothing before that.
func (f *tail) ends() error {
	f.t.Helper()
	select {
	case err := <-f.ended:
		require.Error(f.t, err)
		require.Empty(f.t, f.entries)
		return err
	case <-time.After(patience):
		require.Fail(f.t, "Follow goes on")
		return nil
	}
}

var errEnough = errors.New("enough")

func (f *tail) stop() {
	f.t.Helper()
	f.cancel(errEnough)
	select {
	case err := <-f.ended:
		require.ErrorIs(f.t, err, errEnough)
	case <-time.After(patience):
		require.Fail(f.t, "Follow goes on after the end of ctx")
	}
}

// id is how a position is written in Redis.
func id(position uint64) string { return strconv.FormatUint(position, 10) + "-0" }
