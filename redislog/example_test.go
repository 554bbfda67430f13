package redislog_test

import (
	"context"
	"crypto/tls"
	"log"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/redis/go-redis/v9"

	"github.com/ssegin/ssegin"
	"github.com/ssegin/ssegin/redislog"
)

// Any number of processes, each with this, show every event to all clients.
func Example() {
	client := redis.NewClient(&redis.Options{Addr: "localhost:6379"})
	hub := ssegin.NewHub(ssegin.WithLog(redislog.New(client, redislog.Config{Name: "chat"})))

	r := gin.Default()
	r.GET("/events", ssegin.Handler(hub))
	r.POST("/say", func(c *gin.Context) {
		hub.Broadcast(c, ssegin.Event{Type: "chat", Data: c.PostForm("text")})
	})
	r.Run()
}

// A cluster with TLS and a user of its own; the log lies on one of its nodes.
func ExampleNew() {
	client := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs:     []string{"redis-1:6379", "redis-2:6379", "redis-3:6379"},
		Username:  "hub",
		Password:  "secret",
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12},
	})
	chat := redislog.New(client, redislog.Config{
		Name:       "chat",
		MaxEntries: 50_000,
		MaxBytes:   256 << 20,
		MaxAge:     24 * time.Hour,
	})
	hub := ssegin.NewHub(ssegin.WithLog(chat))
	defer hub.Shutdown(context.Background())
}

// A program that only publishes needs a client of Redis, in any language, and the
// text of the script. Here it is appended under the ID of an order: however often
// this is tried within two minutes, the event is there once.
func ExampleScript() {
	ctx := context.Background()
	client := redis.NewClient(&redis.Options{Addr: "localhost:6379"})
	receipt, err := client.Eval(ctx, redislog.Script(),
		[]string{"{chat}:log", "{chat}:meta", "{chat}:ids", "{chat}:ids.before", "{chat}:topics", "{chat}:topics.before"},
		"append", "order-4711", 10_000, 64<<20, 0, 120_000,
		"topic", "user:42", "type", "order", "data", `{"state":"shipped"}`).Slice()
	if err != nil {
		log.Fatal(err) // and try again, with the same ID
	}
	log.Print("published at position ", receipt[0])
}
