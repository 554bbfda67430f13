package servers

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/ssegin/ssegin/bench/payload"
	"github.com/ssegin/ssegin/bench/process"
)

// A Setup says how a server process is wanted.
type Setup struct {
	Server     string
	Topics     int // 1: a broadcast
	History    int
	SendBuffer int // of each connection, in bytes; 0 leaves it to the kernel
}

// A Host runs one server and its control endpoints.
type Host struct {
	server Server
	topics []string
	window *window
	tokens chan *source // given to the handler of /tokens
}

// TopicNames returns the names of n topics.
func TopicNames(n int) []string {
	if n == 1 {
		return []string{Everyone}
	}
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("t%d", i)
	}
	return names
}

// Run serves streams on a port of the loopback interface, and the control
// endpoints on another, until the parent process lets go.
func Run(setup Setup) error {
	entry, err := Find(setup.Server)
	if err != nil {
		return err
	}
	h := &Host{topics: TopicNames(setup.Topics), window: newWindow(), tokens: make(chan *source)}
	h.server, err = entry.New(Options{Topics: h.topics, History: setup.History, Tokens: h.nextToken()})
	if err != nil {
		return err
	}
	l, err := listen(setup.SendBuffer)
	if err != nil {
		return err
	}
	if e, ok := h.server.(External); ok {
		defer e.Close()
	}
	failed := make(chan error, 2) // what ends second is not waited for
	go func() { failed <- h.server.Serve(l) }()
	go func() { failed <- process.Serve(h.control(), l.Addr().String()) }()
	return <-failed
}

// control offers:
//
//	POST /publish  a Plan: publishes and returns a Published
//	POST /probe    publishes one event with number 0 to each topic
//	POST /acks     a stream of numbers: how far the slowest stream is
//	POST /serving  waits until streams can be opened and returns whose use counts
//	POST /gc       collects garbage and gives memory back to the system
//	POST /stats    returns Stats
func (h *Host) control() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST /publish", process.Endpoint(h.publish))
	mux.Handle("POST /probe", process.Endpoint(func(context.Context, process.None) (process.None, error) {
		for _, topic := range h.topics {
			event := payload.Append(nil, 0, payload.Now(), payload.Size)
			if err := h.server.Publish(topic, event); err != nil {
				return process.None{}, err
			}
		}
		return process.None{}, nil
	}))
	mux.HandleFunc("POST /acks", h.readAcks)
	mux.Handle("POST /serving", process.Endpoint(func(ctx context.Context, _ process.None) (process.Group, error) {
		if e, ok := h.server.(External); ok {
			return e.Processes(ctx)
		}
		return process.Group{os.Getpid()}, nil
	}))
	mux.Handle("POST /gc", process.Endpoint(func(context.Context, process.None) (process.None, error) {
		if e, ok := h.server.(External); ok {
			return process.None{}, e.Collect()
		}
		runtime.GC() // what a sync.Pool holds outlives one collection
		debug.FreeOSMemory()
		return process.None{}, nil
	}))
	mux.Handle("POST /stats", process.Endpoint(func(context.Context, process.None) (Stats, error) {
		return readStats(), nil
	}))
	return mux
}

// Stats is what the process of a server in Go says of itself.
type Stats struct {
	Goroutines int
	Heap       int // bytes of objects; after a collection, of those in use
	Stacks     int // bytes
}

func readStats() Stats {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return Stats{Goroutines: runtime.NumGoroutine(), Heap: int(m.HeapAlloc), Stacks: int(m.StackInuse)}
}

// publish carries out a plan. It returns, too, when the server has blocked for
// longer than the plan and its grace.
func (h *Host) publish(ctx context.Context, plan Plan) (Published, error) {
	s := newSource(plan, len(h.topics), h.window)
	failed := make(chan error, 1)
	if plan.Tokens {
		select {
		case h.tokens <- s:
		case <-ctx.Done():
			return Published{}, ctx.Err()
		}
	} else {
		go func() { failed <- h.publishAll(s) }()
	}
	late := time.NewTimer(plan.Time + plan.Grace)
	defer late.Stop()
	select {
	case <-s.ended:
		return s.published(), nil
	case err := <-failed:
		return s.published(), err
	case <-late.C:
		p := s.published()
		p.Blocked = true
		return p, nil
	}
}

func (h *Host) publishAll(s *source) error {
	for topic, event := s.next(); event != nil; topic, event = s.next() {
		if err := h.server.Publish(h.topics[topic], event); err != nil {
			return err
		}
	}
	return nil
}

// nextToken returns the function that Options.Tokens is.
func (h *Host) nextToken() func() []byte {
	var s *source
	return func() []byte {
		if s == nil {
			s = <-h.tokens
		}
		_, event := s.next()
		return event
	}
}

func (h *Host) readAcks(_ http.ResponseWriter, r *http.Request) {
	ack, end := h.window.join()
	defer end()
	numbers := json.NewDecoder(r.Body)
	for {
		var n uint64
		if numbers.Decode(&n) != nil {
			return
		}
		ack(n)
	}
}
