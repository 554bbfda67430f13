package servers

import (
	"net"
	"net/http"

	"github.com/tmaxmax/go-sse"
)

// tmaxmaxServer uses the default provider, with a replayer where clients return.
type tmaxmaxServer struct {
	sse    *sse.Server
	tokens func() []byte
}

func newTmaxmax(o Options) (Server, error) {
	joe := &sse.Joe{}
	if o.History > 0 {
		replayer, err := sse.NewFiniteReplayer(o.History, true)
		if err != nil {
			return nil, err
		}
		joe.Replayer = replayer
	}
	return &tmaxmaxServer{
		sse: &sse.Server{
			Provider: joe,
			OnSession: func(_ http.ResponseWriter, r *http.Request) ([]string, bool) {
				return []string{topicOf(r)}, true
			},
		},
		tokens: o.Tokens,
	}, nil
}

func (s *tmaxmaxServer) Serve(l net.Listener) error {
	mux := http.NewServeMux()
	mux.Handle("GET /events", s.sse)
	mux.HandleFunc("GET /tokens", s.stream)
	return serveHTTP(l, mux)
}

func (s *tmaxmaxServer) Publish(topic string, event []byte) error {
	return s.sse.Publish(message(event), topic)
}

func (s *tmaxmaxServer) stream(w http.ResponseWriter, r *http.Request) {
	session, err := sse.Upgrade(w, r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	for token := s.tokens(); token != nil; token = s.tokens() {
		if session.Send(message(token)) != nil || session.Flush() != nil {
			return
		}
	}
}

func message(event []byte) *sse.Message {
	m := &sse.Message{}
	m.AppendData(string(event))
	return m
}
