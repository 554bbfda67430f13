package load

import (
	"encoding/json"
	"io"
	"net/http"
)

// acks tells the server how far the slowest stream is, in steps of so many
// events, so that a publisher that goes as fast as it can stays a bounded
// number of events ahead, whatever the server does with a flood.
//
// The zero acks tells nobody.
type acks struct {
	step    uint64
	streams func() int     // how many have to pass
	passed  map[uint64]int // streams by the step they have passed, later than acked
	acked   uint64         // in steps
	tell    func(events uint64)
}

// advance notes that a stream came from event before to event now.
func (a *acks) advance(before, now uint64) {
	if a.step == 0 || before/a.step == now/a.step {
		return
	}
	for step := before/a.step + 1; step <= now/a.step; step++ {
		a.passed[step]++
	}
	for n := a.streams(); n > 0 && a.passed[a.acked+1] >= n; {
		delete(a.passed, a.acked+1)
		a.acked++
		a.tell(a.acked * a.step)
	}
}

// An ackLine carries the newest acknowledgement to a server's control address.
type ackLine struct {
	newest chan uint64 // holds one: a newer one replaces it
	pipe   *io.PipeWriter
	ended  chan struct{}
}

// openAcks starts a request to url whose body is one number after the other.
func openAcks(url string) *ackLine {
	body, pipe := io.Pipe()
	l := &ackLine{newest: make(chan uint64, 1), pipe: pipe, ended: make(chan struct{})}
	go l.request(url, body)
	go l.write()
	return l
}

func (l *ackLine) request(url string, body *io.PipeReader) {
	defer close(l.ended)
	defer body.Close()
	// Without acknowledgements the publisher stops at its window, and the
	// server says so: an error needs no other way out.
	if response, err := http.Post(url, "application/json", body); err == nil {
		response.Body.Close()
	}
}

func (l *ackLine) write() {
	numbers := json.NewEncoder(l.pipe)
	for {
		select {
		case n := <-l.newest:
			_ = numbers.Encode(n) // it fails once the line has ended
		case <-l.ended:
			return
		}
	}
}

// tell sends n, without waiting. Only the pool's loop calls it.
func (l *ackLine) tell(n uint64) {
	select {
	case <-l.newest: // not sent yet: n says it all
	default:
	}
	l.newest <- n // there is room: nobody else adds
}

// close ends the line: the body ends, and the server answers.
func (l *ackLine) close() {
	_ = l.pipe.Close()
	<-l.ended
}
