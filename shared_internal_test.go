package ssegin

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A teller is a log whose Bounds take a while, and which nothing comes from.
type teller struct {
	Log
	mu    sync.Mutex
	last  uint64
	asked []time.Time
	takes time.Duration
	err   error
}

// set changes what l says, and how soon.
func (l *teller) set(last uint64, takes time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last, l.takes, l.err = last, takes, err
}

func (l *teller) Bounds(context.Context) (Bounds, error) {
	l.mu.Lock()
	last, takes, err := l.last, l.takes, l.err
	l.asked = append(l.asked, time.Now())
	l.mu.Unlock()
	time.Sleep(takes)
	return Bounds{Epoch: "e", First: 1, Last: last}, err
}

func (l *teller) Follow(ctx context.Context, _ uint64, _ func(Entry) error) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

// tell returns a hub that follows l, and l is asked no more by itself.
func tell(t *testing.T, l *teller) *Hub {
	t.Helper()
	h := NewHub(WithLog(l), WithHistory(10, 0, 0), WithLogger(slog.New(slog.DiscardHandler)))
	t.Cleanup(func() { assert.NoError(t, h.Shutdown(context.Background())) })
	time.Sleep(time.Second)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked = nil
	return h
}

func TestShared_theEngineIsAskedByOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &teller{last: 7, takes: 10 * time.Millisecond}
		h := tell(t, l)
		ask := func() {
			var wg sync.WaitGroup
			for range 100 {
				wg.Go(func() {
					last, err := h.engine.(*shared).ask(t.Context())
					assert.NoError(t, err)
					assert.EqualValues(t, 7, last)
				})
			}
			wg.Wait()
		}
		ask()
		require.Len(t, l.asked, 2, "the second is for those who came as the first was asked")
		assert.Equal(t, askEvery, l.asked[1].Sub(l.asked[0]))
	})
}

func TestShared_anAnswerIsForThoseWhoCameBeforeTheQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &teller{last: 7, takes: 100 * time.Millisecond}
		h := tell(t, l)
		go func() { _, _ = h.engine.(*shared).ask(t.Context()) }()
		time.Sleep(50 * time.Millisecond)
		l.set(8, 100*time.Millisecond, nil) // it may be that the answer under way does not know
		last, err := h.engine.(*shared).ask(t.Context())
		require.NoError(t, err)
		assert.EqualValues(t, 8, last)
		l.set(9, 100*time.Millisecond, nil)
		time.Sleep(time.Minute)
		last, err = h.engine.(*shared).ask(t.Context())
		require.NoError(t, err)
		assert.EqualValues(t, 9, last)
	})
}

func TestShared_whoAsksDoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &teller{last: 7}
		h := tell(t, l)
		broken := errors.New("broken")
		l.set(7, 0, broken)
		_, err := h.engine.(*shared).ask(t.Context())
		require.ErrorIs(t, err, ErrUnavailable)
		require.ErrorIs(t, err, broken)
		l.set(7, time.Minute, broken)
		go func() { _, _ = h.engine.(*shared).ask(t.Context()) }()
		synctest.Wait()
		tired := errors.New("tired")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, tired)
		defer cancel()
		begin := time.Now()
		_, err = h.engine.(*shared).ask(ctx)
		assert.ErrorIs(t, err, tired)
		assert.Equal(t, time.Second, time.Since(begin))
		assert.ErrorIs(t, h.timeline.wait(ctx, func(*tail) bool { return false }), tired)
		time.Sleep(2 * time.Minute)
	})
}
