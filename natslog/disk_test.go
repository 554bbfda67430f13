package natslog

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin/eventlog"
)

// With a full disk appends fail, and it is not for good. What was acknowledged
// is there when there is room again and the server was started anew.
func TestAppend_toAFullDisk(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Logf("no small disk here, nothing was tested: %v: %s", err, out)
		return
	}
	defer func() { assert.NoError(t, exec.Command("umount", dir).Run()) }()
	ballast := filepath.Join(dir, "ballast")
	require.NoError(t, os.WriteFile(ballast, make([]byte, 18<<20), 0o600))

	e := &engine{t: t, dir: dir, listen: freeAddress(t)}
	e.start()
	defer func() { e.stop() }()
	l := openLog(t, connect(t, "nats://"+e.listen), Config{})
	l.timing.request = time.Second
	start := boundsOf(t, l).Last
	acked := make(map[string]uint64)
	big := make([]byte, 200<<10)
	var failed error
	for i := range 100 {
		id := fmt.Sprint("a", i)
		r, err := l.Append(t.Context(), eventlog.Entry{Data: big, MessageID: id})
		if failed = err; err != nil {
			break
		}
		acked[id] = r.Position
	}
	require.Error(t, failed)
	t.Logf("after %d appends: %v", len(acked), failed)
	assert.NotErrorIs(t, failed, eventlog.ErrRefused)

	require.NoError(t, os.Remove(ballast))
	_, err := l.Append(t.Context(), entry("with room"))
	t.Logf("with room again: %v", err)
	e.stop()
	e.start()
	settle(t, l)
	position, err := persist(t.Context(), l, entry("after the start"))
	require.NoError(t, err)
	acked["after the start"] = position
	for id, position := range acked {
		entries := read(t, l, position-1, position)
		if assert.Len(t, entries, 1, "%s at %d of %d", id, position, start) {
			assert.Equal(t, id, entries[0].MessageID)
		}
	}
}
