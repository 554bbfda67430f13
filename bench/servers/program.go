package servers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// An External is a Server whose streams are served by another program. What
// that uses up is counted instead of what its host does, which only publishes.
type External interface {
	Server

	// Processes waits until the program serves and returns the IDs of its
	// processes.
	Processes(ctx context.Context) ([]int, error)

	// Collect has the program collect its garbage, if it has any.
	Collect() error

	// Close ends the program.
	Close() error
}

// A program is what all External servers have in common.
type program struct {
	cmd    *exec.Cmd     // set before serve
	dir    string        // temporary; removed at the end
	ready  chan struct{} // closed once it serves
	failed chan struct{} // closed once err is set
	ended  chan struct{} // closed once there is no process any more
	err    error         // why it does not serve
}

func newProgram() (*program, error) {
	dir, err := os.MkdirTemp("", "ssebench")
	return &program{
		dir: dir, ready: make(chan struct{}), failed: make(chan struct{}), ended: make(chan struct{}),
	}, err
}

// serve runs cmd with l as its file 3. When that answers its first request,
// serve calls connect, so that events can be published, and waits for its end.
func (p *program) serve(l net.Listener, connect func() error) (err error) {
	defer func() {
		p.err = err
		close(p.failed)
	}()
	// The kernel ends the program with the thread that has started it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	p.cmd.ExtraFiles = []*os.File{file}
	p.cmd.Stderr = os.Stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	err = p.cmd.Start()
	// Go has handed over a file that blocks: two of nginx's workers would race
	// for a connection, and the slower one would hang. Nobody connects yet.
	_ = unix.SetNonblock(int(file.Fd()), true)
	file.Close()
	l.Close() // now it is the program's alone: if that ends, requests fail
	if err != nil {
		close(p.ended)
		return err
	}
	go func() {
		_ = p.cmd.Wait() // how it ends says nothing that its streams do not say
		close(p.ended)
	}()
	response, err := http.Get("http://" + l.Addr().String() + "/")
	if err != nil {
		return fmt.Errorf("%s does not serve: %w", p.cmd.Path, err)
	}
	response.Body.Close()
	if err := connect(); err != nil {
		return err
	}
	close(p.ready)
	<-p.ended
	return errors.New(p.cmd.Path + " has ended")
}

// await returns nil once the program serves.
func (p *program) await(ctx context.Context) error {
	select {
	case <-p.ready:
		return nil
	case <-p.failed:
		return p.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Close ends the program, if it has begun, and removes its files.
func (p *program) Close() error {
	select {
	case <-p.ready:
		_ = p.cmd.Process.Signal(syscall.SIGTERM) // an error says that it has ended
		<-p.ended
	default: // it never served
	}
	return os.RemoveAll(p.dir)
}
