package ssegin

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin/ssegintest"
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
					a, err := h.engine.(*shared).ask(t.Context())
					if assert.NoError(t, err) {
						assert.EqualValues(t, 7, a.last)
					}
				})
			}
			wg.Wait()
		}
		ask()
		require.LessOrEqual(t, len(l.asked), 2, "the second is for those who came as the first was asked")
		ask()
		ask()
		require.Less(t, len(l.asked), 5)
		for n := range len(l.asked) - 1 {
			assert.Equal(t, 10*time.Millisecond+askEvery, l.asked[n+1].Sub(l.asked[n]))
		}
	})
}

func TestShared_anAnswerIsForThoseWhoCameBeforeTheQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &teller{last: 7, takes: 100 * time.Millisecond}
		h := tell(t, l)
		go func() { _, _ = h.engine.(*shared).ask(t.Context()) }()
		time.Sleep(50 * time.Millisecond)
		l.set(8, 100*time.Millisecond, nil) // it may be that the answer under way does not know
		a, err := h.engine.(*shared).ask(t.Context())
		require.NoError(t, err)
		assert.EqualValues(t, 8, a.last)
		l.set(9, 100*time.Millisecond, nil)
		time.Sleep(time.Minute)
		a, err = h.engine.(*shared).ask(t.Context())
		require.NoError(t, err)
		assert.EqualValues(t, 9, a.last)
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

// Who asks and leaves takes the answer from nobody.
func TestShared_aQuestionGoesOnWhenWhoAskedHasLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &teller{last: 7, takes: 100 * time.Millisecond}
		h := tell(t, l)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		go func() { _, _ = h.engine.(*shared).ask(t.Context()) }() // for whom both of these wait
		synctest.Wait()
		go func() { _, _ = h.engine.(*shared).ask(ctx) }()
		synctest.Wait()
		a, err := h.engine.(*shared).ask(t.Context())
		require.NoError(t, err)
		assert.EqualValues(t, 7, a.last)
	})
}

// A reader is a log that counts its Reads, and can be told to fail or to wait.
type reader struct {
	Log
	mu    sync.Mutex
	reads int
	err   error
	wait  chan struct{} // nil: it does not wait
}

func (r *reader) Read(ctx context.Context, after, until uint64) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		r.mu.Lock()
		r.reads++
		wait := r.wait
		r.mu.Unlock()
		if wait != nil {
			select {
			case <-wait:
			case <-ctx.Done():
			}
		}
		r.mu.Lock()
		err := r.err
		r.mu.Unlock()
		if err != nil || ctx.Err() != nil {
			yield(Entry{}, errors.Join(err, ctx.Err()))
			return
		}
		r.Log.Read(ctx, after, until)(yield)
	}
}

const epochHere = "abcdefg234"

var lifeHere = &life{epoch: epochHere}

// logOf returns a log with n entries, from position 1 on, of so many bytes.
func logOf(t *testing.T, n, size int) (*reader, *ssegintest.Log) {
	t.Helper()
	log := ssegintest.NewLog(ssegintest.WithFirstPosition(1))
	for i := range n {
		_, err := log.Append(t.Context(), Entry{Topic: "x", Data: make([]byte, size), End: i%2 == 1, MessageID: fmt.Sprint(i + 1)})
		require.NoError(t, err)
	}
	return &reader{Log: log}, log
}

// markOf is the mark of an entry of logOf.
func markOf(position int) mark {
	return mark{uint64(position), checkOf(&Entry{MessageID: fmt.Sprint(position)})}
}

func backlogOf(t *testing.T, log Log) *backlog {
	b := newBacklog(log, 4<<20, newTimeline(&hubOptions{}))
	t.Cleanup(func() { b.close(context.Background()) })
	return b
}

// waitForPage is backlog.page for one who waits.
func waitForPage(ctx context.Context, b *backlog, l *life, k *seeker) (p *page, why Reason, err error) {
	ring := make(bell, 1)
	k.Ready = ring.notify
	defer k.leave()
	for {
		p, why, ready, err := b.page(l, k)
		if ready || err != nil {
			return p, why, err
		}
		select {
		case <-ring:
		case <-ctx.Done():
			return nil, "", context.Cause(ctx)
		}
	}
}

// following is what b gives to a client that has seen everything up to at.
func following(ctx context.Context, b *backlog, at mark) ([]past, Reason, error) {
	k := newSeeker(&cursor{}, true, nil)
	k.seek(at)
	p, why, err := waitForPage(ctx, b, lifeHere, k)
	if why != "" || err != nil {
		return nil, why, err
	}
	from, _ := p.after(at)
	return p.events[from:], "", nil
}

func TestBacklog_givesWhatFollowsOrSaysWhyNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, log := logOf(t, 1100, 1)
		log.Trim(10)    // 11 is the oldest
		log.Delete(600) // and there is a hole
		log.Delete(768) // where a page begins
		b := backlogOf(t, log)
		other := func(position int) mark { return mark{uint64(position), markOf(position).check ^ 1} }
		for _, tc := range []struct {
			at   mark
			want Reason
		}{
			{markOf(9), ReasonExpired},
			{markOf(10), ReasonExpired}, // it has left, and nobody knows what it was
			{mark{position: 10}, ""},    // which says nothing of that
			{markOf(11), ""},
			{other(11), ReasonEpoch},
			{markOf(255), ""},
			{markOf(256), ""},
			{markOf(257), ""},
			{other(255), ReasonEpoch},
			{other(256), ReasonEpoch},
			{other(512), ReasonEpoch},
			{mark{position: 512}, ""},
			{markOf(598), ""},
			{markOf(599), ReasonExpired},
			{markOf(600), ReasonExpired},
			{markOf(767), ReasonExpired},
			{markOf(768), ReasonExpired},
			{markOf(1099), ""},
		} {
			events, reason, err := following(t.Context(), b, tc.at)
			require.NoError(t, err)
			assert.Equal(t, tc.want, reason, "%v", tc.at)
			if reason == "" && assert.NotEmpty(t, events) {
				assert.Equal(t, markOf(int(tc.at.position)+1), events[0].at)
			}
		}
	})
}

func TestBacklog_eventsAreAsTheyWereLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, _ := logOf(t, 300, 1)
		events, _, err := following(t.Context(), backlogOf(t, log), markOf(9))
		require.NoError(t, err)
		require.Len(t, events, 247, "up to the beginning of the next page")
		for i, e := range events {
			position := 10 + i
			require.Equal(t, past{
				at: markOf(position), time: time.Now().Round(0), topic: "x", end: position%2 == 0,
				frame: []byte("data: \x00\nid: " + string(appendID(nil, epochHere, markOf(position))) + "\n\n"),
			}, e)
		}
	})
}

func TestBacklog_aCrowdReadsAPageOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, _ := logOf(t, 1000, 1)
		b := backlogOf(t, log)
		var wg sync.WaitGroup
		for n := range 200 {
			wg.Go(func() {
				_, _, err := following(t.Context(), b, markOf(256+n))
				assert.NoError(t, err)
			})
		}
		wg.Wait()
		assert.Equal(t, 1, log.reads)
	})
}

// A page of large events is bounded, and still goes on by one at least.
func TestBacklog_pagesAreBoundedInBytes(t *testing.T) {
	const entries = 8
	for _, size := range []int{300 << 10, pageBytes + 1} {
		synctest.Test(t, func(t *testing.T) {
			log, _ := logOf(t, entries, size)
			b := backlogOf(t, log)
			for at := 1; at < entries; {
				events, reason, err := following(t.Context(), b, markOf(at))
				require.NoError(t, err)
				require.Empty(t, reason)
				require.Equal(t, markOf(at+1), events[0].at)
				bytes := 0
				for _, e := range events {
					bytes += len(e.frame)
				}
				require.LessOrEqual(t, bytes, pageBytes+2*(size+100))
				at += len(events)
			}
		})
	}
}

func TestBacklog_aPageThatFailedIsUnavailableAndReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, _ := logOf(t, 300, 1)
		b := backlogOf(t, log)
		log.err = errors.New("broken")
		_, _, err := following(t.Context(), b, markOf(5))
		require.ErrorIs(t, err, ErrUnavailable)
		require.ErrorIs(t, err, log.err)
		log.err = nil
		synctest.Wait()
		events, _, err := following(t.Context(), b, markOf(5))
		require.NoError(t, err)
		assert.NotEmpty(t, events)
	})
}

func TestBacklog_aPageIsWaitedForAsLongAsTheHubAllows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, _ := logOf(t, 300, 1)
		log.wait = make(chan struct{})
		b := newBacklog(log, 1<<20, newTimeline(&hubOptions{}))
		begin := time.Now()
		_, _, err := following(t.Context(), b, markOf(5))
		assert.ErrorIs(t, err, ErrUnavailable)
		assert.Equal(t, pageTime, time.Since(begin))
		time.AfterFunc(time.Second, func() { b.close(t.Context()) })
		_, _, err = following(t.Context(), b, markOf(5))
		assert.ErrorIs(t, err, ErrClosed)
		assert.Equal(t, pageTime+time.Second, time.Since(begin))
		_, _, err = following(t.Context(), b, markOf(5))
		assert.ErrorIs(t, err, ErrClosed)
	})
}

func TestBacklog_aHoleBeforeTheClientIsNoGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, log := logOf(t, 1100, 1)
		log.Delete(600)
		log.Delete(768)
		b := backlogOf(t, log)
		for _, at := range []int{601, 700, 770, 999} {
			_, reason, err := following(t.Context(), b, markOf(at))
			require.NoError(t, err)
			assert.Empty(t, reason, at)
		}
	})
}
