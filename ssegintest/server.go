package ssegintest

import (
	"context"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

// A Server is an http.Server on a listener in memory: everything from the
// request's bytes to the write deadline is real but the network. It needs no
// port, it runs in a testing/synctest bubble, and it has no delays of its own.
//
// Its methods may be called from any goroutine.
type Server struct {
	// URL is the server's address, "http://ssegin.test". Only the clients of
	// the server find it, and for them every other host leads there, too.
	URL string

	// Config is the server that runs. To change it use WithServer; here it is
	// for what may be called while it runs, such as Shutdown.
	Config *http.Server

	tb       testing.TB
	listener *listener
	client   *http.Client
	served   chan struct{} // closed when Serve has returned
	closing  sync.Once

	mu      sync.Mutex
	idle    sync.Cond // broadcast when busy falls to zero
	busy    int       // connections and handlers that have not ended
	closed  bool      // no handler starts any more
	streams map[*Stream]struct{}
}

// A ServerOption changes a Server before it starts.
type ServerOption func(*serverConfig)

type serverConfig struct {
	http   *http.Server
	buffer int
	h2     bool
}

// WithServer lets the test set up the http.Server: its timeouts, ConnContext,
// RegisterOnShutdown, ErrorLog. A Handler set here replaces that of NewServer.
func WithServer(setUp func(*http.Server)) ServerOption {
	return func(c *serverConfig) { setUp(c.http) }
}

// WithBuffer sets how many bytes of a connection may be on their way in each
// direction, instead of DefaultBuffer. A few bytes make a client that does not
// read stall the server at once. Zero or less panics.
func WithBuffer(bytes int) ServerOption {
	if bytes <= 0 {
		panic("ssegintest: WithBuffer needs at least one byte")
	}
	return func(c *serverConfig) { c.buffer = bytes }
}

// WithHTTP2 makes the server's client speak HTTP/2 without TLS, with prior
// knowledge (RFC 9113 §3.3). The server understands HTTP/1.1 as well, for
// connections made with Dial.
func WithHTTP2() ServerOption {
	return func(c *serverConfig) { c.h2 = true }
}

// NewServer starts a Server for h and closes it when the test ends. In a
// synctest bubble it must be called inside, with the bubble's own t: then the
// cleanup runs inside as well.
func NewServer(tb testing.TB, h http.Handler, opts ...ServerOption) *Server {
	tb.Helper()
	cfg := serverConfig{http: &http.Server{Handler: h}, buffer: DefaultBuffer}
	for _, opt := range opts {
		opt(&cfg)
	}
	s := &Server{
		URL:      "http://ssegin.test",
		Config:   cfg.http,
		tb:       tb,
		listener: newListener(cfg.buffer),
		served:   make(chan struct{}),
		streams:  make(map[*Stream]struct{}),
	}
	s.idle.L = &s.mu
	transport := &http.Transport{DialContext: s.dialContext}
	if cfg.h2 {
		transport.Protocols = new(http.Protocols)
		transport.Protocols.SetUnencryptedHTTP2(true)
		both := new(http.Protocols)
		both.SetHTTP1(true)
		both.SetUnencryptedHTTP2(true)
		cfg.http.Protocols = both
	}
	s.client = &http.Client{Transport: transport}
	s.count()
	go func() {
		defer close(s.served)
		_ = s.Config.Serve(s.listener) // always http.ErrServerClosed
	}()
	tb.Cleanup(s.Close)
	return s
}

// Client returns an HTTP client, always the same, whose connections all lead
// to the server, and are kept alive. As with any http.Client, a response's
// body must be closed; a synctest bubble will insist on it.
func (s *Server) Client() *http.Client { return s.client }

// Connect opens a stream: the function Connect with the server's client and a
// URL of its own, as in srv.Connect(ctx, "/events?room=1"). The stream is
// closed together with the server, after which Connect fails.
func (s *Server) Connect(ctx context.Context, path string, opts ...ConnectOption) (*Stream, error) {
	opts = append([]ConnectOption{WithClient(s.client)}, opts...)
	st, err := Connect(ctx, s.URL+path, opts...)
	if err != nil {
		return nil, err
	}
	if !s.adopt(st) {
		st.Close()
		return nil, ErrClosed
	}
	return st, nil
}

// Dial opens a bare connection to the server, for tests that write their
// requests themselves. It waits for the server to accept it; ctx bounds that
// wait and nothing else.
func (s *Server) Dial(ctx context.Context) (*Conn, error) {
	return s.listener.dial(ctx)
}

// Close ends the streams of Server.Connect and all connections of the server,
// and waits until its handlers have returned and its goroutines have ended. It
// says so in the test's log when that takes longer than 5 seconds: a handler
// that does not heed the end of its request's context keeps it waiting for
// ever. It is called when the test ends; calls after the first only wait.
func (s *Server) Close() {
	s.closing.Do(func() {
		for _, st := range s.disown() {
			st.Close()
		}
		_ = s.Config.Close() // an error of a listener or connection that is gone
		s.client.CloseIdleConnections()
	})
	<-s.served
	late := time.AfterFunc(5*time.Second, func() {
		s.tb.Logf("ssegintest: Server.Close waits for handlers that have not returned after 5 seconds")
	})
	defer late.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.busy > 0 {
		s.idle.Wait()
	}
}

func (s *Server) dialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	return s.listener.dial(ctx)
}

// count wraps what the server calls, so that Close knows when all of it is
// over. Connections alone would not do: with HTTP/2 a handler may outlive its
// connection.
func (s *Server) count() {
	handler, connState := s.Config.Handler, s.Config.ConnState
	if handler == nil {
		handler = http.DefaultServeMux
	}
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer s.leave()
		if !s.enter() {
			panic(http.ErrAbortHandler)
		}
		handler.ServeHTTP(w, r)
	})
	s.Config.ConnState = func(c net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			s.enter()
		case http.StateClosed, http.StateHijacked:
			defer s.leave()
		}
		if connState != nil {
			connState(c, state)
		}
	}
}

// enter counts one more, and reports whether the server is still open.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy++
	return !s.closed
}

func (s *Server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy--; s.busy == 0 {
		s.idle.Broadcast()
	}
}

func (s *Server) adopt(st *Stream) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.streams[st] = struct{}{}
	st.onClose = func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.streams, st)
	}
	return true
}

// disown takes the streams over from their map, and lets no new ones in.
func (s *Server) disown() []*Stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return slices.Collect(maps.Keys(s.streams))
}
