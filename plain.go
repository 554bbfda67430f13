package ssegin

import (
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/gin-gonic/gin"
)

// Two kinds of clients read event streams. A native one, an EventSource or what behaves
// like it, ignores what it does not know, keeps the last ID, and comes back by itself.
// A plain one takes each block for the application's: so it gets those and nothing else.

// clients is what the application says of the clients of a route.
type clients uint8

const (
	clientsDiffer clients = iota // the request tells which kind its client is
	clientsArePlain
	clientsAreNative
)

// isPlain reports whether the client of a request is a plain one: whoever does not ask by
// GET, as an EventSource always does, or accepts another type and neither event streams
// nor everything.
func (o *streamOptions) isPlain(c *gin.Context) bool {
	if o.clients != clientsDiffer {
		return o.clients == clientsArePlain
	}
	if c.Request.Method != http.MethodGet && c.Request.Method != http.MethodHead {
		return true
	}
	accept := strings.ToLower(strings.Join(c.Request.Header.Values("Accept"), ","))
	return accept != "" && !strings.Contains(accept, "text/event-stream") && !strings.Contains(accept, "*/*")
}

// isClean reports whether an ID that has come from a client may be sent back. One that
// has come in the query may hold anything, and with a line end in it would forge events.
func isClean(id string) bool {
	const limit = 256
	return id != "" && len(id) <= limit && utf8.ValidString(id) && !strings.ContainsAny(id, "\r\n\x00")
}
