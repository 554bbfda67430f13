// Package redislog keeps the events of a hub in a stream of Redis, so that any
// number of processes share them:
//
//	client := redis.NewClient(&redis.Options{Addr: "localhost:6379"})
//	hub := ssegin.NewHub(ssegin.WithLog(redislog.New(client, redislog.Config{Name: "chat"})))
//
// Each process follows the stream on one connection, however many clients it has.
// All show every event in the same order and under the same ID, and a client that
// comes back to another process is given exactly what it missed.
//
// # In Redis
//
// A log named chat has six keys, which a cluster keeps on one node because of the
// braces:
//
//	{chat}:log         stream: the entries, with their positions as IDs: 1-0, 2-0, ...
//	{chat}:meta        hash: the epoch, the last position, and what goes with them
//	{chat}:ids         hash: the message IDs of the last minutes, and their positions
//	{chat}:ids.before  hash: the same, a little older
//	{chat}:topics         hash: the topics of the entries, and the positions of their newest
//	{chat}:topics.before  hash: the same, a little older
//
// Everything that changes them is one Lua script, so that each append is whole or
// not at all, is there once however often it is tried, and counts positions
// without holes. An entry has the fields time (microseconds since 1970, by Redis's
// clock), prev (the time of the entry before it; the first of an epoch has the
// epoch instead), id (the message ID), topic, topics (of an
// event of several, with line feeds between), type, data, retry (milliseconds) and
// end, each only where it says something. XRANGE shows them to you.
//
// Leave the keys to the script. Trimming the stream by hand is harmless, deleting
// all six makes the log anew, which clients are told; what XADD puts in without
// the script is passed over, and makes the log anew at the next append if it lies
// beyond the last position.
//
// # Publishing from other programs
//
// Any program with a client of Redis publishes with one EVAL of the [Script], here
// in the words of redis-cli:
//
//	EVAL "<script>" 6 {chat}:log {chat}:meta {chat}:ids {chat}:ids.before
//	     {chat}:topics {chat}:topics.before append order-4711 10000 67108864 0 120000
//	     topic user:42 type order data "shipped"
//
// It returns the position, and the epoch in which that lies. The words after append are the message ID, which tells
// this event from all others when it has to be tried again, the bounds as the hub
// has them (entries, bytes, age in milliseconds, 0 for none), and for how many
// milliseconds the ID is remembered. Send the script by its digest, with EVALSHA,
// as all clients can. An event of several topics, which a stream that follows two of
// them is given once, has the topic ssegin.several and names them in topics, with line
// feeds between; with any other topic that field means nothing:
//
//	topic ssegin.several topics "user:42\nuser:43" type order data "shipped"
//
// Functions (FUNCTION LOAD) would only add something that
// somebody must have loaded.
//
// Reading by topic (eventlog.TopicReader) is not to be had here: a stream of Redis
// has no index by anything but its IDs. A script would go through all entries of
// the log while nobody else is served, and a list of each topic's entries would have
// to be trimmed together with the stream, at a cost for each append. Clients that come
// back are given pages of the log, which all of them share. New clients (WithReplay)
// get what the hub has in memory, and are told that the beginning is missing if they
// were to get more.
//
// # Durability
//
// A nil error of Append says that Redis has the entry, and Redis keeps what it has
// as it is set up to. With an append-only file and appendfsync always that is
// whatever happens to the process or to the machine. With everysec, what was
// appended within the last second or two is lost when the machine loses power
// (3,966 of 56,879 in a trial, at the full rate), and also when the process crashes
// while the disk is slow, because Redis then acknowledges before it writes. Without
// such a file (appendonly no, the default of Redis) everything since the last
// snapshot is lost.
//
// Replication is asynchronous: a replica that is made the master may lack what its
// master had acknowledged. min-replicas-to-write and min-replicas-max-lag bound
// how much. There is no option here to wait for replicas after each append: WAIT
// makes such a loss less likely and does not rule it out, and after an append that
// is not confirmed by replicas nobody knows more than before.
//
// In each of these cases the hub notices that the log was rolled back, and tells
// the clients that know more than there is now that there is a gap.
//
// # When something happens to the log
//
// While Redis is away hubs keep their streams open, and publishing is tried again
// until its time is up. Follow notices a lost connection at once, a server that
// says nothing within 4 seconds, and a log that is another one than before at its
// next entry, within about a second if there is none: each entry names the one
// before it, so that no entry of another log is ever taken for the next one.
//
//   - The stream is deleted, trimmed or expired: the epoch and the positions go on;
//     what was in it has left.
//   - The meta hash is deleted: a new epoch, which goes on with the positions after
//     those in the stream.
//   - All keys are deleted, by FLUSHALL, say: a new epoch, which begins at 1.
//   - An older snapshot or a replica that lagged takes over: the same epoch, and
//     its positions are given again.
//
// That last one is not noticed by clients that were away, and had not seen what is
// gone: nothing that they know is wrong. If that matters give the log another epoch
// once it is restored, and before anything is published:
//
//	redis-cli DEL "{chat}:meta"
//
// The entries stay, each client is told once that it may have missed something, and
// goes on live.
//
// # The client
//
// The client is go-redis, with what it can do: TLS, users, Sentinel, Cluster,
// hooks. It stays as you set it up, and it is yours to close. It tries commands
// again by itself (MaxRetries), which is safe here because of the message ID. It
// takes no notice of contexts while it waits for an answer; Append, Read and
// Bounds return nevertheless when ctx ends, and what they leave behind ends with
// the client's ReadTimeout.
//
// Each Follow keeps one connection of the pool to itself; leave room for it in
// PoolSize. Everything asks the master, also with clients that otherwise ask
// replicas (ReadOnly, RouteByLatency, RouteRandomly): a replica may not have what
// was acknowledged. A client that only knows replicas (ReplicaOnly) is given
// READONLY by Bounds.
//
// Beside github.com/redis/rueidis v1.0.79, go-redis v9.23.0 took 5 % longer for
// one append at a time (132 instead of 125 µs), 40 % longer for each of 32 at
// once, which rueidis sends together (31 instead of 22 µs), and a quarter less
// time for reading 256 entries. That more programs have it already counted for
// more.
//
// # Permissions
//
// The user of a hub needs its keys and these commands:
//
//	ACL SETUSER hub on >secret ~{chat}:* +evalsha +eval +xread +xrange +xrevrange
//	  +client|id +client|unblock +time +xinfo|stream +xadd +xtrim +hmget +hget +hset
//	  +hlen +del +unlink +rename +pttl +pexpire +persist
//
// Without client|id and client|unblock, Follow returns up to a second after the end
// of its context. A program that only publishes needs neither those nor xread
// and persist. The client's own come on top: hello and client|setinfo are
// nice to have, and a cluster needs cluster|slots and command.
//
// # Memory and capacity
//
// Redis must not evict the keys: set maxmemory-policy to noeviction, or to one of
// volatile-*, which spare the stream and the meta hash, but may forget message
// IDs. When memory is full Append fails, and readers go on.
//
// A log takes the bytes of its entries and about 100 more for each; that is 3.3 MB
// for 10,000 entries with 200 bytes of data. A remembered message ID takes about
// 75 bytes, and a topic about 75 and its own bytes twice at the most, as long as an
// entry of it is in the log. Not more than twice 262,144 are remembered, 40 MB; at a rate beyond
// 2,000 a second that is shorter than the 2 minutes.
//
// An append costs Redis about 18 µs, and an entry that is delivered to a process
// a few more, so that one server takes some 30,000 appends a second from hubs in a
// few processes. Over a local connection Append takes 0.13 ms, an entry arrives
// 0.18 ms after the beginning of Append, and Follow reads 330,000 old entries a
// second, nine tenths of what a bare XREAD does (Redis 7.0.15, two cores for both,
// entries with 200 bytes of data).
//
// Redis 6.2 is the oldest that has the commands; the tests run with 7.0.
package redislog
