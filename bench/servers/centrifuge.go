package servers

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/centrifugal/centrifuge"
)

// centrifugeDelay is long enough for several events to come together at a high
// rate, and short beside what else a delivery takes under load.
const centrifugeDelay = 20 * time.Millisecond

// centrifugeServer is a node in memory whose server-side subscriptions follow
// what the client asks for. The event travels inside a JSON envelope.
type centrifugeServer struct{ node *centrifuge.Node }

func newCentrifuge(Options) (Server, error) {
	return newCentrifugeReply(centrifuge.ConnectReply{})
}

// newCentrifugeDelay lets each connection collect messages for a while, which
// is how centrifuge trades latency for CPU.
func newCentrifugeDelay(Options) (Server, error) {
	return newCentrifugeReply(centrifuge.ConnectReply{
		WriteDelay:         centrifugeDelay,
		WriteWithTimer:     true,
		MaxMessagesInFrame: -1,
	})
}

// newCentrifugeReply makes a node that answers connections with reply.
func newCentrifugeReply(reply centrifuge.ConnectReply) (Server, error) {
	node, err := centrifuge.New(centrifuge.Config{})
	if err != nil {
		return nil, err
	}
	node.OnConnecting(func(_ context.Context, e centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		channels := make(map[string]centrifuge.SubscribeOptions, len(e.Channels))
		for _, channel := range e.Channels {
			channels[channel] = centrifuge.SubscribeOptions{}
		}
		reply := reply
		reply.Credentials, reply.Subscriptions = &centrifuge.Credentials{}, channels
		return reply, nil
	})
	return centrifugeServer{node}, node.Run()
}

func (s centrifugeServer) Serve(l net.Listener) error {
	streams := centrifuge.NewSSEHandler(s.node, centrifuge.SSEConfig{
		// The load generator does not answer pings.
		PingPongConfig: centrifuge.PingPongConfig{PingInterval: -1, PongTimeout: -1},
	})
	return serveHTTP(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		connect := fmt.Sprintf(`{"id":1,"connect":{"subs":{%q:{}}}}`, topicOf(r))
		r.URL.RawQuery = url.Values{"cf_connect": {connect}}.Encode()
		streams.ServeHTTP(w, r)
	}))
}

func (s centrifugeServer) Publish(topic string, event []byte) error {
	_, err := s.node.Publish(topic, event)
	return err
}
