// Package ssegin pushes events from Gin to browsers. It is Server-Sent Events
// (WHATWG HTML §9.2) as a handler, a middleware and a hub:
//
//	hub := ssegin.NewHub()
//	router.GET("/events", ssegin.Handler(hub))
//	router.POST("/say", func(c *gin.Context) {
//		hub.Broadcast(c, ssegin.Event{Type: "chat", Data: c.PostForm("text")})
//	})
//
// # Four words
//
// An [Event] is what is sent: type, data, ID, retry.
//
// A log is the ordered, bounded memory of events. Each event has a position,
// counted without holes, and its ID on the wire is "<epoch>-<position>"; the
// epoch names the log's life. To clients an ID is opaque. It holds no secret
// and gives no right.
//
// A [Stream] is one client's connection: a position in the log and a writer. It
// has no queue. What it has not written yet is what lies between its position
// and the head of the log.
//
// A [Hub] joins them: it appends to the log, wakes the streams of the topic, and
// ends them all.
//
// So a hub is one log, and a stream is a cursor. Resuming, slow clients,
// batching and conflation are all this one idea, and so is the speed: an event
// is encoded once, and a stream that is woken writes all that is due to it in
// one write.
//
// # Delivery
//
// While connected, at most once: no event comes twice on one connection. With
// resuming, at least once within the history: a client that comes back gets
// exactly the events after its last ID, so one that keeps that ID sees each
// event once.
//
// There is never a silent gap. Where events cannot be given any more, the
// client gets the event "ssegin.reset", whose data is a [Reset] as JSON and
// whose ID is where the stream goes on, live. The application may send a
// snapshot in [OnReset].
//
// A hub has one total order. Every stream sees a subsequence of it, and the IDs
// on a stream only go up.
//
// [Hub.Publish], [Hub.Broadcast] and [Hub.End] return nil when the event is in
// the log under the ID that they return. They never wait for a client, and an
// error never leaves half an event anywhere.
//
// # Resuming
//
// The last event ID comes from the header Last-Event-ID, or from the query
// parameters lastEventId and last_event_id for clients that cannot set headers;
// the header wins. One ID is a cursor for any set of topics, and which topics a
// client may follow is decided by the server, with [WithTopics], on every
// connect. Whatever the ID is, it is no error: the client gets a stream, and a
// reset where one is due, or 204 where everything has ended.
//
// An event "ssegin.cursor" without a payload right after the headers primes
// clients that have seen no event yet: it moves their last ID. When a stream is
// quiet while the log goes on for others, its heartbeats are such events too,
// so that its position does not expire. A page sees them only if it listens for
// that type; a client that looks at every event should pass over types that
// begin with "ssegin.". (An ID without an event would do by the standard, but
// Firefox and WebKit do not take it over.)
//
// # Several processes
//
// With [WithLog] the log lies in an engine, NATS JetStream or Redis Streams, say
// (the modules natslog and redislog), and the hubs of any number of processes
// share it. All of them show every event in the same order under the same ID, so
// a client that comes to another process goes on where it was. One goroutine in
// each process follows the log and keeps its newest part in memory, from where
// most clients are served; what is older comes from the engine, in pages that all
// who need them share.
//
// Publishing returns nil when the engine has the event, with the durability that
// the engine is set to. A try that fails is repeated, under the same
// [Event.MessageID], so that the event is not there twice; when the time of
// [WithPublishTimeout] or the context is over, the error is an
// [UnknownOutcomeError], and it is not known whether the event is there. While the engine is away streams stay
// open, what is in memory is given to those who come back, and others are told to
// come back later; [Stats] and [Observer] tell of it. When it is back, events
// follow. Where they cannot, because the log was made anew, was rolled back or has
// lost entries that this process had not seen, every stream gets a reset, also
// one that comes later with an ID of what is gone: the IDs of such a log carry a
// check on what their event is. (What no check can tell is that the very same
// event, under the same message ID, has come back to the same position, after
// others that the client has not seen.) A stream that is too slow for the memory of its
// process is ended, and goes on from the engine when its client comes back.
//
// # Rights
//
// What a client may follow is asked with [WithTopics] on every connect, and until
// when with [WithExpiry]. When a right ends, change it where WithTopics looks, and
// then call [Hub.Disconnect]: nothing that is published after that is sent to the
// streams of the topic, nor to clients whose requests are on their way.
//
// # Ending
//
// A stream all of whose topics have ended, by [Hub.End], is closed after the
// last event, and the client that comes back with that event's ID gets status
// 204, on which an EventSource stops, without any code of its own. A client
// that comes back with an older ID gets what it missed first. [Stream.End]
// does the same for a stream without a hub.
//
// # Slow clients
//
// They cost others nothing: a publisher only wakes them, and each stream writes
// on its own goroutine, or, if it is detached, never waits for its socket. A stream that lags beyond the history is told so, with
// the reason "lagged", and goes on live. A client that does not take what is
// written to it, at most 64 KiB at once, within the write timeout is cut. With [WithConflation] a stream gives only the
// newest event of each topic, and is never too slow.
//
// # Shutdown
//
// [Hub.Shutdown] lets no stream in and no event, gives every stream what is due
// to it, and ends each at its own moment in the window of [WithDrain] with a
// reconnection time of its own, so that the clients of a deploy do not come
// back all at once. It returns when the last stream is gone and its OnDisconnect
// has returned, and cuts the rest when its context ends. Keep-alives go first, or
// clients come back to this process over the connections that they have, and the
// hub goes before the server, because http.Server.Shutdown waits for streams for
// ever:
//
//	server.SetKeepAlivesEnabled(false)
//	err := errors.Join(hub.Shutdown(ctx), server.Shutdown(ctx))
//
// Where only the server's Shutdown is called, by a framework, say, register the
// hub's with RegisterOnShutdown. The server does not wait for that function, nor
// for detached streams.
//
// # Detached streams
//
// [WithDetached] takes streams of plain HTTP/1 out of net/http once they have
// begun; a few goroutines of the hub write all of them. All that is said here
// holds for them, too, but for what WithDetached lists.
//
// # Status
//
// An EventSource comes back only from status 200. A client that should come
// back later, because the hub is full or shuts down, therefore gets 200, a
// reconnection time and the end, if it accepts text/event-stream; others get
// 503 with Retry-After. A hub that shuts down also closes the connection, so that
// a balancer has the client come back to another process. 204 tells a client to
// stop. 400 and 403 refuse it.
//
// # Panics
//
// A panic in one of the application's callbacks ends that request and nothing
// else: the stream leaves its hub, and the panic goes on to gin.Recovery or
// net/http; that of a detached stream is logged. After the headers are sent, the
// client sees the stream end.
//
// # Errors
//
// Bad input is refused before anything is sent, with an error that wraps
// [ErrInvalidEvent] or [ErrTooLarge] and names the field and the value. What is
// valid and comes after the end gets [ErrClosed]. Options that contradict each
// other panic at set-up.
//
// # Servers and proxies
//
// Streams work over HTTP/1.0, HTTP/1.1, HTTP/2 and HTTP/3. A server for them
// should be set up like this:
//
//	lc := net.ListenConfig{}
//	lc.SetMultipathTCP(false) // see ConnContext
//	ln, err := lc.Listen(ctx, "tcp", ":8080")
//	server := &http.Server{
//		Handler:           router,
//		ReadHeaderTimeout: 5 * time.Second,
//		ConnContext:       ssegin.ConnContext,
//		HTTP2:             &http.HTTP2Config{WriteByteTimeout: 10 * time.Second},
//	}
//	err = server.Serve(ln)
//
// A WriteTimeout does no harm: streams lift it and bound each write instead, and
// over HTTP/2 it does not run before the answer begins.
// nginx needs no configuration, because of the headers that streams send.
//
// Middlewares that put a writer of their own in place, such as gin-contrib/gzip,
// should leave out the paths of streams: where such a writer hides the server's
// (has no Unwrap method), streams still work, but have no write deadlines, and
// one warning is logged. Cross-origin pages are the business of gin-contrib/cors,
// on the engine: this package sets no Access-Control header. Behind a proxy that
// changes Host, allow the public origin there: browsers send Origin for module
// scripts of the page's own server, too.
//
// Browsers open six HTTP/1.1 connections to a host, over all tabs. Give a page
// one stream with many topics rather than many streams, or serve HTTP/2.
package ssegin
