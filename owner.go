package ssegin

import (
	"context"
	"fmt"
	"net/http"
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
