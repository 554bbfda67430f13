package natslog

import (
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin/eventlog"
	"github.com/ssegin/ssegin/ssegintest/hubtest"
)

func TestHub(t *testing.T) {
	t.Parallel()
	hubtest.TestHub(t, func(t *testing.T) hubtest.Engine {
		e := newEngine(t)
		return hubtest.Engine{
			Open: func(t *testing.T) eventlog.Log {
				return openLog(t, connect(t, e.server.URL()), Config{Stream: "hub"})
			},
			Restart: func(*testing.T) {
				e.stop()
				e.start()
			},
			Renew: func(t *testing.T) {
				js, err := jetstream.New(connect(t, e.server.URL()))
				require.NoError(t, err)
				require.NoError(t, js.DeleteStream(t.Context(), "hub"))
			},
			Backup: func(*testing.T) func() { return e.backup() },
		}
	})
}
