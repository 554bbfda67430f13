//go:build !linux

package ssegin

import (
	"errors"
	"net"
)

// On other systems streams are not detached: they stay with net/http.
const pollable = false

type poller struct{}

type socket struct {
	conn   *net.TCPConn
	ticket int32
}

func newPoller() (*poller, error) { return nil, errors.ErrUnsupported }

func (p *poller) add(*net.TCPConn, int32) (*socket, error) { return nil, errors.ErrUnsupported }

func (p *poller) run(func(int32, bool)) {}

func (p *poller) close() {}

func (s *socket) write([]byte) (int, error) { return 0, errors.ErrUnsupported }

func (s *socket) close() { _ = s.conn.Close() }
