package engines

import (
	"bufio"
	"bytes"
	"fmt"
	"hash/maphash"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/ssegin/ssegin/bench/payload"
)

// A stream is one client of one hub process.
type stream struct {
	topic  int // index
	conn   net.Conn
	body   *bufio.Reader
	passed []atomic.Uint64 // by publisher: it has those of its events up to this one that are for it

	mu        sync.Mutex
	ready     bool // a probe has come
	ended     bool
	resets    int
	tally     tally
	position  uint64       // of the last event
	unordered int          // events whose position is not above the one before
	digest    maphash.Hash // of all events, with their IDs
}

// newStream returns the client of a stream of the topic with that index.
func newStream(topic, topics, publishers int) *stream {
	s := &stream{
		topic:  topic,
		passed: make([]atomic.Uint64, publishers),
		tally:  newTally(topic, topics, publishers),
	}
	s.digest.SetSeed(seed)
	for p, due := range s.tally.next {
		s.passed[p].Store(due - 1)
	}
	return s
}

// openStream returns when the head of the answer has come.
func openStream(address, path, topic string) (net.Conn, *bufio.Reader, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, nil, err
	}
	fmt.Fprintf(conn, "GET %s?topic=%s HTTP/1.1\r\nHost: %s\r\nAccept: text/event-stream\r\n\r\n", path, topic, address)
	response, err := http.ReadResponse(bufio.NewReaderSize(conn, streamBuffer), nil)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %s", response.Status)
	}
	if err != nil {
		conn.Close()
		return nil, nil, fmt.Errorf("stream of %s: %w", address, err)
	}
	return conn, bufio.NewReaderSize(response.Body, streamBuffer), nil
}

// streamBuffer takes all that a hub writes at once.
const streamBuffer = 64 << 10

// run reads until the stream ends.
func (s *stream) run() {
	var kept []byte
	for {
		if _, err := s.body.Peek(1); err != nil {
			s.mu.Lock()
			s.ended = true
			s.mu.Unlock()
			return
		}
		now := payload.Now()
		input, _ := s.body.Peek(s.body.Buffered())
		s.mu.Lock()
		if len(kept) > 0 { // the beginning of a frame came before
			kept = append(kept, input...)
			kept = append(kept[:0], kept[s.take(kept, now):]...)
		} else {
			kept = append(kept, input[s.take(input, now):]...)
		}
		s.mu.Unlock()
		_, _ = s.body.Discard(len(input)) // all of it is buffered
	}
}

// seed makes the digests of all streams comparable.
var seed = maphash.MakeSeed()

var (
	blankLine = []byte("\n\n")
	heartbeat = []byte(":\n") // a line of its own: what comes next begins after it
)

// take takes the whole frames of input, and returns their length.
func (s *stream) take(input []byte, now int64) (used int) {
	for {
		n := bytes.Index(input[used:], blankLine)
		if n < 0 {
			return used
		}
		frame := input[used : used+n+len(blankLine)]
		used += len(frame)
		for bytes.HasPrefix(frame, heartbeat) { // they come at each stream's own time, and belong to no event
			frame = frame[len(heartbeat):]
		}
		seq, sent, ok := payload.Parse(frame)
		if !ok { // a control event
			if bytes.HasPrefix(frame, []byte("event: ssegin.reset\n")) {
				s.resets++
			}
			continue
		}
		s.ready = s.ready || seq == 0
		publisher, ok := s.tally.see(seq, sent, now)
		if !ok {
			continue
		}
		s.passed[publisher].Store(s.tally.next[publisher] - 1)
		_, _ = s.digest.Write(frame) // a hash takes everything
		position := positionOf(frame)
		if position <= s.position {
			s.unordered++
		}
		s.position = position
	}
}

// positionOf reads the position out of the ID, "<epoch>-<position>" and maybe a
// check.
func positionOf(frame []byte) uint64 {
	i := bytes.LastIndex(frame, []byte("\nid: "))
	if i < 0 {
		return 0
	}
	_, rest, _ := bytes.Cut(frame[i:], []byte("-"))
	end := 0
	for end < len(rest) && '0' <= rest[end] && rest[end] <= '9' {
		end++
	}
	position, _ := strconv.ParseUint(string(rest[:end]), 10, 64) // 0 if there is none
	return position
}
