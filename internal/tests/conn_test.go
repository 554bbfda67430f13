package tests

import (
	"context"
	"net"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"

	"github.com/ssegin/ssegin"
	"github.com/ssegin/ssegin/ssegintest"
)

func TestConnContext_leavesTheContextAndOtherConnectionsAlone(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	type key struct{}
	ctx := context.WithValue(t.Context(), key{}, 1)
	assert.Equal(t, 1, ssegin.ConnContext(ctx, a).Value(key{}))

	synctest.Test(t, func(t *testing.T) {
		hub := ssegin.NewHub()
		srv := serve(t, route(ssegin.Handler(hub)),
			ssegintest.WithServer(func(s *http.Server) { s.ConnContext = ssegin.ConnContext }))
		s := connect(t, srv, "")
		broadcast(t, hub, "x")
		assert.Equal(t, "x", next(t, s).Data)
	})
}
