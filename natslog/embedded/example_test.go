package embedded_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/ssegin/ssegin/eventlog"
	"github.com/ssegin/ssegin/natslog"
	"github.com/ssegin/ssegin/natslog/embedded"
)

// A log on disk for one process, without any other program. The hub takes it
// with ssegin.WithLog.
func ExampleStart() {
	dir, err := os.MkdirTemp("", "events")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	server, err := embedded.Start(embedded.Config{Dir: dir, SyncAlways: true})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	nc, err := server.Connect()
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()

	ctx := context.Background()
	events, err := natslog.New(ctx, nc, natslog.Config{Stream: "events"})
	if err != nil {
		log.Fatal(err)
	}
	receipt, err := events.Append(ctx, eventlog.Entry{Topic: "room:1", Data: []byte("hello"), MessageID: "1"})
	if err != nil {
		log.Fatal(err)
	}
	for e, err := range events.Read(ctx, receipt.Position-1, receipt.Position) {
		fmt.Printf("%s %s %v\n", e.Topic, e.Data, err)
	}
	// Output: room:1 hello <nil>
}
