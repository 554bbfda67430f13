// Package servers holds the libraries that are measured, and the floors beside
// which they are measured: the same small program once on each.
package servers

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
)

// A Server serves event streams and sends events to them.
type Server interface {
	// Serve answers GET /events?topic=T on l with the stream of topic T until l
	// fails.
	Serve(l net.Listener) error

	// Publish sends event, which is JSON without line breaks, to the streams of
	// topic. The server owns event from then on. It may block, if that is how
	// it treats slow streams. One goroutine calls it.
	Publish(topic string, event []byte) error
}

// Everyone is the one topic of a broadcast.
const Everyone = "all"

// Options say what a server is wanted for, so that it can be set up as its
// users would do for that.
type Options struct {
	Topics  []string      // all that there will be
	History int           // events to keep for clients that return; 0 if none will
	Tokens  func() []byte // the next event of GET /tokens, or nil at its end
}

// An Entry is a server that can be chosen by name.
type Entry struct {
	Name  string
	About string // what it is, in a few words
	Kind  Kind
	Limit string // of a floor: what it is no floor for, as a sentence
	Quick bool   // it belongs to the short form
	New   func(Options) (Server, error)

	// Tokens says that the server answers GET /tokens: a stream of its own for
	// one request, without a hub, whose events come from Options.Tokens and are
	// flushed one by one. Other servers publish tokens to a topic of one stream.
	Tokens bool

	// Batches says that the server may put several published events into one
	// flush; then only Tokens can flush each.
	Batches bool

	// Replays says that the server sends a client that returns with a
	// Last-Event-ID what it has missed.
	Replays bool

	// External says that it is an External.
	External bool

	// Missing says what has to be installed before the server can be measured;
	// it returns nothing if that is there. A nil Missing needs nothing.
	Missing func() string
}

// Lacks says what has to be installed before e can be measured.
func (e Entry) Lacks() string {
	if e.Missing == nil {
		return ""
	}
	return e.Missing()
}

// Kind tells what an entry is there for.
type Kind string

// The kinds of servers.
const (
	Floor Kind = "floor" // the least code that can do it: what the others are measured against
	Own   Kind = "own"   // ssegin
	Peer  Kind = "peer"  // what else there is
)

// Find returns the entry of that name.
func Find(name string) (Entry, error) {
	for _, e := range All {
		if e.Name == name {
			return e, nil
		}
	}
	return Entry{}, fmt.Errorf("no server is called %q; there are %s", name, strings.Join(Names(), ", "))
}

// Names lists all servers.
func Names() []string {
	return slices.Collect(func(yield func(string) bool) {
		for _, e := range All {
			if !yield(e.Name) {
				return
			}
		}
	})
}

// topicOf returns the topic that a request asks for.
func topicOf(r *http.Request) string { return r.URL.Query().Get("topic") }

// serveHTTP serves h with a server as it comes.
func serveHTTP(l net.Listener, h http.Handler) error {
	return (&http.Server{Handler: h}).Serve(l)
}
