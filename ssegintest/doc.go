// Package ssegintest tests servers that send events: an HTTP server in
// memory, a client that behaves like a browser's EventSource but on command, a
// reader of event streams that follows the standard to the letter, and a log in
// memory for several hubs.
//
//	synctest.Test(t, func(t *testing.T) {
//		srv := ssegintest.NewServer(t, engine) // any http.Handler
//		stream, err := srv.Connect(t.Context(), "/events")
//		require.NoError(t, err)
//		publish("hello")
//		event, err := stream.Next(t.Context()) // {ID: "1", Type: "message", Data: "hello"}
//		stream.Cut()                           // the phone loses its network …
//		publish("world")
//		err = stream.Resume(t.Context())       // … and comes back with Last-Event-ID: 1
//		event, err = stream.Next(t.Context())  // "world", or something was lost
//	})
//
// It needs nothing but the standard library and package eventlog, and works
// with any http.Handler and, but for Server, with any server.
//
// # Reading
//
// A Reader turns bytes into events by the rules of WHATWG HTML §9.2, and shows
// the comments and bookmarks between them as well. It is the oracle: an event
// that reaches a Reader unchanged reaches a browser unchanged.
//
// Clients that are no browsers, and one that is, read in their own ways. A Habit
// makes a Reader or a Stream one of them: by Strict every blank line dispatches
// an event, and by WebKit the event in which a connection was reset goes on
// in the next response.
//
//	err := ssegintest.CheckPlain(resp.Body) // an event of the application's at each blank line
//	stream, err := srv.Connect(t.Context(), "/events", ssegintest.WithHabit(ssegintest.WebKit))
//
// # Faults
//
// A Stream is one client through all of its connections. Disconnect and Cut
// end a connection by a FIN and an RST, Resume takes it up again, and not
// calling Next is a client that does not read, which is felt by the server as
// soon as the buffer of the connection is full (WithBuffer). A Checker counts
// what was lost, came twice or came out of order on the way:
//
//	check := ssegintest.NewChecker(1, func(e ssegintest.Event) (uint64, bool) {
//		n, err := strconv.ParseUint(e.Data, 10, 64)
//		return n, err == nil
//	})
//
// # Logs
//
// A Log is an eventlog.Log in memory. Hubs that share one are a cluster in one
// process, and its verbs are what can happen to the engine of a real one:
//
//	log := ssegintest.NewLog()
//	log.Away(nil)      // the engine is out of reach …
//	log.Back()         // … and there again
//	log.Hang()         // it accepts requests, and says nothing until Back
//	log.Drop()         // connections are lost for a moment
//	log.LoseAnswers(1) // the next entry is kept, and Append says that it failed
//	log.Renew()        // the log was deleted and made anew
//	log.Rollback(3)    // a backup was restored: the newest 3 are gone
//	log.Trim(10)       // the oldest 10 have left
//	log.Delete(1004)   // somebody has deleted one in the middle
//
// Requests counts what was asked of it, to show that a storm of clients is none
// for the engine.
//
// TestLog checks that a log of your own keeps the rules of eventlog.Log.
//
// # Time
//
// All of the package works inside a testing/synctest bubble, in which
// heartbeats, write deadlines and the drain of a shutdown take no time and
// happen at the very moment. What to know there:
//
//   - Call NewLog inside the bubble.
//   - Call NewServer inside the bubble and with its t. The server is then
//     closed inside, when the function given to synctest.Test has returned,
//     together with the streams that Server.Connect has opened.
//   - Close the bodies of other responses, and the connections of Server.Dial
//     if a goroutine reads from them; the bubble waits for every goroutine.
//   - Wait for the goroutines that the test starts. When its function and its
//     cleanups have returned the bubble's clock stands still, so that one which
//     sleeps then is a deadlock.
//   - A server that waits for room in a connection is durably blocked, and so
//     is a client that waits for bytes: synctest.Wait returns, and time moves
//     on to the next deadline.
//   - http.Server polls in Shutdown, and lingers for half a second after it
//     has refused a request's body. In a bubble that costs nothing, but the
//     clock shows it.
package ssegintest
