package servers

import (
	"context"
	"net"

	"github.com/gin-gonic/gin"

	"github.com/ssegin/ssegin"
)

// sseginServer is a hub behind a Gin engine, set up in the two lines of the
// README. More options of the streams make another mode of it; see All.
type sseginServer struct {
	hub    *ssegin.Hub
	engine *gin.Engine
}

func newSsegin(o Options) (Server, error) { return newSseginMode(o) }

func newSseginDetached(o Options) (Server, error) { return newSseginMode(o, ssegin.WithDetached()) }

func newSseginMode(o Options, mode ...ssegin.StreamOption) (Server, error) {
	s := &sseginServer{hub: ssegin.NewHub(ssegin.WithHistory(o.History, 0, 0)), engine: newEngine()}
	streams := append(mode, ssegin.WithTopics(func(c *gin.Context) ([]string, error) {
		if topic := c.Query("topic"); topic != Everyone {
			return []string{topic}, nil
		}
		return nil, nil
	}))
	s.engine.GET("/events", ssegin.Handler(s.hub, streams...))
	s.engine.GET("/tokens", ssegin.Middleware(), func(c *gin.Context) {
		stream := ssegin.From(c)
		for token := o.Tokens(); token != nil; token = o.Tokens() {
			if stream.Send(ssegin.Event{Data: token}) != nil {
				return
			}
		}
	})
	return s, nil
}

func (s *sseginServer) Serve(l net.Listener) error { return serveHTTP(l, s.engine) }

func (s *sseginServer) Publish(topic string, event []byte) error {
	e := ssegin.Event{Data: event}
	if topic == Everyone {
		_, err := s.hub.Broadcast(context.Background(), e)
		return err
	}
	_, err := s.hub.Publish(context.Background(), topic, e)
	return err
}
