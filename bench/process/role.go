// Package process starts the server and the load generator as processes of
// their own, talks to them over HTTP on the loopback interface, and reads from
// the kernel what they use up.
package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
)

// A Hello is what a child prints, as one line of JSON, once it can be talked to.
type Hello struct {
	Control string // address of its control endpoints
	Stream  string // address of the event streams, if it is a server
}

// Serve is the main loop of a child: it answers control requests until the
// parent closes the child's standard input, by dying if need be.
func Serve(control http.Handler, stream string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	err = json.NewEncoder(os.Stdout).Encode(Hello{Control: l.Addr().String(), Stream: stream})
	if err != nil {
		return err
	}
	server := &http.Server{Handler: control}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		server.Close()
	}()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Endpoint makes f a control endpoint: JSON in, JSON out.
func Endpoint[In, Out any](f func(context.Context, In) (Out, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var in In
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil && !errors.Is(err, io.EOF) {
			http.Error(w, fmt.Sprintf("bad request: %v", err), http.StatusBadRequest)
			return
		}
		out, err := f(r.Context(), in)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		// An error here means that the caller has gone.
		_ = json.NewEncoder(w).Encode(out)
	}
}

// None is the input or output of an endpoint that has none.
type None struct{}
