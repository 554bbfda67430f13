package redislog_test

import (
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin/eventlog"
	"github.com/ssegin/ssegin/redislog"
)

// patience is how long a test waits for what must come, on a machine that may be
// very busy.
const patience = 2 * time.Minute

// waits returns when the one follower has begun to wait.
func waits(t testing.TB, client *redis.Client) {
	t.Helper()
	require.Eventually(t, func() bool { return blocked(t, client) == 1 }, patience, time.Millisecond)
}

func bounds(t testing.TB, l eventlog.Log) eventlog.Bounds {
	t.Helper()
	b, err := l.Bounds(t.Context())
	require.NoError(t, err)
	return b
}

func appendOne(t testing.TB, l eventlog.Log) uint64 {
	t.Helper()
	r, err := l.Append(t.Context(), entry())
	require.NoError(t, err)
	return r.Position
}

func TestLife_outlivesTheStream(t *testing.T) {
	t.Parallel()
	l := open(startServer(t), redislog.Config{})
	fill(t, l, 5)
	before := bounds(t, l)
	f := follow(t, l, 4)
	require.EqualValues(t, 5, f.next().Position)

	require.NoError(t, l.client.Del(t.Context(), l.key("log")).Err())
	assert.Equal(t, eventlog.Bounds{Epoch: before.Epoch, First: 6, Last: 5, LastTime: before.LastTime}, bounds(t, l))
	assert.EqualValues(t, 6, appendOne(t, l))
	assert.EqualValues(t, 6, f.next().Position, "nothing is missing between 5 and 6")
	f.stop()
}

// What has left before the follower saw it is told at the latest when nothing
// comes.
func TestLife_deletedStreamWithUnreadEntries(t *testing.T) {
	t.Parallel()
	l := open(startServer(t), redislog.Config{})
	f := follow(t, l, 0)
	waits(t, l.client)
	_, err := l.client.TxPipelined(t.Context(), func(p redis.Pipeliner) error {
		p.Eval(t.Context(), redislog.Script(), l.keys(), "append", "", 0, 0, 0, 0, "data", "lost")
		p.Del(t.Context(), l.key("log"))
		return nil
	})
	require.NoError(t, err)
	assert.ErrorContains(t, f.ends(), "left")
}

func TestLife_metaDeleted(t *testing.T) {
	t.Parallel()
	l := open(startServer(t), redislog.Config{})
	fill(t, l, 5)
	before := bounds(t, l)
	f := follow(t, l, 5)
	waits(t, l.client)
	require.NoError(t, l.client.Del(t.Context(), l.key("meta")).Err())
	assert.ErrorContains(t, f.ends(), "made anew")
	after := bounds(t, l)
	assert.NotEqual(t, before.Epoch, after.Epoch)
	assert.Equal(t, eventlog.Bounds{Epoch: after.Epoch, First: 1, Last: 5}, after, "the entries stay")
	assert.EqualValues(t, 6, appendOne(t, l))
	assert.Len(t, read(t, l, 0, 6), 6)

	// Over the border between two lives, one who begins in the new one passes.
	f = follow(t, l, 2)
	for position := uint64(3); position <= 6; position++ {
		assert.Equal(t, position, f.next().Position)
	}
	f.stop()
}

// The same, when the new life begins with an append that continues the positions.
func TestLife_metaDeletedAndAppended(t *testing.T) {
	t.Parallel()
	l := open(startServer(t), redislog.Config{})
	fill(t, l, 5)
	f := follow(t, l, 4)
	require.EqualValues(t, 5, f.next().Position)
	require.NoError(t, l.client.Del(t.Context(), l.key("meta")).Err())
	assert.EqualValues(t, 6, appendOne(t, l))
	assert.ErrorContains(t, f.ends(), "made anew")
}

// The new life overtakes the old one before XREAD comes back.
func TestLife_flushed(t *testing.T) {
	t.Parallel()
	for _, entries := range []int{0, 3, 4, 40} {
		l := open(startServer(t), redislog.Config{})
		fill(t, l, 3)
		before := bounds(t, l)
		f := follow(t, l, 2)
		require.EqualValues(t, 3, f.next().Position)
		require.NoError(t, l.client.FlushAll(t.Context()).Err())
		for position := range uint64(entries) {
			assert.Equal(t, position+1, appendOne(t, l))
		}
		require.Error(t, f.ends())
		assert.NotEqual(t, before.Epoch, bounds(t, l).Epoch)
	}
}

func TestLife_flushedBeforeTheFirstEntry(t *testing.T) {
	t.Parallel()
	l := open(startServer(t), redislog.Config{})
	before := bounds(t, l)
	f := follow(t, l, 0)
	waits(t, l.client)
	require.NoError(t, l.client.FlushAll(t.Context()).Err())
	appendOne(t, l)
	assert.ErrorContains(t, f.ends(), "made anew")
	assert.NotEqual(t, before.Epoch, bounds(t, l).Epoch)
}

// The same, for a follower that has begun with nothing to compare with.
func TestLife_flushedWhenAllHadLeft(t *testing.T) {
	t.Parallel()
	l := open(startServer(t), redislog.Config{})
	fill(t, l, 5)
	require.NoError(t, l.client.Del(t.Context(), l.key("log")).Err())
	f := follow(t, l, 3)
	waits(t, l.client)
	require.NoError(t, l.client.FlushAll(t.Context()).Err())
	for range 8 {
		appendOne(t, l)
	}
	require.Error(t, f.ends())
}

func TestLife_rolledBackServer(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	l := open(s, redislog.Config{})
	fill(t, l, 5)
	before := bounds(t, l)
	dump := s.backup()
	lost := entry()
	_, err := l.Append(t.Context(), lost)
	require.NoError(t, err)
	fill(t, l, 4)
	f := follow(t, l, 9)
	require.EqualValues(t, 10, f.next().Position)

	s.restore(dump)
	require.Error(t, f.ends())
	assert.Equal(t, before, bounds(t, l), "an older life goes on")
	require.Error(t, follow(t, l, 10).ends())

	r, err := l.Append(t.Context(), lost)
	require.NoError(t, err)
	assert.EqualValues(t, 6, r.Position, "what was lost is not taken for a duplicate")
	f = follow(t, l, 5)
	assert.Equal(t, lost.MessageID, f.next().MessageID)
	f.stop()
}

// Nobody can see that a log was restored who has not seen what is gone. The step
// that the package documentation gives to operators makes it another life.
func TestLife_restoredAndGivenAnotherEpoch(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	l := open(s, redislog.Config{})
	fill(t, l, 5)
	before := bounds(t, l)
	dump := s.backup()
	fill(t, l, 4)
	s.restore(dump)
	assert.Equal(t, before, bounds(t, l), "it cannot be told from the one before")

	f := follow(t, l, 4)
	f.next()
	output, err := exec.CommandContext(t.Context(), program(t, "redis-cli"), "-p", strconv.Itoa(s.port), "DEL", l.key("meta")).CombinedOutput()
	require.NoError(t, err, string(output))
	assert.ErrorContains(t, f.ends(), "made anew")
	after := bounds(t, l)
	assert.NotEqual(t, before.Epoch, after.Epoch)
	assert.Len(t, read(t, l, 0, 5), 5, "the entries stay")
	r, err := l.Append(t.Context(), entry())
	require.NoError(t, err)
	assert.Equal(t, eventlog.Receipt{Position: 6, Epoch: after.Epoch}, r)
}

// A position that the log has lost is not waited for.
func TestFollow_afterLostPosition(t *testing.T) {
	t.Parallel()
	l := open(startServer(t), redislog.Config{})
	fill(t, l, 5)
	f := follow(t, l, 10)
	require.Eventually(t, func() bool { return len(f.ended) == 1 || blocked(t, l.client) == 1 }, patience, time.Millisecond)
	fill(t, l, 10)
	require.Error(t, f.ends())
}

// Whoever restores one of the keys alone has another log.
func TestLife_metaRestoredAlone(t *testing.T) {
	t.Parallel()
	l := open(startServer(t), redislog.Config{})
	fill(t, l, 5)
	before := bounds(t, l)
	meta := l.client.Dump(t.Context(), l.key("meta")).Val()
	fill(t, l, 5)
	f := follow(t, l, 9)
	require.EqualValues(t, 10, f.next().Position)
	require.NoError(t, l.client.RestoreReplace(t.Context(), l.key("meta"), 0, meta).Err())
	assert.EqualValues(t, 11, appendOne(t, l))
	require.Error(t, f.ends())
	assert.NotEqual(t, before.Epoch, bounds(t, l).Epoch)
	assert.Len(t, read(t, l, 0, 11), 11)
}

// Message IDs that were left behind are not taken for those of entries that are
// not there: whoever tries again must not be told that all is well.
func TestLife_idsLeftBehind(t *testing.T) {
	t.Parallel()
	l := open(startServer(t), redislog.Config{MaxEntries: 10})
	fill(t, l, 5)
	saved := backup(t, l)
	lost := []eventlog.Entry{entry(), entry(), entry()}
	for _, e := range lost {
		_, err := l.Append(t.Context(), e)
		require.NoError(t, err)
	}
	ids := l.client.Dump(t.Context(), l.key("ids")).Val()
	saved()
	require.NoError(t, l.client.RestoreReplace(t.Context(), l.key("ids"), time.Minute, ids).Err())
	fill(t, l, 2)
	for i, e := range lost {
		r, err := l.Append(t.Context(), e)
		require.NoError(t, err)
		assert.EqualValues(t, 8+i, r.Position)
	}

	require.NoError(t, l.client.Del(t.Context(), l.key("log"), l.key("meta")).Err())
	fill(t, l, 20)
	r, err := l.Append(t.Context(), lost[0])
	require.NoError(t, err)
	assert.EqualValues(t, 21, r.Position)
}

// What somebody has put into the stream without the script is passed over, and
// spoils nothing.
func TestLife_foreignEntries(t *testing.T) {
	t.Parallel()
	l := open(startServer(t), redislog.Config{})
	fill(t, l, 3)
	before := bounds(t, l)
	f := follow(t, l, 2)
	require.EqualValues(t, 3, f.next().Position)
	for _, foreign := range [][2]string{{"3-1", "time"}, {"*", "data"}} {
		require.NoError(t, l.client.XAdd(t.Context(), &redis.XAddArgs{Stream: l.key("log"), ID: foreign[0], Values: []string{foreign[1], "17"}}).Err())
	}
	assert.Len(t, read(t, l, 0, 1<<62), 3)
	position := appendOne(t, l)
	assert.Greater(t, position, uint64(time.Now().Add(-time.Minute).UnixMilli()), "the position goes on beyond the time that * stands for")
	require.Error(t, f.ends())
	assert.NotEqual(t, before.Epoch, bounds(t, l).Epoch)
	f = follow(t, l, position-1)
	assert.Equal(t, position, f.next().Position)
	f.stop()
}
