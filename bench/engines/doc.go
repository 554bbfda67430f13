// Package engines measures what one log carries that the hubs of several
// processes share: in memory, in NATS JetStream and in Redis, side by side. The
// README of the bench folder says how; cmd/enginebench does it.
//
// For each trial the program starts itself again: as the engine (NATS; Redis is
// a program of its own), as hub processes, as the clients of their streams, and
// as a bare subscriber of the engine. It makes tables of the medians over all
// rounds, and from them a model of what more processes and machines would do.
package engines
