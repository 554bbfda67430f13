package natslog

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin/eventlog"
	"github.com/ssegin/ssegin/ssegintest"
)

func TestLog(t *testing.T) {
	engines := make(map[string]*engine) // by stream
	logs := make(map[string][]*Log)
	newLog := func(t *testing.T) eventlog.Log {
		e := newEngine(t)
		// As an operator may make it: entries can be deleted, which New forbids.
		config, err := Config{Stream: newStream()}.withDefaults()
		require.NoError(t, err)
		stream := config.stream(time.Now())
		stream.DenyDelete = false
		js, err := jetstream.New(e.connect())
		require.NoError(t, err)
		_, err = js.CreateStream(t.Context(), stream)
		require.NoError(t, err)
		l := e.log(config)
		engines[l.config.Stream] = e
		logs[l.config.Stream] = []*Log{l}
		return l
	}
	stream := func(t *testing.T, log eventlog.Log) jetstream.Stream {
		l := log.(*Log)
		s, err := l.js.Stream(t.Context(), l.config.Stream)
		require.NoError(t, err)
		return s
	}
	ssegintest.TestLog(t, newLog, ssegintest.LogFaults{
		Open: func(t *testing.T, log eventlog.Log) eventlog.Log {
			l := log.(*Log)
			other := openLog(t, engines[l.config.Stream].connect(), l.config)
			logs[l.config.Stream] = append(logs[l.config.Stream], other)
			return other
		},
		Renew: func(t *testing.T, log eventlog.Log) {
			l := log.(*Log)
			require.NoError(t, l.js.DeleteStream(t.Context(), l.config.Stream))
		},
		Purge: func(t *testing.T, log eventlog.Log) { require.NoError(t, stream(t, log).Purge(t.Context())) },
		Trim: func(t *testing.T, log eventlog.Log, n int) {
			first := boundsOf(t, log.(*Log)).First
			require.NoError(t, stream(t, log).Purge(t.Context(), jetstream.WithPurgeSequence(first+uint64(n))))
		},
		Delete: func(t *testing.T, log eventlog.Log, position uint64) {
			require.NoError(t, stream(t, log).DeleteMsg(t.Context(), position))
		},
		Backup: func(t *testing.T, log eventlog.Log) func() {
			stream := log.(*Log).config.Stream
			restore := engines[stream].backup()
			for _, l := range logs[stream] { // the server was away
				settle(t, l)
			}
			return restore
		},
		Drop: func(_ *testing.T, log eventlog.Log) { engines[log.(*Log).config.Stream].cable.cut(false) },
	})
}

func TestNew_makesTheStreamOnceForAll(t *testing.T) {
	e := newEngine(t)
	before := time.Now()
	var wg sync.WaitGroup
	epochs := make([]string, 8)
	for i := range epochs {
		nc := e.connect()
		wg.Go(func() {
			l, err := New(t.Context(), nc, Config{})
			if assert.NoError(t, err) {
				epochs[i] = boundsOf(t, l).Epoch
			}
		})
	}
	wg.Wait()
	for _, epoch := range epochs {
		assert.Equal(t, epochs[0], epoch)
	}
	l := e.log(Config{})
	b := boundsOf(t, l)
	assert.Equal(t, b.Last+1, b.First)
	assert.GreaterOrEqual(t, b.First, uint64(before.UnixMicro()), "positions start at the time of the log's birth")

	info, err := l.info(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{"ssegin", "ssegin.>"}, info.Config.Subjects)
	assert.Equal(t, time.Hour, info.Config.MaxAge)
	assert.EqualValues(t, 256<<20, info.Config.MaxBytes)
	assert.EqualValues(t, -1, info.Config.MaxMsgs)
	assert.Equal(t, 2*time.Minute, info.Config.Duplicates)
	assert.Equal(t, jetstream.FileStorage, info.Config.Storage)
	assert.True(t, info.Config.DenyDelete)
	assert.False(t, info.Config.DenyPurge)
}

func TestNew_refusesAStreamThatCannotBeTheLog(t *testing.T) {
	e := newEngine(t)
	js, err := jetstream.New(e.connect())
	require.NoError(t, err)
	for text, change := range map[string]func(*jetstream.StreamConfig){
		"its subjects are":                 func(c *jetstream.StreamConfig) { c.Subjects = c.Subjects[1:] },
		"its retention is not by limits":   func(c *jetstream.StreamConfig) { c.Retention = jetstream.InterestPolicy },
		"does not discard the old":         func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardNew },
		"a limit for each subject":         func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 5 },
		"does not allow direct gets":       func(c *jetstream.StreamConfig) { c.AllowDirect = false },
		"it remembers message IDs for 10s": func(c *jetstream.StreamConfig) { c.Duplicates = 10 * time.Second },
		"does not acknowledge":             func(c *jetstream.StreamConfig) { c.NoAck = true },
		"it changes subjects": func(c *jetstream.StreamConfig) {
			c.SubjectTransform = &jetstream.SubjectTransformConfig{Source: c.Subjects[1], Destination: "y.>"}
		},
		"it copies from other streams": func(c *jetstream.StreamConfig) { c.Sources = []*jetstream.StreamSource{{Name: "other"}} },
		"allows rollups":               func(c *jetstream.StreamConfig) { c.AllowRollup = true },
		"a time to live":               func(c *jetstream.StreamConfig) { c.AllowMsgTTL = true },
		"sent later":                   func(c *jetstream.StreamConfig) { c.AllowMsgSchedules = true },
	} {
		t.Run(text, func(t *testing.T) {
			c, err := Config{Stream: newStream(), MaxBytes: 1 << 20}.withDefaults()
			require.NoError(t, err)
			config := c.stream(time.Now())
			change(&config)
			_, err = js.CreateStream(t.Context(), config)
			require.NoError(t, err)
			_, err = New(t.Context(), e.connect(), c)
			assert.ErrorContains(t, err, text)
		})
	}
	t.Run("and no other", func(t *testing.T) {
		c, err := Config{Stream: newStream(), MaxBytes: 1 << 20}.withDefaults()
		require.NoError(t, err)
		config := c.stream(time.Now())
		// What an operator may choose.
		config.MaxAge, config.MaxBytes, config.MaxMsgs, config.FirstSeq = 0, -1, 10, 0
		config.DenyDelete, config.Compression, config.Storage = false, jetstream.S2Compression, jetstream.MemoryStorage
		_, err = js.CreateStream(t.Context(), config)
		require.NoError(t, err)
		l, err := New(t.Context(), e.connect(), c)
		require.NoError(t, err)
		b := boundsOf(t, l)
		assert.Equal(t, eventlog.Bounds{Epoch: b.Epoch, First: 1, Last: 0}, b)
	})
}

func TestNew_refusesConfigsThatCannotBe(t *testing.T) {
	e := newEngine(t)
	for _, config := range []Config{
		{Stream: "a b"},
		{Stream: "a.b"},
		{Subject: "a.*"},
		{Subject: "a..b"},
		{Subject: "$JS"},
		{MaxBytes: 1000},
		{Duplicates: -1},
	} {
		_, err := New(t.Context(), e.connect(), config)
		assert.Error(t, err, "%+v", config)
	}
	_, err := New(t.Context(), e.connect(), Config{Stream: "short", MaxAge: 30 * time.Second})
	assert.NoError(t, err, "a stream that lives for less than the duplicate window")
}

func TestNew_withoutJetStream(t *testing.T) {
	e := newEngine(t)
	nc := e.connect()
	e.stop()
	require.Eventually(t, func() bool { return !nc.IsConnected() }, patience, time.Millisecond)
	_, err := New(t.Context(), nc, Config{})
	assert.ErrorIs(t, err, errNotConnected)
}

// New waits for what may still come, and not for rights that nobody gives.
func TestNew_withoutRights(t *testing.T) {
	e := newEngine(t, permit)
	nc := e.connect(nats.UserInfo("nobody", "p"))
	require.Eventually(t, func() bool {
		_, err := New(t.Context(), nc, Config{})
		return errors.Is(err, nats.ErrPermissionViolation)
	}, patience, time.Millisecond)
}

func TestNew_endsWithItsContext(t *testing.T) {
	mute, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT})
	require.NoError(t, err)
	mute.Start()
	t.Cleanup(mute.Shutdown)
	require.True(t, mute.ReadyForConnections(patience))
	nc := connect(t, mute.ClientURL())
	_, err = nc.Subscribe("$JS.API.>", func(*nats.Msg) {}) // there, and without an answer
	require.NoError(t, err)
	ctx, cancel := context.WithTimeoutCause(t.Context(), 2500*time.Millisecond, assert.AnError)
	defer cancel()
	_, err = New(ctx, nc, Config{})
	require.ErrorIs(t, err, assert.AnError)
}

// Whoever saves the configuration of a stream and makes it anew from that makes
// another log, although all that he can set is the same.
func TestBounds_epochIsNotCopiedWithTheConfiguration(t *testing.T) {
	l := newEngine(t).log()
	before := boundsOf(t, l)
	info, err := l.info(t.Context())
	require.NoError(t, err)
	require.NoError(t, l.js.DeleteStream(t.Context(), l.config.Stream))
	require.Eventually(t, func() bool { // the server may still be busy with the old one
		_, err = l.js.CreateStream(t.Context(), info.Config)
		return err == nil
	}, patience, 10*time.Millisecond)
	after := boundsOf(t, l)
	assert.Equal(t, before.First, after.First)
	assert.NotEqual(t, before.Epoch, after.Epoch)
}

func TestBounds_epochStaysWhenTheServerStarts(t *testing.T) {
	e := newEngine(t)
	l := e.log()
	appendN(t, l, "a", 3)
	before := boundsOf(t, l)
	e.stop()
	e.start()
	assert.Equal(t, before, settle(t, l))
}

func TestBounds_saysWhatHasBecomeOfTheStream(t *testing.T) {
	l := newEngine(t).log()
	config := l.config.stream(time.Now())
	info, err := l.info(t.Context())
	require.NoError(t, err)
	config.FirstSeq, config.MaxMsgsPerSubject = info.Config.FirstSeq, 1
	_, err = l.js.UpdateStream(t.Context(), config)
	require.NoError(t, err)
	_, err = l.Bounds(t.Context())
	assert.ErrorContains(t, err, "a limit for each subject")
	assert.ErrorContains(t, l.Follow(t.Context(), 0, nil), "a limit for each subject")
}

func TestBounds_endsInTimeWhenTheServerSaysNothing(t *testing.T) {
	e := newEngine(t)
	l := e.log()
	l.timing.request = 50 * time.Millisecond
	// A name that no stream has would be made; one that nobody answers for stays
	// without an answer.
	l.api = "NOBODY."
	sub, err := l.nc.SubscribeSync("NOBODY.>")
	require.NoError(t, err)
	defer func() { _ = sub.Unsubscribe() }() // the test is over
	_, err = l.Bounds(t.Context())
	require.ErrorIs(t, err, errSilent)

	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(assert.AnError)
	_, err = l.Bounds(ctx)
	assert.ErrorIs(t, err, assert.AnError)
}
