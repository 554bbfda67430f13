package servers

import (
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// A rawThread has a share of the connections. Its run owns everything except
// what mu guards.
type rawThread struct {
	topics   map[string]*rawTopic
	tokens   func() []byte
	epoll    int
	conns    map[int]*rawConn // by file descriptor
	listener *rawListener     // of the one thread that accepts

	wake  int // an eventfd: dirty is no longer empty
	mu    sync.Mutex
	dirty []*rawTopic // published to since the thread last looked
}

// A rawTopic is a topic as one thread sees it.
type rawTopic struct {
	feed    *feed
	conns   []*rawConn
	streams atomic.Int64 // how many conns there are, for the publisher
	dirty   bool         // it is in rawThread.dirty; guarded by rawThread.mu
	busy    bool         // some of conns may have something to write
}

func newRawThread(feeds map[string]*feed, tokens func() []byte) (*rawThread, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	t := &rawThread{
		topics: make(map[string]*rawTopic, len(feeds)),
		tokens: tokens,
		epoll:  epoll,
		conns:  make(map[int]*rawConn),
		wake:   wake,
	}
	for topic, feed := range feeds {
		t.topics[topic] = &rawTopic{feed: feed}
	}
	return t, t.watch(unix.EPOLL_CTL_ADD, wake, unix.EPOLLIN)
}

// rouse tells the thread of news in a topic, unless it has no streams of it or
// is about to look anyway. A stream that comes later looks by itself.
func (t *rawThread) rouse(topic *rawTopic) error {
	if topic.streams.Load() == 0 {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if topic.dirty {
		return nil
	}
	topic.dirty = true
	t.dirty = append(t.dirty, topic)
	if len(t.dirty) > 1 {
		return nil
	}
	_, err := unix.Write(t.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	return os.NewSyscallError("write", err)
}

// run is the thread.
func (t *rawThread) run() error {
	if t.listener != nil {
		if err := t.watch(unix.EPOLL_CTL_ADD, t.listener.fd, unix.EPOLLIN); err != nil {
			return err
		}
	}
	var busy []*rawTopic
	events := make([]unix.EpollEvent, 512)
	for {
		wait := -1
		if len(busy) > 0 {
			wait = 0
		}
		n, err := unix.EpollWait(t.epoll, events, wait)
		if err != nil && err != unix.EINTR {
			return os.NewSyscallError("epoll_wait", err)
		}
		for _, e := range events[:max(n, 0)] {
			switch fd := int(e.Fd); {
			case t.listener != nil && fd == t.listener.fd:
				t.listener.accept()
			case fd == t.wake:
				busy = t.takeDirty(busy)
			default:
				busy = t.serveConn(t.conn(fd), e.Events, busy)
			}
		}
		busy = t.writeAll(busy)
	}
}

// takeDirty adds the topics that have been published to.
func (t *rawThread) takeDirty(busy []*rawTopic) []*rawTopic {
	var count [8]byte
	_, _ = unix.Read(t.wake, count[:])
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, topic := range t.dirty {
		topic.dirty = false
		busy = topic.addTo(busy)
	}
	t.dirty = t.dirty[:0]
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
func (t *rawThread) writeAll(busy []*rawTopic) []*rawTopic {
	left := busy[:0]
	for _, topic := range busy {
		topic.busy = false
		for i := 0; i < len(topic.conns); i++ {
			c := topic.conns[i]
			if len(c.rest) > 0 {
				continue
			}
			if c.rest = topic.feed.since(&c.at); len(c.rest) == 0 {
				continue
			}
			topic.busy = true
			if !t.write(c) {
				i-- // another one has taken its place
			}
		}
		if topic.busy {
			left = append(left, topic)
		}
	}
	return left
}

func (t *rawThread) watch(op, fd int, events uint32) error {
	err := unix.EpollCtl(t.epoll, op, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
	return os.NewSyscallError("epoll_ctl", err)
}
