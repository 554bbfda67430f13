package ssegin

import (
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// requirePanic requires that f panics with a text that has all of these parts.
func requirePanic(t *testing.T, f func(), parts ...string) {
	t.Helper()
	defer func() {
		t.Helper()
		text, _ := recover().(string)
		for _, part := range append(parts, "ssegin: ") {
			require.Contains(t, text, part)
		}
	}()
	f()
}

func TestOptions_thatContradictEachOtherPanicWithBothNames(t *testing.T) {
	topics := WithTopics(func(*gin.Context) ([]string, error) { return nil, nil })
	for _, tc := range []struct {
		setUp func()
		parts []string
	}{
		{func() { NewHub(WithMaxEventBytes(8<<20 + 1)) }, []string{"WithMaxEventBytes", "8388609", "WithHistory", "8388608"}},
		{func() { NewHub(WithHistory(0, 1000, 0)) }, []string{"WithMaxEventBytes", "1048576", "WithHistory", "1000"}},
		{func() { NewHub(WithMaxStreams(2), WithMaxStreamsPer(noKey, 3)) }, []string{"WithMaxStreams ", "2", "WithMaxStreamsPer", "3"}},
		{func() { Handler(NewHub(WithHistory(0, 0, 15*time.Second))) }, []string{"WithHeartbeat", "WithHistory", "15s"}},
		{func() { Handler(NewHub(), WithHeartbeat(time.Hour)) }, []string{"WithHeartbeat", "1h0m0s", "WithHistory", "15m0s"}},
		{func() { Handler(NewHub(WithHistory(0, 0, 30*time.Second)), WithPolling(30*time.Second)) }, []string{"WithPolling", "WithHistory", "30s"}},
		{func() { Handler(NewHub(), WithPolling(0), WithRetry(99*time.Millisecond)) }, []string{"WithRetry", "99ms", "WithPolling", "100ms"}},
		{func() { Middleware(WithPolling(0)) }, []string{"Middleware", "WithPolling"}},
		{func() { Middleware(topics) }, []string{"Middleware", "WithTopics", "Handler"}},
		{func() { Middleware(WithConflation()) }, []string{"Middleware", "WithConflation"}},
		{func() { Middleware(WithBatch(1)) }, []string{"Middleware", "WithBatch"}},
		{func() { Middleware(OnConnect(func(*gin.Context, *Stream) error { return nil })) }, []string{"Middleware", "OnConnect"}},
		{func() { Middleware(OnReset(func(*Stream, Reset) {})) }, []string{"Middleware", "OnReset"}},
		{func() { Middleware(OnDisconnect(func(*Stream) {})) }, []string{"Middleware", "OnDisconnect"}},
		{func() { Handler(nil) }, []string{"Handler", "NewHub"}},
	} {
		requirePanic(t, tc.setUp, tc.parts...)
	}
}

func TestOptions_thatMeanNothingPanicWithNameAndValue(t *testing.T) {
	for _, tc := range []struct {
		setUp func()
		parts []string
	}{
		{func() { WithHistory(-1, 0, 0) }, []string{"WithHistory: events", "-1"}},
		{func() { WithHistory(0, -2, 0) }, []string{"WithHistory: bytes", "-2"}},
		{func() { WithHistory(0, 0, -3) }, []string{"WithHistory: age", "-3ns"}},
		{func() { WithMaxEventBytes(0) }, []string{"WithMaxEventBytes", "0"}},
		{func() { WithMaxStreams(0) }, []string{"WithMaxStreams", "0"}},
		{func() { WithMaxStreamsPer(noKey, -1) }, []string{"WithMaxStreamsPer", "-1"}},
		{func() { WithDrain(-time.Second) }, []string{"WithDrain", "-1s"}},
		{func() { WithHeartbeat(-1) }, []string{"WithHeartbeat", "-1ns"}},
		{func() { WithRetry(0) }, []string{"WithRetry", "0s"}},
		{func() { WithWriteTimeout(-1) }, []string{"WithWriteTimeout", "-1ns"}},
		{func() { WithMaxAge(-1) }, []string{"WithMaxAge", "-1ns"}},
		{func() { WithBatch(-1) }, []string{"WithBatch", "-1ns"}},
		{func() { WithPolling(-1) }, []string{"WithPolling", "-1ns", "1m0s"}},
		{func() { WithPolling(time.Minute + 1) }, []string{"WithPolling", "1m0.000000001s"}},
	} {
		requirePanic(t, tc.setUp, tc.parts...)
	}
}

func TestOptions_whatIsNotSetHasTheDocumentedDefault(t *testing.T) {
	o := newHubOptions([]HubOption{WithHistory(7, 0, time.Second), WithHistory(0, 2<<20, 0)})
	assert.Equal(t, history{0, 2 << 20, 15 * time.Minute}, o.history, "the later one counts, zero is the default")
	o = newHubOptions(nil)
	assert.Equal(t, retention{
		all:   history{0, 8 << 20, 15 * time.Minute},
		floor: history{16, 64 << 10, 0},
		ends:  history{65_536, 0, 24 * time.Hour},
	}, o.retention())
	assert.Equal(t, 1<<20, o.maxEventBytes)
	assert.Zero(t, o.maxStreams+o.maxStreamsPer+int(o.drain))

	s := newStreamOptions(nil)
	assert.Equal(t, 15*time.Second, s.heartbeat)
	assert.Zero(t, s.retry, "a hub has a default, and Middleware sends none unasked")
	assert.Equal(t, 10*time.Second, s.writeTimeout)
	assert.Zero(t, s.maxAge+s.batch)
}

// The moment is counted from the request on, on the monotonic clock: a step of
// the wall clock ends no stream early or late.
func TestOptions_endIsTheEarlierOfMaxAgeAndExpiry(t *testing.T) {
	now := time.Now()
	for _, tc := range []struct {
		maxAge, expiry time.Duration // from now on; zero: none
		until          time.Duration
		cause          error
	}{
		{0, 0, 0, nil},
		{time.Minute, 0, time.Minute, ErrMaxAge},
		{0, time.Minute, time.Minute, ErrExpired},
		{time.Minute, time.Hour, time.Minute, ErrMaxAge},
		{time.Hour, time.Minute, time.Minute, ErrExpired},
		{time.Hour, -time.Minute, -time.Minute, ErrExpired},
	} {
		o := newStreamOptions([]StreamOption{WithMaxAge(tc.maxAge), WithExpiry(func(*gin.Context) time.Time {
			if tc.expiry == 0 {
				return time.Time{}
			}
			return now.Add(tc.expiry).Round(0) // as it is read from a token
		})})
		until, cause := o.end(nil, now)
		assert.Equal(t, tc.cause, cause)
		if tc.cause == nil {
			assert.Zero(t, until)
			continue
		}
		assert.Equal(t, tc.until, until.Sub(now))
		assert.NotEqual(t, until.Round(0), until, "no monotonic reading")
	}
}

func TestOptions_thatAreNilPanicWithTheirPlace(t *testing.T) {
	requirePanic(t, func() { NewHub(WithMaxStreams(1), nil) }, "HubOption", "2", "nil")
	requirePanic(t, func() { Handler(NewHub(), nil) }, "StreamOption", "1", "nil")
	requirePanic(t, func() { Middleware(WithRetry(1), WithRetry(2), nil) }, "StreamOption", "3", "nil")
}

func TestHub_thatNewHubHasNotMadePanicsAndSaysSo(t *testing.T) {
	for name, h := range map[string]*Hub{"zero": {}, "nil": nil} {
		for verb, call := range map[string]func(){
			"Broadcast":  func() { _, _ = h.Broadcast(t.Context(), Event{}) },
			"Publish":    func() { _, _ = h.Publish(t.Context(), "a", Event{}) },
			"End":        func() { _, _ = h.End(t.Context(), "a", Event{}) },
			"Disconnect": func() { _, _ = h.Disconnect(t.Context(), "a") },
			"Shutdown":   func() { _ = h.Shutdown(t.Context()) },
			"Stats":      func() { h.Stats() },
			"Handler":    func() { Handler(h) },
		} {
			t.Run(name+" "+verb, func(t *testing.T) { requirePanic(t, call, "NewHub") })
		}
	}
}

// A clock that is set, or steps, changes the wall clock only. The end of a
// stream must not move with it, whatever kind of time the application gives.
func TestWithExpiry_countsOnTheMonotonicClock(t *testing.T) {
	for name, expiry := range map[string]time.Time{
		"from a token":      time.Unix(time.Now().Unix()+3600, 0),
		"from the same now": time.Now().Add(time.Hour),
	} {
		o := newStreamOptions([]StreamOption{
			WithMaxAge(24 * time.Hour),
			WithExpiry(func(*gin.Context) time.Time { return expiry }),
		})
		until, cause := o.end(nil, time.Now())
		assert.Contains(t, until.String(), " m=", name)
		assert.WithinDuration(t, expiry, until, time.Second, name)
		assert.Equal(t, ErrExpired, cause, name)
	}
}
