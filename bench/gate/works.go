package gate

import (
	"context"
	"runtime"

	"github.com/ssegin/ssegin"
)

// A work is done in rounds, in step: the server does its part, the clients do
// theirs, and the next round begins when both have. So each delivery has a
// write of its own, however fast or slow the machine is.
type work struct {
	name   string
	per    string // what the figures are counted for
	each   int    // how many of these are in a round
	rounds int    // as many go before, uncounted, a tenth of it

	held    int                 // streams that are open at the server and take nothing
	path    string              // of the clients that are open all the time
	clients int                 // their number
	topics  int                 // client i follows topic i modulo this number; 0: none
	past    int                 // events that are in the history before the first round
	serve   func(*server) error // the server's part; nil: none
	join    func(*driver) error // the clients' part; nil: none
	quiet   bool                // it writes nothing to count
}

// The streams of a crowd are enough for publishing to leave the waking of them
// to a goroutine, and for the events' own cost to vanish among the deliveries'.
const (
	crowd    = 250
	burst    = 100  // tokens in a round, which the sockets take without waiting
	repeats  = 500  // publishes in a round
	past     = 1000 // events that a client that returns has missed
	attached = "/attached"
	detached = "/detached"
)

// Where clients come and go, one stays: when the last detached stream leaves, the
// hub ends the goroutines that serve them, and the next would start them anew.
var works = []work{
	publishing("publish text to everybody, 0 streams", 0, broadcast),
	publishing("publish text to everybody, 1,000 streams", 1000, broadcast),
	publishing("publish text to a topic, 0 streams", 0, publish),
	publishing("publish text to a topic, 1,000 streams", 1000, publish),
	publishing("publish JSON, 0 streams", 0, broadcastJSON),
	publishing("publish JSON, 1,000 streams", 1000, broadcastJSON),
	{
		name: "fan-out, attached", per: "delivery", each: crowd, rounds: 100,
		path: attached, clients: crowd, serve: broadcast, join: takes(1),
	},
	{
		name: "fan-out, detached", per: "delivery", each: crowd, rounds: 100,
		path: detached, clients: crowd, serve: broadcast, join: takes(1),
	},
	{
		name: "topics, attached", per: "delivery", each: 500, rounds: 40,
		path: attached, clients: 500, topics: 250, serve: publishToEach, join: takes(1),
	},
	{
		name: "topics, detached", per: "delivery", each: 500, rounds: 40,
		path: detached, clients: 500, topics: 250, serve: publishToEach, join: takes(1),
	},
	{
		name: "tokens with Send", per: "token", each: burst, rounds: 200,
		path: "/send", clients: 1, serve: speak, join: takes(burst),
	},
	{
		name: "tokens with c.SSEvent", per: "token", each: burst, rounds: 200,
		path: "/ssevent", clients: 1, serve: speak, join: takes(burst),
	},
	{
		name: "replay, attached", per: "client", each: 1, rounds: 200,
		path: attached, clients: 1, past: past, join: visits(attached, past),
	},
	{
		name: "replay, detached", per: "client", each: 1, rounds: 200,
		path: detached, clients: 1, past: past, join: visits(detached, past),
	},
	{
		name: "connect, attached", per: "client", each: 1, rounds: 500,
		path: attached, clients: 1, join: visits(attached, 0),
	},
	{
		name: "connect, detached", per: "client", each: 1, rounds: 500,
		path: detached, clients: 1, join: visits(detached, 0),
	},
}

func publishing(name string, held int, serve func(*server) error) work {
	return work{
		name: name, per: "publish", each: repeats, rounds: 20, held: held, quiet: true,
		serve: func(s *server) error {
			for range repeats {
				if err := serve(s); err != nil {
					return err
				}
				letWake()
			}
			return nil
		},
	}
}

// letWake lets the goroutine that wakes a crowd do so before the next event
// comes: once for each event, not by chance. Now and then the scheduler takes
// up first the one that yields.
func letWake() {
	runtime.Gosched()
	runtime.Gosched()
}

func broadcast(s *server) error {
	_, err := s.hub.Broadcast(context.Background(), s.text)
	return err
}

func broadcastJSON(s *server) error {
	_, err := s.hub.Broadcast(context.Background(), s.json)
	return err
}

func publish(s *server) error { return s.publish("nobody's", s.text) }

func publishToEach(s *server) error {
	for _, topic := range s.topics {
		if err := s.publish(topic, s.text); err != nil {
			return err
		}
	}
	return nil
}

func (s *server) publish(topic string, e ssegin.Event) error {
	_, err := s.hub.Publish(context.Background(), topic, e)
	return err
}

// speak lets the handler of the one stream send a burst.
func speak(s *server) error {
	s.bursts <- struct{}{}
	return nil
}

// takes lets each client that is open take n events.
func takes(n int) func(*driver) error {
	return func(d *driver) error {
		for _, c := range d.clients {
			if err := c.take(n); err != nil {
				return err
			}
		}
		return nil
	}
}

// visits lets one client come, take n events, and leave.
func visits(path string, n int) func(*driver) error {
	return func(d *driver) error {
		c, err := connect(d.addr, path, d.lastID)
		if err != nil {
			return err
		}
		defer c.close()
		if err := c.take(n); err != nil {
			return err
		}
		return c.leave()
	}
}
