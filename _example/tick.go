package main

import (
	"io"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/ssegin/ssegin"
)

// ticksPerConnection is after how many ticks the server ends a connection. The
// browser comes back by itself.
const ticksPerConnection = 10

// tick sends the time once a second, each connection by a timer of its own.
// There is no hub and no state: the ID is the count, and the browser brings it
// back with its next connection.
func tick(c *gin.Context) {
	stream := ssegin.From(c)
	count := countFrom(stream.LastEventID())
	last := count + ticksPerConnection
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()

	// c.Stream calls the step until that says that there is no more. The headers do
	// not wait for the first tick: they are sent after half a second.
	c.Stream(func(io.Writer) bool {
		select {
		case <-stream.Context().Done(): // the browser has left, or the server shuts down
			return false
		case now := <-ticker.C:
			count++
			err := stream.Send(ssegin.Event{
				Type: "tick",
				ID:   strconv.Itoa(count),
				Data: now.UTC().Format(time.RFC3339Nano),
			})
			return err == nil && count < last
		}
	})
}

// countFrom reads the client's last ID. It comes from outside, so it may be
// anything: what is no count of ours begins anew.
func countFrom(id string) int {
	count, err := strconv.Atoi(id)
	if err != nil || count < 0 || count > 1e9 {
		return 0
	}
	return count
}
