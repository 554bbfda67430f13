package natslog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin/eventlog"
)

func TestAppend_isRefusedForGood(t *testing.T) {
	l := newEngine(t).log(Config{Stream: "ev", MaxBytes: 256 << 10})
	for name, e := range map[string]eventlog.Entry{
		"larger than the server takes": {Data: bytes.Repeat([]byte("x"), 2<<20), MessageID: "a"},
		"larger than the whole log":    {Data: bytes.Repeat([]byte("x"), 255<<10), MessageID: "b"},
		"a topic that is too long":     {Topic: strings.Repeat("x", 1025), MessageID: "c"},
	} {
		_, err := l.Append(t.Context(), e)
		assert.ErrorIs(t, err, eventlog.ErrRefused, name)
	}
	start := boundsOf(t, l).Last
	_, err := l.Append(t.Context(), eventlog.Entry{Topic: strings.Repeat(" ", 1024), Data: bytes.Repeat([]byte("x"), 251<<10), MessageID: "d"})
	require.NoError(t, err)
	assert.Len(t, read(t, l, start, start+1), 1, "the largest entry there can be stays, alone")
}

// permit gives two users an account: one with the rights that the package
// documents, one that may publish to one topic only.
func permit(o *server.Options) {
	list := func(subjects ...string) *server.SubjectPermission { return &server.SubjectPermission{Allow: subjects} }
	o.Users = []*server.User{
		{Username: "hub", Password: "p", Permissions: &server.Permissions{
			Publish: list("events", "events.>",
				"$JS.API.STREAM.INFO.events", "$JS.API.STREAM.CREATE.events", "$JS.API.STREAM.MSG.GET.events",
				"$JS.API.DIRECT.GET.events", "$JS.API.CONSUMER.CREATE.events.>", "$JS.API.CONSUMER.DELETE.events.>", "$JS.FC.>"),
			Subscribe: list("_INBOX.>"),
		}},
		{Username: "one", Password: "p", Permissions: &server.Permissions{
			Publish:   list("events.mine", "$JS.API.STREAM.INFO.events"),
			Subscribe: list("_INBOX.>"),
		}},
		{Username: "nobody", Password: "p", Permissions: &server.Permissions{
			Publish:   list("nothing"),
			Subscribe: list("_INBOX.>"),
		}},
		{Username: "deaf", Password: "p", Permissions: &server.Permissions{
			Publish:   list(">"),
			Subscribe: &server.SubjectPermission{Allow: []string{"nothing", "_INBOX.*.*"}},
		}},
	}
}

func TestPermissions_theDocumentedOnesAreEnough(t *testing.T) {
	e := newEngine(t, permit)
	var denied []error
	hub := openLog(t, e.connect(nats.UserInfo("hub", "p"), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { denied = append(denied, err) })), Config{Stream: "events"})
	start := boundsOf(t, hub).Last
	last := appendN(t, hub, "a", 3)
	f := follow(t, hub, start)
	for range 3 {
		f.next()
	}
	assert.Len(t, read(t, hub, start, last+1), 3, "past the end, where the leader is asked")
	f.cancel()
	require.ErrorIs(t, f.fails(), context.Canceled)
	require.Eventually(t, func() bool { return consumers(t, hub) == 0 }, patience, 5*time.Millisecond)
	assert.Empty(t, denied)
}

func TestPermissions_ofOneTopic(t *testing.T) {
	e := newEngine(t, permit)
	openLog(t, e.connect(nats.UserInfo("hub", "p")), Config{Stream: "events"})
	one := openLog(t, e.connect(nats.UserInfo("one", "p")), Config{Stream: "events"})
	one.timing.request = time.Hour // longer than the test may take
	mine := eventlog.Entry{Topic: "mine", Data: []byte("x"), MessageID: "1"}
	for range 3 { // the refusal is no answer, and must be looked for
		_, err := one.Append(t.Context(), eventlog.Entry{Topic: "other", Data: []byte("x"), MessageID: "2"})
		require.ErrorIs(t, err, eventlog.ErrRefused)
		require.ErrorIs(t, err, nats.ErrPermissionViolation)
		_, err = one.Append(t.Context(), mine)
		require.NoError(t, err)
	}
	one.timing.request = 200 * time.Millisecond // a server on a busy machine takes longer to say it, now and then
	require.Eventually(t, func() bool {
		return errors.Is(one.Follow(t.Context(), 0, nil), nats.ErrPermissionViolation)
	}, patience, time.Millisecond, "it may not make a consumer")
	require.Eventually(t, func() bool {
		var last error
		for _, err := range one.Read(t.Context(), 0, 1<<62) {
			last = err
		}
		return errors.Is(last, nats.ErrPermissionViolation)
	}, patience, time.Millisecond)
}

// A slow acknowledgement is no refusal, even if there was one before.
func TestAppend_slowIsNotRefused(t *testing.T) {
	e := newEngine(t, permit)
	openLog(t, e.connect(nats.UserInfo("hub", "p")), Config{Stream: "events"})
	one := openLog(t, e.connect(nats.UserInfo("one", "p")), Config{Stream: "events"})
	one.timing.suspicion = time.Nanosecond // before any acknowledgement
	_, err := one.Append(t.Context(), eventlog.Entry{Topic: "other", Data: []byte("x"), MessageID: "2"})
	require.ErrorIs(t, err, eventlog.ErrRefused)
	deadline := time.Now().Add(patience)
	assert.NoError(t, one.refusal(t.Context(), deadline, "events.other", any(one.nc.LastError())))
	assert.Error(t, one.refusal(t.Context(), deadline, "events.other", nil))
	for i := range 20 {
		_, err = one.Append(t.Context(), eventlog.Entry{Topic: "mine", Data: []byte("x"), MessageID: fmt.Sprint(i)})
		require.NoError(t, err)
	}
}

// persist appends as a hub does: until it is there, or refused.
func persist(ctx context.Context, l *Log, e eventlog.Entry) (uint64, error) {
	for {
		r, err := l.Append(ctx, e)
		if err == nil || errors.Is(err, eventlog.ErrRefused) || ctx.Err() != nil {
			return r.Position, err
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// A publisher is one goroutine that appends and notes what was acknowledged.
type publisher struct {
	name  string
	acked map[string]uint64
}

// publish lets n publishers append to logs until stop.
func publish(t *testing.T, logs []*Log, n int, stop <-chan struct{}) (wait func() map[string]uint64) {
	t.Helper()
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	publishers := make([]publisher, n)
	for i := range publishers {
		p := &publishers[i]
		p.name, p.acked = fmt.Sprint("p", i, "-"), make(map[string]uint64)
		wg.Go(func() {
			for k := 0; ; k++ {
				select {
				case <-stop:
					return
				default:
				}
				id := fmt.Sprint(p.name, k)
				position, err := persist(t.Context(), logs[i%len(logs)], entry(id))
				if t.Context().Err() != nil || !assert.NoError(t, err) {
					return
				}
				p.acked[id] = position
			}
		})
	}
	return func() map[string]uint64 {
		wg.Wait()
		all := make(map[string]uint64)
		for _, p := range publishers {
			maps.Copy(all, p.acked)
		}
		return all
	}
}

// keptOnce checks that what was acknowledged is in the log, at that position,
// and nothing twice.
func keptOnce(t *testing.T, l *Log, start uint64, acked map[string]uint64) {
	t.Helper()
	seen := make(map[string]uint64)
	next := start + 1
	for _, e := range readAll(t, l, start, settle(t, l).Last) {
		require.Equal(t, next, e.Position, "no hole")
		next++
		require.Zero(t, seen[e.MessageID], "twice")
		seen[e.MessageID] = e.Position
	}
	for id, position := range acked {
		require.Equal(t, position, seen[id], "%s was acknowledged", id)
	}
	t.Logf("%d acknowledged, %d in the log", len(acked), len(seen))
}

func TestAppend_onceWhileTheConnectionIsCutAgainAndAgain(t *testing.T) {
	e := newEngine(t)
	logs := []*Log{e.log(Config{Stream: "ev"}), e.log(Config{Stream: "ev"})}
	start := boundsOf(t, logs[0]).Last
	stop := make(chan struct{})
	wait := publish(t, logs, 8, stop)
	for range 20 {
		time.Sleep(50 * time.Millisecond) // into the middle of appends
		e.cable.cut(false)
	}
	close(stop)
	acked := wait()
	settle(t, logs[0])
	keptOnce(t, logs[0], start, acked)
}

func TestAppend_onceWhileTheServerIsKilled(t *testing.T) {
	dir := t.TempDir()
	process, url := startProcess(t, dir, freeAddress(t))
	l := openLog(t, connect(t, url), Config{})
	start := boundsOf(t, l).Last
	stop := make(chan struct{})
	wait := publish(t, []*Log{l}, 8, stop)
	for range 3 {
		answers := l.nc.Stats().InMsgs
		require.Eventually(t, func() bool { return l.nc.Stats().InMsgs > answers+100 }, patience, time.Millisecond)
		require.NoError(t, process.Kill())
		_, err := process.Wait()
		require.NoError(t, err)
		process, _ = startProcess(t, dir, strings.TrimPrefix(url, "nats://"))
	}
	close(stop)
	acked := wait()
	settle(t, l)
	keptOnce(t, l, start, acked)
	assert.Greater(t, len(acked), 100)
}

func TestAppend_failsAtOnceWithoutAConnection(t *testing.T) {
	e := newEngine(t)
	l := e.log()
	e.cable.cut(true)
	require.Eventually(t, func() bool { return !l.nc.IsConnected() }, patience, time.Millisecond)
	l.timing.request = time.Hour // longer than the test may take
	_, err := l.Append(t.Context(), entry("a"))
	require.ErrorIs(t, err, errNotConnected)
}

// An append that is under way when the connection breaks fails then, not when
// its time is up.
func TestAppend_failsWhenTheConnectionBreaks(t *testing.T) {
	process, url := startProcess(t, t.TempDir(), freeAddress(t))
	cable := newCable(t, strings.TrimPrefix(url, "nats://"))
	l := openLog(t, connect(t, cable.url()), Config{})
	l.timing.suspicion, l.timing.request = time.Hour, time.Hour // longer than the test may take
	require.NoError(t, freeze(t, process))
	failed := make(chan error, 1)
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	wg.Go(func() { _, err := l.Append(t.Context(), entry("a")); failed <- err })
	require.Eventually(t, func() bool { return l.js.PublishAsyncPending() == 1 }, patience, time.Millisecond)
	cable.cut(true)
	require.ErrorIs(t, <-failed, nats.ErrDisconnected)
}

func TestAppend_toAStreamThatIsGone(t *testing.T) {
	e := newEngine(t)
	l := e.log(Config{Stream: "ev"})
	require.NoError(t, l.js.DeleteStream(t.Context(), "ev"))
	l.timing.suspicion = time.Hour
	sent := l.nc.Stats().OutMsgs
	_, err := l.Append(t.Context(), entry("a"))
	require.ErrorIs(t, err, jetstream.ErrNoStreamResponse)
	assert.EqualValues(t, 1, l.nc.Stats().OutMsgs-sent, "nothing is tried again")
	assert.NotErrorIs(t, err, eventlog.ErrRefused)

	require.Eventually(t, func() bool {
		_, err = l.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "thief", Subjects: []string{"ev.>"}})
		return err == nil
	}, patience, 10*time.Millisecond)
	_, err = l.Append(t.Context(), entry("b"))
	assert.ErrorIs(t, err, eventlog.ErrRefused)
	_, err = l.Bounds(t.Context())
	assert.Error(t, err, "the subject is another stream's")
}
