package main

import (
	"context"
	"crypto/rand"
	"errors"
	"log"
	"net/url"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/ssegin/ssegin/natslog/embedded"
)

// natsPause is how long NATS is away when the page asks for it. Publishers wait
// for it up to 5 seconds before they are told; see ssegin.WithPublishTimeout.
const natsPause = 4 * time.Second

// A natsServer is the NATS server of the example: on this machine only, on any
// free port, for those who know the token.
type natsServer struct {
	config embedded.Config
	url    string // with the token; it stays the same

	mu     sync.Mutex
	server *embedded.Server // nil while it is stopped
}

func startNATS(dir string) (*natsServer, error) {
	token := rand.Text()
	n := &natsServer{config: embedded.Config{
		Dir:     dir,
		Listen:  "127.0.0.1:0",
		Options: func(o *server.Options) { o.Authorization = token },
	}}
	var err error
	if n.server, err = embedded.Start(n.config); err != nil {
		return nil, err
	}
	u, err := url.Parse(n.server.URL())
	if err != nil {
		return nil, err
	}
	n.config.Listen = u.Host
	u.User = url.User(token)
	n.url = u.String()
	return n, nil
}

// pause stops the server, and starts it again on the same store and port. It
// returns when that is done.
func (n *natsServer) pause(ctx context.Context) error {
	if !n.mu.TryLock() {
		return errors.New("NATS is stopped already")
	}
	defer n.mu.Unlock()
	log.Printf("NATS stops for %v", natsPause)
	n.server.Close()
	n.server = nil
	if !wait(ctx, natsPause) {
		return errors.New("the example ends")
	}
	var err error
	if n.server, err = embedded.Start(n.config); err != nil {
		log.Printf("NATS does not start again: %v", err)
		return err
	}
	log.Print("NATS is back")
	return nil
}

func (n *natsServer) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.server != nil {
		n.server.Close()
	}
}

// wait waits, and reports whether ctx let it.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
