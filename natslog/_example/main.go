// The example shows streams while things fail. Three processes share one log in
// NATS, a balancer gives each stream to any of them, and a page counts what is
// missing while they are killed:
//
//	go run ./_example    # in the folder natslog; then open http://localhost:8080
//
// It needs nothing but this machine, because one program plays all parts:
//
//   - worker.go, numbers.go and say.go are the application, of which three run: a
//     Gin server with ssegin.Handler, and something to publish. log.go gives each
//     its hub, on the log that they share. This is what to copy.
//   - processes.go, balancer.go and nats.go stand in for what a deployment has: a
//     supervisor, a proxy and a NATS server. They are one process here, with
//     buttons.go for the page.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/gin-gonic/gin"
)

type config struct {
	addr    string        // of the balancer
	restart time.Duration // how long a process that has ended stays away
	rate    int           // numbers a second that each process publishes

	worker string // what this process is called; empty: it is the supervisor
	run    int    // which of its lives this is
}

const (
	drainTime = time.Second     // over which a worker's streams end
	grace     = 5 * time.Second // that everything else may take at the end
)

func main() {
	var cfg config
	flag.StringVar(&cfg.addr, "addr", "localhost:8080", "where to listen")
	flag.DurationVar(&cfg.restart, "restart", 3*time.Second, "how long a process that was killed stays away")
	flag.IntVar(&cfg.rate, "rate", 20, "how many numbers each process publishes a second")
	flag.StringVar(&cfg.worker, "worker", "", "used by the program itself, for the processes that it starts")
	flag.IntVar(&cfg.run, "run", 0, "likewise")
	flag.Parse()
	if cfg.rate < 1 || cfg.rate > 1000 {
		log.Fatal("-rate is from 1 to 1000")
	}
	log.SetFlags(log.Ltime)
	gin.SetMode(gin.ReleaseMode)

	run := supervise
	if cfg.worker != "" {
		log.SetPrefix(cfg.worker + " ")
		run = work
	}
	if err := run(cfg); err != nil {
		log.Fatal(err)
	}
}

// supervise runs everything until Ctrl-C or SIGTERM, and ends it in order: the
// processes drain, then the balancer, then NATS, then the temporary directory.
func supervise(cfg config) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	listener, err := listen(ctx, cfg.addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%s is taken by another program: choose another address with -addr", cfg.addr)
	}
	if err != nil {
		return err
	}
	defer listener.Close()

	dir, err := os.MkdirTemp("", "ssegin-cluster-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	nats, err := startNATS(dir)
	if err != nil {
		return err
	}
	defer nats.close()
	hub, nc, err := openHub(ctx, nats.url)
	if err != nil {
		return err
	}
	defer nc.Close()
	program, err := os.Executable()
	if err != nil {
		return err
	}

	ps := newProcesses(cfg, program, nats.url)
	server := &http.Server{Handler: routes(ctx, ps, nats), ReadHeaderTimeout: 5 * time.Second}
	serving := make(chan error, 1) // room, so that the goroutine ends
	go func() {
		serving <- server.Serve(listener)
		stop()
	}()
	log.Printf("open http://localhost:%d (or watch it: curl -N localhost:%[1]d/events); Ctrl-C ends everything", port(listener))
	ps.run(ctx, hub)

	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	server.SetKeepAlivesEnabled(false) // or pages come back here over the connections that they have
	err = errors.Join(hub.Shutdown(ctx), server.Shutdown(ctx))
	if e := <-serving; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	if err == nil {
		log.Print("done: every stream and every process has ended")
	}
	return err
}

// listen opens a plain TCP listener: the sockets of Go's default, MPTCP, refuse
// what ssegin.ConnContext asks for.
func listen(ctx context.Context, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	return lc.Listen(ctx, "tcp", addr)
}

func port(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }
