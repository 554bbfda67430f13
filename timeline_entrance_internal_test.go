package ssegin

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin/ssegintest"
)

// A caller is a client that joins, and may leave while it waits.
type caller struct{ ctx context.Context }

func (c *caller) end(error)                {}
func (c *caller) silent() bool             { return false }
func (c *caller) cut()                     {}
func (c *caller) Context() context.Context { return c.ctx }

// However many come while the lock is held: once they have left, at most one of them
// waits for it, because a lock cannot be waited for with a context.
func TestEntrance_whoHasLeftDoesNotWaitForTheLock(t *testing.T) {
	const callers = 1000
	o := newHubOptions(nil)
	line := newTimeline(&o)
	ctx, leave := context.WithCancelCause(t.Context())
	left := errors.New("left")
	ended := make(chan error, callers)
	line.mu.Lock()
	for range callers {
		go func() {
			_, err := line.join(&cursor{stream: &caller{ctx}}, nil, 0, "", nil)
			ended <- err
		}()
	}
	leave(left)
	for n := range callers - 1 {
		select {
		case err := <-ended:
			require.ErrorIs(t, err, left)
		case <-time.After(time.Minute):
			require.Failf(t, "they wait for the lock", "%d of %d have left", n, callers)
		}
	}
	line.mu.Unlock()
	require.NoError(t, <-ended, "one was inside already")
	assert.Len(t, line.streamsLocked(), 1)
	assert.False(t, line.entrance.waiting.Load())
}

// What takes a context does not wait longer than that, and leaves nothing behind.
func TestEntrance_isLeftByThoseWhoWaitOutside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newHubOptions([]HubOption{WithMaxStreams(1)})
		line := newTimeline(&o)
		require.NoError(t, line.entrance.enter(nil))
		first := make(chan struct{})
		go func() {
			defer close(first)
			line.entrance.Lock() // and does not go away
			defer line.entrance.Unlock()
		}()
		synctest.Wait()
		for _, wait := range []func(context.Context) error{
			func(ctx context.Context) error {
				_, err := line.join(&cursor{stream: &caller{ctx}}, nil, 0, "", nil)
				return err
			},
			func(ctx context.Context) error {
				_, err := line.arrive(&cursor{stream: &caller{ctx}})
				return err
			},
			func(ctx context.Context) error { return line.wait(ctx, (*tail).hasBegun) },
		} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			assert.ErrorIs(t, wait(ctx), context.DeadlineExceeded)
			cancel()
		}
		line.entrance.exit()
		<-first
		assert.Zero(t, line.arriving)
		_, err := line.join(&cursor{}, nil, 0, "", nil)
		assert.NoError(t, err)
	})
}

// One at a time is inside, nobody is forgotten outside, and who goes away takes no
// wake-up along that is another's.
func TestEntrance_letsOneInAfterTheOther(t *testing.T) {
	o := newHubOptions(nil)
	line := newTimeline(&o)
	inside, entered := 0, 0
	var all sync.WaitGroup
	for n := range 200 {
		all.Go(func() {
			for range 200 {
				ctx, leave := context.WithCancel(t.Context())
				if n%2 == 0 {
					go leave() // sooner or later
				}
				if line.entrance.enter(func() context.Context { return ctx }) == nil {
					inside++
					runtime.Gosched() // all others come meanwhile
					entered++
					if inside != 1 {
						t.Errorf("%d are inside", inside)
					}
					inside--
					line.entrance.exit()
				}
				leave()
			}
		})
	}
	all.Wait()
	assert.GreaterOrEqual(t, entered, 100*200, "all who did not go away")
	assert.False(t, line.entrance.taken.Load())
	assert.False(t, line.entrance.waiting.Load())
}

// Whoever waits is not sent to the back because a newcomer was faster than it.
func TestEntrance_whoIsOvertakenIsStillTheNextOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.RWMutex
		e := newEntrance(&mu)
		require.NoError(t, e.enter(nil))
		var order []int
		var all sync.WaitGroup
		for n := range 10 {
			all.Go(func() {
				if e.enter(nil) == nil {
					order = append(order, n)
					e.exit()
				}
			})
			synctest.Wait()
		}
		for range 5 {
			e.freed <- struct{}{} // as exit does, but somebody is inside again already
			synctest.Wait()
		}
		e.exit()
		all.Wait()
		assert.Equal(t, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, order)
	})
}

// A crowd outside is nothing to those who publish, to live streams, and to those who ask
// for what is known anyway.
func TestEntrance_isNotForPublishingAndLiveStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub(WithLog(ssegintest.NewLog()))
		synctest.Wait()
		p := connect(t, h, "")
		require.NoError(t, h.timeline.entrance.enter(nil))
		begun := time.Now()
		_, err := h.Broadcast(t.Context(), say("x"))
		assert.NoError(t, err)
		synctest.Wait()
		if events := p.read(); assert.Len(t, events, 1) {
			assert.Equal(t, "x", events[0].Data)
		}
		assert.NotZero(t, h.timeline.disconnections(), "where the log began for this process")
		assert.Zero(t, time.Since(begun))
		h.timeline.entrance.exit()
		p.leave()
		assert.NoError(t, h.Shutdown(context.Background()))
	})
}
