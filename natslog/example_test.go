package natslog_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/nats-io/nats.go"

	"github.com/ssegin/ssegin"
	"github.com/ssegin/ssegin/natslog"
)

// The hub takes the Log with ssegin.WithLog. The connection comes back by
// itself, for ever.
func ExampleNew() {
	nc, err := nats.Connect("nats://a:4222,nats://b:4222,nats://c:4222",
		nats.MaxReconnects(-1),
		nats.UserCredentials("/etc/app/nats.creds"),
		nats.RootCAs("/etc/app/ca.pem"))
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	events, err := natslog.New(ctx, nc, natslog.Config{
		Stream:   "events",
		MaxAge:   24 * time.Hour, // how long a client may be away
		MaxBytes: 4 << 30,
		Replicas: 3,
	})
	if err != nil {
		log.Fatal(err)
	}
	hub := ssegin.NewHub(ssegin.WithLog(events))
	router := gin.New()
	router.GET("/events", ssegin.Handler(hub))
}

// A program without a hub publishes with whatever NATS client it has.
func ExampleSubject() {
	m := nats.NewMsg(natslog.Subject("events", "order 77"))
	m.Header.Set(natslog.HeaderType, "shipped")
	m.Header.Set(natslog.HeaderMessageID, "order-77-shipped")
	m.Data = []byte(`{"carrier":"mail"}`)
	fmt.Println(m.Subject)
	// nc.RequestMsg(m, 5*time.Second) publishes it and waits until it is kept.

	// Output: events.order%2077
}
