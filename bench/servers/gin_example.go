package servers

import (
	"io"
	"net"

	"github.com/gin-gonic/gin"
)

// ginExample is the pattern of gin-gonic/examples/server-sent-event, which most
// Gin applications have copied: one goroutine knows all clients of a topic and
// sends each event to each client's unbuffered channel, whose handler writes it
// with c.SSEvent. Tokens need no such list: their handler makes them.
type ginExample struct {
	topics map[string]*clientList
	engine *gin.Engine
}

type clientList struct {
	events chan string
	join   chan chan string
	leave  chan chan string
}

func newGinExample(o Options) (Server, error) {
	s := &ginExample{topics: make(map[string]*clientList), engine: newEngine()}
	for _, topic := range o.Topics {
		l := &clientList{events: make(chan string), join: make(chan chan string), leave: make(chan chan string)}
		s.topics[topic] = l
		go l.run()
	}
	s.engine.GET("/events", s.stream)
	s.engine.GET("/tokens", func(c *gin.Context) { tokensSSEvent(c, o.Tokens) })
	return s, nil
}

func (s *ginExample) Serve(l net.Listener) error { return serveHTTP(l, s.engine) }

func (s *ginExample) Publish(topic string, event []byte) error {
	s.topics[topic].events <- string(event)
	return nil
}

func (l *clientList) run() {
	clients := make(map[chan string]bool)
	for {
		select {
		case client := <-l.join:
			clients[client] = true
		case client := <-l.leave:
			delete(clients, client)
			close(client)
		case event := <-l.events:
			for client := range clients {
				client <- event
			}
		}
	}
}

func (s *ginExample) stream(c *gin.Context) {
	list, client := s.topics[c.Query("topic")], make(chan string)
	list.join <- client
	defer func() {
		go func() { // the list may be sending to it until it has left
			for range client {
			}
		}()
		list.leave <- client
	}()
	c.Header("Content-Type", "text/event-stream")
	c.Header("Cache-Control", "no-cache")
	c.Stream(func(io.Writer) bool {
		event, ok := <-client
		if ok {
			c.SSEvent("message", event)
		}
		return ok
	})
}

// tokensSSEvent is what Gin's own documentation does for one request.
func tokensSSEvent(c *gin.Context, next func() []byte) {
	c.Header("Cache-Control", "no-cache")
	c.Stream(func(io.Writer) bool {
		token := next()
		if token != nil {
			c.SSEvent("message", string(token)) // it sets the content type
		}
		return token != nil
	})
}
