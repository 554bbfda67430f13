package natslog

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The hub tells a log that age has emptied from another one by the time of its
// newest entry, so a restart of the server must not forget it.
func TestBounds_theTimeOfTheNewestEntryOutlivesItAndTheServer(t *testing.T) {
	e := &engine{t: t, dir: t.TempDir(), listen: freeAddress(t)}
	e.start()
	defer func() { e.stop() }()
	l := openLog(t, connect(t, "nats://"+e.listen), Config{})
	var want time.Time
	for range 3 {
		r, err := l.Append(t.Context(), entry("x"))
		require.NoError(t, err)
		want = read(t, l, r.Position-1, r.Position)[0].Time
	}
	before := boundsOf(t, l)
	assert.Equal(t, want, before.LastTime)

	stream, err := l.js.Stream(t.Context(), l.config.Stream)
	require.NoError(t, err)
	require.NoError(t, stream.Purge(t.Context()))
	assert.Equal(t, want, boundsOf(t, l).LastTime)
	e.stop()
	e.start()
	after := settle(t, l)
	assert.Equal(t, before.Last+1, after.First)
	assert.Equal(t, before.Last, after.Last)
	assert.Equal(t, want, after.LastTime)
}
