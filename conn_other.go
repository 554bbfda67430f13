//go:build !linux

package ssegin

import (
	"context"
	"net"
)

// ConnContext is for http.Server.ConnContext. On Linux it lets the kernel give
// up a connection whose peer has acknowledged nothing for ten seconds; on this
// system it does nothing.
func ConnContext(ctx context.Context, c net.Conn) context.Context { return ctx }
