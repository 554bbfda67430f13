//go:build !linux

package ssegin

import (
	"context"
	"net"

	"github.com/ssegin/ssegin/internal/response"
)

// ConnContext is for http.Server.ConnContext. With it streams of HTTP/1 know their
// connection, and bound their writes there in place of http.Server.WriteTimeout,
// whatever writers of middlewares lie between. On Linux it also lets the kernel give up
// a connection whose peer has acknowledged nothing for ten seconds.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	return response.WithConn(ctx, c)
}
