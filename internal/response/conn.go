package response

import (
	"context"
	"net"
	"net/http"
)

// A connection is known by the context of its requests, whatever writers of middlewares
// lie between: those that have no Unwrap method hide the server's writer, and with it
// the write deadlines.

type connKey struct{}

// WithConn notes the connection whose requests have this context.
func WithConn(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, conn)
}

// deadlines returns what sets the write deadlines of a request: the innermost writer that
// can be reached, or else the connection, if that is known and the request's alone. It
// returns nil if there is neither. A writer that cannot flush collects, for a server that
// may have gone on to another request when that is written, so it gets none.
func deadlines(r *http.Request, inner http.ResponseWriter) deadliner {
	if conn, ok := inner.(deadliner); ok {
		return conn
	}
	if conn, ok := r.Context().Value(connKey{}).(net.Conn); ok && r.ProtoMajor == 1 && flushes(inner) {
		return conn
	}
	return nil
}

// flushes reports whether what is written can be sent before the response ends.
func flushes(w http.ResponseWriter) bool {
	if _, ok := w.(flusher); ok {
		return true
	}
	_, ok := w.(http.Flusher)
	return ok
}
