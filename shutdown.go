package ssegin

import (
	"context"
	"fmt"
	"time"
)

// Shutdown ends the hub. From its first moment on no stream joins and nothing
// is published: publishers get ErrClosed, clients are told to come back later,
// over another connection. Then each stream is given what is due to it and ends,
// at its own moment within the window of WithDrain and with a reconnection time
// of its own, so that the clients do not come back all at once. Shutdown returns
// nil when the last stream is gone and OnDisconnect has returned. When ctx ends
// before that, it cuts the rest and returns an error that wraps the cause of ctx.
//
// Call http.Server.SetKeepAlivesEnabled(false) before it, or clients come back to
// this process, and are refused, over the connections that they have. Call
// http.Server.Shutdown after it, because that waits for open streams, which only
// the hub can end. Shutdown is safe in RegisterOnShutdown, too; but the server
// does not wait for what is registered there, nor for detached streams, so a main
// function that returns after the server's Shutdown cuts them: let it call the hub's
// Shutdown, too, and return after that. More calls, also at the same time, wait for the
// same end.
//
// Do not call it from a callback of a stream or of the Observer, such as OnConnect,
// OnReset or OnDisconnect: it would wait for that callback, and so for itself, until ctx
// ends. Start it on a goroutine there.
func (h *Hub) Shutdown(ctx context.Context) error {
	h.mustBeMade()
	streams := h.timeline.close()
	h.engine.stop() // what is published from now on, the clients get elsewhere
	defer h.engine.close(ctx)
	h.drain(ctx, streams)
	select {
	case <-h.timeline.drained:
		return nil
	default: // even if ctx has ended, too
	}
	select {
	case <-h.timeline.drained:
		return nil
	case <-ctx.Done():
	}
	rest, held := h.timeline.rest()
	if len(rest) == 0 && held == 0 {
		return nil // the last one left at the same moment
	}
	for _, c := range rest {
		c.stream.end(ErrShutdown)
		c.stream.cut()
	}
	if held > 0 {
		return fmt.Errorf("ssegin: shutdown: %d streams cut, and %d callbacks or the log have not returned: %w", len(rest), held, context.Cause(ctx))
	}
	return fmt.Errorf("ssegin: shutdown: %d streams cut: %w", len(rest), context.Cause(ctx))
}

// drain ends the streams one by one, evenly over the window.
func (h *Hub) drain(ctx context.Context, streams []*cursor) {
	begin := time.Now()
	for i, c := range streams {
		moment := h.options.drain * time.Duration(i) / time.Duration(len(streams))
		if wait := moment - time.Since(begin); wait > 0 {
			select {
			case <-time.After(wait):
			case <-h.timeline.drained: // all have left by themselves
				return
			case <-ctx.Done():
				return
			}
		}
		c.stream.end(ErrShutdown)
	}
}
