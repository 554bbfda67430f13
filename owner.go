package ssegin

import (
	"context"
	"fmt"
	"net/http"

	"github.com/ssegin/ssegin/internal/response"
)

// What the log and the response have in common is declared there, and has its
// names here, so that the files of the log need not know of a response.
const (
	// writeBytes is what one write carries at the most, but for a single event
	// that is larger: beyond it, writes get hardly cheaper and a slow client would
	// hold more memory.
	writeBytes = response.WriteBytes

	grace                = response.Grace // that a client has when its stream's time is over
	heartbeat            = response.Heartbeat
	defaultMaxEventBytes = response.MaxEventBytes
)

// An owner is a Stream as its response knows it. It is a type of its own, because
// these methods are not for applications.
type owner Stream

func (o *owner) stream() *Stream { return (*Stream)(o) }

func (o *owner) Context() context.Context { return o.stream().Context() }
func (o *owner) Over() error              { return o.stream().over() }
func (o *owner) End(cause error)          { o.stream().end(cause) }
func (o *owner) Finish(cause error)       { o.stream().failed(cause) }

// Hidden says once for each Handler or Middleware what its streams must do
// without, because a writer hides the server's.
func (o *owner) Hidden(foreign http.ResponseWriter) {
	o.options.lost.Do(func() {
		o.stream().logger().Warn("ssegin: this response writer has neither write deadlines nor an Unwrap method: a client that stops reading is not cut, and http.Server.WriteTimeout is not lifted; if it is a middleware's, exclude the paths of streams from that middleware",
			"writer", fmt.Sprintf("%T", foreign))
	})
}
