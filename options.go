package ssegin

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/gin-gonic/gin"
)

// The defaults.
const (
	defaultHeartbeat     = 15 * time.Second // a quarter of the idle time that proxies allow (nginx: 60 s)
	defaultRetry         = 2 * time.Second
	defaultWriteTimeout  = 10 * time.Second
	defaultHistoryBytes  = 8 << 20
	defaultHistoryAge    = 15 * time.Minute
	defaultFloorEvents   = 16
	defaultFloorBytes    = 64 << 10
	defaultEnds          = 65_536
	defaultEndsAge       = 24 * time.Hour
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
	floor         history // of each topic, like the next one
	ceiling       history
	ends          history
	first, last   func(topic string) // nil: nobody wants to know
	topicBounds   bool               // the floor or the ceiling was set
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

// WithHistory bounds what the hub remembers for clients that come back, for new ones
// (WithReplay) and for streams that are slow, over all topics: so many events, so many
// bytes, and none older than age, whichever is reached first. A zero keeps that bound's
// default: any number of events, 8 MiB, 15 minutes. The bytes are counted whole, with
// what it takes to keep an event beside its own bytes: 8 MiB hold some 30,000 events of
// 100 bytes. What is too old is let go when the next stream opens, or, 2,000 events at a
// time, when the next event is published. Which events leave first is said at WithTopicFloor.
func WithHistory(events, bytes int, age time.Duration) HubOption {
	mustNotBeNegative("WithHistory: events", events)
	mustNotBeNegative("WithHistory: bytes", bytes)
	mustNotBeNegative("WithHistory: age", age)
	return func(o *hubOptions) {
		o.history = history{
			events: events,
			bytes:  orDefault(bytes, defaultHistoryBytes),
			age:    orDefault(age, defaultHistoryAge),
		}
	}
}

// WithTopicFloor sets how much of each topic is remembered in any case, so that a flood
// in one topic does not push out what others have: the newest events of the topic, as
// many as a history of these bounds would hold. Of these bounds a zero is none; three
// zeros are no floor. The default is 16 events of 64 KiB in all.
//
// The bounds of WithHistory come first: its age for every event, and the floors of all
// topics together have half of its events and bytes. Where they do not fit into that
// half, the oldest of what only the floors keep leaves first. The other half is the
// newest part of the log, whatever the topics, which leaves in the order of the log.
//
// With WithLog a hub cannot have it: the log of an engine is one, which loses its oldest
// entries, whatever their topic. Make it large enough, or give each class of topics a
// hub and a log of its own.
func WithTopicFloor(events, bytes int, age time.Duration) HubOption {
	h := topicHistory("WithTopicFloor", events, bytes, age)
	return func(o *hubOptions) { o.floor, o.topicBounds = h, true }
}

// WithTopicCeiling bounds what is remembered of each topic, whichever bound is reached
// first. A zero is no bound. The newest event of a topic stays, however large, until it
// is too old. What is too old is let go when something is published to the topic or a
// stream of it opens. The default is none. With WithLog a hub cannot have it; see
// WithTopicFloor.
func WithTopicCeiling(events, bytes int, age time.Duration) HubOption {
	h := topicHistory("WithTopicCeiling", events, bytes, age)
	return func(o *hubOptions) { o.ceiling, o.topicBounds = h, true }
}

func topicHistory(option string, events, bytes int, age time.Duration) history {
	mustNotBeNegative(option+": events", events)
	mustNotBeNegative(option+": bytes", bytes)
	mustNotBeNegative(option+": age", age)
	return history{events, bytes, age}
}

// WithEnds bounds for how many topics, and for how long, the hub remembers that they
// have ended (Hub.End): a client that comes back within that time gets 204 or the last
// event, also when the events of the topic are long gone. An end takes some 100 bytes
// and the name of its topic. A zero keeps that bound's default: 65,536 topics, 24 hours.
// What the application itself knows to be over it says by ErrEnded; see WithTopics.
func WithEnds(topics int, age time.Duration) HubOption {
	mustNotBeNegative("WithEnds: topics", topics)
	mustNotBeNegative("WithEnds: age", age)
	return func(o *hubOptions) {
		o.ends = history{events: orDefault(topics, defaultEnds), age: orDefault(age, defaultEndsAge)}
	}
}

// WithLocalAudience has first called when a topic gets a stream in this process and had
// none, and last when it has none any more: to fetch what the topic shows from elsewhere
// only while somebody looks. Of one topic they take turns, on a goroutine of their own, one
// call at a time; what has changed back before it was told is left out, and so is a stream
// that another process has. Broadcasts are no topic. Shutdown waits for the last calls. A
// panic in them is logged.
func WithLocalAudience(first, last func(topic string)) HubOption {
	if first == nil || last == nil {
		panic("ssegin: WithLocalAudience needs both functions")
	}
	return func(o *hubOptions) { o.first, o.last = first, last }
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
// New clients that are given a topic's past (WithReplay) are told the same while slow ones
// hold 64 MiB that were read for them.
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
		history:       history{bytes: defaultHistoryBytes, age: defaultHistoryAge},
		floor:         history{events: defaultFloorEvents, bytes: defaultFloorBytes},
		ends:          history{events: defaultEnds, age: defaultEndsAge},
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
	if o.log != nil && o.topicBounds {
		panic("ssegin: WithTopicFloor and WithTopicCeiling are for a log in memory: with WithLog the engine bounds its log as a whole")
	}
	if o.maxStreams > 0 && o.maxStreamsPer > o.maxStreams {
		panic(fmt.Sprintf("ssegin: WithMaxStreamsPer (%d) can never be reached under WithMaxStreams (%d)", o.maxStreamsPer, o.maxStreams))
	}
	return o
}

// retention is what the hub's memory keeps. Of a log in an engine it is the newest
// part, whatever the topics.
func (o *hubOptions) retention() retention {
	r := retention{all: o.history, ends: o.ends}
	if o.log == nil {
		r.floor, r.ceiling = o.floor, o.ceiling
	}
	return r
}

// audience is what tells of the streams of topics.
func (o *hubOptions) audience() *audience {
	if o.first == nil {
		return nil
	}
	return &audience{
		first:   guarded(o, "first of WithLocalAudience", o.first),
		last:    guarded(o, "last of WithLocalAudience", o.last),
		pending: map[string]bool{},
		told:    map[string]bool{},
	}
}

// guarded returns hook with its panics logged: there is no request that they could end.
func guarded[T any](o *hubOptions, name string, hook func(T)) func(T) {
	if hook == nil {
		return nil
	}
	return func(arg T) {
		defer func() {
			if p := recover(); p != nil {
				o.logger().Error("ssegin: panic in a hook", "hook", name, "panic", p, "stack", string(debug.Stack()))
			}
		}()
		hook(arg)
	}
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
