package natslog

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin/eventlog"
)

// fill appends n entries from many goroutines.
func fill(t testing.TB, l *Log, n int, data []byte) (start uint64) {
	t.Helper()
	b, err := l.Bounds(t.Context())
	require.NoError(t, err)
	var wg sync.WaitGroup
	const goroutines = 50
	for range goroutines {
		wg.Go(func() {
			for range n / goroutines {
				_, err := l.Append(t.Context(), eventlog.Entry{Topic: "t", Data: data})
				assert.NoError(t, err)
			}
		})
	}
	wg.Wait()
	return b.Last
}

func TestRead_asksInFewPieces(t *testing.T) {
	l := newEngine(t).log()
	const n = 5000
	start := fill(t, l, n, []byte("x"))
	before := l.nc.Stats().OutMsgs
	assert.Len(t, read(t, l, start, start+n), n)
	assert.EqualValues(t, 5, l.nc.Stats().OutMsgs-before, "requests")
	assert.Zero(t, consumers(t, l))
	assert.Zero(t, l.nc.NumSubscriptions()-baseSubscriptions(t, l))

	before = l.nc.Stats().OutMsgs
	assert.Len(t, read(t, l, start+n-1, start+n), 1)
	assert.Empty(t, read(t, l, start+n, start+n))
	assert.EqualValues(t, 1, l.nc.Stats().OutMsgs-before, "what ends where it was asked to, needs no second look")
}

// baseSubscriptions is how many the connection has for answers.
func baseSubscriptions(t *testing.T, l *Log) int {
	t.Helper()
	_, err := l.Append(t.Context(), entry("base"))
	require.NoError(t, err)
	boundsOf(t, l)
	return 2 // acknowledgements; answers
}

func TestRead_boundsThePieces(t *testing.T) {
	l := newEngine(t).log()
	start := fill(t, l, 50, make([]byte, 300<<10))
	entries, more, err := l.piece(t.Context(), all, start+1, pieceEntries)
	require.NoError(t, err)
	assert.True(t, more)
	assert.Len(t, entries, 4, "1 MiB, and no more than one entry beyond")
	assert.Len(t, read(t, l, start, start+50), 50)
}

// A server that lags answers as if the log ended earlier. It is not easy to make
// one lag just so, and all that it can do is this: to leave out the end.
func TestRead_asksTheLeaderWhereAnAnswerEndsEarly(t *testing.T) {
	l := newEngine(t).log()
	start := fill(t, l, 100, []byte("x"))
	entries, more, err := l.ask(t.Context(), all, nil, start)
	require.NoError(t, err)
	assert.True(t, more)
	require.Len(t, entries, 1)
	assert.Equal(t, read(t, l, start, start+1), entries, "the same entry, by another way")

	_, more, err = l.ask(t.Context(), all, entries, 0)
	require.NoError(t, err)
	assert.True(t, more, "after the last of those that are there")

	entries, more, err = l.ask(t.Context(), all, nil, start+100)
	require.NoError(t, err)
	assert.Empty(t, entries)
	assert.False(t, more, "it ends there indeed")
}

func TestRead_endsWithItsContextAndWhenNobodyAnswers(t *testing.T) {
	l := newEngine(t).log()
	start := fill(t, l, 50, []byte("x"))
	l.timing.request = 100 * time.Millisecond
	require.NoError(t, l.js.DeleteStream(t.Context(), l.config.Stream))
	var errs []error
	for _, err := range l.Read(t.Context(), start, start+10) {
		errs = append(errs, err)
	}
	require.Len(t, errs, 1)
	assert.ErrorIs(t, errs[0], errSilent)

	// Somebody takes the requests and does not answer.
	l.api = "NOBODY."
	sub, err := l.nc.SubscribeSync("NOBODY.>")
	require.NoError(t, err)
	defer func() { _ = sub.Unsubscribe() }() // the test is over
	for _, err := range l.Read(t.Context(), start, start+10) {
		assert.ErrorIs(t, err, errSilent)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	l.timing.request = time.Minute
	time.AfterFunc(50*time.Millisecond, func() { cancel(assert.AnError) })
	for _, err := range l.Read(ctx, start, start+10) {
		assert.ErrorIs(t, err, assert.AnError)
	}
}

// behind puts a server that lags before the log: it answers direct gets as if
// it had no entry beyond limit. All else goes to the real one.
func behind(t *testing.T, l *Log, limit uint64) (direct, leader *atomic.Int64) {
	t.Helper()
	real, stream := l.api, l.config.Stream
	l.api = "BEHIND."
	direct, leader = new(atomic.Int64), new(atomic.Int64)
	handle := func(verb string, handler nats.MsgHandler) {
		sub, err := l.nc.Subscribe("BEHIND."+verb, handler)
		require.NoError(t, err)
		t.Cleanup(func() { _ = sub.Unsubscribe() }) // the connection may be closed
	}
	handle("DIRECT.GET."+stream, func(m *nats.Msg) {
		direct.Add(1)
		var request getRequest
		assert.NoError(t, json.Unmarshal(m.Data, &request))
		status := func(code string, header ...string) {
			answer := nats.NewMsg(m.Reply)
			answer.Header.Set("Status", code)
			for i := 0; i < len(header); i += 2 {
				answer.Header.Set(header[i], header[i+1])
			}
			assert.NoError(t, l.nc.PublishMsg(answer))
		}
		if request.Seq > limit {
			status("404")
			return
		}
		request.Batch = min(request.Batch, limit-request.Seq+1)
		data, err := json.Marshal(request)
		assert.NoError(t, err)
		inbox := l.nc.NewInbox()
		answers, err := l.nc.SubscribeSync(inbox)
		assert.NoError(t, err)
		assert.NoError(t, l.nc.PublishRequest(real+"DIRECT.GET."+stream, inbox, data))
		for {
			answer, err := answers.NextMsg(patience)
			if !assert.NoError(t, err) {
				return
			}
			if answer.Header.Get("Status") == "204" {
				last := answer.Header.Get(lastSequenceHeader)
				status("204", lastSequenceHeader, last, "Nats-Num-Pending", "0")
				return
			}
			answer.Subject = m.Reply
			assert.NoError(t, l.nc.PublishMsg(answer))
		}
	})
	handle("STREAM.MSG.GET."+stream, func(m *nats.Msg) {
		leader.Add(1)
		answer, err := l.nc.Request(real+"STREAM.MSG.GET."+stream, m.Data, patience)
		assert.NoError(t, err)
		assert.NoError(t, m.Respond(answer.Data))
	})
	return direct, leader
}

// In a cluster any server may answer a direct get. One that lags answers as if
// the log ended earlier.
func TestRead_isNotShortWhenAServerLags(t *testing.T) {
	e := newEngine(t)
	l := e.log()
	start := fill(t, l, 100, []byte("x"))
	want := read(t, l, start, start+100)
	for _, limit := range []uint64{0, start, start + 1, start + 90, start + 100} {
		t.Run(fmt.Sprint("it has ", int64(limit-start)), func(t *testing.T) {
			l := openLog(t, e.connect(), l.config)
			direct, leader := behind(t, l, limit)
			assert.Equal(t, want, read(t, l, start, start+100))
			assert.Positive(t, direct.Load())
			if limit == start+100 {
				assert.Zero(t, leader.Load(), "what ends where it was asked to, needs no second look")
			}
			assert.Equal(t, want, read(t, l, start, math.MaxUint64))
			if limit == start+100 {
				assert.EqualValues(t, 1, leader.Load(), "the end of the log does")
			}
		})
	}
}
