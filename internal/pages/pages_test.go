package pages

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var limits = Limits{Bytes: 30, Trace: 1000, Pages: 100, First: 2, Extent: 10, Time: 10 * time.Second, Linger: time.Second, Gather: 5 * time.Second, Rest: 3 * time.Second, Idle: time.Minute}

// A source has pages that consist of where they begin and end. It notes what is
// read, and can be told to fail or to wait.
type source struct {
	mu           sync.Mutex
	extent       uint64
	short        uint64 // pages go no further; zero: as far as they may
	reads        [][2]uint64
	active, most int
	err          error
	wait         chan struct{} // nil: it does not wait
	takes        time.Duration
	deaf         bool // it waits even if the context ends
}

func (s *source) Extent() uint64 { return s.extent }

func (s *source) Read(ctx context.Context, begin, until uint64) (Page[[2]uint64], error) {
	s.mu.Lock()
	if s.short > 0 {
		until = min(until, begin+s.short)
	}
	s.reads = append(s.reads, [2]uint64{begin, until})
	s.active++
	s.most = max(s.most, s.active)
	wait, done, takes := s.wait, ctx.Done(), s.takes
	if s.deaf {
		done = nil
	}
	s.mu.Unlock()
	if takes > 0 {
		select {
		case <-time.After(takes):
		case <-done:
		}
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
		return Page[[2]uint64]{}, err
	}
	trace := make([]uint32, until-begin)
	for i := range trace {
		trace[i] = uint32(begin) + uint32(i)
	}
	return Page[[2]uint64]{Content: [2]uint64{begin, until}, Bytes: int(until - begin), End: until, Trace: trace}, nil
}

// begun are where the pages began that were read.
func (s *source) begun() (begun []uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.reads {
		begun = append(begun, r[0])
	}
	return begun
}

// activeNow is how many pages are being read.
func (s *source) activeNow() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.active
}

// withReader runs a test with a reader of a source.
func withReader(t *testing.T, test func(*testing.T, *source, *Reader[[2]uint64])) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &source{extent: 10}
		r := New(limits, s)
		defer r.Close(context.Background())
		test(t, s, r)
	})
}

// wait asks, and waits until there is an answer or ctx has ended.
func wait(ctx context.Context, r *Reader[[2]uint64], w *Waiter[[2]uint64]) ([2]uint64, error) {
	ready := make(chan struct{}, 1)
	w.Ready = func() { ready <- struct{}{} }
	for {
		if content, ready, err := r.Ask(w); ready {
			return content, err
		}
		select {
		case <-ready:
		case <-ctx.Done():
			r.Leave(w)
			return [2]uint64{}, context.Cause(ctx)
		}
	}
}

// has checks that the reader gives the page with that position.
func has(t *testing.T, r *Reader[[2]uint64], position uint64, first bool) {
	t.Helper()
	p, err := wait(t.Context(), r, &Waiter[[2]uint64]{Position: position, First: first})
	assert.NoError(t, err)
	assert.True(t, p[0] <= position && position < p[1], "%d: %v", position, p)
}

func TestReader_aCrowdReadsAPageOnce(t *testing.T) {
	withReader(t, func(t *testing.T, s *source, r *Reader[[2]uint64]) {
		s.wait = make(chan struct{})
		var crowd sync.WaitGroup
		for n := range 200 {
			crowd.Go(func() { has(t, r, uint64(n%10), n%2 == 0) })
		}
		synctest.Wait()
		close(s.wait)
		crowd.Wait()
		synctest.Wait()
		has(t, r, 1, true) // who comes later has it, too
		assert.Equal(t, []uint64{0}, s.begun())
	})
}

func TestReader_readsFewPagesAtATime(t *testing.T) {
	withReader(t, func(t *testing.T, s *source, r *Reader[[2]uint64]) {
		s.wait = make(chan struct{})
		var crowd sync.WaitGroup
		for n := range 40 {
			crowd.Go(func() { has(t, r, uint64(n*10), n%2 == 0) })
		}
		synctest.Wait()
		assert.Equal(t, limits.First+1, s.activeNow())
		assert.Equal(t, 40, r.Waiting())
		close(s.wait)
		crowd.Wait()
		synctest.Wait()
		assert.Equal(t, limits.First+1, s.most)
		assert.Len(t, s.reads, 40)
		assert.LessOrEqual(t, r.known.bytes, limits.Bytes)
		assert.Zero(t, r.Waiting())
		assert.Empty(t, r.waiting.lanes)
	})
}

func TestReader_keepsThePagesThatWereUsedLast(t *testing.T) {
	withReader(t, func(t *testing.T, s *source, r *Reader[[2]uint64]) {
		for _, position := range []uint64{0, 10, 20, 5, 30, 7, 25, 33, 15} {
			has(t, r, position, true)
		}
		assert.Equal(t, []uint64{0, 10, 20, 30, 10}, s.begun())
	})
}

// A page larger than everything is kept until the next one comes.
func TestReader_aPageIsKeptHoweverLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tight := limits
		tight.Bytes, tight.Trace, tight.Pages = 1, 1, 1
		s := &source{extent: 10}
		r := New(tight, s)
		defer r.Close(t.Context())
		for _, position := range []uint64{0, 1, 10, 11, 0} {
			has(t, r, position, true)
		}
		assert.Equal(t, []uint64{0, 10, 0}, s.begun())
		assert.Len(t, r.known.pages, 1)
	})
}

// A sweep goes up from the lowest place, carries those for whom there is nothing,
// and who comes late is in the next one.
func TestReader_sweepsUpwards(t *testing.T) {
	withReader(t, func(t *testing.T, s *source, r *Reader[[2]uint64]) {
		s.takes = time.Second
		woken := map[uint64]int{}
		var mu sync.Mutex
		var crowd sync.WaitGroup
		join := func(position, wants uint64) {
			crowd.Go(func() {
				w := &Waiter[[2]uint64]{Position: position, Passes: func(p [2]uint64) bool { return p[1] <= wants }}
				p, err := wait(t.Context(), r, w)
				assert.NoError(t, err)
				assert.True(t, p[0] <= wants && wants < p[1], "%v", p)
				mu.Lock()
				defer mu.Unlock()
				woken[position]++
			})
		}
		join(42, 99)
		synctest.Wait()
		for position := uint64(50); position > 0; position -= 5 {
			join(position, 99)
		}
		crowd.Wait()
		synctest.Wait()
		assert.Equal(t, []uint64{40, 50, 60, 70, 80, 90}, s.begun()[:6], "the first sweep")
		assert.Equal(t, []uint64{0, 10, 20, 30, 40, 50, 60, 70, 90}, s.begun()[6:], "the second, for which 80 is kept")
		assert.Len(t, woken, 11)
	})
}

// A crowd that comes from everywhere reads little more of a log than one who reads all of
// it, and each page once more for its proof, however much of the log is kept.
func TestReader_aCrowdMovesTogether(t *testing.T) {
	type shape struct {
		pages, kept int
		over, takes time.Duration // over that time they come, and each read takes that
		writes      time.Duration // that each of them takes at the most for each page; zero: there is nothing for it
		most        float64       // logs that are read
		until       time.Duration // all are served
	}
	for name, c := range map[string]shape{
		"of a log twice as long as what is kept":     {140, 70, 0, 5 * time.Millisecond, 0, 1.6, 800 * time.Millisecond},
		"of one five times as long":                  {350, 70, 0, 5 * time.Millisecond, 0, 1.6, 2500 * time.Millisecond},
		"of one ten times as long":                   {700, 70, 0, 5 * time.Millisecond, 0, 1.75, 5 * time.Second},
		"of one that is slow":                        {350, 70, 0, 20 * time.Millisecond, 0, 1.7, 9 * time.Second},
		"that comes within a third of a second":      {350, 70, 300 * time.Millisecond, 5 * time.Millisecond, 0, 1.95, 3 * time.Second},
		"that comes within a second":                 {350, 70, time.Second, 5 * time.Millisecond, 0, 2.25, 3500 * time.Millisecond},
		"that comes within a second, of a short log": {140, 70, time.Second, 5 * time.Millisecond, 0, 2.9, 2 * time.Second},
		"that follows all that is in it":             {280, 70, 0, 5 * time.Millisecond, 20 * time.Millisecond, 9, 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const clients = 500
				rnd := rand.New(rand.NewPCG(1, 1))
				s := &source{extent: 10, takes: c.takes}
				wide := limits
				wide.Bytes, wide.Trace, wide.Pages, wide.First, wide.Gather, wide.Rest = 10*c.kept, 1<<20, 1<<13, 3, 250*time.Millisecond, time.Second
				r := New(wide, s)
				defer r.Close(t.Context())
				top := uint64(10 * c.pages)
				begin := time.Now()
				var crowd sync.WaitGroup
				for range clients {
					position, after := rnd.Uint64N(top), time.Duration(rnd.Int64N(int64(c.over)+1))
					opens, writes := time.Duration(rnd.Int64N(2e6)), time.Duration(rnd.Int64N(int64(c.writes)+1))
					crowd.Go(func() {
						time.Sleep(after)
						if _, known := r.Trace(position); !known {
							has(t, r, position, true)
						}
						time.Sleep(opens)
						w := &Waiter[[2]uint64]{Position: position}
						if c.writes == 0 {
							w.Passes = func(p [2]uint64) bool { return p[1] < top }
						}
						for w.Position < top {
							p, err := wait(t.Context(), r, w)
							require.NoError(t, err)
							w.Position = p[1]
							time.Sleep(writes)
						}
					})
				}
				crowd.Wait()
				logs := float64(len(s.begun())) / float64(c.pages)
				t.Logf("%.2f logs, %v", logs, time.Since(begin))
				assert.LessOrEqual(t, logs, c.most)
				assert.LessOrEqual(t, time.Since(begin), c.until)
			})
		})
	}
}

// What the sweep comes to is kept before what it has passed, up to half of all that is
// kept, and what it comes to soon before what it comes to late.
func TestShelf_keepsWhatTheSweepComesTo(t *testing.T) {
	s, tight := shelf[int]{}, limits
	tight.Bytes = 40
	for _, begin := range []uint64{60, 50, 0, 10, 20, 90, 80, 30} {
		s.keep(begin, Page[int]{Bytes: 10, End: begin + 10}, tight, 40)
	}
	var kept []uint64
	for _, p := range s.pages {
		if p.full {
			kept = append(kept, p.begin)
		}
	}
	assert.Equal(t, []uint64{20, 30, 50, 60}, kept)
}

func TestReader_keysTakeTurns(t *testing.T) {
	withReader(t, func(t *testing.T, s *source, r *Reader[[2]uint64]) {
		s.takes = time.Second
		var crowd sync.WaitGroup
		ask := func(key string, position uint64) {
			crowd.Go(func() {
				_, err := wait(t.Context(), r, &Waiter[[2]uint64]{Position: position, Key: key, First: true})
				assert.NoError(t, err)
			})
			synctest.Wait()
		}
		for n := range uint64(10) {
			ask("many", 1000+10*n)
		}
		ask("few", 0)
		ask("other", 10)
		crowd.Wait()
		synctest.Wait()
		assert.Subset(t, s.begun()[2:6], []uint64{0, 10})
	})
}

// However many claim places that nobody has read, and however near these are to the sweep:
// whoever waits among them has its page about when those who were there before it have
// theirs, with a key and without.
func TestReader_claimsHoldNobodyUpForLong(t *testing.T) {
	const claims, takes, first = 300, 20 * time.Millisecond, 3
	for name, keyOf := range map[string]func(n int) string{
		"without keys":     func(int) string { return "" },
		"with a key each":  func(n int) string { return strconv.Itoa(n) },
		"with ten of each": func(n int) string { return strconv.Itoa(n / 10) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, wide := &source{extent: 10, takes: takes}, limits
				wide.Bytes, wide.First = 700, first
				r := New(wide, s)
				defer r.Close(context.Background())
				rnd := rand.New(rand.NewPCG(1, 1))
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				for n := range claims {
					go func() {
						rnd := rand.New(rand.NewPCG(2, uint64(n)))
						for ctx.Err() == nil {
							_, _ = wait(ctx, r, &Waiter[[2]uint64]{Position: rnd.Uint64N(1 << 40), Key: keyOf(n), First: true})
						}
					}()
				}
				for n := range 20 {
					time.Sleep(time.Duration(rnd.Int64N(int64(100 * time.Millisecond))))
					begin := time.Now()
					patience, cancel := context.WithTimeout(t.Context(), time.Minute)
					_, err := wait(patience, r, &Waiter[[2]uint64]{Position: 1<<50 + 10*uint64(n), Key: keyOf(claims), First: true})
					cancel()
					require.NoError(t, err)
					assert.LessOrEqual(t, time.Since(begin), claims/first*takes+passedOver+2*takes)
				}
			})
		})
	}
}

// Who goes before another one is of the same key, and they change their turns, or is of a
// key whose turn it is as well; and below the sweep is farther than all above it.
func TestQueue_whoGoesBeforeAnotherCostsNoKeyATurn(t *testing.T) {
	nobody := func(*Waiter[int]) bool { return false }
	for position, next := range map[uint64]uint64{0: 8, 9: 10, 20: 50, 55: 60, 61: 8} {
		q := queue[int]{lanes: map[string]*lane{}}
		turns := map[string][]uint64{}
		for _, w := range []Waiter[int]{{Key: "a", Position: 50}, {Key: "a", Position: 10}, {Key: "b", Position: 60}, {Key: "b", Position: 5}, {Key: "c", Position: 8}} {
			w.First = true
			q.add(&w)
			turns[w.Key] = append(turns[w.Key], w.turn)
		}
		w := q.first(nobody)
		assert.EqualValues(t, 50, w.Position)
		best := q.instead(w, position, nobody)
		assert.Equal(t, next, best.Position, "from %d on", position)
		assert.EqualValues(t, 1, best.turn)
		after := map[string][]uint64{}
		for _, w := range q.waiters {
			after[w.Key] = append(after[w.Key], w.turn)
		}
		for key := range turns {
			assert.ElementsMatch(t, turns[key], after[key])
		}
	}
}

// Who has left has no place any more, and what nobody waits for is dropped, after a
// moment in which it may still come to its end.
func TestReader_whoLeavesLeavesNothingToDo(t *testing.T) {
	withReader(t, func(t *testing.T, s *source, r *Reader[[2]uint64]) {
		s.wait = make(chan struct{})
		left := errors.New("left")
		ctx, cancel := context.WithCancelCause(t.Context())
		var crowd sync.WaitGroup
		for n := range uint64(50) {
			crowd.Go(func() {
				_, err := wait(ctx, r, &Waiter[[2]uint64]{Position: 1000 + 10*n, First: n%2 == 0})
				assert.Equal(t, left, err)
			})
		}
		synctest.Wait()
		cancel(left)
		crowd.Wait()
		synctest.Wait()
		assert.Equal(t, 3, s.activeNow())
		time.Sleep(limits.Linger)
		synctest.Wait()
		assert.Zero(t, s.activeNow())
		close(s.wait)
		has(t, r, 5, true)
		synctest.Wait()
		assert.Len(t, s.reads, 4)
		assert.Empty(t, r.waiting.waiters)
	})
}

func TestReader_aReadThatIsDroppedLeavesNobodyBehind(t *testing.T) {
	withReader(t, func(t *testing.T, s *source, r *Reader[[2]uint64]) {
		s.wait, s.deaf = make(chan struct{}), true
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _, _ = wait(ctx, r, &Waiter[[2]uint64]{Position: 3, First: true}) }()
		synctest.Wait()
		cancel()
		time.Sleep(limits.Linger)
		synctest.Wait()
		var crowd sync.WaitGroup
		crowd.Go(func() { has(t, r, 4, true) })
		synctest.Wait()
		close(s.wait)
		crowd.Wait()
		synctest.Wait()
		assert.Equal(t, []uint64{0, 0}, s.begun())
	})
}

// One that ends within the moment leaves its trace, and one that somebody waits for
// again goes on.
func TestReader_aReadMayComeToItsEnd(t *testing.T) {
	withReader(t, func(t *testing.T, s *source, r *Reader[[2]uint64]) {
		for n, takes := range []time.Duration{limits.Linger / 2, 3 * limits.Linger} {
			s.takes = takes
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			position := uint64(n) * 100
			_, err := wait(ctx, r, &Waiter[[2]uint64]{Position: position, First: true})
			require.ErrorIs(t, err, context.DeadlineExceeded)
			cancel()
			time.Sleep(limits.Linger * 3 / 4)
			trace, known := r.Trace(position + 7)
			assert.Equal(t, takes < limits.Linger, known)
			if known {
				assert.EqualValues(t, position+7, trace)
			}
			has(t, r, position, true)
			assert.Len(t, s.reads, n+1)
		}
	})
}

// Traces stay when pages have left, and the oldest go beyond the limit.
func TestReader_tracesAreBounded(t *testing.T) {
	withReader(t, func(t *testing.T, s *source, r *Reader[[2]uint64]) {
		for n := range uint64(101) {
			has(t, r, 10*n, true)
		}
		_, known := r.Trace(0)
		assert.False(t, known)
		trace, known := r.Trace(19)
		assert.True(t, known)
		assert.EqualValues(t, 19, trace)
		assert.LessOrEqual(t, r.known.positions, limits.Trace)
		_, known = r.Trace(5000)
		assert.False(t, known)
	})
}

// Where pages that ended early begin is remembered.
func TestReader_pagesThatEndEarlyAreFoundAgain(t *testing.T) {
	withReader(t, func(t *testing.T, s *source, r *Reader[[2]uint64]) {
		s.short = 3
		has(t, r, 8, true)
		assert.Equal(t, []uint64{0, 8}, s.begun(), "not 3 and 6")
		has(t, r, 12, true)
		assert.Equal(t, []uint64{0, 8, 11}, s.begun())
		has(t, r, 5, true)
		assert.Equal(t, []uint64{0, 8, 11, 3}, s.begun())
		r.known.empty(r.known.find(8))
		has(t, r, 10, true)
		assert.Equal(t, []uint64{0, 8, 11, 3, 8}, s.begun())
		s.extent, s.short = 8, 0
		has(t, r, 103, true)
		assert.Equal(t, [2]uint64{103, 111}, s.reads[5])
		has(t, r, 96, true)
		assert.Equal(t, [2]uint64{96, 103}, s.reads[6])
	})
}

// A page that could not be read is not kept, and takes no place from one that is.
func TestReader_aPageThatFailedIsReadAgain(t *testing.T) {
	withReader(t, func(t *testing.T, s *source, r *Reader[[2]uint64]) {
		has(t, r, 1, true)
		s.err = errors.New("broken")
		for n := range 10 {
			_, err := wait(t.Context(), r, &Waiter[[2]uint64]{Position: 12, First: n%2 == 0})
			assert.Equal(t, &ReadError{errors.Join(s.err, nil)}, err)
			assert.ErrorIs(t, err, s.err)
			assert.EqualError(t, err, "page not read: broken")
		}
		s.err = nil
		has(t, r, 12, true)
		has(t, r, 1, true)
		assert.Len(t, s.reads, 12)
	})
}

func TestReader_aReadHasItsTime(t *testing.T) {
	withReader(t, func(t *testing.T, s *source, r *Reader[[2]uint64]) {
		s.wait = make(chan struct{})
		begin := time.Now()
		_, err := wait(t.Context(), r, &Waiter[[2]uint64]{Position: 1})
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, limits.Time, time.Since(begin))
	})
}

func TestStop_endsTheReadsAndTheWaiting(t *testing.T) {
	withReader(t, func(t *testing.T, s *source, r *Reader[[2]uint64]) {
		s.wait = make(chan struct{})
		var crowd sync.WaitGroup
		for n := range uint64(20) {
			crowd.Go(func() {
				_, err := wait(t.Context(), r, &Waiter[[2]uint64]{Position: 10 * n, First: n%2 == 0})
				assert.Equal(t, ErrStopped, err)
			})
		}
		synctest.Wait()
		begin := time.Now()
		r.Close(t.Context())
		assert.Zero(t, s.activeNow())
		crowd.Wait()
		synctest.Wait()
		assert.Zero(t, time.Since(begin))
		_, err := wait(t.Context(), r, &Waiter[[2]uint64]{})
		assert.Equal(t, ErrStopped, err)
	})
}

func TestClose_waitsForAReadThatDoesNotEndUntilItsContextDoes(t *testing.T) {
	withReader(t, func(t *testing.T, s *source, r *Reader[[2]uint64]) {
		s.wait, s.deaf = make(chan struct{}), true
		go func() { _, _ = wait(t.Context(), r, &Waiter[[2]uint64]{}) }()
		synctest.Wait()
		begin := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r.Close(ctx)
		assert.Equal(t, time.Second, time.Since(begin))
		time.AfterFunc(time.Second, func() { close(s.wait) })
		r.Close(t.Context())
		assert.Equal(t, 2*time.Second, time.Since(begin))
		assert.Zero(t, s.activeNow())
	})
}

// Whatever comes and goes, everybody gets the page that they want, and the order of
// those who wait holds.
func TestReader_everybodyGetsTheirPage(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(strconv.Itoa(int(seed)), func(t *testing.T) {
			withReader(t, func(t *testing.T, s *source, r *Reader[[2]uint64]) {
				rnd := rand.New(rand.NewPCG(seed, 1))
				s.takes, s.short, s.extent = time.Millisecond, seed%7, 5+5*(seed%2)
				var crowd sync.WaitGroup
				for range 300 {
					position, wants, first := rnd.Uint64N(200), 200+rnd.Uint64N(20), rnd.IntN(3) == 0
					patience := time.Hour
					if rnd.IntN(4) == 0 {
						patience = time.Duration(rnd.IntN(100)) * time.Millisecond
					}
					crowd.Go(func() {
						ctx, cancel := context.WithTimeout(t.Context(), patience)
						defer cancel()
						w := &Waiter[[2]uint64]{Position: position, First: first}
						if first {
							wants = position
						} else {
							w.Passes = func(p [2]uint64) bool {
								assert.True(t, p[0] <= w.Position && w.Position < p[1])
								return p[1] <= wants
							}
						}
						p, err := wait(ctx, r, w)
						if err != nil {
							assert.ErrorIs(t, err, context.DeadlineExceeded)
							assert.NotEqual(t, time.Hour, patience)
							return
						}
						assert.True(t, p[0] <= wants && wants < p[1])
					})
					if rnd.IntN(3) == 0 {
						time.Sleep(time.Duration(rnd.IntN(3)) * time.Millisecond)
						r.mu.Lock()
						assert.True(t, slices.IsSortedFunc(r.waiting.waiters, byPlace[[2]uint64]))
						r.mu.Unlock()
					}
				}
				crowd.Wait()
				synctest.Wait()
				assert.Empty(t, r.waiting.waiters)
				assert.Empty(t, r.waiting.lanes)
			})
		})
	}
}
