package response

import (
	"net/http"
	"reflect"
	"time"
)

// requestCancelled is what a server says that gives up a response of which a part
// is sent already: H3_REQUEST_CANCELLED (RFC 9114 §4.1.1).
const requestCancelled = 0x10c

// abortStream resets the stream of w, a server's own writer, over HTTP/3, and
// reports whether it could. After a write that has failed net/http leaves the
// chunks of HTTP/1 unfinished and resets the stream of HTTP/2; but quic-go closes
// the stream as if nothing was missing, and the client would take half an event
// for the end.
//
// It uses reflection, because the methods are those of types that could be named
// only by importing quic-go, which nobody needs who does not serve HTTP/3.
func abortStream(w http.ResponseWriter) bool {
	takeOver := reflect.ValueOf(w).MethodByName("HTTPStream")
	if !takeOver.IsValid() || takeOver.Type().NumIn() != 0 || takeOver.Type().NumOut() != 1 {
		return false
	}
	kind := takeOver.Type().Out(0)
	if !takesCode(kind.MethodByName("CancelWrite")) || !takesCode(kind.MethodByName("CancelRead")) {
		return false
	}
	if conn, ok := w.(deadliner); ok {
		_ = conn.SetWriteDeadline(time.Unix(1, 0)) // HTTPStream flushes, and nobody may be there to take it
	}
	stream := takeOver.Call(nil)[0] // from now on the server leaves both directions to us
	for _, cancel := range []reflect.Value{stream.MethodByName("CancelWrite"), stream.MethodByName("CancelRead")} {
		code := reflect.ValueOf(requestCancelled).Convert(cancel.Type().In(0))
		cancel.Call([]reflect.Value{code})
	}
	return true
}

// takesCode reports whether a method takes an error code of QUIC and nothing else.
// The first parameter is the receiver where the type is no interface.
func takesCode(m reflect.Method, ok bool) bool {
	return ok && m.Type.NumIn() <= 2 && m.Type.NumIn() > 0 && m.Type.In(m.Type.NumIn()-1).Kind() == reflect.Uint64
}
