package servers

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
)

// betterSSEFolder is where its package.json, its program and, once npm ci has
// run there, its node_modules are.
const betterSSEFolder = "servers/better-sse"

// betterSSEServer is the program in betterSSEFolder. It reads from its standard
// input what to publish.
type betterSSEServer struct {
	*program
	lines io.WriteCloser
	said  *bufio.Reader
}

func newBetterSSE(Options) (Server, error) {
	folder, err := betterSSE()
	if err != nil {
		return nil, err
	}
	p, err := newProgram()
	if err != nil {
		return nil, err
	}
	p.cmd = exec.Command("node", "--expose-gc", filepath.Join(folder, "server.mjs"))
	lines, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	said, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &betterSSEServer{program: p, lines: lines, said: bufio.NewReader(said)}, nil
}

// missingBetterSSE says what has to be installed first.
func missingBetterSSE() string {
	if _, err := exec.LookPath("node"); err != nil {
		return "node is not installed"
	}
	if _, err := betterSSE(); err != nil {
		return err.Error()
	}
	return ""
}

// betterSSE finds its folder in this one, or in one of those that it lies in: a
// test runs in the folder of its package.
func betterSSE() (string, error) {
	above, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; above = filepath.Dir(above) {
		folder := filepath.Join(above, betterSSEFolder)
		if _, err := os.Stat(filepath.Join(folder, "node_modules", "better-sse")); err == nil {
			return folder, nil
		}
		if above == filepath.Dir(above) {
			return "", errors.New("npm ci has not been run in " + betterSSEFolder + ", or this is no folder of the bench")
		}
	}
}

func (s *betterSSEServer) Serve(l net.Listener) error {
	return s.serve(l, func() error { return nil })
}

// Processes is one: Node has a thread for all JavaScript.
func (s *betterSSEServer) Processes(ctx context.Context) ([]int, error) {
	if err := s.await(ctx); err != nil {
		return nil, err
	}
	return []int{s.cmd.Process.Pid}, nil
}

func (s *betterSSEServer) Collect() error {
	if _, err := io.WriteString(s.lines, "\n"); err != nil {
		return err
	}
	_, err := s.said.ReadString('\n')
	return err
}

func (s *betterSSEServer) Publish(topic string, event []byte) error {
	line := make([]byte, 0, len(topic)+len(event)+2)
	line = append(line, topic...)
	line = append(line, ' ')
	line = append(line, event...)
	_, err := s.lines.Write(append(line, '\n'))
	return err
}
