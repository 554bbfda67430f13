package ssegin

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/gin-gonic/gin"
)

// The defaults.
const (
	defaultHeartbeat     = 15 * time.Second // a quarter of the idle time that proxies allow (nginx: 60 s)
	defaultRetry         = 2 * time.Second
	defaultWriteTimeout  = 10 * time.Second
	defaultHistoryEvents = 1024
	defaultHistoryBytes  = 8 << 20
	defaultHistoryAge    = 15 * time.Minute
	defaultMaxTopics     = 1000
	defaultMaxCatchingUp = 10_000

	defaultPublishTimeout = 5 * time.Second

	defaultPolling      = 25 * time.Second
	maxPolling          = time.Minute
	defaultPollingRetry = 500 * time.Millisecond // Firefox waits no less
	minPollingRetry     = 100 * time.Millisecond
)

// A HubOption sets one thing about a Hub; see NewHub. Of two that set the same
// thing, the later one counts.
type HubOption func(*hubOptions)

type hubOptions struct {
	history       history
	maxEventBytes int
	maxStreams    int // zero: no limit
	maxStreamsPer int // zero: no limit
	maxCatchingUp int // zero: the default
	key           func(*gin.Context) string
	drain         time.Duration

	log            Log // nil: in memory alone
	publishTimeout time.Duration

	slog     *slog.Logger // nil: the default one
	observer Observer
}

// WithHistory bounds what the hub remembers for clients that come back and for
// streams that are slow: so many events, of so many bytes as encoded, and none
// older than age, whichever is reached first. A zero keeps that bound's
// default: 1,024 events, 8 MiB, 15 minutes. What is too old is let go when the
// next event is published or the next stream opens.
func WithHistory(events, bytes int, age time.Duration) HubOption {
	mustNotBeNegative("WithHistory: events", events)
	mustNotBeNegative("WithHistory: bytes", bytes)
	mustNotBeNegative("WithHistory: age", age)
	return func(o *hubOptions) {
		o.history = history{
			events: orDefault(events, defaultHistoryEvents),
			bytes:  orDefault(bytes, defaultHistoryBytes),
			age:    orDefault(age, defaultHistoryAge),
		}
	}
}

// WithLog keeps the hub's events in an engine, which the hubs of several
// processes share: all of them show every event in the same order and under the
// same ID, and a client that comes to another process goes on where it was. See
// the modules natslog and redislog. Without it the log is in memory alone, and
// ends with the process.
//
// The hub then follows the log with one goroutine, until Shutdown, and holds the
// newest part of it in memory, as WithHistory bounds it: most clients that come
// back are served from there, the others from the engine. How far back that
// reaches is set where the log is made.
//
// The age of what is in memory, and the lag that Stats and Observer report, count
// from when this process has read an event. When the engine does not answer,
// publishing fails after WithPublishTimeout, streams stay open, and Stats and
// Observer tell of it; the hub goes on by itself when it is back.
func WithLog(log Log) HubOption {
	if log == nil {
		panic("ssegin: WithLog needs a log; leave the option out for a log in memory")
	}
	return func(o *hubOptions) { o.log = log }
}

// WithPublishTimeout bounds how long publishing to the engine of WithLog is
// tried, again and again if need be, whatever the context allows. The default is
// 5 seconds. Without an engine publishing never waits.
func WithPublishTimeout(d time.Duration) HubOption {
	mustBePositive("WithPublishTimeout", d)
	return func(o *hubOptions) { o.publishTimeout = d }
}

// WithMaxEventBytes bounds one event, as encoded; larger ones get ErrTooLarge.
// The default is 1 MiB.
func WithMaxEventBytes(n int) HubOption {
	mustBePositive("WithMaxEventBytes", n)
	return func(o *hubOptions) { o.maxEventBytes = n }
}

// WithMaxStreams bounds the streams that are open at the same time. The next
// client is told to come back later. The default is no limit.
func WithMaxStreams(n int) HubOption {
	mustBePositive("WithMaxStreams", n)
	return func(o *hubOptions) { o.maxStreams = n }
}

// WithMaxStreamsPer bounds the streams that are open at the same time for each
// key. The application says what the key of a request is: a user, a tenant, an
// address. Gin's ClientIP is one only if the trusted proxies are set; without,
// anybody can claim any address. Requests that wait for the engine of WithLog count,
// and of those that wait for what they missed, each key has its turn.
func WithMaxStreamsPer(key func(*gin.Context) string, n int) HubOption {
	mustBePositive("WithMaxStreamsPer", n)
	if key == nil {
		panic("ssegin: WithMaxStreamsPer needs a function for the key: without one all clients would share a limit")
	}
	return func(o *hubOptions) { o.key, o.maxStreamsPer = key, n }
}

// WithMaxCatchingUp bounds the clients that need something of the engine of WithLog at
// the same time: those that have missed events older than the memory of this process,
// until they have them, and requests that wait until this process knows what the client
// has seen. The next one is told to come back later, with ErrTooManyCatchingUp. The
// default is 10,000. They share what is read of the engine, so what grows with their
// number is the memory of what each of them writes: at first 64 KiB, which becomes less
// from some hundred slow ones on, or one event that is larger; see docs/sizing.md.
func WithMaxCatchingUp(n int) HubOption {
	mustBePositive("WithMaxCatchingUp", n)
	return func(o *hubOptions) { o.maxCatchingUp = n }
}

// WithDrain spreads the end of the streams over a window when the hub shuts
// down, so that the clients of a server that is deployed anew do not all come
// back in the same moment. Each is told a reconnection time of its own, between
// one and two times that of WithRetry, from its own end on. The default is zero:
// all end at once, and only their different reconnection times spread them.
func WithDrain(window time.Duration) HubOption {
	mustNotBeNegative("WithDrain", window)
	return func(o *hubOptions) { o.drain = window }
}

// WithLogger sets where the hub's streams report what they cannot do. The
// default is slog.Default, as it is when a report is made.
func WithLogger(l *slog.Logger) HubOption {
	return func(o *hubOptions) { o.slog = l }
}

// WithObserver sets the hooks for metrics and traces.
func WithObserver(observer Observer) HubOption {
	return func(o *hubOptions) { o.observer = observer }
}

func newHubOptions(opts []HubOption) hubOptions {
	o := hubOptions{
		history:       history{defaultHistoryEvents, defaultHistoryBytes, defaultHistoryAge},
		maxEventBytes: defaultMaxEventBytes,

		publishTimeout: defaultPublishTimeout,
	}
	for i, set := range opts {
		mustBeOption(set == nil, "HubOption", i)
		set(&o)
	}
	if o.maxEventBytes > o.history.bytes {
		panic(fmt.Sprintf("ssegin: WithMaxEventBytes (%d) allows an event that the bytes of WithHistory (%d) cannot hold", o.maxEventBytes, o.history.bytes))
	}
	if o.maxStreams > 0 && o.maxStreamsPer > o.maxStreams {
		panic(fmt.Sprintf("ssegin: WithMaxStreamsPer (%d) can never be reached under WithMaxStreams (%d)", o.maxStreamsPer, o.maxStreams))
	}
	return o
}

// logger is where a hub and its streams report what they cannot do.
func (o *hubOptions) logger() *slog.Logger {
	if o.slog != nil {
		return o.slog
	}
	return slog.Default()
}

// mustBeOption panics for an option that is nil, as one is that an application
// keeps in a variable and has not set.
func mustBeOption(isNil bool, kind string, index int) {
	if isNil {
		panic(fmt.Sprintf("ssegin: %s number %d is nil: leave it out", kind, index+1))
	}
}

func orDefault[T int | time.Duration](value, fallback T) T {
	if value == 0 {
		return fallback
	}
	return value
}

func mustNotBeNegative[T int | time.Duration](name string, value T) {
	if value < 0 {
		panic(fmt.Sprintf("ssegin: %s is negative: %v", name, value))
	}
}

func mustBePositive[T int | time.Duration](name string, value T) {
	if value <= 0 {
		panic(fmt.Sprintf("ssegin: %s must be positive, not %v", name, value))
	}
}
