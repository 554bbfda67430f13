// Package ssegin pushes events from Gin to browsers. It is Server-Sent Events
// (WHATWG HTML §9.2) as a handler, a middleware and a hub:
//
//	hub := ssegin.NewHub()
//	router.GET("/events", ssegin.Handler(hub))
//	router.POST("/say", func(c *gin.Context) {
//		hub.Broadcast(c, ssegin.Event{Type: "chat", Data: c.PostForm("text")})
//	})
//	router.POST("/ask", ssegin.Middleware(), func(c *gin.Context) { // a stream without a hub
//		stream := ssegin.From(c)
//		for token := range answer(stream.Context(), c.PostForm("question")) {
//			stream.Send(ssegin.Event{Data: token})
//		}
//		stream.End(ssegin.Event{Data: "[DONE]"})
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
// snapshot in [OnReset]. A plain client is told in another way: see Clients.
//
// A hub has one total order. Every stream sees a subsequence of it, and the IDs
// on a stream only go up, but for a replay that follows a reset ([WithReplay]).
//
// [Hub.Publish], [Hub.Broadcast] and [Hub.End] return nil when the event is in
// the log under the ID that they return. They never wait for a client, and an
// error never leaves half an event anywhere.
//
// # Resuming
//
// The last event ID comes from the header Last-Event-ID, or, for clients that cannot
// set headers, from the query, under any spelling: lastEventId, lastEventID,
// last_event_id, Last-Event-ID. The header wins. One ID is a cursor for any set of
// topics, and which topics a client may follow is decided by the server, with
// [WithTopics], on every connect. Whatever the ID is, a native client gets a stream,
// and a reset where one is due, or 204 where everything has ended.
//
// An event "ssegin.cursor" right after the headers primes clients that have seen no
// event yet: it moves their last ID, and says nothing else. When a stream is
// quiet while the log goes on for others, its heartbeats are such events too,
// so that its position does not expire. (An ID without an event would do by the
// standard, but Firefox and WebKit do not take it over.) The header Last-Event-ID of
// the response has the ID to begin with, too, for clients that can read headers. It is
// not there where the client is told of a gap, or is given a replay ([WithReplay]).
//
// # New clients
//
// A client without a last event ID, as one has that opens or reloads a page, gets what
// is published from then on. With [WithReplay] it gets something first: the newest event of
// each of its topics, the last ones of all, or all that the history has. Between that and
// what is live there is neither a gap nor a duplicate. No ID is sent before the first event
// of it, so a client that is cut before that gets all of it when it comes back; after a
// reset a client gets the same. A page may ask for it by the last event ID "earliest"
// ([Replay.OnRequest]).
//
// A page that is rendered from data of the application needs none of that: it takes
// [Hub.LastID] before it reads the data, and opens its stream with that ID.
//
// # History
//
// The history is bounded over all topics by [WithHistory]: 8 MiB, counted whole, and 15
// minutes by default. Each topic has a floor in it ([WithTopicFloor]) that a flood in
// others does not take away, and may have a ceiling ([WithTopicCeiling]). What a client
// missed is judged topic by topic: what has left of others is no gap. That a topic has
// ended is remembered much longer than its events ([WithEnds]). [Stats] say for how long
// a client may be away right now (Reach).
//
// Over an engine (WithLog) the log is one, bounded as a whole, and loses its oldest
// entries whatever their topic: make it large enough for the noisiest topic, or give each
// class of topics a hub and a log of its own.
//
// # Clients
//
// A native client is an EventSource, or behaves like one: it ignores events whose type
// it does not know, keeps the last ID, and comes back by itself. Its streams have
// control events, whose types begin with "ssegin." and whose data is JSON:
//
//	ssegin.cursor  the last ID moves; {}
//	ssegin.reset   there is a gap; a Reset
//	ssegin.end     there is no more to come; {}
//	ssegin.later   there is no stream now, come back later; {}
//
// A page sees them only if it listens for that type; a client that looks at every event
// should pass over types that begin with "ssegin.".
//
// A plain client takes each block for the application's, as the clients of language
// models do and many readers that use fetch. It gets the application's events and
// nothing else. Where a native one gets a reset, it gets what [OnReset] sends, or, if
// that is nothing, status 410 with the [Reset] as JSON; in mid-stream the response
// breaks off, and the cause is [ErrGap]. A plain client that is cut before its first
// event, and does not read the header Last-Event-ID, comes back as a new one.
//
// A client is plain if its request has another method than GET, or a header Accept
// with neither text/event-stream nor */*. [WithPlain] and [WithNative] say it for
// all clients of a route: a fetch-based one that asks by GET looks native, for example.
// For clients that take a clean end for the end of all there is [WithBrokenEnds], for
// pages that watch over their stream [WithHeartbeatEvent]. The page docs/clients.md of
// the repository says which clients are of which kind, and what each of them needs.
//
// A heartbeat is the line ":" and ends no block, and no block is without data, whatever
// the client.
//
// # Streams without a hub
//
// [Middleware] gives the handlers after it a stream, with [From], and makes loops of
// c.Stream and c.SSEvent safe as they are. It may stand before a whole engine, because
// what is no event stream passes: a response becomes a stream by its first event, by a
// byte of the content type text/event-stream, or when c.Stream, or a flush before the
// first byte, has been quiet for half a second. Until then c.JSON(503, …) is what it is
// on Gin alone; after that an error status breaks the response off. Other responses that
// last, such as lines of JSON, have the write timeout of streams, and no heartbeats.
//
// Of its own it sends nothing in front of the first event, but for the reconnection time
// if [WithRetry] asks for one; a native client that comes back with an ID is first given
// an "ssegin.cursor" with that ID.
//
// Handlers run in a gin.Context of their own, which Gin gives to no other request.
//
// # Several processes
//
// With [WithLog] the log lies in an engine, NATS JetStream or Redis Streams, say
// (the modules natslog and redislog), and the hubs of any number of processes
// share it. All of them show every event in the same order under the same ID, so
// a client that comes to another process goes on where it was. One goroutine in
// each process follows the log and keeps its newest part in memory, from where
// most clients are served; what is older comes from the engine, in pages that all
// who need them share: they are read along the log together, so that a crowd from
// everywhere costs little more than one client. [WithMaxCatchingUp] bounds them.
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
// others that the client has not seen. And what was published while a client was away,
// and was rolled back before it came again, nobody can tell it.) A stream with topics
// ends after that reset, because an entry that ends its rights may be among what is gone;
// its client comes back. A stream that is too slow for the memory of its
// process is ended, and goes on from the engine when its client comes back.
//
// A process may not know yet that the log is another one. So it never says of an ID that
// it is of another log, or of the future, before it has asked the engine, since the client
// came, and has all that the engine has; if that takes longer than some seconds the client
// is told to come back later. Clients move between processes as they like, and are told of
// one break once.
//
// # Rights
//
// What a client may follow is asked with [WithTopics] on every connect, and until
// when with [WithExpiry]. When a right ends, change it where WithTopics looks, and
// then call [Hub.Disconnect]: nothing that is published after that is sent to the
// streams of the topic, nor to clients whose requests are on their way. With [WithLog]
// that holds for all processes.
//
// # Ending
//
// A stream all of whose topics have ended, by [Hub.End], is closed after the
// last event, and the client that comes back with that event's ID gets status
// 204, on which an EventSource stops, without any code of its own. A client
// that comes back with an older ID gets what it missed first. If the last event is the
// control event, which a plain client does not get, the ID of its own last event, or
// none, gets it the 204.
//
// [Stream.End] does the same for one stream, such as an answer behind [Middleware]: its
// last event may be the application's, "[DONE]" for one, and has the ID "ssegin.end".
// Behind Middleware the handler runs again when a client comes back with that ID, up to
// its first event, in place of which the client gets 204.
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
// for detached streams: let main wait for the hub's Shutdown as well, before it returns.
// A callback of a stream must not call it, because it waits for callbacks.
//
// # Detached streams
//
// [WithDetached] takes streams of plain HTTP/1 out of net/http once they have
// begun; a few goroutines of the hub write all of them. All that is said here
// holds for them, too, but for what WithDetached lists.
//
// # Status
//
// An EventSource comes back only from status 200. A native client that should come
// back later, because the hub is full or shuts down, therefore gets 200, a
// reconnection time, the event "ssegin.later" with the ID that it has, and the end. Up to
// 1,000 such answers are held open for half of that time, because some clients come back
// at once whatever they are told. A plain client gets 503 with Retry-After. A hub that
// shuts down also closes the connection, so that a balancer has the client come back to
// another process. 204 tells a client to stop. 400 and 403 refuse it; 410 says that a
// plain client has missed what cannot be given any more.
//
// Where a route has these methods, too, [Handler] answers HEAD with the headers, and
// OPTIONS with 204 and Allow.
//
// # Panics
//
// A panic in one of the application's callbacks ends that request and nothing
// else: the stream leaves its hub, and the panic goes on to gin.Recovery or
// net/http; that of a detached stream is logged. After the headers are sent, the
// response ends as broken, so that no client takes it for complete.
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
// nginx needs no configuration, because of the headers that streams send. The pages
// docs/proxies.md and docs/stacks.md of the repository say what other proxies need, and
// what middlewares, tracers and loggers do to a stream.
//
// A middleware that compresses, such as gin-contrib/gzip, may come before or after
// [Middleware], and events still arrive at once; what it has encoded after Middleware is
// passed on as it is, without heartbeats. Where a middleware's writer hides the server's
// (has no Unwrap method), streams of HTTP/1 bound their writes by the connection that
// [ConnContext] knows. Without that, and over HTTP/2, they have no write deadlines, and one
// warning is logged: so it should leave out the paths of streams. So should what collects
// a response, as http.TimeoutHandler does, because no event would arrive: a warning says
// so; some compressors hold back the first bytes, too (docs/stacks.md says which). Through
// a proxy that does that, events come with [WithPolling].
// Cross-origin pages are the business of gin-contrib/cors,
// on the engine: this package sets no Access-Control header. Behind a proxy that
// changes Host, allow the public origin there: browsers send Origin for module
// scripts of the page's own server, too.
//
// Browsers open six HTTP/1.1 connections to a host, over all tabs. Give a page
// one stream with many topics rather than many streams, or serve HTTP/2.
package ssegin
