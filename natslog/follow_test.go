package natslog

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin/eventlog"
)

func TestFollow_endsWhenTheStreamIsMadeAnew(t *testing.T) {
	l := newEngine(t).log()
	last := appendN(t, l, "a", 3)
	before := boundsOf(t, l)
	l.timing.probe = time.Second // else it is the heartbeat that is missed, which takes longer
	f := follow(t, l, last-1)
	f.next()
	require.NoError(t, l.js.DeleteStream(t.Context(), l.config.Stream))
	after := settle(t, l)
	assert.NotEqual(t, before.Epoch, after.Epoch)
	assert.Greater(t, after.First, before.Last, "no position is used again")
	appendN(t, l, "b", 5)
	require.Error(t, f.fails())
	assert.Empty(t, f.entries, "nothing of the new life")
}

// Without any look at the stream, as when the time between two is too long.
func TestFollow_endsWhenItsConsumerSaysNothing(t *testing.T) {
	t.Parallel() // it mostly waits
	l := newEngine(t).log()
	l.timing.heartbeat, l.timing.silence, l.timing.probe = 100*time.Millisecond, 5*time.Second, time.Hour
	f := follow(t, l, appendN(t, l, "a", 1)-1)
	f.next()
	deleteConsumers(t, l)
	require.ErrorIs(t, f.fails(), errSilent)
}

func deleteConsumers(t *testing.T, l *Log) {
	t.Helper()
	s, err := l.js.Stream(t.Context(), l.config.Stream)
	require.NoError(t, err)
	for name := range s.ConsumerNames(t.Context()).Name() {
		require.NoError(t, s.DeleteConsumer(t.Context(), name))
	}
}

// A heartbeat goes on when somebody pauses the consumer.
func TestFollow_endsWhenTheStreamGoesOnWithoutIt(t *testing.T) {
	t.Parallel() // it mostly waits
	l := newEngine(t).log()
	l.timing.heartbeat, l.timing.probe = 100*time.Millisecond, 3*time.Second
	f := follow(t, l, appendN(t, l, "a", 1)-1)
	f.next()
	s, err := l.js.Stream(t.Context(), l.config.Stream)
	require.NoError(t, err)
	for name := range s.ConsumerNames(t.Context()).Name() {
		_, err := s.PauseConsumer(t.Context(), name, time.Now().Add(time.Hour))
		require.NoError(t, err)
	}
	appendN(t, l, "b", 1)
	require.ErrorIs(t, f.fails(), errStalled)
}

// What somebody has deleted is not due, also at the end.
func TestFollow_goesOnWhenEntriesAreDeletedOrPurged(t *testing.T) {
	t.Parallel() // it mostly waits
	e := newEngine(t)
	config, err := Config{Stream: "ev"}.withDefaults()
	require.NoError(t, err)
	js, err := jetstream.New(e.connect())
	require.NoError(t, err)
	stream := config.stream(time.Now())
	stream.DenyDelete = false
	s, err := js.CreateStream(t.Context(), stream)
	require.NoError(t, err)
	l := e.log(config)
	// A busy server has the time between two looks for its next heartbeat.
	l.timing.heartbeat, l.timing.probe = 100*time.Millisecond, 3*time.Second
	var looks atomic.Int64
	_, err = e.connect().Subscribe("$JS.API.STREAM.INFO.ev", func(*nats.Msg) { looks.Add(1) })
	require.NoError(t, err)
	awaitLooks := func(n int64) {
		n += looks.Load()
		require.Eventually(t, func() bool { return looks.Load() >= n }, patience, 10*time.Millisecond)
	}

	last := appendN(t, l, "a", 5)
	require.NoError(t, s.DeleteMsg(t.Context(), last-2))
	require.NoError(t, s.DeleteMsg(t.Context(), last))
	f := follow(t, l, last-4)
	assert.Equal(t, last-3, f.next().Position)
	assert.Equal(t, last-1, f.next().Position, "over the gap")
	awaitLooks(3)
	assert.Equal(t, last+1, appendN(t, l, "b", 1))
	assert.Equal(t, last+1, f.next().Position)

	require.NoError(t, s.Purge(t.Context()))
	assert.Equal(t, last+2, appendN(t, l, "c", 1))
	assert.Equal(t, last+2, f.next().Position)
	// All purged while nobody is behind, and while somebody comes from far behind.
	require.NoError(t, s.Purge(t.Context()))
	late := follow(t, l, last)
	awaitLooks(2 * 3)
	appendN(t, l, "d", 1)
	assert.Equal(t, last+3, f.next().Position)
	assert.Equal(t, last+3, late.next().Position)
}

func TestFollow_endsWhenTheConnectionIsLostForAMoment(t *testing.T) {
	e := newEngine(t)
	l := e.log()
	f := follow(t, l, appendN(t, l, "a", 1)-1)
	f.next()
	e.cable.cut(false)
	require.ErrorIs(t, f.fails(), errConnection)
	require.Eventually(t, l.nc.IsConnected, patience, time.Millisecond)

	f = follow(t, l, boundsOf(t, l).Last)
	appendN(t, l, "b", 1)
	f.next()
	l.nc.Close()
	require.Error(t, f.fails())
	require.ErrorIs(t, l.Follow(t.Context(), 0, nil), errNotConnected)
}

// The store is set back to an older copy, without a change of the epoch.
func TestFollow_endsWhenTheStreamIsRolledBack(t *testing.T) {
	e := newEngine(t)
	l := e.log()
	kept := appendN(t, l, "kept", 4)
	restore := e.backup()
	before := settle(t, l)
	lost := appendN(t, l, "lost", 3)
	f := follow(t, l, kept)
	for range 3 {
		f.next()
	}
	restore()
	require.Error(t, f.fails())
	after := settle(t, l)
	assert.Equal(t, before, after, "as it was, with the same epoch")
	require.ErrorIs(t, l.Follow(t.Context(), lost, nil), errAhead)
	again := appendN(t, l, "other", 3)
	assert.Equal(t, lost, again, "the positions are given again")
	entries := read(t, l, kept, again)
	require.Len(t, entries, 3)
	assert.Equal(t, "other2", entries[2].MessageID, "and what has them says so")
}

// The same, unnoticed by the connection: the consumer is still there.
func TestFollow_endsWhenTheStreamIsShorterThanWhatItHasSeen(t *testing.T) {
	l := newEngine(t).log()
	l.timing.probe = 50 * time.Millisecond
	last := appendN(t, l, "a", 3)
	f := &follower{log: l, asked: last + 1, epoch: boundsOf(t, l).Epoch}
	m, err := l.request(t.Context(), "STREAM.INFO."+l.config.Stream, nil)
	require.NoError(t, err)
	require.ErrorIs(t, f.compare(m), errBack)
	f.asked, f.leader = last, "another"
	require.ErrorIs(t, f.compare(m), errLeader)
	f.leader, f.epoch = "", "another"
	require.ErrorIs(t, f.compare(m), errAnew)
	require.ErrorIs(t, f.compare(&nats.Msg{Header: nats.Header{"Status": {"503"}}}), errSilent)
}

// What the consumer counts must be what arrives.
func TestFollow_endsWhenAnythingIsLost(t *testing.T) {
	l := newEngine(t).log()
	send := func(f *follower, m *nats.Msg) error {
		m.Sub = &nats.Subscription{}
		if m.Subject == f.inbox {
			return f.control(m)
		}
		return f.entry(m)
	}
	entry := func(stream, consumer int) *nats.Msg {
		return &nats.Msg{Subject: "ev", Reply: fmt.Sprintf("$JS.ACK.s.c.1.%d.%d.1700000000000000000.0", stream, consumer)}
	}
	control := func(header ...string) *nats.Msg {
		m := &nats.Msg{Subject: "inbox", Header: nats.Header{}}
		for i := 0; i < len(header); i += 2 {
			m.Header.Set(header[i], header[i+1])
		}
		return m
	}
	for name, c := range map[string]struct {
		m    *nats.Msg
		want error
	}{
		"the next":                        {entry(12, 3), nil},
		"the next, over a deleted one":    {entry(17, 3), nil},
		"one was lost":                    {entry(13, 4), errLost},
		"the same again":                  {entry(11, 2), errLost},
		"the consumer counts anew":        {entry(12, 1), errLost},
		"a position that was":             {entry(11, 3), errBack},
		"a heartbeat":                     {control("Status", "100", "Nats-Last-Consumer", "2", "Nats-Last-Stream", "11"), nil},
		"a heartbeat after a loss":        {control("Status", "100", "Nats-Last-Consumer", "3", "Nats-Last-Stream", "12"), errLost},
		"a heartbeat of another consumer": {control("Status", "100", "Nats-Last-Consumer", "0", "Nats-Last-Stream", "9"), errLost},
		"the consumer was deleted":        {control("Status", "409", "Description", "Consumer Deleted"), errConsumer},
		"a stranger":                      {control("X", "y"), nil},
	} {
		f := &follower{log: l, inbox: "inbox", sent: 2, position: 11, deliver: func(eventlog.Entry) error { return nil }}
		assert.ErrorIs(t, send(f, c.m), c.want, name)
	}
}

// The whole server stops for a while, without an end of its connections: the
// operating system holds them.
func TestFollow_endsWhenTheServerIsFrozen(t *testing.T) {
	t.Parallel() // it mostly waits
	process, url := startProcess(t, t.TempDir(), freeAddress(t))
	l := openLog(t, connect(t, url), Config{})
	last := appendN(t, l, "a", 1)
	l.timing.request, l.timing.silence = 8*time.Second, 8*time.Second
	f := follow(t, l, last-1)
	f.next()
	require.NoError(t, freeze(t, process))

	// The hub tries again and again under the same message ID. Each attempt has
	// its time, and ends while the server is still frozen.
	for range 2 {
		_, err := l.Append(t.Context(), entry("once"))
		require.ErrorIs(t, err, errSilent)
	}
	require.ErrorIs(t, f.fails(), errSilent)

	require.NoError(t, process.Signal(syscall.SIGCONT))
	l.timing.request = patience
	var r eventlog.Receipt
	require.Eventually(t, func() bool {
		var err error
		r, err = l.Append(t.Context(), entry("once"))
		return err == nil
	}, patience, 10*time.Millisecond)
	entries := read(t, l, 0, r.Position+10)
	require.Len(t, entries, 2, "sent three times, there once")
	assert.Equal(t, r.Position, entries[1].Position)
}

func TestFollow_deliversNothingAfterTheEndOfItsContext(t *testing.T) {
	l := newEngine(t).log()
	start := fill(t, l, 1000, []byte("x"))
	for range 10 {
		ctx, cancel := context.WithCancelCause(t.Context())
		n := 0
		err := l.Follow(ctx, start, func(eventlog.Entry) error {
			if n++; n == 100 {
				cancel(assert.AnError)
			}
			return nil
		})
		require.ErrorIs(t, err, assert.AnError)
		require.Equal(t, 100, n)
	}
}

func TestFollow_leavesNoConsumer(t *testing.T) {
	e := newEngine(t)
	l := e.log()
	var deleted atomic.Int64 // by us, and not by the server after a while
	_, err := e.connect().Subscribe("$JS.API.CONSUMER.DELETE.>", func(*nats.Msg) { deleted.Add(1) })
	require.NoError(t, err)
	last := appendN(t, l, "a", 3)
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			for range 10 {
				err := l.Follow(t.Context(), last-1, func(eventlog.Entry) error { return assert.AnError })
				assert.ErrorIs(t, err, assert.AnError)
			}
		})
	}
	wg.Wait()
	require.Eventually(t, func() bool { return consumers(t, l) == 0 }, patience, 5*time.Millisecond)
	require.Eventually(t, func() bool { return deleted.Load() == 100 }, patience, time.Millisecond)
	require.Eventually(t, func() bool {
		stacks := make([]byte, 1<<20)
		return !bytes.Contains(stacks[:runtime.Stack(stacks, true)], []byte("follower"))
	}, patience, 5*time.Millisecond, "goroutines")
	assert.Equal(t, 2, l.nc.NumSubscriptions(), "for acknowledgements and answers")
}

// A process that is killed leaves its consumer to the server.
func TestFollow_theServerForgetsTheConsumerOfADeadProcess(t *testing.T) {
	l := newEngine(t).log()
	f := follow(t, l, boundsOf(t, l).Last)
	appendN(t, l, "a", 1)
	f.next()
	s, err := l.js.Stream(t.Context(), l.config.Stream)
	require.NoError(t, err)
	for info := range s.ListConsumers(t.Context()).Info() {
		assert.Equal(t, inactive, info.Config.InactiveThreshold)
		assert.True(t, info.Config.MemoryStorage)
		assert.Equal(t, jetstream.AckNonePolicy, info.Config.AckPolicy)
	}
}

// A receiver that is slow for longer than any heartbeat holds up the server, by
// flow control, and nothing is lost.
func TestFollow_waitsForASlowReceiver(t *testing.T) {
	t.Parallel() // it mostly waits
	l := newEngine(t).log(Config{Stream: "slow", MaxBytes: 512 << 20})
	l.timing.heartbeat, l.timing.silence, l.timing.probe = 100*time.Millisecond, 8*time.Second, 3*time.Second
	start := boundsOf(t, l).Last
	data := []byte(strings.Repeat("x", 512<<10))
	const n = 60 // 30 MiB, more than the server has on the way until it is told that it may
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range n / 4 {
				_, err := persist(t.Context(), l, eventlog.Entry{Data: data, MessageID: fmt.Sprint(g, "-", i)})
				assert.NoError(t, err)
			}
		})
	}
	wg.Wait()
	var got uint64
	err := l.Follow(t.Context(), start, func(e eventlog.Entry) error {
		if got++; e.Position != start+got {
			return fmt.Errorf("position %d instead of %d", e.Position, start+got)
		}
		switch got {
		case 1, 30:
			time.Sleep(9 * time.Second) // longer than a silence may be
		case n:
			return assert.AnError
		}
		return nil
	})
	assert.ErrorIs(t, err, assert.AnError)
}
