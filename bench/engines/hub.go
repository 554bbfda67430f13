package engines

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/ssegin/ssegin"
	"github.com/ssegin/ssegin/bench/payload"
	"github.com/ssegin/ssegin/bench/process"
)

// everyone is the topic of broadcasts.
const everyone = "all"

// A hubSetup is what a hub process is told.
type hubSetup struct {
	Place   Place
	History int // events that the hub has in memory
	Entries int // that the log keeps
}

// historyBytes is more than the events of any history here take.
const historyBytes = 1 << 30

// A hubHost is a hub process: a hub, its streams, and publishers.
type hubHost struct {
	setup      hubSetup
	begun      chan struct{} // closed when what follows is set
	connection *connection
	hub        *ssegin.Hub
	streams    http.Handler

	window window
}

// serveHub is the main function of a hub process. It takes connections at once;
// the hub begins when it is told to.
func serveHub(setup hubSetup) error {
	h := &hubHost{setup: setup, begun: make(chan struct{})}
	// As package ssegin advises: see its ConnContext.
	lc := net.ListenConfig{}
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(context.Background(), "tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	failed := make(chan error, 2)
	server := &http.Server{Handler: h, ConnContext: ssegin.ConnContext}
	go func() { failed <- server.Serve(l) }()
	go func() { failed <- process.Serve(h.control(), l.Addr().String()) }()
	return <-failed
}

// The paths of a hub's streams.
const (
	attached = "/events"
	detached = "/detached"
)

// ServeHTTP answers GET on these paths with ?topic=T, for T a topic or everyone.
func (h *hubHost) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case <-h.begun:
		h.streams.ServeHTTP(w, r)
	case <-r.Context().Done():
	}
}

// control offers:
//
//	POST /begin    connects to the engine and begins the hub
//	POST /probe    publishes one event with number 0 to each topic; returns the last ID
//	POST /publish  a Plan: publishes and returns a Published
//	POST /fill     a Fill: fills the log for a Crowd, and returns what is Filled
//	POST /heap     returns the bytes of memory that are in use
//	POST /acks     a stream of lists: up to which number all streams have the events of each publisher
//	POST /traffic  returns the Traffic with the engine
func (h *hubHost) control() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST /begin", process.Endpoint(func(ctx context.Context, _ process.None) (process.None, error) {
		return process.None{}, h.begin(ctx)
	}))
	mux.Handle("POST /probe", process.Endpoint(h.probe))
	mux.Handle("POST /publish", process.Endpoint(h.carryOut))
	mux.Handle("POST /fill", process.Endpoint(h.fill))
	mux.Handle("POST /heap", process.Endpoint(func(context.Context, process.None) (int, error) { return heap(), nil }))
	mux.HandleFunc("POST /acks", h.readAcks)
	mux.Handle("POST /traffic", process.Endpoint(func(context.Context, process.None) (Traffic, error) {
		return h.connection.traffic(), nil
	}))
	return mux
}

func (h *hubHost) begin(ctx context.Context) (err error) {
	if h.connection, err = connect(h.setup.Place); err != nil {
		return err
	}
	if err := h.connection.open(ctx, h.setup.Entries); err != nil {
		return err
	}
	options := []ssegin.HubOption{ssegin.WithHistory(h.setup.History, historyBytes, 0)}
	if h.connection.log != nil {
		options = append(options, ssegin.WithLog(h.connection.log))
	}
	h.hub = ssegin.NewHub(options...)
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	topics := ssegin.WithTopics(func(c *gin.Context) ([]string, error) {
		if topic := c.Query("topic"); topic != everyone {
			return []string{topic}, nil
		}
		return nil, nil
	})
	engine.GET(attached, ssegin.Handler(h.hub, topics))
	engine.GET(detached, ssegin.Handler(h.hub, topics, ssegin.WithDetached()))
	h.streams = engine
	close(h.begun)
	return nil
}

func (h *hubHost) publish(ctx context.Context, topic string, data []byte) (id string, err error) {
	if topic == everyone {
		return h.hub.Broadcast(ctx, ssegin.Event{Data: data})
	}
	return h.hub.Publish(ctx, topic, ssegin.Event{Data: data})
}

func (h *hubHost) probe(ctx context.Context, topics []string) (id string, err error) {
	for _, topic := range topics {
		if id, err = h.publish(ctx, topic, payload.Append(nil, 0, payload.Now(), payload.Size)); err != nil {
			return "", err
		}
	}
	return strings.Clone(id), nil
}

func (h *hubHost) readAcks(_ http.ResponseWriter, r *http.Request) {
	numbers := json.NewDecoder(r.Body)
	for {
		var of []uint64
		if numbers.Decode(&of) != nil {
			return // the reader has gone
		}
		h.window.ack(of)
	}
}

var errNotBegun = errors.New("the hub has not begun")

func (h *hubHost) carryOut(ctx context.Context, plan Plan) (Published, error) {
	select {
	case <-h.begun:
	default: // nobody publishes by mistake
		return Published{}, errNotBegun
	}
	return plan.carryOut(ctx, h.publish, &h.window)
}
