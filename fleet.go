package ssegin

import (
	"net"
	"runtime"
	"sync"
	"time"

	"github.com/ssegin/ssegin/internal/epoll"
)

// A fleet serves the detached streams of a hub: a crew for each processor
// writes, a poller hears from the kernel which sockets can be written again or
// are closed, and a watch looks for heartbeats and deadlines that are due. It
// runs while there are such streams.
type fleet struct {
	born  time.Time
	run   func(func()) // starts a goroutine that Shutdown waits for
	crews []*crew

	mu      sync.Mutex    // taken before timeline.mu
	poller  *epoll.Poller // nil while there are no streams
	streams map[int32]passenger
	made    uint
	next    int32 // the ticket of the next stream; a socket's number would be used again too soon
	stop    chan struct{}
}

// A passenger is a stream that a fleet serves. None of its methods waits.
type passenger interface {
	turn(now time.Time) // write what is due
	ready()             // there may be something due: queue up for a turn
	gone()              // the peer has closed the connection
	alarmAt() int64     // when to queue up without being told, in nanoseconds since the fleet was made
}

// watchEvery is how late a heartbeat may be, and how early an expiry.
const watchEvery = 250 * time.Millisecond

// notSentLowat is what a socket may hold that is not on its way yet.
const notSentLowat = writeBytes

func newFleet(run func(func())) *fleet {
	f := &fleet{born: time.Now(), run: run, streams: map[int32]passenger{}}
	for range runtime.GOMAXPROCS(0) {
		f.crews = append(f.crews, &crew{work: make(chan struct{}, 1)})
	}
	return f
}

// crew returns the one that serves the next stream.
func (f *fleet) crew() *crew {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.made++
	return f.crews[f.made%uint(len(f.crews))]
}

// add begins to watch a connection for p.
func (f *fleet) add(p passenger, conn *net.TCPConn) (*epoll.Socket, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.poller == nil {
		if err := f.startLocked(); err != nil {
			return nil, err
		}
	}
	f.next++
	s, err := f.poller.Add(conn, f.next)
	if err != nil {
		if len(f.streams) == 0 {
			f.endLocked()
		}
		return nil, err
	}
	f.streams[s.Ticket()] = p
	return s, nil
}

// remove closes the connection and forgets it. The last one ends the fleet's
// goroutines.
func (f *fleet) remove(s *epoll.Socket) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s.Close()
	delete(f.streams, s.Ticket())
	if len(f.streams) == 0 {
		f.endLocked()
	}
}

// size is how many streams the fleet serves.
func (f *fleet) size() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.streams)
}

func (f *fleet) startLocked() error {
	poller, err := epoll.New(notSentLowat)
	if err != nil {
		return err
	}
	stop := make(chan struct{})
	f.poller, f.stop = poller, stop
	for _, c := range f.crews {
		f.run(func() { c.run(stop) })
	}
	f.run(func() { poller.Run(f.event) })
	f.run(func() { f.watch(stop) })
	return nil
}

// endLocked tells the goroutines to go.
func (f *fleet) endLocked() {
	close(f.stop)
	f.poller.Close()
	f.poller = nil
	f.streams = map[int32]passenger{} // a map keeps the room of its widest time
}

// event is called by the poller.
func (f *fleet) event(ticket int32, gone bool) {
	f.mu.Lock()
	p := f.streams[ticket]
	f.mu.Unlock()
	switch {
	case p == nil:
	case gone:
		p.gone()
	default:
		p.ready()
	}
}

// watch finds the streams whose time has come.
func (f *fleet) watch(stop chan struct{}) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	var due []passenger
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		now := int64(time.Since(f.born))
		f.mu.Lock()
		for _, p := range f.streams {
			if p.alarmAt() <= now {
				due = append(due, p)
			}
		}
		f.mu.Unlock()
		for _, p := range due {
			p.ready()
		}
		clear(due)
		due = due[:0]
	}
}

// A crew is one writing goroutine and the queues of streams that have something to
// write. It never waits for a socket.
//
// Streams that have much to be given, because they are behind, have a queue of their
// own. All others go first, and after each few of these one that is behind has its turn:
// so an event is not late for those who are up to date because a crowd comes back, and
// the crowd is served however many events there are.
type crew struct {
	work chan struct{} // holds one: see call

	mu     sync.Mutex // no other lock is taken under it
	queue  []passenger
	behind ring[passenger]
}

// perBehind is how many streams that are up to date have a turn for each one that is
// behind, when there are so many. To write 64 KiB takes about as long as their turns.
const perBehind = 16

// push puts p in one of the queues.
func (c *crew) push(p passenger, behind bool) {
	c.mu.Lock()
	if behind {
		c.behind.push(p)
	} else {
		c.queue = append(c.queue, p)
	}
	c.mu.Unlock()
	c.call()
}

// call tells the crew that there is something in its queues.
func (c *crew) call() {
	select {
	case c.work <- struct{}{}:
	default: // it is told already
	}
}

func (c *crew) run(stop chan struct{}) {
	var turn []passenger
	for {
		select {
		case <-stop:
			return
		case <-c.work:
		}
		turn = c.next(turn)
		for _, p := range turn {
			p.turn(time.Now())
		}
		clear(turn)
	}
}

// next returns those whose turns are next, in place of those who have had theirs.
func (c *crew) next(had []passenger) (turn []passenger) {
	c.mu.Lock()
	defer c.mu.Unlock()
	turn, c.queue = c.queue, had[:0]
	for range min(c.behind.length, 1+len(turn)/perBehind) {
		turn = append(turn, c.behind.pop())
	}
	if c.behind.length > 0 {
		c.call()
	}
	return turn
}
