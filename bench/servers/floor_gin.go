package servers

import (
	"io"
	"net"

	"github.com/gin-gonic/gin"
)

// floorGin is the least that Gin needs for a shared log, in the way that Gin
// offers for streams.
type floorGin struct {
	feeds  map[string]*feed
	engine *gin.Engine
}

func newFloorGin(o Options) (Server, error) {
	s := &floorGin{feeds: newFeeds(o.Topics, feedSegment), engine: newEngine()}
	s.engine.GET("/events", s.stream)
	s.engine.GET("/tokens", func(c *gin.Context) { tokensGin(c, o.Tokens) })
	return s, nil
}

// newEngine makes a Gin engine that logs nothing.
func newEngine() *gin.Engine {
	gin.SetMode(gin.ReleaseMode)
	return gin.New()
}

func (s *floorGin) Serve(l net.Listener) error { return serveHTTP(l, s.engine) }

func (s *floorGin) Publish(topic string, event []byte) error {
	s.feeds[topic].append(func(id uint64) []byte { return block(id, event) })
	return nil
}

func (s *floorGin) stream(c *gin.Context) {
	feed := s.feeds[c.Query("topic")]
	bell := feed.join()
	defer feed.leave(bell)
	at := feed.start(c.GetHeader("Last-Event-ID"))
	gone := c.Request.Context().Done()
	c.Header("Content-Type", "text/event-stream")
	c.Writer.Flush()
	c.Stream(func(w io.Writer) bool {
		for {
			if events := feed.since(&at); len(events) > 0 {
				_, err := w.Write(events)
				return err == nil // c.Stream flushes
			}
			select {
			case <-bell:
			case <-gone:
				return false
			}
		}
	})
}

func tokensGin(c *gin.Context, next func() []byte) {
	c.Header("Content-Type", "text/event-stream")
	id := uint64(0)
	c.Stream(func(w io.Writer) bool {
		token := next()
		if token == nil {
			return false
		}
		id++
		_, err := w.Write(block(id, token))
		return err == nil
	})
}
