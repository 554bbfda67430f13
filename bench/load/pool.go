package load

import (
	"context"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

const (
	readBytes    = 256 << 10 // one read takes all that a socket usually holds
	batchEvents  = 512       // sockets told of by one epoll_wait
	maxDialing   = 256       // connections being opened at a time: fewer than a listener's backlog
	tickMillis   = 20        // how late a wait may notice that its time is up
	wakeIndex    = -1        // marks the eventfd among the clients' indexes
	maxQueuedFns = 16        // callers that may hand over work before one has to wait
)

// A Pool holds the streams of one load process. One goroutine, that of Run,
// owns everything in it; the exported methods may be called from any other and
// hand their work over to it.
type Pool struct {
	epoll int
	wake  int // an eventfd: there is work in do
	do    chan func()

	buffer []byte
	now    int64 // payload.Now of the read under way

	target  Target
	clients []client
	dialed  int // clients given to connect so far
	counts
	waits []*wait

	measure measure
	churn   churn
	lastID  string // of the last probe seen
}

// counts tells how many clients are in which state. A client is counted as
// dialing, asked or failed first, and asked ones as ready and gone beside that.
type counts struct {
	dialing int // connecting
	held    int // connected, the request not yet sent
	asked   int // the request was sent
	ready   int // a probe has come
	stalled int // of the ready ones: those that do not read any more
	gone    int // of the asked ones: those whose connection the server ended
	failed  int // never connected
}

// A wait is a condition that somebody waits for.
type wait struct {
	until func() bool
	met   chan struct{}
}

// NewPool makes a pool without streams. Call Run to let it work.
func NewPool() (*Pool, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	p := &Pool{
		epoll:  epoll,
		wake:   wake,
		do:     make(chan func(), maxQueuedFns),
		buffer: make([]byte, readBytes),
	}
	if err := p.watch(unix.EPOLL_CTL_ADD, wake, wakeIndex, unix.EPOLLIN); err != nil {
		return nil, err
	}
	return p, nil
}

// Run reads the streams, for as long as the process lives. It returns only if
// epoll fails.
func (p *Pool) Run() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	events := make([]unix.EpollEvent, batchEvents)
	for {
		n, err := unix.EpollWait(p.epoll, events, p.patience())
		if err != nil && err != unix.EINTR {
			return fmt.Errorf("epoll_wait: %w", err)
		}
		woken := false
		for _, e := range events[:max(n, 0)] {
			if e.Fd == wakeIndex {
				woken = true
				continue
			}
			p.serve(int(e.Fd), e.Events)
		}
		if woken { // only now: it may replace the clients that the events speak of
			p.runQueued()
		}
		p.dialMore()
		p.checkWaits()
	}
}

// onLoop runs f on the goroutine of Run and returns when it has.
func (p *Pool) onLoop(f func()) {
	ran := make(chan struct{})
	p.do <- func() { f(); close(ran) }
	// Eight bytes always fit: the loop empties the counter before it works.
	_, _ = unix.Write(p.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	<-ran
}

// waitFor returns when until is true, which the loop asks after each batch, or
// when ctx ends.
func (p *Pool) waitFor(ctx context.Context, until func() bool) {
	w := &wait{until: until, met: make(chan struct{})}
	p.onLoop(func() { p.waits = append(p.waits, w) })
	select {
	case <-w.met:
	case <-ctx.Done():
		p.onLoop(func() { p.dropWait(w) })
	}
}

// patience is how long epoll_wait may sleep.
func (p *Pool) patience() int {
	if len(p.waits) > 0 {
		return tickMillis
	}
	return -1
}

func (p *Pool) runQueued() {
	var count [8]byte
	_, _ = unix.Read(p.wake, count[:])
	for {
		select {
		case f := <-p.do:
			f()
		default: // the queue is empty
			return
		}
	}
}

func (p *Pool) checkWaits() {
	for i := 0; i < len(p.waits); {
		if w := p.waits[i]; w.until() {
			close(w.met)
			p.dropWait(w)
		} else {
			i++
		}
	}
}

func (p *Pool) dropWait(w *wait) {
	for i := range p.waits {
		if p.waits[i] == w {
			p.waits = append(p.waits[:i], p.waits[i+1:]...)
			return
		}
	}
}

func (p *Pool) watch(op, fd, index int, events uint32) error {
	err := unix.EpollCtl(p.epoll, op, fd, &unix.EpollEvent{Events: events, Fd: int32(index)})
	if err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}
