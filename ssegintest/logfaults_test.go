package ssegintest_test

import (
	"context"
	"errors"
	"math"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin/eventlog"
	"github.com/ssegin/ssegin/ssegintest"
)

func TestLog_awayFailsEverything(t *testing.T) {
	for name, err := range map[string]error{"without an error": nil, "with an error": errors.New("no route to host")} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := ssegintest.NewLog()
				last := appendTo(t, log, 1)
				_, ended := followed(t.Context(), log, last)
				synctest.Wait()
				log.Away(err)
				want := err
				if want == nil {
					want = ssegintest.ErrAway
				}
				require.ErrorIs(t, <-ended, want)
				_, failed := log.Append(t.Context(), eventlog.Entry{})
				require.ErrorIs(t, failed, want)
				_, failed = log.Bounds(t.Context())
				require.ErrorIs(t, failed, want)
				require.ErrorIs(t, log.Follow(t.Context(), last, nil), want)
				for _, failed := range log.Read(t.Context(), 0, last) {
					require.ErrorIs(t, failed, want)
				}
				log.Back()
				assert.Equal(t, last+1, appendTo(t, log, 1), "what failed is not there")
			})
		})
	}
}

func TestLog_hangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		last := appendTo(t, log, 1)
		start := time.Now()
		positions, ended := followed(t.Context(), log, last-1)
		assert.Equal(t, last, <-positions)
		synctest.Wait()
		log.Hang()

		give := errors.New("the publisher gives up")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, give)
		defer cancel()
		_, err := log.Append(ctx, eventlog.Entry{})
		require.ErrorIs(t, err, give)
		assert.Equal(t, time.Second, time.Since(start))

		require.ErrorIs(t, <-ended, ssegintest.ErrDropped)
		assert.Equal(t, 5*time.Second, time.Since(start))
		require.ErrorIs(t, log.Follow(t.Context(), last-1, nil), ssegintest.ErrDropped, "one that begins now")
		assert.Equal(t, 10*time.Second, time.Since(start))

		time.AfterFunc(time.Minute, log.Back)
		assert.Equal(t, last+1, appendTo(t, log, 1), "what waits goes on, and what gave up is not there")
		assert.Equal(t, 70*time.Second, time.Since(start))
	})
}

func TestLog_hangsAndComesBackInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		ctx, cancel := context.WithCancelCause(t.Context())
		positions, ended := followed(ctx, log, 999)
		synctest.Wait()
		log.Hang()
		time.Sleep(4 * time.Second)
		log.Back()
		assert.Equal(t, appendTo(t, log, 1), <-positions)
		time.Sleep(time.Hour)
		over := errors.New("over")
		cancel(over)
		require.ErrorIs(t, <-ended, over)
	})
}

func TestLog_losesAnswers(t *testing.T) {
	log := ssegintest.NewLog(ssegintest.WithFirstPosition(1))
	log.LoseAnswers(2)
	for i := range 4 {
		_, err := log.Append(t.Context(), eventlog.Entry{MessageID: strconv.Itoa(i)})
		assert.Equal(t, i < 2, err != nil, "append %d: %v", i, err)
	}
	again, err := log.Append(t.Context(), eventlog.Entry{MessageID: "0"})
	require.NoError(t, err)
	assert.EqualValues(t, 1, again.Position, "it was kept")
	assert.EqualValues(t, 4, boundsOf(t, log).Last)
}

func TestLog_dropsFollowers(t *testing.T) {
	for name, fault := range map[string]func(*ssegintest.Log){
		"Drop":     (*ssegintest.Log).Drop,
		"Renew":    (*ssegintest.Log).Renew,
		"Rollback": func(l *ssegintest.Log) { l.Rollback(1) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := ssegintest.NewLog()
				last := appendTo(t, log, 3)
				_, ended := followed(t.Context(), log, last)
				synctest.Wait()
				fault(log)
				require.ErrorIs(t, <-ended, ssegintest.ErrDropped)
				ctx, cancel := context.WithCancel(t.Context())
				positions, ended := followed(ctx, log, boundsOf(t, log).Last)
				assert.Equal(t, appendTo(t, log, 1), <-positions, "the next one is not dropped")
				cancel()
				require.ErrorIs(t, <-ended, context.Canceled)
			})
		})
	}
}

func TestLog_beginsANewLife(t *testing.T) {
	log := ssegintest.NewLog(ssegintest.WithFirstPosition(7))
	appendTo(t, log, 3)
	before := boundsOf(t, log)
	log.Renew()
	after := boundsOf(t, log)
	assert.NotEqual(t, before.Epoch, after.Epoch)
	assert.Equal(t, eventlog.Bounds{Epoch: after.Epoch, First: 7, Last: 6}, after)
	assert.EqualValues(t, 7, appendTo(t, log, 1))
}

func TestLog_rollsBackAsFarAsThereIsAnything(t *testing.T) {
	log := ssegintest.NewLog(ssegintest.WithFirstPosition(1), ssegintest.WithMaxEntries(5))
	appendTo(t, log, 8) // 4 to 8 are left
	before := boundsOf(t, log)
	log.Rollback(2)
	log.Rollback(0)
	log.Rollback(-1)
	after := boundsOf(t, log)
	for e, err := range log.Read(t.Context(), 5, 6) {
		require.NoError(t, err)
		assert.Equal(t, eventlog.Bounds{Epoch: before.Epoch, First: 4, Last: 6, LastTime: e.Time}, after)
	}
	log.Rollback(math.MaxInt)
	assert.Equal(t, eventlog.Bounds{Epoch: before.Epoch, First: 4, Last: 3}, boundsOf(t, log))
	assert.EqualValues(t, 4, appendTo(t, log, 1))
}

func TestLog_rollsBackOverHoles(t *testing.T) {
	log := ssegintest.NewLog(ssegintest.WithFirstPosition(1))
	appendTo(t, log, 5)
	log.Delete(4)
	log.Rollback(2)
	assert.EqualValues(t, 3, boundsOf(t, log).Last, "positions count, not entries")
}

func TestLog_deletes(t *testing.T) {
	log := ssegintest.NewLog(ssegintest.WithFirstPosition(1))
	appendTo(t, log, 4)
	for _, position := range []uint64{1, 3, 4, 77} {
		log.Delete(position)
	}
	b := boundsOf(t, log)
	assert.EqualValues(t, 2, b.First, "the oldest was no hole")
	assert.EqualValues(t, 4, b.Last, "the newest there ever was")
	assert.EqualValues(t, 5, appendTo(t, log, 1))
	assert.Equal(t, []uint64{2, 5}, readFrom(t, log, 9))
}
