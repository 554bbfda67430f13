//go:build !linux

package epoll

import (
	"errors"
	"net"
)

// Available says whether this system has what the package needs.
const Available = false

// A Poller cannot be made on this system.
type Poller struct{}

// A Socket cannot be made on this system.
type Socket struct{}

// New fails on this system.
func New(int) (*Poller, error) { return nil, errors.ErrUnsupported }

// Add fails on this system.
func (p *Poller) Add(*net.TCPConn, int32) (*Socket, error) { return nil, errors.ErrUnsupported }

// Run does nothing on this system.
func (p *Poller) Run(func(ticket int32, gone bool)) {}

// Close does nothing on this system.
func (p *Poller) Close() {}

// Ticket is zero on this system.
func (s *Socket) Ticket() int32 { return 0 }

// Write fails on this system.
func (s *Socket) Write([]byte) (n int, err error) { return 0, errors.ErrUnsupported }

// ResetOnClose does nothing on this system.
func (s *Socket) ResetOnClose() {}

// Close does nothing on this system.
func (s *Socket) Close() {}
