// Package embedded runs a NATS server with JetStream inside the application: a
// log on disk for one process without any other program, which later can be one
// of several.
//
//	server, err := embedded.Start(embedded.Config{Dir: "/var/lib/app/events"})
//	nc, err := server.Connect()
//	log, err := natslog.New(ctx, nc, natslog.Config{})
//
// The server has no port unless [Config.Listen] gives it one, in which case
// other processes connect to it as to any NATS server. It adds about 10 MB to a
// program, which is why it is a package of its own: a program that only connects
// imports package natslog alone.
//
// # Durability
//
// An event that was acknowledged survives the end of the process, however it
// ends: kill -9 loses nothing. What it survives beyond that is a choice. The
// server hands each event to the operating system, and has it written to the
// disk only every two minutes: when the power fails, or the system crashes, all
// that came since then may be gone, acknowledged or not. With
// [Config.SyncAlways] nothing that was acknowledged is lost, and each append
// waits for the disk: expect a few hundred or thousand in a second on one disk
// instead of ten thousands. Servers in a cluster that fail at different times
// cover for each other; a power failure hits those in one room together.
//
// A disk that was full may leave a stream that refuses to write until the server
// is started again, even when there is room: bound the stream well below the
// disk's size.
//
// # One process for each directory
//
// A directory belongs to one running server. On Unix systems Start refuses one
// that is in use: a new version of the application that starts before the old
// one has ended, say. Either the old one goes first, or there is a NATS server
// apart from both.
package embedded
