package engines

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"

	"github.com/ssegin/ssegin/bench/payload"
	"github.com/ssegin/ssegin/bench/process"
)

// The bare subscribers, with no hub, no stream and no checks.
const (
	bareSubscription = "NATS subscription" // what is published, before it is in the log
	bareConsumer     = "ordered consumer"  // of JetStream, by its Go client
	bareRead         = "XREAD loop"
)

// bareOf lists the bare subscribers that an engine has.
func bareOf(k Kind) []string {
	switch k {
	case NATS:
		return []string{bareConsumer, bareSubscription}
	case Redis:
		return []string{bareRead}
	default:
		return []string{""}
	}
}

// A bareSetup is what the process of a bare subscriber is told.
type bareSetup struct {
	Place      Place
	Kind       string
	Publishers int
}

// A bare is the process of a bare subscriber.
type bare struct {
	setup bareSetup

	mu    sync.Mutex
	ready int
	tally tally
}

// serveBare is the main function of a bare subscriber's process. It answers the
// same verbs as a reader.
func serveBare(setup bareSetup) error {
	b := &bare{setup: setup, tally: newTally(0, 1, setup.Publishers)}
	c, err := connect(setup.Place)
	if err != nil {
		return err
	}
	failed := make(chan error, 2)
	if err := b.subscribe(c, failed); err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("POST /ready", process.Endpoint(func(context.Context, process.None) (int, error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.ready, nil
	}))
	mux.Handle("POST /finish", process.Endpoint(func(_ context.Context, in finish) (Report, error) {
		return b.finish(in), nil
	}))
	go func() { failed <- process.Serve(mux, "") }()
	return <-failed
}

func (b *bare) subscribe(c *connection, failed chan<- error) error {
	switch b.setup.Kind {
	case bareSubscription:
		_, err := c.nats.Subscribe(logName, func(m *nats.Msg) { b.take(m.Data) })
		return err
	case bareConsumer:
		js, err := jetstream.New(c.nats)
		if err != nil {
			return err
		}
		consumer, err := js.OrderedConsumer(context.Background(), logName,
			jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverNewPolicy})
		if err != nil {
			return err
		}
		_, err = consumer.Consume(func(m jetstream.Msg) { b.take(m.Data()) })
		return err
	case bareRead:
		go func() { failed <- b.xread(c.redis) }()
		return nil
	default:
		return fmt.Errorf("there is no bare subscriber %q", b.setup.Kind)
	}
}

// xread never returns nil.
func (b *bare) xread(client *redis.Client) error {
	last := "$"
	for {
		streams, err := client.XRead(context.Background(), &redis.XReadArgs{
			Streams: []string{"{" + logName + "}:log"}, ID: last, Count: 1000, Block: time.Second,
		}).Result()
		if errors.Is(err, redis.Nil) {
			continue
		}
		if err != nil {
			return err
		}
		for _, m := range streams[0].Messages {
			last = m.ID
			data, _ := m.Values["data"].(string)
			b.take([]byte(data))
		}
	}
}

func (b *bare) take(data []byte) {
	now := payload.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.tally.frame(data, now); !ok {
		b.ready = 1
	}
}

func (b *bare) finish(in finish) Report {
	began := payload.Now()
	for {
		b.mu.Lock()
		var r Report
		r.add(&b.tally, in.Published)
		b.mu.Unlock()
		now := payload.Now()
		if r.Deliveries >= expected(0, 1, in.Published) || now-max(began, r.Last) > int64(in.Quiet) {
			return r
		}
		time.Sleep(finishPoll) // nobody tells when the last one has come
	}
}
