package pages

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

var limits = Limits{Kept: 3, Reads: 2, Time: 10 * time.Second}

// A source has pages that consist of their key. It counts what is read, and can
// be told to fail or to wait.
type source struct {
	mu           sync.Mutex
	reads        int
	active, most int
	err          error
	wait         chan struct{} // nil: it does not wait
	deaf         bool          // it waits even if the context ends
}

func (s *source) read(ctx context.Context, key int) ([]int, error) {
	s.mu.Lock()
	s.reads++
	s.active++
	s.most = max(s.most, s.active)
	wait, done := s.wait, ctx.Done()
	s.mu.Unlock()
	if s.deaf {
		done = nil
	}
	if wait != nil {
		select {
		case <-wait:
		case <-done:
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active--
	if err := errors.Join(s.err, ctx.Err()); err != nil {
		return nil, err
	}
	return []int{key}, nil
}

// cached runs a test with a cache of a source.
func cached(t *testing.T, test func(*testing.T, *source, *Cache[int, int])) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &source{}
		c := New(limits, s.read)
		defer c.Close(context.Background())
		test(t, s, c)
	})
}

// has checks that the cache gives a page.
func has(t *testing.T, c *Cache[int, int], key int) {
	t.Helper()
	entries, err := c.Get(t.Context(), key)
	assert.NoError(t, err)
	assert.Equal(t, []int{key}, entries)
}

func TestCache_aCrowdReadsAPageOnce(t *testing.T) {
	cached(t, func(t *testing.T, s *source, c *Cache[int, int]) {
		s.wait = make(chan struct{})
		var crowd sync.WaitGroup
		for range 200 {
			crowd.Go(func() { has(t, c, 1) })
		}
		synctest.Wait()
		close(s.wait)
		crowd.Wait()
		has(t, c, 1) // who comes later has it, too
		assert.Equal(t, 1, s.reads)
	})
}

func TestCache_readsFewPagesAtATime(t *testing.T) {
	cached(t, func(t *testing.T, s *source, c *Cache[int, int]) {
		s.wait = make(chan struct{})
		var crowd sync.WaitGroup
		for key := range 40 {
			crowd.Go(func() { has(t, c, key) })
		}
		synctest.Wait()
		assert.Equal(t, limits.Reads, s.active)
		close(s.wait)
		crowd.Wait()
		assert.Equal(t, limits.Reads, s.most)
		assert.Equal(t, 40, s.reads)
		assert.Len(t, c.pages, limits.Kept)
		assert.Len(t, c.order, limits.Kept)
	})
}

func TestCache_keepsTheNewest(t *testing.T) {
	cached(t, func(t *testing.T, s *source, c *Cache[int, int]) {
		for key := range 4 {
			has(t, c, key)
		}
		for key := 3; key > 0; key-- {
			has(t, c, key)
		}
		assert.Equal(t, 4, s.reads)
		has(t, c, 0)
		assert.Equal(t, 5, s.reads)
	})
}

// A page that could not be read is not kept, and takes no place from one that is.
func TestCache_aPageThatFailedIsReadAgain(t *testing.T) {
	cached(t, func(t *testing.T, s *source, c *Cache[int, int]) {
		has(t, c, 1)
		s.err = errors.New("broken")
		for range 10 {
			_, err := c.Get(t.Context(), 2)
			assert.Equal(t, &ReadError{errors.Join(s.err, nil)}, err)
			assert.ErrorIs(t, err, s.err)
			assert.EqualError(t, err, "page not read: broken")
		}
		s.err = nil
		has(t, c, 2)
		has(t, c, 1)
		assert.Equal(t, 12, s.reads)
		assert.Equal(t, []int{1, 2}, c.order)
	})
}

// What fails late does not take away what was asked for anew.
func TestCache_forgottenPagesAreReadAgainOnce(t *testing.T) {
	cached(t, func(t *testing.T, s *source, c *Cache[int, int]) {
		first, second := make(chan struct{}), make(chan struct{})
		s.wait = first
		go func() { _, _ = c.Get(t.Context(), 1) }()
		synctest.Wait()
		c.Forget()
		s.wait = second
		go func() { _, _ = c.Get(t.Context(), 1) }()
		synctest.Wait()
		assert.Equal(t, 2, s.reads)
		s.err = errors.New("late")
		close(first)
		synctest.Wait()
		s.err, s.wait = nil, nil
		close(second)
		has(t, c, 1)
		assert.Equal(t, 2, s.reads)
		for range limits.Kept {
			c.Forget()
			has(t, c, 1)
		}
		assert.Equal(t, 2+limits.Kept, s.reads)
		assert.Len(t, c.pages, 1)
		assert.Len(t, c.order, 1)
	})
}

func TestCache_whoLeavesDoesNotWaitAndSpoilsNothing(t *testing.T) {
	cached(t, func(t *testing.T, s *source, c *Cache[int, int]) {
		s.wait = make(chan struct{})
		left := errors.New("left")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(left) })
		begin := time.Now()
		_, err := c.Get(ctx, 1)
		assert.Equal(t, left, err)
		assert.Equal(t, time.Second, time.Since(begin))
		close(s.wait)
		has(t, c, 1)
		assert.Equal(t, 1, s.reads)
	})
}

// Whether a page is being read or waits for others, it has the same time.
func TestCache_aPageHasItsTime(t *testing.T) {
	cached(t, func(t *testing.T, s *source, c *Cache[int, int]) {
		s.wait, s.deaf = make(chan struct{}), true
		begin := time.Now()
		var crowd sync.WaitGroup
		for key := range limits.Reads {
			crowd.Go(func() {
				_, err := c.Get(t.Context(), key)
				assert.ErrorIs(t, err, context.DeadlineExceeded)
				assert.Equal(t, limits.Time+time.Second, time.Since(begin))
			})
		}
		synctest.Wait()
		_, err := c.Get(t.Context(), limits.Reads)
		assert.Equal(t, &ReadError{context.DeadlineExceeded}, err)
		assert.Equal(t, limits.Time, time.Since(begin))
		time.Sleep(time.Second)
		close(s.wait)
		crowd.Wait()
		assert.Equal(t, limits.Reads, s.reads, "the page whose turn never came is not read")
	})
}

func TestClose_endsTheReadsAndWaitsForThem(t *testing.T) {
	cached(t, func(t *testing.T, s *source, c *Cache[int, int]) {
		s.wait = make(chan struct{})
		var crowd sync.WaitGroup
		for key := range limits.Reads + 1 {
			crowd.Go(func() {
				_, err := c.Get(t.Context(), key)
				assert.ErrorIs(t, err, context.Canceled)
			})
		}
		synctest.Wait()
		begin := time.Now()
		c.Close(t.Context())
		assert.Zero(t, s.active)
		crowd.Wait()
		assert.Zero(t, time.Since(begin))
	})
}

func TestClose_waitsForAReadThatDoesNotEndUntilItsContextDoes(t *testing.T) {
	cached(t, func(t *testing.T, s *source, c *Cache[int, int]) {
		s.wait, s.deaf = make(chan struct{}), true
		go func() { _, _ = c.Get(t.Context(), 1) }()
		synctest.Wait()
		begin := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		c.Close(ctx)
		assert.Equal(t, time.Second, time.Since(begin))
		time.AfterFunc(time.Second, func() { close(s.wait) })
		c.Close(t.Context())
		assert.Equal(t, 2*time.Second, time.Since(begin))
		assert.Zero(t, s.active)
	})
}
