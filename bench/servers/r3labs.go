package servers

import (
	"net"
	"net/http"
	"net/url"

	"github.com/r3labs/sse/v2"
)

// r3labsServer has a stream for each topic. Its replay is left out where no
// client returns, because it would keep all events for ever.
type r3labsServer struct{ sse *sse.Server }

func newR3labs(o Options) (Server, error) {
	s := sse.New()
	s.AutoReplay = o.History > 0
	for _, topic := range o.Topics {
		s.CreateStream(topic)
	}
	return r3labsServer{s}, nil
}

func (s r3labsServer) Serve(l net.Listener) error {
	return serveHTTP(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.URL.RawQuery = url.Values{"stream": {topicOf(r)}}.Encode() // the name it looks for
		s.sse.ServeHTTP(w, r)
	}))
}

func (s r3labsServer) Publish(topic string, event []byte) error {
	s.sse.Publish(topic, &sse.Event{Data: event})
	return nil
}
