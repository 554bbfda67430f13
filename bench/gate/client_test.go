package gate

import (
	"bufio"
	"io"
	"strings"
	"testing"
)

// Otherwise a round would be over for a client that has been given the cursor only, and
// its figures would be those of the round before.
func TestClient_takesTheApplicationsEvents(t *testing.T) {
	const stream = "retry: 2000\nevent: ssegin.cursor\ndata: {}\nid: x\n\n:\ndata: 1\n\n:\nevent:message\ndata:2\n\ndata: left\n\n"
	c := &client{body: bufio.NewReader(strings.NewReader(stream))}
	if err := c.take(2); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(c.body); err != nil || string(rest) != "\ndata: left\n\n" {
		t.Errorf("%q is left, %v", rest, err)
	}
}
