// Package pages keeps what a crowd of callers reads, page by page, so that a
// crowd costs as many reads as one caller.
package pages

import (
	"context"
	"slices"
	"sync"
	"time"
)

// A Cache reads pages, each of them once for all who ask for it, and keeps the
// newest few. Its methods may be called from any goroutine.
type Cache[K comparable, E any] struct {
	limits Limits
	read   func(ctx context.Context, key K) ([]E, error)
	ctx    context.Context
	stop   context.CancelFunc // ends the reads that go on
	slots  chan struct{}      // as many pages are read at the same time

	reads sync.WaitGroup
	mu    sync.Mutex // no other lock is taken under it
	pages map[K]*page[E]
	order []K // the keys of pages, in the order of their making
}

// Limits are what a Cache may use. All of them must be positive.
type Limits struct {
	Kept  int           // pages that are kept
	Reads int           // pages that are read at the same time
	Time  time.Duration // until a page is read, which includes waiting for others
}

type page[E any] struct {
	entries []E
	err     error
	read    chan struct{} // closed when the rest is set
}

// A ReadError says why a page was not read.
type ReadError struct{ Err error }

func (e *ReadError) Error() string { return "page not read: " + e.Err.Error() }

// Unwrap returns the error of the read.
func (e *ReadError) Unwrap() error { return e.Err }

// New returns a Cache of what read returns. Close ends it.
func New[K comparable, E any](limits Limits, read func(ctx context.Context, key K) ([]E, error)) *Cache[K, E] {
	c := &Cache[K, E]{limits: limits, read: read, slots: make(chan struct{}, limits.Reads), pages: map[K]*page[E]{}}
	c.ctx, c.stop = context.WithCancel(context.Background())
	return c
}

// Get returns the page of that key, which is not to be changed, and reads it if
// nobody has. A page that could not be read is a *ReadError, and the next one who
// asks for it tries again. Who does not want to wait any more gets the cause of
// ctx; others still get the page.
func (c *Cache[K, E]) Get(ctx context.Context, key K) ([]E, error) {
	p := c.page(key)
	select {
	case <-p.read:
		return p.entries, p.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// page returns the page of that key, which may be being read.
func (c *Cache[K, E]) page(key K) *page[E] {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.pages[key]; p != nil {
		return p
	}
	p := &page[E]{read: make(chan struct{})}
	c.pages[key] = p
	c.order = append(c.order, key)
	if len(c.order) > c.limits.Kept {
		delete(c.pages, c.order[0])
		c.order = c.order[1:]
	}
	c.reads.Go(func() { c.fill(p, key) })
	return p
}

// fill reads a page. It is nobody's own, so it goes on when a caller leaves.
func (c *Cache[K, E]) fill(p *page[E], key K) {
	defer close(p.read)
	entries, err := c.take(key)
	if err == nil {
		p.entries = entries
		return
	}
	p.err = &ReadError{err}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pages[key] == p { // and not one that was asked for after Forget
		delete(c.pages, key)
		i := slices.Index(c.order, key)
		c.order = slices.Delete(c.order, i, i+1)
	}
}

// take reads when it is its turn.
func (c *Cache[K, E]) take(key K) ([]E, error) {
	ctx, cancel := context.WithTimeout(c.ctx, c.limits.Time)
	defer cancel()
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
		return c.read(ctx, key)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Forget drops all pages. Those who wait for one still get it.
func (c *Cache[K, E]) Forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.pages)
	c.order = nil
}

// Close ends the reads that go on, and waits for them until ctx ends. Nobody may
// ask for a page any more.
func (c *Cache[K, E]) Close(ctx context.Context) {
	c.stop()
	ended := make(chan struct{})
	go func() {
		c.reads.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
	}
}
