package servers

import (
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// floorA is what the kernel asks for and little more: one thread that waits in
// epoll and writes to sockets without blocking. It knows just enough HTTP to be
// talked to: chunks, but no TLS, no keep-alive, no timeouts, no middleware.
//
// The thread of Serve owns everything except dirty.
type floorA struct {
	topics map[string]*rawTopic
	tokens func() []byte
	epoll  int
	conns  map[int]*rawConn // by file descriptor

	wake  int // an eventfd: dirty is no longer empty
	mu    sync.Mutex
	dirty []*rawTopic // published to since the thread last looked
}

type rawTopic struct {
	feed  *feed
	conns []*rawConn
	dirty bool // it is in floorA.dirty; guarded by floorA.mu
	busy  bool // some of conns may have something to write
}

func newFloorA(o Options) (Server, error)           { return newRaw(o, 0) }
func newFloorACoalescing(o Options) (Server, error) { return newRaw(o, feedSegment) }

func newRaw(o Options, segmentBytes int) (Server, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	s := &floorA{
		topics: make(map[string]*rawTopic),
		tokens: o.Tokens,
		epoll:  epoll,
		conns:  make(map[int]*rawConn),
		wake:   wake,
	}
	for topic, feed := range newFeeds(o.Topics, segmentBytes) {
		s.topics[topic] = &rawTopic{feed: feed}
	}
	return s, s.watch(unix.EPOLL_CTL_ADD, wake, unix.EPOLLIN)
}

// Publish appends, and wakes the thread unless that is about to look anyway.
func (s *floorA) Publish(topic string, event []byte) error {
	t := s.topics[topic]
	t.feed.append(func(id uint64) []byte { return chunk(block(id, event)) })
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.dirty {
		return nil
	}
	t.dirty = true
	s.dirty = append(s.dirty, t)
	if len(s.dirty) > 1 {
		return nil
	}
	_, err := unix.Write(s.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	return os.NewSyscallError("write", err)
}

// Serve is the thread.
func (s *floorA) Serve(l net.Listener) error {
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	defer file.Close()
	listener := int(file.Fd())
	if err := unix.SetNonblock(listener, true); err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	if err := s.watch(unix.EPOLL_CTL_ADD, listener, unix.EPOLLIN); err != nil {
		return err
	}
	var busy []*rawTopic
	events := make([]unix.EpollEvent, 512)
	for {
		wait := -1
		if len(busy) > 0 {
			wait = 0
		}
		n, err := unix.EpollWait(s.epoll, events, wait)
		if err != nil && err != unix.EINTR {
			return os.NewSyscallError("epoll_wait", err)
		}
		for _, e := range events[:max(n, 0)] {
			switch fd := int(e.Fd); fd {
			case listener:
				s.accept(listener)
			case s.wake:
				busy = s.takeDirty(busy)
			default:
				busy = s.serveConn(s.conns[fd], e.Events, busy)
			}
		}
		busy = s.writeAll(busy)
	}
}

// takeDirty adds the topics that have been published to.
func (s *floorA) takeDirty(busy []*rawTopic) []*rawTopic {
	var count [8]byte
	_, _ = unix.Read(s.wake, count[:])
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.dirty {
		t.dirty = false
		busy = t.addTo(busy)
	}
	s.dirty = s.dirty[:0]
	return busy
}

func (t *rawTopic) addTo(busy []*rawTopic) []*rawTopic {
	if t.busy {
		return busy
	}
	t.busy = true
	return append(busy, t)
}

// writeAll writes once to each stream that has something to write, and returns
// the topics in which there may be more.
func (s *floorA) writeAll(busy []*rawTopic) []*rawTopic {
	left := busy[:0]
	for _, t := range busy {
		t.busy = false
		for i := 0; i < len(t.conns); i++ {
			c := t.conns[i]
			if len(c.rest) > 0 {
				continue
			}
			if c.rest, _ = t.feed.since(&c.at); len(c.rest) == 0 {
				continue
			}
			t.busy = true
			if !s.write(c) {
				i-- // another one has taken its place
			}
		}
		if t.busy {
			left = append(left, t)
		}
	}
	return left
}

func (s *floorA) watch(op, fd int, events uint32) error {
	err := unix.EpollCtl(s.epoll, op, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
	return os.NewSyscallError("epoll_ctl", err)
}
