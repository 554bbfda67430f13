package ssegin

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
)

// A StreamOption sets one thing about the streams of a Handler or Middleware.
// Of two that set the same thing, the later one counts.
type StreamOption func(*streamOptions)

type streamOptions struct {
	pace
	topics       func(*gin.Context) ([]string, error)
	maxTopics    int           // zero: the default
	writeTimeout time.Duration // zero: none
	maxAge       time.Duration // zero: none
	expiry       func(*gin.Context) time.Time
	conflate     bool
	replay       *Replay // nil: nothing
	batch        time.Duration
	detach       bool
	polling      time.Duration // zero: responses last
	clients      clients
	brokenEnds   bool
	onConnect    func(*gin.Context, *Stream) error
	onReset      func(*Stream, Reset)
	onDisconnect func(*Stream)

	reported     sync.Map    // what was reported of which route
	bounded      sync.Once   // the one report of a request's deadline
	crowded      sync.Once   // the one report of more topics than maxTopics
	undetachable atomic.Bool // a connection turned out not to be plain TCP
}

// WithTopics says what a client may follow: it is asked on every connect, also
// when a client comes back, and its answer alone decides. A stream without
// topics gets broadcasts only. An error refuses the client: with the answer
// that the function has given itself, or else with status 403. If the error
// wraps ErrTooManyStreams, the client is told to come back later; if it wraps ErrEnded,
// because the application knows that what the client asks for is over, it gets status
// 204, at which an EventSource stops. A topic that
// comes twice counts once. WithMaxTopics bounds the list, which a client can make
// long where it is taken from the request. The function is asked once more when
// Hub.Disconnect was called for one of its topics before the stream has begun.
func WithTopics(topics func(*gin.Context) ([]string, error)) StreamOption {
	return func(o *streamOptions) { o.topics = topics }
}

// WithMaxTopics bounds the topics of one stream. A client to which WithTopics
// gives more is refused with status 403 and ErrTooManyTopics, and a line in the
// log says so once for each Handler. The default is 1,000. Each topic of a stream
// takes about a hundred bytes, and time when the stream opens and when it leaves.
func WithMaxTopics(n int) StreamOption {
	mustBePositive("WithMaxTopics", n)
	return func(o *streamOptions) { o.maxTopics = n }
}

// WithHeartbeat sets how long a stream is idle before it gets a sign of life,
// which keeps proxies from cutting it and finds clients that are gone. The
// default is 15 seconds; zero turns heartbeats off.
func WithHeartbeat(every time.Duration) StreamOption {
	mustNotBeNegative("WithHeartbeat", every)
	return func(o *streamOptions) { o.heartbeat = every }
}

// WithHeartbeatEvent makes heartbeats events that a page can see, for watchdogs of
// its own: an EventSource shows no comments. The event is encoded once, has no ID and is
// not kept in the log. The function panics if it cannot be sent.
func WithHeartbeatEvent(e Event) StreamOption {
	if e.ID != "" || e.MessageID != "" || e.Type == "" && e.Data == nil {
		panic("ssegin: WithHeartbeatEvent: a heartbeat has a Type or Data, no ID and no MessageID")
	}
	block, err := encode(e, 0, defaultMaxEventBytes)
	if err != nil {
		panic(fmt.Sprintf("ssegin: WithHeartbeatEvent: %v", err))
	}
	return func(o *streamOptions) { o.beat = append(block, '\n') }
}

// WithRetry sets how long clients wait before they reconnect. A stream of a hub sends it
// as it opens; the default is 2 seconds. A stream of Middleware, and one of a plain
// client (WithPlain), sends it with its first event, and by default not at all.
func WithRetry(d time.Duration) StreamOption {
	mustBePositive("WithRetry", d)
	return func(o *streamOptions) { o.retry, o.retryAsked = d, true }
}

// WithWriteTimeout sets how long a client may take for all that is due to it, or for
// 64 KiB of that, whichever is less: one that takes longer is cut, and one that takes
// a few bytes now and then is no exception. It may be cut after three quarters of that
// time. It takes the place of http.Server.WriteTimeout. The default is 10 seconds;
// zero means for ever. Of an HTTP/2 connection that takes nothing at all, the
// server can end no stream: set http.HTTP2Config.WriteByteTimeout, or use
// ConnContext.
func WithWriteTimeout(d time.Duration) StreamOption {
	mustNotBeNegative("WithWriteTimeout", d)
	return func(o *streamOptions) { o.writeTimeout = d }
}

// WithMaxAge ends each stream when it is so old, so that clients spread anew
// over the servers behind a balancer. They come back and resume. A client that does
// not read then is cut a quarter of a second later. The default is zero: streams may
// live for ever. A deadline of the request's context, which a middleware for timeouts
// sets, ends a stream in the same way, and a line in the log says so once for each
// Handler.
func WithMaxAge(d time.Duration) StreamOption {
	mustNotBeNegative("WithMaxAge", d)
	return func(o *streamOptions) { o.maxAge = d }
}

// WithExpiry asks on each connect until when the client may listen: when its
// token expires, say. The stream ends at that moment, and the client that
// comes back is asked again. The zero time means for ever; a client whose time
// has passed is refused with status 403.
func WithExpiry(expiry func(*gin.Context) time.Time) StreamOption {
	return func(o *streamOptions) { o.expiry = expiry }
}

// WithReplay says what a client without a last event ID gets first, as one has that opens
// a page or reloads it: nothing, which is the default, the newest events of each of its
// topics (ReplayEach), the last ones of all together (ReplayLast), or all that the history
// has (ReplayAll). What is published from then on follows, without a gap or a duplicate.
// A client that is told of a gap (ssegin.reset) gets the same after that, so the IDs of a
// stream may go back with a reset. One that is slower than what is published is told again
// and again: do not give all to those.
//
// With WithConflation and ReplayEach(1) a new client gets the state of a board of values
// that replace each other. A page that shows what it has rendered from elsewhere needs no
// replay: see Hub.LastID.
func WithReplay(replay Replay) StreamOption {
	return func(o *streamOptions) { o.replay = &replay }
}

// WithConflation gives a stream only the newest event of each of its topics,
// and of the broadcasts, since its last write: for values that replace each
// other, such as prices. Such a stream is too slow only if even the newest event
// of a topic has left the history.
func WithConflation() StreamOption {
	return func(o *streamOptions) { o.conflate = true }
}

// WithBatch lets a stream wait so long for more before it writes. It saves
// work where many small events come one by one, at the price of that delay;
// with WithConflation it bounds the rate. The default is zero: under load
// streams batch by themselves.
func WithBatch(wait time.Duration) StreamOption {
	mustNotBeNegative("WithBatch", wait)
	return func(o *streamOptions) { o.batch = wait }
}

// WithDetached takes the streams out of net/http, where that is possible, once
// the request has passed its middlewares and the response has begun: a few
// goroutines of the hub then write all of them. A stream needs about 3 KB
// instead of 28, and an event costs little more than the kernel's work.
//
// It is possible for plain HTTP/1.0 and HTTP/1.1 on Linux, as behind most
// proxies. Other streams (HTTP/2, TLS, other systems) stay with net/http by themselves;
// Stats says how many are detached. So do those behind a middleware that encodes the
// response or whose writer has no Unwrap method, as gzip's, and then a line in the log says
// so once for each route; writers that have one, as tracers', are passed by.
// Everything else is the same for both, but for this:
//
//   - The handler returns at once, so what a middleware does after c.Next
//     happens as the stream begins: the access log is written then, without the
//     stream's duration and size.
//   - Stream.Context does not carry the values of the request's context.
//   - http.Server.Shutdown does not know of such streams. Hub.Shutdown does.
//   - OnReset and OnDisconnect run on goroutines of their own; a panic in them,
//     or in an Observer, ends that stream and is logged to the hub's logger.
//   - The response ends by closing the connection, and says so in its head
//     (Connection: close), so that no proxy keeps it for another request. What
//     the client may send after its request is not read. A request with a body
//     stays with net/http.
//   - A stream that expires does so up to a quarter of a second early.
//
// Where a listener hides that its connections are not plain TCP's, the first
// client is sent away once, and comes back.
func WithDetached() StreamOption {
	return func(o *streamOptions) { o.detach = true }
}

// WithPlain says that the clients of a route are plain ones: they take each block for
// the application's, as those of language models do, fetch-based readers and most
// parsers. So they get the application's events and nothing else: no control events of
// the type "ssegin.…", and heartbeats that end no block. The events of a hub have their
// IDs, and a client that sends back the last one gets exactly what it missed; the ID to
// begin with is in the header Last-Event-ID of the response.
//
// A client that is to come back later gets status 503 with Retry-After. One that has
// missed what cannot be given any more gets what OnReset sends; if that is nothing,
// status 410 with the Reset as JSON, or, in mid-stream, a broken end. (Some clients ask
// again for ever then, with the same ID: see docs/clients.md.)
//
// Without this option and WithNative, a client is plain if its request has another
// method than GET, or a header Accept with neither text/event-stream nor */*.
func WithPlain() StreamOption { return func(o *streamOptions) { o.clients = clientsArePlain } }

// WithNative says that the clients of a route are native ones, EventSources or what
// behaves like them, whatever their requests look like: they ignore events of unknown
// types, keep the last ID and come back by themselves. See WithPlain.
func WithNative() StreamOption { return func(o *streamOptions) { o.clients = clientsAreNative } }

// WithBrokenEnds lets a stream that is not complete end as broken, without the last chunk
// on HTTP/1.1 and by a reset of the stream on HTTP/2 and 3: at Shutdown, WithMaxAge,
// WithExpiry, Disconnect. Many fetch-based clients take a clean end for the end of all,
// and come back only after a broken one; an EventSource comes back after both. Over
// HTTP/1.0, which nginx speaks to its upstreams by default, no end can be told from
// another, and some proxies complete what was broken off (docs/proxies.md).
func WithBrokenEnds() StreamOption { return func(o *streamOptions) { o.brokenEnds = true } }

// WithPolling is for clients behind proxies that pass nothing on before the end of a
// response: any EventSource then polls, and its events arrive late, but none is lost and
// none comes twice. Each response is whole before any of it is sent, has a
// Content-Length and no heartbeats, and ends with the first batch of events, of at most
// 64 KiB or one larger event, or when there was none for that long. A client without an ID
// is answered at once, so that it comes back with one. What it misses between two
// responses it gets with the next one.
//
// Zero stands for 25 seconds, which suits proxies that give up a response after 30. The
// function panics if it is negative or more than a minute, Handler if it is not shorter
// than the age of WithHistory. If the context of a request has a deadline, the response
// comes before that.
//
// An event is late by up to the reconnection time, which is half a second here, the least
// that Firefox waits, unless WithRetry says otherwise: at least 100 milliseconds. The same
// time governs failures: clients that have lost their server ask again that often. To one
// that this package sends away, because the hub is full or shuts down, it gives 2 seconds
// or more.
//
// Everything else is as for streams that last, for each response anew: a response that
// waits is a stream, and counts for limits; WithTopics, OnConnect and OnDisconnect are
// called for each; the cause is ErrPolled where nothing else has ended it. What OnConnect
// sends goes with the response and does not end it; what is sent later does, but for
// comments. Such streams are never detached, none of them needs WithMaxAge, and
// WithHeartbeat and WithBrokenEnds mean nothing to them. A plain client (WithPlain) that
// has no ID waits as others do, and finds the one to come back with in the header
// Last-Event-ID; when there was nothing, the body is a comment.
func WithPolling(wait time.Duration) StreamOption {
	if wait < 0 || wait > maxPolling {
		panic(fmt.Sprintf("ssegin: WithPolling must be between zero, which stands for %v, and %v, not %v", defaultPolling, maxPolling, wait))
	}
	return func(o *streamOptions) { o.polling = orDefault(wait, defaultPolling) }
}

// OnConnect is called when a client has joined its topics and before anything
// is sent. The gin.Context is Gin's, for use until the function returns; the Stream may
// be kept. The function may send a snapshot, and every event published after that will
// follow. An error refuses the client as one of WithTopics does. Hub.Shutdown waits until
// the function has returned, so it must not be called there.
func OnConnect(f func(*gin.Context, *Stream) error) StreamOption {
	return func(o *streamOptions) { o.onConnect = f }
}

// OnReset is called when a client has been told of a gap, as it connects or,
// being too slow, in mid-stream: it may send a snapshot, and every event
// published after that will follow. A plain client (WithPlain) is told by what OnReset
// sends; if that is nothing, its stream ends as broken.
//
// With a log in an engine (WithLog) a stream with topics that is told in mid-stream ends
// after that, because its rights may have ended in the gap: what the function sends should
// be what the client may see now.
func OnReset(f func(*Stream, Reset)) StreamOption {
	return func(o *streamOptions) { o.onReset = f }
}

// OnDisconnect is called when a stream is over and has left its hub, once for
// each stream that was connected. The cause of Stream.Context says why. Hub.Shutdown waits
// until the function has returned, so it must not be called there.
func OnDisconnect(f func(*Stream)) StreamOption {
	return func(o *streamOptions) { o.onDisconnect = f }
}

// report says something in the log that the developer of a route should know, once for
// each.
func (o *streamOptions) report(logger *slog.Logger, route, text string, args ...any) {
	if _, said := o.reported.LoadOrStore(route+" "+text, true); !said {
		logger.Warn(text, append(args, "route", route)...)
	}
}

func newStreamOptions(opts []StreamOption) *streamOptions {
	o := &streamOptions{
		pace:         pace{heartbeat: defaultHeartbeat, beat: []byte(heartbeat)},
		writeTimeout: defaultWriteTimeout,
	}
	for i, set := range opts {
		mustBeOption(set == nil, "StreamOption", i)
		set(o)
	}
	return o
}

// forHub completes the options of a hub's streams.
func (o *streamOptions) forHub() {
	if o.polling == 0 {
		o.retry = orDefault(o.retry, defaultRetry)
		return
	}
	o.retry = orDefault(o.retry, defaultPollingRetry)
	o.away = defaultRetry
	o.heartbeat = 0 // nobody would see one before the end
	if o.retry < minPollingRetry {
		panic(fmt.Sprintf("ssegin: WithRetry (%v) is too short for WithPolling: it is how long clients wait after each response, and after each failure, so it must be %v or more", o.retry, minPollingRetry))
	}
}

// mustSuit panics where the streams' options contradict those of their hub, whose
// history is of that age.
func (o *streamOptions) mustSuit(age time.Duration) {
	if o.polling >= age {
		panic(fmt.Sprintf("ssegin: WithPolling (%v) must be shorter than the age of WithHistory (%v): what is published between two responses must still be there", o.polling, age))
	}
	if o.heartbeat >= age {
		panic(fmt.Sprintf("ssegin: WithHeartbeat (%v) must be shorter than the age of WithHistory (%v): heartbeats keep the position of a quiet stream from expiring", o.heartbeat, age))
	}
}

// mustDoWithoutHub panics where the options mean nothing without a hub.
func (o *streamOptions) mustDoWithoutHub() {
	for _, option := range []struct {
		name string
		set  bool
	}{
		{"WithTopics", o.topics != nil},
		{"WithMaxTopics", o.maxTopics > 0},
		{"WithConflation", o.conflate},
		{"WithReplay", o.replay != nil},
		{"WithBatch", o.batch > 0},
		{"WithDetached", o.detach},
		{"WithPolling", o.polling > 0},
		{"OnConnect", o.onConnect != nil},
		{"OnReset", o.onReset != nil},
		{"OnDisconnect", o.onDisconnect != nil},
	} {
		if option.set {
			panic("ssegin: Middleware has no hub, and " + option.name + " needs one: give it to Handler")
		}
	}
}

// end returns when a stream that begins at now is to end, and with which
// cause. The zero time means never.
func (o *streamOptions) end(c *gin.Context, now time.Time) (until time.Time, cause error) {
	if o.maxAge > 0 {
		until, cause = now.Add(o.maxAge), ErrMaxAge
	}
	if o.expiry == nil {
		return until, cause
	}
	// A time of the wall clock: from here on the monotonic clock counts.
	if expiry := o.expiry(c); !expiry.IsZero() {
		if expiry = now.Add(expiry.Sub(now)); until.IsZero() || expiry.Before(until) {
			until, cause = expiry, ErrExpired
		}
	}
	return until, cause
}
