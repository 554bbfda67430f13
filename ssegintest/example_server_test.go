package ssegintest_test

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ssegin/ssegin/ssegintest"
)

// heartbeats is what is tested: a stream with a comment every 15 seconds.
func heartbeats(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	for rc := http.NewResponseController(w); rc.Flush() == nil; {
		select {
		case <-time.After(15 * time.Second):
			fmt.Fprint(w, ":\n\n")
		case <-r.Context().Done():
			return
		}
	}
}

// testHeartbeats is the test. It takes no time, as the minute in it is one of
// the bubble.
func testHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := ssegintest.NewServer(t, http.HandlerFunc(heartbeats))
		stream, err := srv.Connect(t.Context(), "/")
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		for range 4 {
			if _, err := stream.NextBlock(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if got := time.Since(start); got != time.Minute {
			t.Errorf("four heartbeats took %v", got)
		}
	})
}

func ExampleNewServer() {
	_ = testHeartbeats // in a file of tests: func TestHeartbeats(t *testing.T)
}
