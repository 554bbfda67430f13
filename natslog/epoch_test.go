package natslog

import (
	"maps"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin/eventlog"
)

// addEpoch does what the package documentation tells operators to do.
func addEpoch(t *testing.T, l *Log, text string) {
	t.Helper()
	js, err := jetstream.New(l.nc)
	require.NoError(t, err)
	info, err := l.info(t.Context())
	require.NoError(t, err)
	config := info.Config
	config.Metadata = maps.Clone(config.Metadata)
	config.Metadata[MetadataEpoch] = text
	_, err = js.UpdateStream(t.Context(), config)
	require.NoError(t, err)
}

// Nobody can see that a log was restored who has not seen what is gone. The step
// that the package documentation gives to operators makes it another life.
func TestEpoch_ofARestoredLog(t *testing.T) {
	e := newEngine(t)
	l := e.log()
	last := appendN(t, l, "kept", 3)
	before := boundsOf(t, l)
	restore := e.backup()
	settle(t, l)
	appendN(t, l, "lost", 3)
	restore()
	assert.Equal(t, before, settle(t, l), "it cannot be told from the one before")

	l.timing.probe = l.timing.heartbeat
	f := follow(t, l, last-3)
	for range 3 {
		f.next()
	}
	addEpoch(t, l, "restored today")
	assert.ErrorIs(t, f.fails(), errAnew)
	after := boundsOf(t, l)
	assert.NotEqual(t, before.Epoch, after.Epoch)
	before.Epoch = after.Epoch
	assert.Equal(t, before, after, "the entries stay")
	assert.Len(t, read(t, l, last-3, last), 3)
	assert.Equal(t, after.Epoch, boundsOf(t, e.log(l.config)).Epoch, "in all processes")

	r, err := l.Append(t.Context(), entry("new"))
	require.NoError(t, err)
	assert.Equal(t, eventlog.Receipt{Position: last + 1, Epoch: after.Epoch}, r)
	addEpoch(t, l, "restored again")
	assert.NotEqual(t, after.Epoch, boundsOf(t, l).Epoch)
	e.stop()
	e.start()
	assert.NotEqual(t, after.Epoch, settle(t, l).Epoch)
}
