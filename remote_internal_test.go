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

// --- The memory as the recent end of a log in an engine --------------------------

// tailing returns a memory of a log in an engine, in a life that began after
// that position.
func tailing(events int, after uint64, why Reason) *memory {
	m := remembering(events)
	m.tail = true
	m.begin(epochHere, after, why)
	return m
}

// putChecked appends an event of topic a with that check.
func putChecked(m *memory, c check) {
	m.append(addition{topic: "a", block: []byte("data: x\n"), check: c})
}

func TestMemory_aLifeBeginsWithNothing(t *testing.T) {
	m := remembering(3)
	c, _ := enter(m, "", "a", "b")
	put(m, "a", "b", "c", "c", "a")
	putEnd(m, "b")
	putEnd(m, "c")
	before := m.life
	m.begin("abcdefg234", 41, ReasonEpoch)
	assert.NotSame(t, before, m.life)
	assert.Equal(t, life{"abcdefg234", ReasonEpoch}, *m.life)
	assert.Equal(t, mark{position: 41}, m.head)
	assert.Equal(t, m.head, m.floor)
	assert.Zero(t, m.events.length)
	assert.Zero(t, m.bytes)
	assert.Zero(t, m.ended.length)
	assert.Zero(t, m.departed.length)
	assert.Len(t, m.topics, 3, "those of broadcasts and of the cursor")
	assert.False(t, c.ended())
	assert.Zero(t, c.newest())

	put(m, "a", "b")
	data, reset, _ := taken(t, m, c)
	assert.Empty(t, data)
	assert.Equal(t, Reset{ReasonEpoch, -1}, reset)
	assert.Equal(t, mark{position: 41}, c.at, "what came since is still due")
	requireTaken(t, m, c, "42", "43")
}

func TestMemory_anIDOfATailIsJudgedByItsCheck(t *testing.T) {
	const ours, other = 7, 8
	m := tailing(2, 10, "")
	m.unsure = true
	require.True(t, m.meet(ours), "what the event at the head is, is learnt")
	require.True(t, m.meet(ours))
	require.False(t, m.meet(other))
	for range 4 {
		putChecked(m, ours) // 11 to 14, of which 13 and 14 are kept
	}
	require.False(t, m.meet(other))
	for _, tc := range []struct {
		name string
		at   mark
		want verdict
	}{
		{"the newest", mark{14, ours}, verdict{}},
		{"another in its place", mark{14, other}, verdict{reset: Reset{ReasonEpoch, -1}}},
		{"of the floor", mark{12, ours}, verdict{}},
		{"another in the place of the floor", mark{12, other}, verdict{reset: Reset{ReasonEpoch, -1}}},
		{"below the floor, whatever it is", mark{11, other}, verdict{behind: true}},
		{"without a check", mark{position: 12}, verdict{}},
		{"of the future", mark{15, ours}, verdict{reset: Reset{ReasonFuture, -1}}},
	} {
		c, v := enter(m, m.id(tc.at), "a")
		assert.Equal(t, tc.want, v, tc.name)
		assert.Equal(t, tc.want.behind, c.behind, tc.name)
		c.leave(m)
	}
}

// The floor of a life that began at its head is what the head was.
func TestMemory_theFloorIsLearntWithTheHead(t *testing.T) {
	m := tailing(2, 10, "")
	m.unsure = true
	require.True(t, m.meet(7))
	assert.False(t, m.unsure)
	putChecked(m, 9)
	_, v := enter(m, m.id(mark{10, 8}), "a")
	assert.Equal(t, Reset{ReasonEpoch, -1}, v.reset)
	_, v = enter(m, m.id(mark{10, 7}), "a")
	assert.Equal(t, verdict{}, v)
}

// Who has seen the entry that a hole begins or ends with cannot be told from
// who has not.
func TestMemory_whoStandsInAHoleIsTold(t *testing.T) {
	m := tailing(2, 10, ReasonExpired)
	putChecked(m, 1)
	_, v := enter(m, m.id(mark{10, 5}), "a")
	assert.Equal(t, Reset{ReasonExpired, -1}, v.reset)
	_, v = enter(m, m.id(mark{position: 10}), "a")
	assert.Equal(t, verdict{}, v, "the ID of the reset itself")
	_, v = enter(m, m.id(mark{11, 1}), "a")
	assert.Equal(t, verdict{}, v)

	putChecked(m, 2)
	putChecked(m, 3) // the floor is an event again
	_, v = enter(m, m.id(mark{11, 1}), "a")
	assert.Equal(t, verdict{}, v)
}

// Where a hub begins, what is at its first place is not in question.
func TestMemory_whoStandsWhereTheFirstLifeBeginsIsTakenAtItsWord(t *testing.T) {
	m := tailing(2, 10, "")
	_, v := enter(m, m.id(mark{10, 5}), "a")
	assert.Equal(t, verdict{}, v)
}

func TestMemory_tellsNobodyOfAPlaceThatItDoesNotKnow(t *testing.T) {
	m := tailing(2, 10, "")
	c, _ := enter(m, "", "a")
	m.begin(epochHere, 20, ReasonEpoch)
	m.unsure = true
	requireTaken(t, m, c)
	require.True(t, m.meet(7))
	_, reset, _ := taken(t, m, c)
	assert.Equal(t, Reset{ReasonEpoch, -1}, reset)
	assert.Equal(t, mark{20, 7}, c.at)
	m.unsure = true
	m.begin(epochHere, 30, ReasonEpoch)
	assert.False(t, m.unsure, "of what comes next it knows all")
}

func TestMemory_whatNobodyCanBeSentTakesAPositionAndLeaves(t *testing.T) {
	m := tailing(3, 0, "")
	c, _ := enter(m, "", "a")
	for n := range 100 {
		m.pass(check(n + 1))
	}
	assert.Equal(t, mark{100, 100}, m.head)
	assert.Equal(t, 3, m.events.length)
	assert.Equal(t, mark{97, 97}, m.floor)
	assert.True(t, m.meet(100))
	requireTaken(t, m, c)
	assert.Equal(t, m.head, c.at)
	_, v := enter(m, m.id(mark{99, 1}), "a")
	assert.Equal(t, Reset{ReasonEpoch, -1}, v.reset)
}

func TestMemory_learnsOfAnEndThatIsNewsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(history{10, 1 << 20, time.Minute})
		put(m, "b", "b", "b", "b", "b")
		c, _ := enter(m, "", "a", "b")
		m.learn("z", 3) // nobody is there
		m.learn("a", 3)
		m.learn("a", 3)
		m.learn("b", 3) // there was more
		assert.Equal(t, 1, m.ended.length)
		assert.EqualValues(t, 5, c.newest())
		assert.False(t, c.ended())
		m.learn("b", 6)
		assert.True(t, c.ended())
		assert.EqualValues(t, 6, c.newest())
		c.leave(m)

		assert.NotNil(t, m.topics["a"], "the end is remembered")
		time.Sleep(time.Minute + 1)
		m.trim(time.Since(m.born))
		assert.Zero(t, m.ended.length)
		assert.Len(t, m.topics, 1, "and forgotten")
	})
}

func TestMemory_messageIDsAreKeptAsLongAsTheirEvents(t *testing.T) {
	m := remembering(3)
	var ids []string
	for n := range 100 {
		id, topic := m.append(addition{topic: "a", block: []byte("data: x\n"), messageID: fmt.Sprint(n)})
		require.NotNil(t, topic)
		ids = append(ids, id)
		put(m, "a") // without one
	}
	assert.Len(t, m.sent, 1)
	again, topic := m.append(addition{topic: "a", block: []byte("data: x\n"), messageID: "99"})
	assert.Nil(t, topic)
	assert.Equal(t, ids[99], again)
	_, topic = m.append(addition{topic: "a", block: []byte("data: x\n"), messageID: "98"})
	assert.NotNil(t, topic)
}

// --- Checks ------------------------------------------------------------------------

func TestCheckOf_tellsEntriesApart(t *testing.T) {
	at := time.Unix(1, 1)
	base := Entry{Position: 1, Time: at, Topic: "t", Type: "y", Data: []byte("d")}
	seen := map[check]string{}
	for name, change := range map[string]func(*Entry){
		"nothing":             func(*Entry) {},
		"the time":            func(e *Entry) { e.Time = at.Add(1) },
		"the topic":           func(e *Entry) { e.Topic = "u" },
		"the type":            func(e *Entry) { e.Type = "z" },
		"the end":             func(e *Entry) { e.End = true },
		"the data":            func(e *Entry) { e.Data = []byte("e") },
		"what belongs where":  func(e *Entry) { e.Topic, e.Type = "ty", "" },
		"a message ID":        func(e *Entry) { e.MessageID = "m" },
		"another message ID":  func(e *Entry) { e.MessageID = "n" },
		"an empty data field": func(e *Entry) { e.Data = []byte{} },
	} {
		e := base
		change(&e)
		c := checkOf(&e)
		assert.Empty(t, seen[c], "%s looks like this", name)
		seen[c] = name
	}
	moved, known := base, Entry{MessageID: "m"}
	moved.Position = 2
	assert.Equal(t, checkOf(&base), checkOf(&moved), "the position is beside it")
	same := base
	same.MessageID = "m"
	assert.Equal(t, checkOf(&known), checkOf(&same), "of an entry with a message ID a publisher knows nothing else")
	same.MessageID, same.Time = "", at.UTC()
	assert.Equal(t, checkOf(&base), checkOf(&same), "every process reads the same moment")
}

func TestCheckOf_isNeverNothingAndFits(t *testing.T) {
	for n := range 10_000 {
		c := checkOf(&Entry{MessageID: fmt.Sprint(n)})
		require.NotZero(t, c)
		require.Less(t, c, check(1<<(5*checkLetters)))
	}
}

func TestMark_isWhatIsKnown(t *testing.T) {
	assert.True(t, mark{1, 5}.is(5))
	assert.False(t, mark{1, 5}.is(6))
	assert.True(t, mark{1, 0}.is(6))
	assert.True(t, mark{1, 5}.is(0))
}

func TestEpochOf_isAnEpochOfItsOwnForEachText(t *testing.T) {
	seen := map[string]bool{}
	for n := range 10_000 {
		epoch := epochOf(fmt.Sprint(n))
		require.False(t, seen[epoch])
		seen[epoch] = true
		_, _, ok := parseID(epoch + "-1")
		require.True(t, ok, epoch)
	}
	assert.True(t, seen[epochOf("7")], "always the same")
}

// --- Pages of what is older --------------------------------------------------------

// A reader is a log that counts its Reads, and can be told to fail or to wait.
type reader struct {
	Log
	mu           sync.Mutex
	reads        int
	active, most int
	err          error
	wait         chan struct{} // nil: it does not wait
}

func (r *reader) Read(ctx context.Context, after, until uint64) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		r.mu.Lock()
		r.reads++
		r.active++
		r.most = max(r.most, r.active)
		wait := r.wait
		r.mu.Unlock()
		if wait != nil {
			select {
			case <-wait:
			case <-ctx.Done():
			}
		}
		r.mu.Lock()
		r.active--
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

// engine returns a log with n entries, from position 1 on, of so many bytes.
func engine(t *testing.T, n, size int) (*reader, *ssegintest.Log) {
	t.Helper()
	log := ssegintest.NewLog(ssegintest.WithFirstPosition(1))
	for i := range n {
		_, err := log.Append(t.Context(), Entry{Topic: "x", Data: make([]byte, size), End: i%2 == 1, MessageID: fmt.Sprint(i + 1)})
		require.NoError(t, err)
	}
	return &reader{Log: log}, log
}

// markOf is the mark of an entry of engine.
func markOf(position int) mark {
	return mark{uint64(position), checkOf(&Entry{MessageID: fmt.Sprint(position)})}
}

func backlogOf(t *testing.T, log Log) *backlog {
	b := newBacklog(log, 4<<20)
	t.Cleanup(b.stop)
	return b
}

// following is what b gives to a client that has seen everything up to at.
func following(ctx context.Context, b *backlog, at mark) ([]past, Reason, error) {
	events, _, why, err := b.after(ctx, lifeHere, at, pageOf(at.position))
	return events, why, err
}

func TestBacklog_givesWhatFollowsOrSaysWhyNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, log := engine(t, 1100, 1)
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
			{markOf(10), ""}, // it has left, but nothing is missing
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
		log, _ := engine(t, 300, 1)
		events, _, err := following(t.Context(), backlogOf(t, log), markOf(9))
		require.NoError(t, err)
		require.Len(t, events, 247, "up to the beginning of the next page")
		for i, e := range events {
			position := 10 + i
			require.Equal(t, past{
				at: markOf(position), topic: "x", end: position%2 == 0,
				frame: []byte("data: \x00\nid: " + string(appendID(nil, epochHere, markOf(position))) + "\n\n"),
			}, e)
		}
	})
}

func TestBacklog_aCrowdReadsAPageOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, _ := engine(t, 1000, 1)
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

func TestBacklog_readsFewPagesAtATimeAndKeepsFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, _ := engine(t, 40*pageEvents/10, 1)
		b := backlogOf(t, log)
		log.wait = make(chan struct{})
		var wg sync.WaitGroup
		for n := range 40 {
			wg.Go(func() {
				_, err := b.page(t.Context(), pageKey{lifeHere, uint64(n * pageEvents / 10)})
				assert.NoError(t, err)
			})
		}
		synctest.Wait()
		assert.Equal(t, pageReads, log.active)
		close(log.wait)
		wg.Wait()
		assert.Equal(t, pageReads, log.most)
		assert.Equal(t, 40, log.reads)
		assert.Len(t, b.pages, keptPages)
		assert.Len(t, b.order, keptPages)
	})
}

// A page of large events is bounded, and still goes on by one at least.
func TestBacklog_pagesAreBoundedInBytes(t *testing.T) {
	const entries = 8
	for _, size := range []int{300 << 10, pageBytes + 1} {
		synctest.Test(t, func(t *testing.T) {
			log, _ := engine(t, entries, size)
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

func TestBacklog_aPageThatFailedIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, _ := engine(t, 300, 1)
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

// What fails late does not take away what was asked for anew.
func TestBacklog_forgottenPagesAreReadAgainOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, _ := engine(t, 300, 1)
		b := backlogOf(t, log)
		first, second := make(chan struct{}), make(chan struct{})
		log.wait = first
		go func() { _, _, _ = following(t.Context(), b, markOf(5)) }()
		synctest.Wait()
		b.forget()
		log.wait = second
		go func() { _, _, _ = following(t.Context(), b, markOf(5)) }()
		synctest.Wait()
		require.Equal(t, 2, log.reads)
		log.err = errors.New("late")
		close(first)
		synctest.Wait()
		log.err, log.wait = nil, nil
		close(second)
		_, _, err := following(t.Context(), b, markOf(5))
		assert.NoError(t, err)
		assert.Equal(t, 2, log.reads)
		for range keptPages {
			b.forget()
			_, _, err = following(t.Context(), b, markOf(5))
			assert.NoError(t, err)
		}
		assert.Len(t, b.pages, 1)
		assert.Len(t, b.order, 1)
	})
}

func TestBacklog_whoLeavesDoesNotWaitAndSpoilsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, _ := engine(t, 300, 1)
		b := backlogOf(t, log)
		log.wait = make(chan struct{})
		left := errors.New("left")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(left) })
		begin := time.Now()
		_, _, err := following(ctx, b, markOf(5))
		assert.ErrorIs(t, err, left)
		assert.Equal(t, time.Second, time.Since(begin))
		close(log.wait)
		_, _, err = following(t.Context(), b, markOf(5))
		assert.NoError(t, err)
		assert.Equal(t, 1, log.reads)
	})
}

func TestBacklog_aPageIsWaitedForAsLongAsTheHubAllows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, _ := engine(t, 300, 1)
		log.wait = make(chan struct{})
		b := newBacklog(log, 1<<20)
		begin := time.Now()
		_, _, err := following(t.Context(), b, markOf(5))
		assert.ErrorIs(t, err, ErrUnavailable)
		assert.Equal(t, pageTime, time.Since(begin))
		time.AfterFunc(time.Second, b.stop)
		_, _, err = following(t.Context(), b, markOf(5))
		assert.ErrorIs(t, err, ErrUnavailable)
		assert.Equal(t, pageTime+time.Second, time.Since(begin))
	})
}

// --- Asking and following ----------------------------------------------------------

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

func TestRemote_theEngineIsAskedByOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &teller{last: 7, takes: 10 * time.Millisecond}
		h := tell(t, l)
		ask := func() {
			var wg sync.WaitGroup
			for range 100 {
				wg.Go(func() {
					last, err := h.remote.ask(t.Context())
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

func TestRemote_anAnswerIsForThoseWhoCameBeforeTheQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &teller{last: 7, takes: 100 * time.Millisecond}
		h := tell(t, l)
		go func() { _, _ = h.remote.ask(t.Context()) }()
		time.Sleep(50 * time.Millisecond)
		l.set(8, 100*time.Millisecond, nil) // it may be that the answer under way does not know
		last, err := h.remote.ask(t.Context())
		require.NoError(t, err)
		assert.EqualValues(t, 8, last)
		l.set(9, 100*time.Millisecond, nil)
		time.Sleep(time.Minute)
		last, err = h.remote.ask(t.Context())
		require.NoError(t, err)
		assert.EqualValues(t, 9, last)
	})
}

func TestRemote_whoAsksDoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &teller{last: 7}
		h := tell(t, l)
		broken := errors.New("broken")
		l.set(7, 0, broken)
		_, err := h.remote.ask(t.Context())
		require.ErrorIs(t, err, ErrUnavailable)
		require.ErrorIs(t, err, broken)
		l.set(7, time.Minute, broken)
		go func() { _, _ = h.remote.ask(t.Context()) }()
		synctest.Wait()
		tired := errors.New("tired")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, tired)
		defer cancel()
		begin := time.Now()
		_, err = h.remote.ask(ctx)
		assert.ErrorIs(t, err, tired)
		assert.Equal(t, time.Second, time.Since(begin))
		assert.ErrorIs(t, h.remote.wait(ctx, func() bool { return false }), tired)
		time.Sleep(2 * time.Minute)
	})
}

// A log that breaks the rules costs no order, and nothing comes twice.
func TestRemote_takesPositionsInOrderOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := tell(t, &teller{})
		p := connect(t, h, "", "x")
		entry := func(position uint64) Entry {
			return Entry{Position: position, Topic: "x", Data: fmt.Append(nil, position), MessageID: fmt.Sprint(position)}
		}
		require.NoError(t, h.remote.deliver(entry(1)))
		require.NoError(t, h.remote.deliver(entry(2)))
		assert.Error(t, h.remote.deliver(entry(2)))
		assert.Error(t, h.remote.deliver(entry(1)))
		require.NoError(t, h.remote.deliver(entry(3)))
		events := p.read()
		require.Len(t, events, 3)
		for i, e := range events {
			assert.Equal(t, fmt.Sprint(i+1), e.Data)
			assert.Equal(t, string(appendID(nil, epochOf("e"), markOf(i+1))), e.ID)
		}
		require.NoError(t, h.remote.deliver(entry(5)))
		events = p.read()
		require.Len(t, events, 2)
		assert.Equal(t, typeReset, events[0].Type)
		assert.Equal(t, "5", events[1].Data)
		p.leave()
	})
}

// From the moment at which it finds another entry at its place, it lets nobody
// in before it knows where the log ends now.
func TestRemote_letsNobodyInWhileItDoesNotKnowItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := tell(t, &teller{})
		require.NoError(t, h.remote.deliver(Entry{Position: 1, MessageID: "1"}))
		h.mu.Lock()
		h.remote.again = 1 // as after a moment without touch
		h.mu.Unlock()
		assert.ErrorContains(t, h.remote.deliver(Entry{Position: 1, MessageID: "another"}), "rolled back")
		_, err := dial(h, &cursor{}, "")
		assert.ErrorIs(t, err, ErrUnavailable)
	})
}

func TestBacklog_aHoleBeforeTheClientIsNoGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, log := engine(t, 1100, 1)
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
