package main

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/ssegin/ssegin"
	"github.com/ssegin/ssegin/natslog"
)

// openHub returns a hub on the log that all processes share. This is the whole
// difference to a program that is alone: WithLog.
//
// The connection is closed by the caller, after the hub has shut down.
func openHub(ctx context.Context, url string) (*ssegin.Hub, *nats.Conn, error) {
	nc, err := nats.Connect(url,
		nats.MaxReconnects(-1), // the hub goes on by itself when NATS is back, whenever that is
		nats.ReconnectWait(100*time.Millisecond),
		nats.ReconnectJitter(100*time.Millisecond, 0))
	if err != nil {
		return nil, nil, err
	}
	events, err := natslog.New(ctx, nc, natslog.Config{
		Stream:   "cluster",
		MaxAge:   time.Hour, // how long a client may be away …
		MaxBytes: 64 << 20,  // … and over how much
	})
	if err != nil {
		nc.Close()
		return nil, nil, err
	}
	return ssegin.NewHub(ssegin.WithLog(events), ssegin.WithDrain(drainTime)), nc, nil
}
