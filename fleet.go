package ssegin

import (
	"net"
	"runtime"
	"sync"
	"time"
)

// A fleet serves the detached streams of a hub: a crew for each processor
// writes, a poller hears from the kernel which sockets can be written again or
// are closed, and a watch looks for heartbeats and deadlines that are due. It
// runs while there are such streams.
type fleet struct {
	born  time.Time
	crews []*crew

	mu      sync.Mutex
	poller  *poller // nil while there are no streams
	streams map[int32]*detached
	made    uint
	next    int32 // the ticket of the next stream; a socket's number would be used again too soon
	stop    chan struct{}
}

// watchEvery is how late a heartbeat may be, and how early an expiry.
const watchEvery = 250 * time.Millisecond

func newFleet() *fleet {
	f := &fleet{born: time.Now(), streams: map[int32]*detached{}}
	for range runtime.GOMAXPROCS(0) {
		f.crews = append(f.crews, &crew{work: make(chan struct{}, 1)})
	}
	return f
}

// newStream returns a stream that is to be detached, so that the hub can wake
// it before it is.
func (f *fleet) newStream(s *Stream) *detached {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.made++
	d := &detached{stream: s, fleet: f, crew: f.crews[f.made%uint(len(f.crews))]}
	d.queued.Store(true)
	return d
}

// add begins to watch a connection for d.
func (f *fleet) add(d *detached, conn *net.TCPConn) (*socket, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.poller == nil {
		if err := f.start(); err != nil {
			return nil, err
		}
	}
	f.next++
	s, err := f.poller.add(conn, f.next)
	if err != nil {
		if len(f.streams) == 0 {
			f.end()
		}
		return nil, err
	}
	f.streams[s.ticket] = d
	return s, nil
}

// remove closes the connection and forgets it. The last one ends the fleet's
// goroutines.
func (f *fleet) remove(s *socket) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s.close()
	delete(f.streams, s.ticket)
	if len(f.streams) == 0 {
		f.end()
	}
}

// size is how many streams the fleet serves.
func (f *fleet) size() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.streams)
}

func (f *fleet) start() error {
	poller, err := newPoller()
	if err != nil {
		return err
	}
	f.poller, f.stop = poller, make(chan struct{})
	for _, c := range f.crews {
		go c.run(f.stop)
	}
	go poller.run(f.event)
	go f.watch(f.stop)
	return nil
}

// end tells the goroutines to go.
func (f *fleet) end() {
	close(f.stop)
	f.poller.close()
	f.poller = nil
	f.streams = map[int32]*detached{} // a map keeps the room of its widest time
}

// event is called by the poller.
func (f *fleet) event(ticket int32, gone bool) {
	f.mu.Lock()
	d := f.streams[ticket]
	f.mu.Unlock()
	switch {
	case d == nil:
	case gone:
		d.gone()
	default:
		d.ready()
	}
}

// watch finds the streams whose time has come.
func (f *fleet) watch(stop chan struct{}) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	var due []*detached
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		now := int64(time.Since(f.born))
		f.mu.Lock()
		for _, d := range f.streams {
			if d.alarm.Load() <= now {
				due = append(due, d)
			}
		}
		f.mu.Unlock()
		for _, d := range due {
			d.ready()
		}
		clear(due)
		due = due[:0]
	}
}

// A crew is one writing goroutine and the queue of streams that have something
// to write. It never waits for a socket.
type crew struct {
	work chan struct{} // holds one: the queue is not empty

	mu    sync.Mutex
	queue []*detached
}

func (c *crew) push(d *detached) {
	c.mu.Lock()
	c.queue = append(c.queue, d)
	c.mu.Unlock()
	select {
	case c.work <- struct{}{}:
	default: // it is told already
	}
}

func (c *crew) run(stop chan struct{}) {
	var turn []*detached
	for {
		select {
		case <-stop:
			return
		case <-c.work:
		}
		c.mu.Lock()
		turn, c.queue = c.queue, turn[:0]
		c.mu.Unlock()
		for _, d := range turn {
			d.turn(time.Now())
		}
		clear(turn)
	}
}
