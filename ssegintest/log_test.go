package ssegintest_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin/eventlog"
	"github.com/ssegin/ssegin/ssegintest"
)

// appendTo appends n entries and returns the position of the last.
func appendTo(t *testing.T, log *ssegintest.Log, n int) (last uint64) {
	t.Helper()
	for range n {
		r, err := log.Append(t.Context(), eventlog.Entry{})
		require.NoError(t, err)
		last = r.Position
	}
	return last
}

func boundsOf(t *testing.T, log *ssegintest.Log) eventlog.Bounds {
	t.Helper()
	b, err := log.Bounds(t.Context())
	require.NoError(t, err)
	return b
}

// followed starts to follow; the channels give each position, and the error at
// the end. In a bubble all that can be delivered is, after synctest.Wait.
func followed(ctx context.Context, log *ssegintest.Log, after uint64) (<-chan uint64, <-chan error) {
	positions, ended := make(chan uint64, 1000), make(chan error, 1)
	go func() {
		ended <- log.Follow(ctx, after, func(e eventlog.Entry) error {
			positions <- e.Position
			return nil
		})
		close(positions)
	}()
	return positions, ended
}

func TestLog_beginsWhereItIsTold(t *testing.T) {
	b := boundsOf(t, ssegintest.NewLog())
	assert.EqualValues(t, 1000, b.First)
	assert.EqualValues(t, 999, b.Last)

	log := ssegintest.NewLog(ssegintest.WithFirstPosition(7))
	assert.EqualValues(t, 7, appendTo(t, log, 1))
	assert.NotEqual(t, b.Epoch, boundsOf(t, log).Epoch)
}

func TestLog_keepsSoManyEntries(t *testing.T) {
	log := ssegintest.NewLog(ssegintest.WithMaxEntries(10), ssegintest.WithFirstPosition(1))
	appendTo(t, log, 10_000)
	b := boundsOf(t, log)
	assert.EqualValues(t, 9_991, b.First)
	assert.EqualValues(t, 10_000, b.Last)
}

func TestLog_remembersMessagesForSoLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog(ssegintest.WithMessageWindow(time.Minute))
		message := eventlog.Entry{MessageID: "m"}
		first, err := log.Append(t.Context(), message)
		require.NoError(t, err)
		time.Sleep(time.Minute - 1)
		again, err := log.Append(t.Context(), message)
		require.NoError(t, err)
		assert.Equal(t, first, again)
		time.Sleep(time.Nanosecond)
		again, err = log.Append(t.Context(), message)
		require.NoError(t, err)
		assert.Equal(t, first.Position+1, again.Position)
	})
}

func TestLog_takesEntriesOfOtherPrograms(t *testing.T) {
	log := ssegintest.NewLog()
	first := appendTo(t, log, 1)
	assert.Equal(t, first+1, appendTo(t, log, 1), "no message ID is not a message ID")
}

func TestLog_countsRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog(ssegintest.WithFirstPosition(1))
		appendTo(t, log, 600)
		ctx, cancel := context.WithCancel(t.Context())
		positions, ended := followed(ctx, log, 0)
		synctest.Wait()
		cancel()
		require.ErrorIs(t, <-ended, context.Canceled)
		assert.Len(t, positions, 600)
		assert.Len(t, readFrom(t, log, 600), 600) // 3 pieces
		assert.Len(t, readFrom(t, log, 256), 256) // 1
		log.Away(nil)
		_, _ = log.Bounds(t.Context())
		want := ssegintest.LogRequests{Appends: 600, Follows: 1, Reads: 4, Bounds: 1}
		assert.Equal(t, want, log.Requests())
		assert.Equal(t, 606, log.Requests().Total())
	})
}

// readFrom returns the positions up to that one.
func readFrom(t *testing.T, log *ssegintest.Log, until uint64) (positions []uint64) {
	t.Helper()
	for e, err := range log.Read(t.Context(), 0, until) {
		require.NoError(t, err)
		positions = append(positions, e.Position)
	}
	return positions
}

func TestLog_refusesSenselessOptions(t *testing.T) {
	assert.Panics(t, func() { ssegintest.WithMaxEntries(0) })
	assert.Panics(t, func() { ssegintest.WithFirstPosition(0) })
}
