package tests

import (
	"context"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin"
	"github.com/ssegin/ssegin/eventlog"
	"github.com/ssegin/ssegin/ssegintest"
)

func TestWithLog_aHoleIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		a := start(t, log)
		a.fill(t, "x", 2)
		s := connect(t, a.srv, "?topic=x")
		log.Away(nil)
		time.Sleep(time.Second)
		log.Back()
		appendNumbers(t, log, 4)
		requireNumbers(t, s, 1, 4)

		b := start(t, log, ssegin.WithHistory(1, 0, 0))
		id := a.fill(t, "x", 1)[0]
		bounds, err := log.Bounds(t.Context())
		require.NoError(t, err)
		a.fill(t, "x", 5)
		log.Delete(bounds.Last + 2)
		s = connect(t, b.srv, "?topic=x", withLastID(id))
		requireNumbers(t, s, 1, 1)
		requireReset(t, s, ssegin.ReasonExpired)
	})
}

// Entries that left the engine before this process had seen them are a gap.
func TestWithLog_whatExpiredWhileTheProcessWasAwayIsTold(t *testing.T) {
	for _, hole := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			log := ssegintest.NewLog()
			gate := &gated{Log: log}
			a := start(t, gate)
			a.fill(t, "x", 3)
			s := connect(t, a.srv, "?topic=x")
			gate.close()
			log.Drop()
			before, err := log.Bounds(t.Context())
			require.NoError(t, err)
			appendNumbers(t, log, 4)
			if hole {
				log.Delete(before.Last + 2)
			} else {
				log.Trim(5)
			}
			gate.open()
			e := next(t, s)
			if e.Data == "1" { // it was fast enough to be given what came before the hole
				e = next(t, s)
			}
			require.Equal(t, ssegintest.Event{ID: e.ID, Type: "ssegin.reset", Data: `{"reason":"expired","missed":-1}`}, e)
			requireEnd(t, s)
			resume(t, s)
			nextBlock(t, s)
			requireNumbers(t, s, 3, 4)
		})
	}
}

// What was told once is told when there is nothing else to say, too.
func TestWithLog_oneEntryThatNobodyHasSeenIsAGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		gate := &gated{Log: log}
		a := start(t, gate)
		a.fill(t, "x", 3)
		s := connect(t, a.srv, "?topic=x")
		gate.close()
		log.Drop()
		put(t, log, "unseen")
		log.Purge()
		begin := time.Now()
		gate.open()
		requireBreak(t, s, ssegin.ReasonExpired)
		assert.Less(t, time.Since(begin), 3*time.Second, "the stream is woken for it")
	})
}

func TestWithLog_whatLeavesTheEngineAfterItWasSeenIsNoGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		a := start(t, log)
		a.fill(t, "x", 3)
		s := connect(t, a.srv, "?topic=x")
		log.Purge()
		log.Drop()
		time.Sleep(time.Second)
		publish(t, a.hub, "x", 4)
		requireNumbers(t, s, 4, 4)
		log.Drop() // it is the only entry now
		time.Sleep(time.Second)
		publish(t, a.hub, "x", 5)
		requireNumbers(t, s, 5, 5)
		assert.Zero(t, a.hub.Stats().Resets)
	})
}

// All has left the log while the process was out of touch, so there is no entry
// to compare. What the log says of its newest position must do.
func TestWithLog_anEmptiedLogIsTheSameOrAnother(t *testing.T) {
	for _, tc := range []struct {
		name  string
		fault func(t *testing.T, log *ssegintest.Log)
		reset ssegin.Reason // empty: nothing was missed
	}{
		{"all entries have left", func(_ *testing.T, log *ssegintest.Log) { log.Purge() }, ""},
		{"it was rolled back, filled to the same position, and emptied", func(t *testing.T, log *ssegintest.Log) {
			log.Rollback(2)
			put(t, log, "other 2")
			put(t, log, "other 3")
			log.Purge()
		}, ssegin.ReasonEpoch},
		{"it was rolled back, filled further, and the head has left", func(t *testing.T, log *ssegintest.Log) {
			log.Rollback(2)
			put(t, log, "other 2")
			put(t, log, "other 3")
			put(t, log, "other 4")
			log.Trim(3)
		}, ssegin.ReasonExpired},
		{"it was rolled back, filled further, and emptied", func(t *testing.T, log *ssegintest.Log) {
			log.Rollback(2)
			for n := range 4 {
				put(t, log, "other "+strconv.Itoa(n))
			}
			log.Purge()
		}, ssegin.ReasonExpired},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := ssegintest.NewLog()
				gate := &gated{Log: log}
				a := start(t, gate)
				a.fill(t, "x", 3)
				s := connect(t, a.srv, "?topic=x")
				gate.close()
				log.Drop()
				synctest.Wait()
				time.Sleep(time.Second) // what comes now has another time
				tc.fault(t, log)
				gate.open()
				time.Sleep(5 * time.Second)
				if tc.reset != "" {
					requireBreak(t, s, tc.reset)
				}
				for e := (ssegintest.Event{}); e.Data != "live"; { // after what was there already
					if e.Type == "" {
						publish(t, a.hub, "x", "live")
					}
					e = next(t, s)
					require.Equal(t, "message", e.Type, "a second reset")
				}
				assert.EqualValues(t, min(1, len(tc.reset)), a.hub.Stats().Resets)
			})
		})
	}
}

// An entry that cannot be sent is known by its check like any other.
func TestWithLog_anEntryThatCannotBeSentIsNoGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		a := start(t, log)
		a.fill(t, "x", 1)
		s := connect(t, a.srv, "?topic=x")
		_, err := log.Append(t.Context(), eventlog.Entry{Topic: "x", Type: "a\nb"})
		require.NoError(t, err)
		log.Drop()
		time.Sleep(time.Second)
		publish(t, a.hub, "x", 2)
		requireNumbers(t, s, 2, 2)
		_, err = log.Append(t.Context(), eventlog.Entry{Topic: "x", Type: "c\nd"})
		require.NoError(t, err)
		synctest.Wait()
		log.Rollback(1)
		put(t, log, "another in its place")
		requireBreak(t, s, ssegin.ReasonEpoch)
	})
}

// Where the entry at which a process stood leaves as it begins to follow, nobody
// can say whether it was the one that it knows.
func TestWithLog_anEntryThatLeavesAsTheProcessComesBackIsAGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &altered{Log: ssegintest.NewLog()}
		engine := log.Log.(*ssegintest.Log)
		a := start(t, log)
		a.fill(t, "x", 3)
		s := connect(t, a.srv, "?topic=x")
		log.follow = func(ctx context.Context, after uint64, deliver func(eventlog.Entry) error) error {
			log.follow = nil
			put(t, engine, "new")
			engine.Trim(3)
			return engine.Follow(ctx, after, deliver)
		}
		engine.Drop()
		requireBreak(t, s, ssegin.ReasonExpired)
		require.Equal(t, "new", next(t, s).Data)
	})
}

// The memory of a process that has not noticed yet does not follow what the
// engine has. Which of them is right nobody knows: the client comes back, and has
// missed nothing.
func TestWithLog_whatIsOlderMustLeadToWhatIsInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		gate := &gated{Log: log}
		n := start(t, gate, ssegin.WithHistory(5, 0, 0))
		ids := n.fill(t, "x", 20)
		time.Sleep(time.Millisecond) // or what follows would be no newer
		gate.close()
		log.Rollback(10)
		for i := range 10 {
			put(t, log, "new "+strconv.Itoa(i))
		}
		time.AfterFunc(10*time.Second, gate.open)
		requireLater(t, n, ids[3])
		time.Sleep(10 * time.Second)
		s := connect(t, n.srv, "?topic=x", withLastID(ids[3]))
		requireNumbers(t, s, 5, 10)
		for i := range 10 {
			require.Equal(t, "new "+strconv.Itoa(i), next(t, s).Data)
		}
		put(t, log, "live")
		require.Equal(t, "live", next(t, s).Data)
	})
}

// The event before the oldest one that is left may have been another one than the client
// has seen, and nobody can tell that any more.
func TestWithLog_anIDBeforeTheOldestEventIsProvedOrTooOld(t *testing.T) {
	for name, history := range map[string]int{"in memory": 1000, "older than memory": 3} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := ssegintest.NewLog()
				a := start(t, log, ssegin.WithHistory(history, 0, 0))
				lost := a.fill(t, "x", 20)
				log.Rollback(10)
				time.Sleep(5 * time.Second)
				after := a.fill(t, "x", 15)
				requireNumbers(t, connect(t, a.srv, "?topic=x", withLastID(after[1])), 3, 15)
				log.Trim(15)
				began := start(t, log, ssegin.WithHistory(history, 0, 0))
				synctest.Wait()
				requireReset(t, request(t, a.srv, "?topic=x", withLastID(lost[14])), ssegin.ReasonEpoch)
				requireReset(t, request(t, began.srv, "?topic=x", withLastID(lost[14])), ssegin.ReasonExpired)
				requireNumbers(t, connect(t, a.srv, "?topic=x", withLastID(after[4])), 6, 15) // this one was here when it was
				requireNumbers(t, connect(t, began.srv, "?topic=x", withLastID(after[5])), 7, 15)
			})
		})
	}
}

// A log that has nothing any more has nothing that a client could have missed, but what
// nobody knows of: those who come back to a process that has just begun are let in.
func TestWithLog_theLastIDOfALogThatIsEmptyByNowIsTakenAtItsWord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		ids := start(t, log).fill(t, "x", 20)
		log.Purge()
		began := start(t, log)
		s := connect(t, began.srv, "?topic=x", withLastID(ids[19]))
		began.fill(t, "x", 5)
		requireNumbers(t, s, 1, 5)
		requireNumbers(t, connect(t, began.srv, "?topic=x", withLastID(ids[19])), 1, 5)
		assert.Zero(t, began.hub.Stats().Resets)
	})
}
