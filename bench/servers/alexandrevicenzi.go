package servers

import (
	"io"
	"log"
	"net"
	"net/http"

	"github.com/alexandrevicenzi/go-sse"
)

// alexandrevicenziServer has a channel for each topic. It keeps no history.
type alexandrevicenziServer struct{ sse *sse.Server }

func newAlexandrevicenzi(Options) (Server, error) {
	return alexandrevicenziServer{sse.NewServer(&sse.Options{
		ChannelNameFunc: func(r *http.Request) string { return topicOf(r) },
		Logger:          log.New(io.Discard, "", 0), // it logs each event
	})}, nil
}

func (s alexandrevicenziServer) Serve(l net.Listener) error { return serveHTTP(l, s.sse) }

func (s alexandrevicenziServer) Publish(topic string, event []byte) error {
	s.sse.SendMessage(topic, sse.SimpleMessage(string(event)))
	return nil
}
