package gate

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// patience is how long a client may take in all, and the server with a write to
// it: so long that only what is stuck takes longer.
const patience = 5 * time.Minute

// A client is one open stream.
type client struct {
	conn *net.TCPConn
	body *bufio.Reader
}

// connect asks for path and returns when the response's head has come.
func connect(addr, path, lastID string) (*client, error) {
	conn, err := net.Dial("tcp4", addr)
	if err != nil {
		return nil, err
	}
	c := &client{conn: conn.(*net.TCPConn)}
	if err := c.ask(path, lastID); err != nil {
		c.close()
		return nil, fmt.Errorf("GET %s: %w", path, err)
	}
	return c, nil
}

func (c *client) ask(path, lastID string) error {
	request, err := http.NewRequest(http.MethodGet, "http://"+c.conn.RemoteAddr().String()+path, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Accept", "text/event-stream")
	if lastID != "" {
		request.Header.Set("Last-Event-ID", lastID)
	}
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if err := request.Write(c.conn); err != nil {
		return err
	}
	response, err := http.ReadResponse(bufio.NewReader(c.conn), request)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s", response.Status)
	}
	c.body = bufio.NewReader(response.Body)
	return nil
}

// take returns when n events have come, but for the hub's own: a cursor opens each
// stream.
func (c *client) take(n int) error {
	for own := false; n > 0; {
		line, err := c.body.ReadSlice('\n')
		if err != nil {
			return fmt.Errorf("%d events before the end: %w", n, err)
		}
		switch {
		case bytes.HasPrefix(line, []byte("event: ssegin.")):
			own = true
		case bytes.HasPrefix(line, []byte("data:")):
			if !own {
				n--
			}
			own = false
		}
	}
	return nil
}

// leave ends the stream from the client's side, and returns when the server has
// ended it, too.
func (c *client) leave() error {
	if err := c.conn.CloseWrite(); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, c.conn)
	return err
}

func (c *client) close() { _ = c.conn.Close() }
