package servers

import (
	"net"
	"net/http"
)

// floorHTTP is the least that net/http needs for a shared log: no heartbeats,
// no deadlines, no checks.
type floorHTTP struct {
	feeds   map[string]*feed
	handler http.Handler
}

func newFloorHTTP(o Options) (Server, error) {
	s := &floorHTTP{feeds: newFeeds(o.Topics, feedSegment)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /events", s.stream)
	mux.HandleFunc("GET /tokens", func(w http.ResponseWriter, _ *http.Request) { tokensHTTP(w, o.Tokens) })
	s.handler = mux
	return s, nil
}

func (s *floorHTTP) Serve(l net.Listener) error { return serveHTTP(l, s.handler) }

func (s *floorHTTP) Publish(topic string, event []byte) error {
	s.feeds[topic].append(func(id uint64) []byte { return block(id, event) })
	return nil
}

func (s *floorHTTP) stream(w http.ResponseWriter, r *http.Request) {
	feed := s.feeds[topicOf(r)]
	bell := feed.join()
	defer feed.leave(bell)
	at := feed.start(r.Header.Get("Last-Event-ID"))
	flush := http.NewResponseController(w).Flush
	w.Header().Set("Content-Type", "text/event-stream")
	for err := flush(); err == nil; {
		if events := feed.since(&at); len(events) > 0 {
			_, _ = w.Write(events)
			err = flush() // tells of the write's error too
			continue
		}
		select {
		case <-bell:
		case <-r.Context().Done():
			return
		}
	}
}

func tokensHTTP(w http.ResponseWriter, next func() []byte) {
	flush := http.NewResponseController(w).Flush
	w.Header().Set("Content-Type", "text/event-stream")
	id := uint64(0)
	for token := next(); token != nil; token = next() {
		id++
		_, _ = w.Write(block(id, token))
		if flush() != nil {
			return
		}
	}
}
