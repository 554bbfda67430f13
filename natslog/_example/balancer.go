package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// balancer passes each request on to any process that runs. There is no
// stickiness: a client that comes back goes on at whatever process it reaches.
func (ps *processes) balancer() http.Handler {
	target := &url.URL{Scheme: "http", Host: "workers"} // which dial finds
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host
			r.SetXForwarded()
		},
		// A connection for each request, so that each is given to a process anew.
		Transport:     &http.Transport{DialContext: ps.dial, DisableKeepAlives: true},
		FlushInterval: -1, // at once
		ErrorHandler:  unanswered,
		ErrorLog:      log.New(io.Discard, "", 0), // streams of a process that was killed end in the middle, as they should here
	}
}

// dial connects to the process with the fewest connections. When one refuses,
// because it has just died, no request has been sent yet, so the next one gets
// it.
func (ps *processes) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: time.Second}
	err := errors.New("no process is running")
	for _, c := range ps.candidates() {
		conn, dialErr := dialer.DialContext(ctx, network, c.addr)
		if dialErr == nil {
			return ps.count(conn, c.process), nil
		}
		err = dialErr
	}
	return nil, err
}

// A candidate is a process and where it listens, which may change meanwhile.
type candidate struct {
	process *process
	addr    string
	streams int
}

func (ps *processes) candidates() (all []candidate) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.turn++ // among equals each has its turn
	for i := range ps.all {
		if p := ps.all[(ps.turn+i)%len(ps.all)]; p.addr != "" {
			all = append(all, candidate{p, p.addr, p.Streams})
		}
	}
	slices.SortStableFunc(all, func(a, b candidate) int { return cmp.Compare(a.streams, b.streams) })
	return all
}

// A counted connection counts as one of its process until it is closed.
type counted struct {
	net.Conn
	closed func()
}

func (ps *processes) count(conn net.Conn, p *process) net.Conn {
	add := func(n int) {
		ps.mu.Lock()
		defer ps.mu.Unlock()
		p.Streams += n
	}
	add(1)
	return &counted{conn, sync.OnceFunc(func() { add(-1) })}
}

func (c *counted) Close() error {
	c.closed()
	return c.Conn.Close()
}

// unanswered answers for a process that could not: none is running, or it was
// killed before it said anything. An EventSource comes back only from status
// 200, and some clients take over a reconnection time only from a block with data; so
// it gets the event that a hub sends in such a case. It keeps its last ID and loses
// nothing.
func unanswered(w http.ResponseWriter, r *http.Request, err error) {
	if strings.Contains(r.Header.Get("Accept"), "text/event-stream") {
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		fmt.Fprintf(w, "retry: %d\nevent: ssegin.later\ndata: {}\n\n", retry.Milliseconds())
		return
	}
	writeJSON(w, http.StatusBadGateway, map[string]any{"error": "no process has answered: " + err.Error()})
}
