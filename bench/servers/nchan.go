package servers

import (
	"bufio"
	"context"
	_ "embed"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync/atomic"

	"github.com/ssegin/ssegin/bench/process"
)

const (
	nchanModule = "/usr/lib/nginx/modules/ngx_nchan_module.so" // where Debian has it

	// nchanBuffer is how many messages a channel keeps where no client returns:
	// more than a publisher may be ahead.
	nchanBuffer = 2048
)

// nchanServer is nginx with a subscriber and a publisher location.
type nchanServer struct {
	*program
	buffer    int // messages that a channel keeps
	publisher *nchanPublisher
}

func newNchan(o Options) (Server, error) {
	p, err := newProgram()
	if err != nil {
		return nil, err
	}
	return &nchanServer{program: p, buffer: max(o.History, nchanBuffer)}, nil
}

// nchanConfig leaves all at its defaults that does not stand in the way: how
// many connections and requests there may be, logs, and where files lie.
//
//go:embed nchan.conf
var nchanConfig string

// missingNchan says what has to be installed first.
func missingNchan() string {
	if _, err := nginx(); err != nil {
		return "nginx is not installed"
	}
	if _, err := os.Stat(nchanModule); err != nil {
		return "nginx has no Nchan module in " + nchanModule
	}
	return ""
}

// nginx finds the program, which is not in every user's PATH.
func nginx() (string, error) {
	if path, err := exec.LookPath("nginx"); err == nil {
		return path, nil
	}
	return exec.LookPath("/usr/sbin/nginx")
}

// nchanWorkers leaves cores to the clients, which are on the same machine. More
// workers pass events on to each other, and take more CPU for each delivery.
func nchanWorkers() int { return max(1, runtime.GOMAXPROCS(0)/2) }

func (s *nchanServer) Serve(l net.Listener) error {
	address, file := l.Addr().String(), filepath.Join(s.dir, "nginx.conf")
	config := fmt.Sprintf(nchanConfig, nchanModule, s.dir, nchanWorkers(), address, s.buffer)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return err
	}
	path, err := nginx()
	if err != nil {
		return err
	}
	s.cmd = exec.Command(path, "-e", "stderr", "-c", file)
	s.cmd.Env = append(os.Environ(), "NGINX=3;") // it takes file 3 for its listener
	return s.serve(l, func() (err error) {
		s.publisher, err = dialNchan(address)
		return err
	})
}

// Processes are nginx and its workers.
func (s *nchanServer) Processes(ctx context.Context) ([]int, error) {
	if err := s.await(ctx); err != nil {
		return nil, err
	}
	workers, err := process.Children(s.cmd.Process.Pid)
	return append(workers, s.cmd.Process.Pid), err
}

func (s *nchanServer) Collect() error { return nil }

func (s *nchanServer) Publish(topic string, event []byte) error {
	return s.publisher.publish(topic, event)
}

// A nchanPublisher posts events over one connection, without waiting for the
// answers, which it checks as they come.
type nchanPublisher struct {
	conn   net.Conn
	failed atomic.Pointer[error]
}

func dialNchan(address string) (*nchanPublisher, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	p := &nchanPublisher{conn: conn}
	go func() {
		err := p.readAnswers()
		p.failed.Store(&err)
	}()
	return p, nil
}

func (p *nchanPublisher) publish(topic string, event []byte) error {
	if err := p.failed.Load(); err != nil {
		return *err
	}
	request := make([]byte, 0, 128+len(event))
	request = append(request, "POST /publish?topic="...)
	request = append(request, topic...)
	request = append(request, " HTTP/1.1\r\nHost: nchan\r\nContent-Length: "...)
	request = strconv.AppendInt(request, int64(len(event)), 10)
	request = append(request, "\r\n\r\n"...)
	_, err := p.conn.Write(append(request, event...))
	return err
}

func (p *nchanPublisher) readAnswers() error {
	answers := bufio.NewReader(p.conn)
	for {
		answer, err := http.ReadResponse(answers, nil)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		switch {
		case err != nil:
			return err
		case answer.StatusCode/100 != 2:
			return fmt.Errorf("nchan answered %s", answer.Status)
		}
	}
}
