package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// A Config is how the server runs. Only Dir is needed.
type Config struct {
	// Dir is the directory in which everything is kept. It is made if it is not
	// there.
	Dir string

	// SyncAlways makes an append wait until the disk has the event. Without it a
	// power failure takes what came since the last write to the disk, which
	// happens every two minutes.
	SyncAlways bool

	// MaxStore and MaxMemory bound what all streams take on disk and in memory,
	// in bytes. Zero leaves it to the server: three quarters of what there is.
	MaxStore, MaxMemory int64

	// MaxPayload bounds a message with its headers, in bytes. Zero means 4 MiB.
	MaxPayload int32

	// Listen is the address for other processes, as "127.0.0.1:4222"; port 0 is
	// any free one. Empty means none. Anybody who gets there may do everything,
	// unless Options sets up users and TLS.
	Listen string

	// Name is the name of the server; empty means a random one. In a cluster
	// every server needs its own, and keeps it.
	Name string

	// Cluster makes the server one of several, which needs Listen as well; nil
	// means that it is alone.
	Cluster *Cluster

	// Logger is told what the server reports; nil means nobody.
	Logger *slog.Logger

	// Options has the last word on the options of the server, if it is not nil:
	// users, TLS, accounts, leaf nodes.
	Options func(*server.Options)
}

// A Cluster is several servers that keep streams together, see
// natslog.Config.Replicas. It needs three, or five, and works while most of
// them do.
type Cluster struct {
	Name   string   // the same for all
	Listen string   // address for the other servers
	Routes []string // URLs of the others, as "nats://10.0.0.2:6222"; itself among them does no harm
}

const (
	defaultMaxPayload = 4 << 20
	startTime         = 30 * time.Second // recovering a large store takes some
)

// A Server is a running server.
type Server struct {
	server *server.Server
	unlock func()
	close  sync.Once
}

// Start starts a server and returns when it takes connections: what is in Dir
// has been recovered by then. Who has started it also calls Close.
func Start(config Config) (*Server, error) {
	if config.Dir == "" {
		return nil, errors.New("embedded: Config.Dir is empty")
	}
	opts, err := config.options()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(config.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("embedded: %w", err)
	}
	unlock, err := lock(config.Dir)
	if err != nil {
		return nil, err
	}
	ns, err := server.NewServer(opts)
	if err != nil {
		unlock()
		return nil, fmt.Errorf("embedded: %w", err)
	}
	s := &Server{server: ns, unlock: unlock}
	log := &logger{to: config.Logger}
	if log.to == nil {
		log.to = slog.New(slog.DiscardHandler)
	}
	ns.SetLoggerV2(log, false, false, false)
	ns.Start()
	if !started(ns, log) {
		s.Close()
		return nil, fmt.Errorf("embedded: the server has not started: %s", log.reason())
	}
	return s, nil
}

// started waits until the server takes connections, or has given up.
func started(ns *server.Server, log *logger) bool {
	const look = 100 * time.Millisecond
	for begun := time.Now(); time.Since(begun) < startTime && !log.fatal(); {
		if ns.ReadyForConnections(look) {
			return ns.JetStreamEnabled()
		}
	}
	return false
}

func (c Config) options() (*server.Options, error) {
	opts := &server.Options{
		ServerName:             c.Name,
		DontListen:             true,
		JetStream:              true,
		StoreDir:               c.Dir,
		SyncAlways:             c.SyncAlways,
		JetStreamMaxStore:      c.MaxStore,
		JetStreamMaxMemory:     c.MaxMemory,
		MaxPayload:             c.MaxPayload,
		NoSigs:                 true, // signals are the application's
		DisableJetStreamBanner: true,
	}
	if opts.MaxPayload == 0 {
		opts.MaxPayload = defaultMaxPayload
	}
	if c.Listen != "" {
		host, port, err := hostPort(c.Listen)
		if err != nil {
			return nil, fmt.Errorf("embedded: Config.Listen: %w", err)
		}
		opts.DontListen, opts.Host, opts.Port = false, host, port
	}
	if c.Cluster != nil {
		host, port, err := hostPort(c.Cluster.Listen)
		if err != nil {
			return nil, fmt.Errorf("embedded: Cluster.Listen: %w", err)
		}
		opts.Cluster = server.ClusterOpts{Name: c.Cluster.Name, Host: host, Port: port}
		for _, route := range c.Cluster.Routes {
			u, err := url.Parse(route)
			if err != nil {
				return nil, fmt.Errorf("embedded: Cluster.Routes: %w", err)
			}
			opts.Routes = append(opts.Routes, u)
		}
	}
	if c.Options != nil {
		c.Options(opts)
	}
	if opts.DontListen && opts.Cluster.Port != 0 {
		// The server would never open its port for the others.
		return nil, errors.New("embedded: a server in a cluster needs Config.Listen")
	}
	return opts, nil
}

// hostPort splits an address. Port 0 becomes what the server takes for any.
func hostPort(address string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	if port, err = strconv.Atoi(text); err != nil {
		return "", 0, err
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	return host, port, nil
}

// Connect returns a connection within the process, which needs no port. The
// caller closes it, before the server.
func (s *Server) Connect(options ...nats.Option) (*nats.Conn, error) {
	nc, err := nats.Connect("", append(options, nats.InProcessServer(s.server))...)
	if err != nil {
		return nil, fmt.Errorf("embedded: %w", err)
	}
	return nc, nil
}

// URL is where other processes connect, if Config.Listen is set.
func (s *Server) URL() string {
	if s.server.Addr() == nil {
		return ""
	}
	return s.server.ClientURL()
}

// Ready waits until streams can be used. In a cluster this takes until most of
// its servers are there; a server that is alone is ready when Start returns.
func (s *Server) Ready(ctx context.Context) error {
	const pause = 25 * time.Millisecond
	for {
		if s.server.JetStreamEnabled() && (!s.server.JetStreamIsClustered() || s.server.JetStreamIsCurrent()) {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

// Close stops the server and returns when everything is closed. Connections to
// it are lost. It may be called more than once.
func (s *Server) Close() {
	s.close.Do(func() {
		s.server.Shutdown()
		s.server.WaitForShutdown()
		s.unlock()
	})
}
