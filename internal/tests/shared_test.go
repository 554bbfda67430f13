package tests

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http/httptest"
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

// A node is one of several processes that share a log.
type node struct {
	hub *ssegin.Hub
	srv *ssegintest.Server
}

// start runs a node until the end of the test or bubble.
func start(t *testing.T, log eventlog.Log, opts ...ssegin.HubOption) *node {
	t.Helper()
	quiet := ssegin.WithLogger(slog.New(slog.DiscardHandler))
	hub := ssegin.NewHub(append([]ssegin.HubOption{quiet, ssegin.WithLog(log)}, opts...)...)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		assert.NoError(t, hub.Shutdown(ctx))
	})
	return &node{hub, serve(t, route(ssegin.Handler(hub, withTopics())))}
}

// fill publishes events, numbered from 1 on, and returns their IDs, when the
// node has read so many.
func (n *node) fill(t *testing.T, topic string, events int) (ids []string) {
	t.Helper()
	read := n.hub.Stats().Published
	for i := range events {
		ids = append(ids, publish(t, n.hub, topic, i+1))
	}
	for begin := time.Now(); n.hub.Stats().Published < read+uint64(events); time.Sleep(time.Millisecond) {
		require.Less(t, time.Since(begin), patience)
	}
	return ids
}

// requireNumbers reads the events numbered from one to another.
func requireNumbers(t *testing.T, s *ssegintest.Stream, from, to int) {
	t.Helper()
	for n := from; n <= to; n++ {
		require.Equal(t, strconv.Itoa(n), next(t, s).Data)
	}
}

// requireReset reads a reset.
func requireReset(t *testing.T, s *ssegintest.Stream, reason ssegin.Reason) {
	t.Helper()
	e := next(t, s)
	require.Equal(t, "ssegin.reset", e.Type, "instead: %q", e.Data)
	require.Equal(t, fmt.Sprintf(`{"reason":%q,"missed":-1}`, reason), e.Data)
}

// requireBreak reads the reset of a stream whose process has found that the log has a gap.
// What the client may follow has to be asked again, so the stream ends, and it comes back.
func requireBreak(t *testing.T, s *ssegintest.Stream, reason ssegin.Reason) {
	t.Helper()
	requireReset(t, s, reason)
	requireEnd(t, s)
	resume(t, s)
	nextBlock(t, s)
}

func withLastID(id string) ssegintest.ConnectOption { return ssegintest.WithLastEventID(id) }

func TestWithLog_allProcessesShowTheSameEventsUnderTheSameIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		a, b := start(t, log), start(t, log)
		onA, onB := connect(t, a.srv, "?topic=x"), connect(t, b.srv, "?topic=x")
		var want []ssegintest.Event
		for n := range 50 {
			e := ssegin.Event{Type: "n", Data: strconv.Itoa(n), Retry: time.Second}
			var id string
			var err error
			switch n % 3 {
			case 0:
				id, err = a.hub.Publish(t.Context(), "x", e)
			case 1:
				id, err = b.hub.Broadcast(t.Context(), e)
			default:
				_, err = b.hub.Publish(t.Context(), "y", e)
			}
			require.NoError(t, err)
			if id != "" {
				want = append(want, ssegintest.Event{ID: id, Type: "n", Data: strconv.Itoa(n)})
			}
		}
		for _, e := range want {
			assert.Equal(t, e, next(t, onA))
			assert.Equal(t, e, next(t, onB))
		}
	})
}

func TestWithLog_aClientGoesOnAtAnotherProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		a, b := start(t, log), start(t, log)
		ids := a.fill(t, "x", 100)
		a.fill(t, "y", 10)
		for n, id := range ids[:99] {
			s := connect(t, b.srv, "?topic=x", withLastID(id))
			requireNumbers(t, s, n+2, 100)
			s.Close()
		}
		late := start(t, log) // it has none of that from its own life
		s := connect(t, late.srv, "?topic=x", withLastID(ids[42]))
		requireNumbers(t, s, 44, 100)
	})
}

// A slow log is one whose follower comes late with what is new.
type slow struct {
	eventlog.Log
	by time.Duration
}

func (l slow) Follow(ctx context.Context, after uint64, deliver func(eventlog.Entry) error) error {
	return l.Log.Follow(ctx, after, func(e eventlog.Entry) error {
		select {
		case <-time.After(l.by):
			return deliver(e)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
}

// appendNumbers appends without a hub, as another program does.
func appendNumbers(t *testing.T, log eventlog.Log, n int) {
	t.Helper()
	for i := range n {
		_, err := log.Append(t.Context(), eventlog.Entry{Topic: "x", Data: []byte(strconv.Itoa(i + 1))})
		require.NoError(t, err)
	}
}

// A gated log can be kept from one process alone.
type gated struct {
	eventlog.Log
	closed chan struct{}
}

func (l *gated) close() { l.closed = make(chan struct{}) }

func (l *gated) open() { close(l.closed) }

func (l *gated) Bounds(ctx context.Context) (eventlog.Bounds, error) {
	if l.closed != nil {
		<-l.closed
	}
	return l.Log.Bounds(ctx)
}

func TestWithLog_entriesThatCannotBeSentAreSkippedAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		a := start(t, log, ssegin.WithHistory(3, 1<<16, 0), ssegin.WithMaxEventBytes(1<<10))
		first := publish(t, a.hub, "x", "first")
		synctest.Wait() // until the hub has read it, or the client is given it, too
		s := connect(t, a.srv, "?topic=x")
		bad := []eventlog.Entry{
			{Topic: "x", Type: "a\nb"},
			{Topic: "x", Type: "ssegin.reset", Data: []byte(`{"reason":"forged"}`)},
			{Topic: "x\r", Data: []byte("x")},
			{Topic: "x", Data: []byte{0xff}},
			{Topic: "x", Data: make([]byte, 2<<10)},
			{Topic: "x", Retry: -1, Data: []byte("x")},
		}
		for _, e := range bad {
			_, err := log.Append(t.Context(), e)
			require.NoError(t, err)
		}
		_, err := log.Append(t.Context(), eventlog.Entry{Topic: "x", Type: "plain", Data: []byte("from elsewhere")})
		require.NoError(t, err)
		for _, s := range []*ssegintest.Stream{s, connect(t, a.srv, "?topic=x", withLastID(first))} {
			e := next(t, s)
			assert.Equal(t, "plain", e.Type)
			assert.Equal(t, "from elsewhere", e.Data)
		}
		assert.EqualValues(t, len(bad), a.hub.Stats().Skipped)
	})
}

func TestWithLog_aSlowStreamIsSentToTheEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		causes, lagged := make(chan error, 1), make(chan ssegin.Reset, 1)
		a := start(t, log, ssegin.WithHistory(10, 0, 0), ssegin.WithObserver(ssegin.Observer{
			Closed: func(cause error, _ time.Duration) { causes <- cause },
			Lagged: func(reset ssegin.Reset) { lagged <- reset },
		}))
		srv := serve(t, route(ssegin.Handler(a.hub, withTopics())), ssegintest.WithBuffer(1<<10))
		s := connect(t, srv, "?topic=x")
		const n = 1000
		for i := range n {
			publish(t, a.hub, "x", i+1)
			if i%100 == 99 {
				synctest.Wait()
			}
		}
		read := 0
		for {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			e, err := s.Next(ctx)
			cancel()
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
			read++
			require.Equal(t, strconv.Itoa(read), e.Data)
		}
		assert.Less(t, read, n)
		assert.ErrorIs(t, <-causes, ssegin.ErrLagged)
		assert.Equal(t, ssegin.ReasonLagged, (<-lagged).Reason)
		resume(t, s)
		requireNumbers(t, s, read+1, n)
	})
}

func TestWithLog_refusesWhatNoLogCouldCarry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		a := start(t, log, ssegin.WithMaxEventBytes(1<<10))
		for _, e := range []ssegin.Event{
			{MessageID: "a\nb"}, {MessageID: string(make([]byte, 2000))}, {ID: "1"}, {Type: "a\rb"}, {Data: "\xff"}, {Data: func() {}}, {Retry: -1},
		} {
			_, err := a.hub.Broadcast(t.Context(), e)
			assert.ErrorIs(t, err, ssegin.ErrInvalidEvent, "%+v", e)
		}
		_, err := a.hub.Broadcast(t.Context(), ssegin.Event{Data: string(make([]byte, 2000))})
		assert.ErrorIs(t, err, ssegin.ErrTooLarge)
		assert.Zero(t, log.Requests().Appends)
	})
	assert.Panics(t, func() { ssegin.WithLog(nil) })
}

func TestWithLog_detachedStreamsAreServedTheSame(t *testing.T) {
	onBothPaths(t, func(t *testing.T, path ssegin.StreamOption) {
		log := ssegintest.NewLog()
		n := start(t, log, ssegin.WithHistory(10, 0, 0))
		srv := listen(t, route(ssegin.Handler(n.hub, path, withTopics())))
		ids := n.fill(t, "x", 500)
		s := open(t, srv, "?topic=x", withLastID(ids[9]))
		requireNumbers(t, s, 11, 500)
		publish(t, n.hub, "x", "live")
		require.Equal(t, "live", next(t, s).Data)
		log.Rollback(1)
		requireBreak(t, s, ssegin.ReasonEpoch)
		publish(t, n.hub, "x", "live again")
		require.Equal(t, "live again", next(t, s).Data)
		log.Trim(400)
		requireReset(t, requestTCP(t, srv, "?topic=x", ids[9]), ssegin.ReasonExpired)
	})
}

// requestTCP is open without a look at what comes.
func requestTCP(t *testing.T, srv *httptest.Server, path, lastID string) *ssegintest.Stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s, err := ssegintest.Connect(ctx, srv.URL+"/events"+path, withLastID(lastID))
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

// A stuck log gives pages of its past only when it is told to.
type stuck struct {
	eventlog.Log
	reads chan struct{}
}

func (l stuck) Read(ctx context.Context, after, until uint64) iter.Seq2[eventlog.Entry, error] {
	return func(yield func(eventlog.Entry, error) bool) {
		select {
		case <-l.reads:
			for e, err := range l.Log.Read(ctx, after, until) {
				if !yield(e, err) {
					return
				}
			}
		case <-ctx.Done():
			yield(eventlog.Entry{}, context.Cause(ctx))
		}
	}
}

// engineHooks tell of an engine on channels.
func engineHooks(down chan<- error, up chan<- time.Duration) ssegin.Observer {
	return ssegin.Observer{
		EngineDown: func(err error) { down <- err },
		EngineUp:   func(after time.Duration) { up <- after },
	}
}

// An altered log does some things its own way: those that are not nil.
type altered struct {
	eventlog.Log
	append func(context.Context, eventlog.Entry) (eventlog.Receipt, error)
	follow func(ctx context.Context, after uint64, deliver func(eventlog.Entry) error) error
	bounds func(context.Context) (eventlog.Bounds, error)
}

func (l *altered) Append(ctx context.Context, e eventlog.Entry) (eventlog.Receipt, error) {
	if l.append != nil {
		return l.append(ctx, e)
	}
	return l.Log.Append(ctx, e)
}

func (l *altered) Follow(ctx context.Context, after uint64, deliver func(eventlog.Entry) error) error {
	if l.follow != nil {
		return l.follow(ctx, after, deliver)
	}
	return l.Log.Follow(ctx, after, deliver)
}

func (l *altered) Bounds(ctx context.Context) (eventlog.Bounds, error) {
	if l.bounds != nil {
		return l.bounds(ctx)
	}
	return l.Log.Bounds(ctx)
}

// put appends an entry of topic x as another program does, under a message ID.
func put(t *testing.T, log eventlog.Log, data string) {
	t.Helper()
	_, err := log.Append(t.Context(), eventlog.Entry{Topic: "x", Data: []byte(data), MessageID: data})
	require.NoError(t, err)
}

func TestWithLog_aProcessBeginsWithAsMuchAsItMayHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		ids := start(t, log).fill(t, "x", 500)
		for history, want := range map[int]int{0: 500, 1: 1, 10: 10, 499: 499, 500: 500, 1000: 500} {
			delivered := 0
			counting := &altered{Log: log, follow: func(ctx context.Context, after uint64, deliver func(eventlog.Entry) error) error {
				return log.Follow(ctx, after, func(e eventlog.Entry) error {
					delivered++
					return deliver(e)
				})
			}}
			n := start(t, counting, ssegin.WithHistory(history, 0, 0))
			synctest.Wait()
			reads := log.Requests().Reads
			oldest := max(0, 499-want) // of those after which memory goes on
			requireNumbers(t, connect(t, n.srv, "?topic=x", withLastID(ids[oldest])), oldest+2, 500)
			assert.Equal(t, want, n.hub.Stats().HistoryEvents)
			assert.LessOrEqual(t, delivered, want+1)
			assert.Equal(t, reads, log.Requests().Reads, "memory reaches back so far")
		}
	})
}

// A failing log's Follow fails at once, always, with that error.
type failingLog struct {
	eventlog.Log
	err error
}

func (l failingLog) Follow(context.Context, uint64, func(eventlog.Entry) error) error { return l.err }

// An entry at the head comes again after each loss of touch.
func TestWithLog_anEntryThatCannotBeSentIsCountedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		a := start(t, log)
		a.fill(t, "x", 1)
		_, err := log.Append(t.Context(), eventlog.Entry{Topic: "x", Type: "a\nb"})
		require.NoError(t, err)
		for range 5 {
			time.Sleep(5 * time.Second)
			log.Drop()
		}
		time.Sleep(5 * time.Second)
		assert.EqualValues(t, 1, a.hub.Stats().Skipped)
	})
}

// What was in the log before is read, and does not count.
func TestWithLog_countsWhatIsPublishedSinceTheHubWasMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		start(t, log).fill(t, "x", 100)
		b := start(t, log)
		synctest.Wait()
		assert.EqualValues(t, 0, b.hub.Stats().Published)
	})
}
