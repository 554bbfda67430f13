package ssegintest

import (
	"context"
	"errors"
	"iter"
	"net/http"
	"sync"
	"time"
)

var (
	// ErrDisconnected is returned by the reading methods of a Stream after
	// Disconnect, Cut or a Resume that failed. Resume goes on.
	ErrDisconnected = errors.New("ssegintest: stream disconnected by its client")

	// ErrClosed is returned by all methods of a Stream that can fail after its
	// Close, or that of the Server which opened it.
	ErrClosed = errors.New("ssegintest: stream closed")
)

// A Stream is a client of an event stream: an EventSource that does nothing of
// its own accord. It reads when told to, loses its connection when told to,
// and resumes when told to, with the last event ID that it has seen.
//
// It reads nothing ahead but what its Reader and its connection buffer, so a
// test that does not call Next is a client that does not read. It runs no
// goroutine but while it waits in Next, and after a Next whose context ended
// until the next bytes arrive or the connection goes.
//
// Disconnect, Cut, Close and Response may be called from any goroutine, the
// other methods from one at a time.
type Stream struct {
	req         request
	reader      *Reader
	filled      chan struct{} // one value when fill has returned; with room for it, so that fill never waits
	filling     bool          // fill runs in a goroutine, and the reader's buffer belongs to it
	connections int
	onClose     func() // nil or the server's; set before the Stream is shared

	mu     sync.Mutex
	link   *link // the last connection; never nil after Connect
	closed bool
}

// Connect requests url and returns when the headers of the response have
// arrived: ctx bounds that, and no more; the stream lives until it is closed.
// Whatever the response is, the caller judges it: see Response. The error is
// that of ctx, or of the request when there was no response at all.
func Connect(ctx context.Context, url string, opts ...ConnectOption) (*Stream, error) {
	s := &Stream{
		req:    newRequest(url, opts),
		reader: NewReader(nil),
		filled: make(chan struct{}, 1),
	}
	s.reader.lastID = s.req.lastID
	s.reader.Habit(s.req.habit)
	if err := s.connect(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// Response returns the response of the last connection. Its body belongs to
// the Stream.
func (s *Stream) Response() *http.Response {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.link.resp
}

// Next returns the next event. It returns io.EOF when the server has ended
// the response in order, another error when it has not, ErrDisconnected or
// ErrClosed when the client's side has ended it, and the error of ctx when
// that ends first; then nothing is lost, and Next may be called again.
func (s *Stream) Next(ctx context.Context) (Event, error) {
	for {
		b, err := s.next(ctx)
		if err != nil {
			return Event{}, err
		}
		if b.Event != nil {
			return *b.Event, nil
		}
	}
}

// NextBlock is Next for tests that look at comments and bookmarks, too; see
// Reader.NextBlock.
func (s *Stream) NextBlock(ctx context.Context) (Block, error) {
	b, err := s.next(ctx)
	return b.clone(), err
}

// Events returns the events of this connection. It ends with the response; an
// error other than io.EOF is the last thing that it yields.
func (s *Stream) Events(ctx context.Context) iter.Seq2[Event, error] {
	return events(func() (Event, error) { return s.Next(ctx) })
}

// Disconnect closes the connection in order, as a browser does for a page
// that is left. (As with TCP the server may see a reset all the same, namely
// if it had sent what was not read.) With HTTP/2 it cancels the stream. It
// does nothing if there is no connection.
func (s *Stream) Disconnect() { s.drop(false) }

// Cut breaks the connection: the server's next read or write fails with
// ECONNRESET. That needs HTTP/1 and a connection with SetLinger, such as TCP
// and that of a Server; with any other it is Disconnect.
func (s *Stream) Cut() { s.drop(true) }

// Resume drops the connection, if there is one, and connects again at once,
// with the last event ID. It leaves it to the caller to wait as Retry says.
// ctx bounds it as it does Connect. When it fails, it may be called again.
func (s *Stream) Resume(ctx context.Context) error {
	s.Disconnect()
	if s.filling { // not for long: its connection is gone
		<-s.filled
		s.filling = false
	}
	return s.connect(ctx)
}

// Close drops the connection, if there is one, for good. Closing a Stream
// again does nothing.
func (s *Stream) Close() {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	s.mu.Unlock()
	s.Disconnect()
	if first && s.onClose != nil {
		s.onClose()
	}
}

// LastEventID returns the ID with which Resume would resume. Events that have
// arrived and have not been returned do not count.
func (s *Stream) LastEventID() string { return s.reader.LastEventID() }

// Retry returns the reconnection time that the server has set; see
// Reader.Retry.
func (s *Stream) Retry() (time.Duration, bool) { return s.reader.Retry() }

// Comments returns the number of comment lines on all connections.
func (s *Stream) Comments() int { return s.reader.Comments() }

// Bookmarks returns the number of blocks on all connections that moved the
// last event ID and dispatched no event.
func (s *Stream) Bookmarks() int { return s.reader.Bookmarks() }

// Truncated reports, after Next has returned an error that is not the caller's
// doing, whether the connection ended in the midst of a block; see
// Reader.Truncated. The end of ctx is not the end of the connection.
func (s *Stream) Truncated() bool { return !s.filling && s.reader.Truncated() }

// Connections returns how many times the stream has been connected.
func (s *Stream) Connections() int { return s.connections }

func (s *Stream) next(ctx context.Context) (Block, error) {
	for {
		if err := s.gone(); err != nil {
			return Block{}, err
		}
		if err := ctx.Err(); err != nil {
			return Block{}, err
		}
		if !s.filling {
			if b, ok := s.reader.parse(); ok {
				return b, nil
			}
			if s.reader.in.err != nil {
				return Block{}, s.reader.in.err
			}
		}
		s.fill(ctx)
	}
}

// fill waits for the reader's buffer to be filled or for ctx to end. In the
// latter case the read goes on, for the next call to find.
func (s *Stream) fill(ctx context.Context) {
	if !s.filling {
		s.filling = true
		go func() {
			s.reader.in.fill()
			if s.reader.in.err != nil {
				s.ended()
			}
			s.filled <- struct{}{}
		}()
	}
	select {
	case <-s.filled:
		s.filling = false
	case <-ctx.Done():
	}
}

func (s *Stream) connect(ctx context.Context) error {
	l, err := openLink(ctx, &s.req, s.reader.LastEventID())
	if err != nil {
		return err
	}
	s.reader.Reset(l.resp.Body)
	s.mu.Lock()
	closed := s.closed
	if !closed {
		s.link = l
		s.connections++
	}
	s.mu.Unlock()
	if closed {
		l.close(false)
		return ErrClosed
	}
	return nil
}

// gone says why the client's side has no connection, if it has none.
func (s *Stream) gone() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return ErrClosed
	case s.link.dropped:
		return ErrDisconnected
	}
	return nil
}

func (s *Stream) drop(hard bool) {
	s.mu.Lock()
	l := s.link
	first := !l.dropped
	l.dropped = true
	// After the end of its response the connection may carry another one, which
	// is not ours to break.
	hard = hard && !l.ended
	s.mu.Unlock()
	if first {
		l.close(hard)
	}
}

// ended notes that the response has been read to its end.
func (s *Stream) ended() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.link.ended = true
}
