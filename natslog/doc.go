// Package natslog keeps the events of hubs in a stream of NATS JetStream: every
// process that has the stream shows the same events in the same order under the
// same IDs, and a client that comes back goes on at any of them.
//
//	nc, err := nats.Connect("nats://nats:4222", nats.MaxReconnects(-1))
//	log, err := natslog.New(ctx, nc, natslog.Config{Stream: "events"})
//	hub := ssegin.NewHub(ssegin.WithLog(log))
//
// A process has one consumer in the stream, however many clients it has, and
// clients that are far behind are served by reads that leave nothing there. New
// makes the stream if it does not exist, and so does the hub when it has
// vanished.
//
// Package natslog/embedded runs the server inside the application, where there
// is none.
//
// # Publishing from other programs
//
// Whatever can publish to NATS can publish events: the payload alone is enough.
// Those that the hubs' own processes publish look the same.
//
//	nats pub events "to everybody"
//	nats pub events.room:1 "to the streams of the topic room:1"
//	nats pub events.orders.eu '{"total":3}' -H Ssegin-Type:order -H Nats-Msg-Id:order-77
//	nats pub events.job:9 done -H Ssegin-End:true
//	nats pub events.ssegin.several both -H Ssegin-Topic:room:1 -H Ssegin-Topic:room:2
//
// The subject is [Config.Subject] for broadcasts, and for a topic that of
// [Subject]: a dot, and the topic itself, but for the few bytes that no subject
// can have. The headers are [HeaderType], [HeaderRetry], [HeaderEnd],
// [HeaderNoData] and [HeaderMessageID]; all may be left out. A publisher that
// wants to know whether the event is kept makes it a request and reads the
// acknowledgement (nats req, or a JetStream client); one that tries again sends
// the same message ID.
//
// The last one is an event of several topics, which a stream that follows two of
// them is given once. It lies on one subject, that of the topic
// eventlog.SeveralTopics, and names each topic in a header of its own
// ([HeaderTopic]); on any other subject these headers mean nothing. A subscriber to
// events.room:1 does not see it, but one to events.ssegin.several or events.> does.
//
// What others write is read with care. It always keeps its position. A type or
// topic with a CR, LF or NUL, or with bytes that are not UTF-8, has U+FFFD in
// their place, so that no client takes it for another; a retry or flag that is
// none counts as absent; a header block that is none, as no headers; a subject
// that [Subject] would have written in another way is taken literally.
//
// # Durability
//
// An append is acknowledged when the stream's server, or with
// [Config].Replicas most of them, has it. That is not yet the disk: by default a
// server writes through to the disk every two minutes. The end of a server
// process loses nothing; a power failure of a server that is alone, or of most
// of a cluster at once, can lose the last two minutes, acknowledged or not. The
// server's option sync_interval: always avoids that, at a tenth of the rate or
// less. A log that was set back in this way is noticed, see below, and clients
// are told.
//
// Appends are idempotent for as long as the stream remembers message IDs
// ([Config].Duplicates): the hub tries again under the same ID, and the event is
// there once, also when a server has died in between.
//
// # Capacity
//
// MaxAge, MaxBytes and MaxMsgs bound the whole stream: they are how long a
// client may be away. The oldest events leave first. A limit for each subject,
// rollups and messages with a time to live would make holes, and a stream that
// has them is refused. Servers accept messages up to their max_payload, 1 MiB by
// default, which has to be a little more than the largest event. A larger one is
// refused for good (eventlog.ErrRefused). A stream whose disk was full may go on
// to refuse everything until its server is started again.
//
// # When something is wrong
//
// While the server is away appends fail within 5 seconds, or at once without a
// connection, and followers end; the hub tries again. A follower also ends when
// it cannot vouch that the next event is the next one: the connection was lost,
// the stream was made anew or set back, its leader changed. The hub then
// compares. The epoch of the log is the moment in which the stream was made, and
// positions start at the microseconds of that moment, so that no position of an
// earlier life looks like a new one. Nothing is repaired in silence.
//
// # After a restore
//
// A stream that was restored from a backup, or whose servers have lost what they
// had not yet on disk, is the same stream to NATS, and gives its positions again.
// Hubs that had seen what is gone notice, and tell their clients; a client that was
// away, and had not seen it, cannot be told, because nothing that it knows is
// wrong. If that matters give the log another epoch once it is restored, and before
// anything is published:
//
//	nats stream edit events --metadata ssegin-epoch="$(date +%s)"
//
// or the same by the client of any language (STREAM.UPDATE). The entries stay, each
// client is told once that it may have missed something, and goes on live.
//
// # Permissions
//
// The rights of the connection are all there is. With a stream "events" on the
// subject "events" a hub's user needs
//
//	publish:   events, events.>                 to append
//	           $JS.API.STREAM.INFO.events
//	           $JS.API.STREAM.CREATE.events     unless somebody else makes it
//	           $JS.API.STREAM.MSG.GET.events
//	           $JS.API.DIRECT.GET.events
//	           $JS.API.CONSUMER.CREATE.events.>
//	           $JS.API.CONSUMER.DELETE.events.>
//	           $JS.FC.>
//	subscribe: _INBOX.>                         or what nats.CustomInboxPrefix says
//
// and a program that only publishes to one topic needs events.that-topic, and
// _INBOX.> for the acknowledgements. Whoever may publish to events.ssegin.several
// may publish to every topic. With a [Config].Domain the API is
// $JS.<domain>.API. TLS and credentials are options of nats.Connect.
package natslog
