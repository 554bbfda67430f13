// The example shows on one page what ssegin does: a counter that survives its
// connections, chat rooms, the tokens of a language model, a job that ends by
// itself, and a chart of the hub's own figures.
//
//	go run ./_example
//	go run ./_example -addr :9000
//
// Each part is a file of its own, to be copied from. This one has the server:
// how it listens, and how it ends without losing anybody.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/ssegin/ssegin"
)

type config struct {
	addr      string        // of the example
	corsAddr  string        // of the page of another origin
	heartbeat time.Duration // of the hub's streams
	drain     time.Duration // over which the streams end
}

func main() {
	var cfg config
	flag.StringVar(&cfg.addr, "addr", "localhost:8080", "where to listen; \":8080\" lets in phones and other machines, too")
	flag.StringVar(&cfg.corsAddr, "cors-addr", "", "where the page of another origin listens (default: the next port)")
	flag.DurationVar(&cfg.heartbeat, "heartbeat", 15*time.Second, "how long a stream may be idle before it gets a sign of life; 0 turns it off")
	flag.DurationVar(&cfg.drain, "drain", 2*time.Second, "over how long the streams end when the server does")
	flag.Parse()
	log.SetFlags(log.Ltime)
	gin.SetMode(gin.ReleaseMode)

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	if err := run(ctx, cfg); err != nil {
		log.Fatal(err)
	}
}

// run serves until ctx ends, and then drains.
func run(ctx context.Context, cfg config) error {
	listener, err := listen(ctx, cfg.addr, "-addr")
	if err != nil {
		return err
	}
	defer listener.Close()
	if cfg.corsAddr == "" {
		cfg.corsAddr = nextPort(listener)
	}
	corsListener, err := listen(ctx, cfg.corsAddr, "-cors-addr")
	if err != nil {
		return err
	}
	defer corsListener.Close()

	app := newApp(cfg, localURL(listener), localURL(corsListener))
	server, corsServer := newServer(app.routes()), newServer(app.corsPage())
	work, stopWork := context.WithCancel(context.Background())
	defer stopWork()
	app.start(work)
	failed := make(chan error, 2) // room for both, so that neither waits for a reader
	go func() { failed <- server.Serve(listener) }()
	go func() { failed <- corsServer.Serve(corsListener) }()
	log.Printf("open %s (the page of another origin is %s); Ctrl-C ends both", app.url, app.corsURL)

	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}

	// Keep-alives end first: over the connections that they have, clients would
	// come back to this process, which sends them away. Then the hub, because the
	// server waits for open streams, and only the hub can end them. Each gets what
	// is due to it, a moment of its own within the window, and the word when to
	// come back.
	log.Printf("draining %d streams", app.hub.Stats().Streams)
	drain, cancel := context.WithTimeout(context.Background(), cfg.drain+5*time.Second)
	defer cancel()
	server.SetKeepAlivesEnabled(false)
	err = app.hub.Shutdown(drain)
	stopWork()
	err = errors.Join(err, server.Shutdown(drain), corsServer.Shutdown(drain))
	app.work.Wait()
	if err == nil {
		log.Print("done: every stream has ended")
	}
	return err
}

// newServer returns a server fit for streams. It sets no WriteTimeout; if it
// did, the streams would lift it, and bound each of their writes instead.
func newServer(handler http.Handler) *http.Server {
	streams, end := context.WithCancel(context.Background())
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ConnContext:       ssegin.ConnContext, // finds peers that vanished
		BaseContext:       func(net.Listener) context.Context { return streams },
	}
	// Streams that follow no hub end with their request's context, which ends
	// when the server begins to shut down. Without a window for the drain,
	// the hub could be told here, too.
	server.RegisterOnShutdown(end)
	return server
}

// listen opens a plain TCP listener: the sockets of Go's default, MPTCP, refuse
// what ssegin.ConnContext asks for.
func listen(ctx context.Context, addr, option string) (net.Listener, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	listener, err := lc.Listen(ctx, "tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s is taken by another program: choose another address with %s", addr, option)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", option, err)
	}
	return listener, nil
}

// localURL is how a browser on this machine finds l.
func localURL(l net.Listener) string {
	addr := l.Addr().(*net.TCPAddr)
	host := addr.IP.String()
	if addr.IP.IsUnspecified() || addr.IP.Equal(net.IPv4(127, 0, 0, 1)) || addr.IP.Equal(net.IPv6loopback) {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, strconv.Itoa(addr.Port))
}

// nextPort is the port after that of l, on the same host.
func nextPort(l net.Listener) string {
	addr := *l.Addr().(*net.TCPAddr)
	addr.Port++
	return net.JoinHostPort(addr.IP.String(), strconv.Itoa(addr.Port))
}
