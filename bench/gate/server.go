package gate

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/ssegin/ssegin"
	"github.com/ssegin/ssegin/bench/process"
)

const (
	serveRole = "serve" // in which the program starts itself again, with the name of a work
	idle      = "idle"  // the name of the work that has no rounds
)

// Child runs this process as the server of a work if its arguments say so, and
// returns when its parent lets go. Otherwise it returns false at once.
func Child(args []string) (ran bool, err error) {
	if len(args) != 2 || args[0] != serveRole {
		return false, nil
	}
	runtime.GOMAXPROCS(Processors)
	w := &work{name: idle}
	if args[1] != idle {
		i := slices.IndexFunc(works, func(w work) bool { return w.name == args[1] })
		if i < 0 {
			return true, fmt.Errorf("no work is called %q", args[1])
		}
		w = &works[i]
	}
	return true, newServer(w).run()
}

// Processors is the GOMAXPROCS of the process that is measured.
const Processors = 1

// A server is the process that is measured.
type server struct {
	work   *work
	hub    *ssegin.Hub
	topics []string
	text   ssegin.Event
	json   ssegin.Event
	meter  *meter
	pace   chan *bufio.Reader // has what begins each round: a byte
	bursts chan struct{}
}

// A reading is a small struct, as an application has many.
type reading struct {
	Sensor string  `json:"sensor"`
	Value  float64 `json:"value"`
	Good   bool    `json:"good"`
}

func newServer(w *work) *server {
	s := &server{
		work:   w,
		hub:    ssegin.NewHub(ssegin.WithHistory(1024, 0, 0)), // so that it is full soon: a history that grows allocates for its growth
		text:   ssegin.Event{Data: strings.Repeat("x", 128)},
		json:   ssegin.Event{Data: &reading{"boiler", 61.5, true}},
		meter:  newMeter(),
		pace:   make(chan *bufio.Reader, 1),
		bursts: make(chan struct{}),
	}
	for i := range w.topics {
		s.topics = append(s.topics, topicOf(w, i))
	}
	return s
}

// topicOf is the topic of client i.
func topicOf(w *work, i int) string { return "topic-" + strconv.Itoa(i%w.topics) }

func (s *server) run() error {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	engine := s.engine()
	hold(engine, s.work.held)
	failed := make(chan error, 2)
	go func() { failed <- http.Serve(l, engine) }()
	go func() { failed <- process.Serve(s.control(), l.Addr().String()) }()
	return <-failed
}

// engine serves streams that get no heartbeat and are not cut while a client
// may take: both would come by chance, on a machine that is busy.
func (s *server) engine() *gin.Engine {
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	steady := []ssegin.StreamOption{ssegin.WithHeartbeat(2 * patience), ssegin.WithWriteTimeout(patience)}
	streams := append(steady, ssegin.WithTopics(func(c *gin.Context) ([]string, error) {
		if topic := c.Query("topic"); topic != "" {
			return []string{topic}, nil
		}
		return nil, nil
	}))
	engine.GET(attached, ssegin.Handler(s.hub, streams...))
	engine.GET(detached, ssegin.Handler(s.hub, append(streams, ssegin.WithDetached())...))
	engine.GET("/send", ssegin.Middleware(steady...), s.send)
	engine.GET("/ssevent", ssegin.Middleware(steady...), s.ssevent)
	engine.GET("/pace", s.takePace)
	return engine
}

func (s *server) send(c *gin.Context) {
	stream, token := ssegin.From(c), ssegin.Event{Data: s.text.Data.(string)[:32]}
	if stream.Comment("ready") != nil {
		return
	}
	for range s.bursts {
		for range burst {
			if stream.Send(token) != nil {
				return
			}
		}
	}
}

func (s *server) ssevent(c *gin.Context) {
	token, left := s.text.Data.(string)[:32], 0
	c.Stream(func(io.Writer) bool {
		if left == 0 {
			<-s.bursts
			left = burst
		}
		left--
		c.SSEvent("message", token)
		return true
	})
}

// takePace takes the connection whose bytes begin the rounds.
func (s *server) takePace(c *gin.Context) {
	if _, buffered, err := c.Writer.Hijack(); err == nil {
		s.pace <- buffered.Reader
	}
}

// control offers:
//
//	POST /publish  publishes so many events and returns the ID of the first
//	POST /rounds   does the rounds and returns Counts
//	POST /live     returns Live
func (s *server) control() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST /publish", process.Endpoint(s.publishPast))
	mux.Handle("POST /rounds", process.Endpoint(s.rounds))
	mux.Handle("POST /live", process.Endpoint(func(context.Context, process.None) (Live, error) { return live(), nil }))
	return mux
}

func (s *server) publishPast(ctx context.Context, n int) (first string, err error) {
	for i := range n {
		id, err := s.hub.Broadcast(ctx, s.text)
		if err != nil {
			return "", err
		}
		if i == 0 {
			first = id
		}
	}
	return first, nil
}

// rounds does the server's part of each round when the pace says so. One more
// beat of the pace says that the last round is over for the clients, too.
func (s *server) rounds(ctx context.Context, _ process.None) (counts Counts, err error) {
	pace, err := s.paceOrEnd(ctx)
	if err != nil {
		return counts, err
	}
	runtime.GC()
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // pools are emptied by chance otherwise
	var before Counts
	for round := range s.work.total() + 1 {
		if _, err := pace.ReadByte(); err != nil {
			return counts, fmt.Errorf("the pace: %w", err)
		}
		switch round {
		case s.work.warmUp():
			if before, err = s.meter.begin(); err != nil {
				return counts, err
			}
		case s.work.total():
			counts, err = s.meter.end()
			return counts.sub(before), err
		}
		if s.work.serve == nil {
			continue
		}
		if err := s.work.serve(s); err != nil {
			return counts, err
		}
	}
	return counts, errors.New("there were no rounds")
}

func (s *server) paceOrEnd(ctx context.Context) (*bufio.Reader, error) {
	select {
	case pace := <-s.pace:
		return pace, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// warmUp is how many rounds go before those that count.
func (w *work) warmUp() int { return 1 + w.rounds/10 }

// total is how many rounds there are with the warm-up.
func (w *work) total() int { return w.warmUp() + w.rounds }
