package process

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

const (
	startTimeout = 10 * time.Second // until the hello
	stopTimeout  = time.Second      // for a child to end by itself
	keptOutput   = 4 << 10          // of what a child says before it dies
)

// A Child is a running process of this same program in another role.
type Child struct {
	Hello
	cmd    *exec.Cmd
	stdin  io.Closer
	said   tail
	client http.Client
}

// Start runs this program with args and waits for its hello.
func Start(args ...string) (*Child, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &Child{cmd: exec.Command(program, args...)}
	c.cmd.Stderr = &c.said
	stdin, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	c.stdin = stdin
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	late := time.AfterFunc(startTimeout, func() { _ = c.cmd.Process.Kill() })
	defer late.Stop()
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &c.Hello)
	}
	if err != nil {
		c.Stop()
		return nil, fmt.Errorf("start %s: %w%s", strings.Join(args, " "), err, c.said.String())
	}
	return c, nil
}

// Call posts in to one of the child's control endpoints and reads the answer
// into out, unless that is nil.
func (c *Child) Call(ctx context.Context, endpoint string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL(endpoint), bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := c.client.Do(request)
	if err != nil {
		return fmt.Errorf("%s: %w%s", endpoint, err, c.said.String())
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w%s", endpoint, err, c.said.String())
	case response.StatusCode != http.StatusOK:
		return fmt.Errorf("%s: %s", endpoint, bytes.TrimSpace(answer))
	case out == nil:
		return nil
	}
	return json.Unmarshal(answer, out)
}

// URL is that of a control endpoint.
func (c *Child) URL(endpoint string) string { return "http://" + c.Control + "/" + endpoint }

// Stop ends the child, by force if it does not go by itself.
func (c *Child) Stop() {
	_ = c.stdin.Close()
	c.client.CloseIdleConnections()
	force := time.AfterFunc(stopTimeout, func() { _ = c.cmd.Process.Kill() })
	defer force.Stop()
	// How it ended says nothing: some servers cannot end well.
	var exit *exec.ExitError
	if err := c.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		_ = c.cmd.Process.Kill()
	}
}

// A tail keeps the start of the last thing that was written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if room := keptOutput - len(t.text); room > 0 {
		t.text = append(t.text, p[:min(room, len(p))]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.text) == 0 {
		return ""
	}
	first, _, _ := strings.Cut(string(t.text), "\n")
	return " (it said: " + first + ")"
}
