package ssegintest

import (
	"context"
	"net"
	"net/http"
	"net/http/httptrace"
)

// A link is one connection of a Stream: a response, and what is needed to
// drop it.
type link struct {
	resp   *http.Response
	conn   net.Conn // nil if the client's transport does not tell
	cancel context.CancelFunc

	// Guarded by the Stream's mu.
	dropped bool // by the client
	ended   bool // the body has been read to its end, or to an error
}

// openLink waits for the response as long as ctx allows, and returns the error
// of ctx when that ends first. The link outlives ctx.
func openLink(ctx context.Context, r *request, lastID string) (*link, error) {
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, cancel)
	l := &link{cancel: cancel}
	life = httptrace.WithClientTrace(life, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) { l.conn = info.Conn },
	})
	req, err := r.build(life, lastID)
	if err != nil {
		cancel()
		return nil, err
	}
	l.resp, err = r.client.Do(req)
	ended := !stop()
	switch {
	case err == nil && !ended:
		return l, nil
	case err == nil: // just now, and the request is cancelled
		l.close(false)
	}
	cancel()
	if ended {
		err = ctx.Err()
	}
	return nil, err
}

// close ends the connection, by an RST if hard. Cancelling comes before
// closing the body, because with HTTP/1 that waits for the transport.
func (l *link) close(hard bool) {
	if hard && l.resp.ProtoMajor == 1 {
		reset(l.conn)
	}
	l.cancel()
	_ = l.resp.Body.Close() // its error is that of the connection just closed
}

// reset tears c down, if it can be.
func reset(c net.Conn) {
	if t, ok := c.(interface{ NetConn() net.Conn }); ok { // a tls.Conn
		c = t.NetConn()
	}
	if t, ok := c.(interface{ SetLinger(sec int) error }); ok {
		_ = t.SetLinger(0) // fails only if it is closed already
		_ = c.Close()
	}
}
