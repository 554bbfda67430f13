package redislog_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin/eventlog"
	"github.com/ssegin/ssegin/redislog"
)

func TestAppend_refused(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	l := open(s, redislog.Config{MaxBytes: 1 << 20})
	large := entry()
	large.Data = make([]byte, 1<<20)
	_, err := l.Append(t.Context(), large)
	require.ErrorIs(t, err, eventlog.ErrRefused, "it is larger than the log")

	require.NoError(t, l.client.Set(t.Context(), l.key("log"), "text", 0).Err())
	_, err = l.Append(t.Context(), entry())
	require.ErrorIs(t, err, eventlog.ErrRefused)
	require.ErrorContains(t, err, "WRONGTYPE")

	locked := startServer(t, "--requirepass", "secret")
	_, err = open(locked, redislog.Config{}).Append(t.Context(), entry())
	require.ErrorIs(t, err, eventlog.ErrRefused)

	s.kill()
	_, err = l.Append(t.Context(), entry())
	require.Error(t, err)
	require.NotErrorIs(t, err, eventlog.ErrRefused, "a server that is away may come back")
}

// When Redis refuses to write, readers stay, and nothing of what was refused is in
// the log.
func TestFollow_whenRedisRefusesToWrite(t *testing.T) {
	t.Parallel()
	settings := func(name, refuse, allow string) func(*testing.T, *server, bool) {
		return func(t *testing.T, s *server, refusing bool) {
			value := allow
			if refusing {
				value = refuse
			}
			require.NoError(t, s.client().ConfigSet(t.Context(), name, value).Err())
		}
	}
	for says, set := range map[string]func(t *testing.T, s *server, refuse bool){
		"OOM":        settings("maxmemory", "1mb", "0"),
		"NOREPLICAS": settings("min-replicas-to-write", "1", "0"),
		"MISCONF":    loseDisk,
	} {
		t.Run(says, func(t *testing.T) {
			s := startServer(t, "--enable-protected-configs", "yes")
			l := open(s, redislog.Config{})
			fill(t, l, 3)
			before := bounds(t, l)
			f := follow(t, l, 2)
			require.EqualValues(t, 3, f.next().Position)
			set(t, s, true)
			e := entry()
			_, err := l.Append(t.Context(), e)
			require.ErrorContains(t, err, says)
			require.NotErrorIs(t, err, eventlog.ErrRefused)
			assert.Equal(t, before, bounds(t, l))
			assert.Len(t, read(t, l, 0, 3), 3)
			time.Sleep(1100 * time.Millisecond) // Follow has asked meanwhile whether all is well
			set(t, s, false)
			r, err := l.Append(t.Context(), e)
			require.NoError(t, err)
			assert.EqualValues(t, 4, r.Position)
			assert.EqualValues(t, 4, f.next().Position, "the follower has stayed")
			f.stop()
		})
	}
}

// loseDisk makes saving fail, as a full disk does, or possible again.
func loseDisk(t *testing.T, s *server, lose bool) {
	client := s.client()
	require.NoError(t, client.ConfigSet(t.Context(), "save", "3600 1").Err())
	if lose {
		require.NoError(t, os.RemoveAll(s.dir))
	} else {
		require.NoError(t, client.ConfigSet(t.Context(), "dir", t.TempDir()).Err())
	}
	want := "rdb_last_bgsave_status:ok"
	if lose {
		want = "rdb_last_bgsave_status:err"
	}
	require.NoError(t, client.BgSave(t.Context()).Err())
	require.Eventually(t, func() bool {
		return strings.Contains(client.Info(t.Context(), "persistence").Val(), want)
	}, patience, 10*time.Millisecond)
}
