package servers

import (
	"fmt"
	"net"
	"runtime"
)

// floorA is what the kernel asks for and little more: as many threads as there
// are cores, each of which waits in an epoll of its own and writes to its share
// of the sockets without blocking. It knows just enough HTTP to be talked to:
// chunks, but no TLS, no keep-alive, no timeouts, no middleware.
type floorA struct {
	feeds   map[string]*feed
	threads []*rawThread
}

func newFloorA(o Options) (Server, error)           { return newRaw(o, 0) }
func newFloorACoalescing(o Options) (Server, error) { return newRaw(o, feedSegment) }

func newRaw(o Options, segmentBytes int) (Server, error) {
	s := &floorA{feeds: newFeeds(o.Topics, segmentBytes)}
	for range runtime.GOMAXPROCS(0) {
		t, err := newRawThread(s.feeds, o.Tokens)
		if err != nil {
			return nil, err
		}
		s.threads = append(s.threads, t)
	}
	return s, nil
}

// Publish appends, and tells each thread that has streams of the topic.
func (s *floorA) Publish(topic string, event []byte) error {
	s.feeds[topic].append(func(id uint64) []byte { return chunk(block(id, event)) })
	for _, t := range s.threads {
		if err := t.rouse(t.topics[topic]); err != nil {
			return err
		}
	}
	return nil
}

// Serve runs the threads until one fails. The first one accepts for all.
func (s *floorA) Serve(l net.Listener) error {
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	defer file.Close()
	accepting, err := newRawListener(int(file.Fd()), s.threads)
	if err != nil {
		return err
	}
	failed := make(chan error, len(s.threads))
	for i, t := range s.threads {
		if i == 0 {
			t.listener = accepting
		}
		go func() { failed <- t.run() }()
	}
	return <-failed
}

// chunk frames an event for HTTP/1.1.
func chunk(block []byte) []byte {
	return fmt.Appendf(nil, "%x\r\n%s\r\n", len(block), block)
}
