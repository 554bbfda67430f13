package main

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/ssegin/ssegin"
)

//go:embed page
var page embed.FS

// retry is how long a browser waits before it comes back.
const retry = 500 * time.Millisecond

// A worker is the application. It knows nothing of the other processes: what
// any of them publishes comes to its streams through the hub.
type worker struct {
	config
	hub *ssegin.Hub

	mu      sync.Mutex
	reports *json.Encoder
}

// work serves until its input ends or it is told to terminate, and drains.
func work(cfg config) error {
	signal.Ignore(os.Interrupt) // a terminal sends it to all processes; the supervisor says when to end
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // which ends with the supervisor, however that ends
		stop()
	}()

	// Without NATS at its start it ends, and is started again later.
	hub, nc, err := openHub(ctx, os.Getenv("NATS_URL"))
	if err != nil {
		return err
	}
	defer nc.Close()
	w := &worker{config: cfg, hub: hub, reports: json.NewEncoder(os.Stdout)}
	listener, err := listen(ctx, "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer listener.Close()
	server := &http.Server{
		Handler:           w.routes(),
		ReadHeaderTimeout: 5 * time.Second,
		ConnContext:       ssegin.ConnContext,
	}
	serving := make(chan error, 1) // room, so that the goroutine ends
	go func() { serving <- server.Serve(listener) }()
	var publishing sync.WaitGroup
	publishing.Go(func() { w.publishNumbers(ctx) })
	w.report(report{Addr: listener.Addr().String()})

	select {
	case err := <-serving:
		return err
	case <-ctx.Done():
	}
	publishing.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), drainTime+grace)
	defer cancel()
	server.SetKeepAlivesEnabled(false)                          // or clients come back here over the connections that they have
	return errors.Join(hub.Shutdown(ctx), server.Shutdown(ctx)) // the hub goes first: the server waits for its streams
}

func (w *worker) report(r report) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reports.Encode(r)
}

func (w *worker) routes() http.Handler {
	r := gin.New()
	_ = r.SetTrustedProxies(nil) // nobody may say another client's address; nil cannot fail
	r.Use(gin.Recovery())
	for path, file := range map[string]string{"/": "page/", "/app.js": "page/app.js", "/style.css": "page/style.css"} {
		r.GET(path, func(c *gin.Context) {
			c.Header("Cache-Control", "no-cache")
			c.FileFromFS(file, http.FS(page))
		})
	}
	r.GET("/events", ssegin.Handler(w.hub, ssegin.WithRetry(retry), ssegin.OnConnect(w.introduce)))
	r.POST("/say", w.say)
	return r
}

// introduce tells a stream who serves it. This is no event of the hub: it has
// no ID, and is there for this connection alone.
func (w *worker) introduce(_ *gin.Context, s *ssegin.Stream) error {
	return s.Send(ssegin.Event{Type: "served-by", Data: gin.H{"name": w.worker, "pid": os.Getpid()}})
}
