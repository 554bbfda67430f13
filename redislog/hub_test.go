package redislog_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin/eventlog"
	"github.com/ssegin/ssegin/redislog"
	"github.com/ssegin/ssegin/ssegintest/hubtest"
)

func TestHub(t *testing.T) {
	t.Parallel()
	hubtest.TestHub(t, func(t *testing.T) hubtest.Engine {
		s := startServer(t, "--appendonly", "yes", "--appendfsync", "always")
		return hubtest.Engine{
			Open:    func(*testing.T) eventlog.Log { return redislog.New(s.client(), redislog.Config{Name: "hub"}) },
			Restart: func(*testing.T) { s.kill(); s.start() },
			Renew:   func(t *testing.T) { require.NoError(t, s.client().FlushAll(t.Context()).Err()) },
		}
	})
}

// A backup of the whole server needs one without an append-only file.
func TestHub_rolledBack(t *testing.T) {
	t.Parallel()
	hubtest.TestHub(t, func(t *testing.T) hubtest.Engine {
		s := startServer(t)
		return hubtest.Engine{
			Open: func(*testing.T) eventlog.Log { return redislog.New(s.client(), redislog.Config{Name: "hub"}) },
			Backup: func(*testing.T) func() {
				dump := s.backup()
				return func() { s.restore(dump) }
			},
		}
	})
}
