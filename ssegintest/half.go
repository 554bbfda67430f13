package ssegintest

import (
	"bytes"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// A half is one direction of a connection: a bounded queue of bytes between
// one writer and one reader.
//
// It waits on a sync.Cond and on nothing else, which is what makes it fit for
// a synctest bubble: a goroutine that waits there is durably blocked, so that
// the bubble's clock moves on to the deadline.
type half struct {
	limit int // in bytes, greater than zero

	mu   sync.Mutex
	cond sync.Cond // broadcast at every change and when a deadline passes

	// Guarded by mu. buf.Len() never exceeds limit, and is zero once reset.
	buf        bytes.Buffer
	readerGone bool // closed by the reader: nobody will take what is in buf
	writerGone bool // closed by the writer: EOF follows what is in buf
	reset      bool // torn down: whoever is not gone is told so
	readBy     deadline
	writeBy    deadline
}

func newHalf(limit int) *half {
	h := &half{limit: limit}
	h.cond.L = &h.mu
	return h
}

func (h *half) read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.readerGone:
			return 0, net.ErrClosed
		case h.readBy.passed():
			return 0, os.ErrDeadlineExceeded
		case h.reset:
			return 0, os.NewSyscallError("read", syscall.ECONNRESET)
		case len(p) == 0:
			return 0, nil
		case h.buf.Len() > 0:
			h.cond.Broadcast()
			return h.buf.Read(p)
		case h.writerGone:
			return 0, io.EOF
		}
		h.cond.Wait()
	}
}

// write puts all of p into the queue, as room appears in it.
func (h *half) write(p []byte) (n int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		room := h.limit - h.buf.Len()
		switch {
		case h.writerGone:
			return n, net.ErrClosed
		case h.writeBy.passed():
			return n, os.ErrDeadlineExceeded
		case h.reset:
			return n, os.NewSyscallError("write", syscall.ECONNRESET)
		case h.readerGone:
			return n, os.NewSyscallError("write", syscall.EPIPE)
		case n == len(p):
			return n, nil
		case room > 0:
			m, _ := h.buf.Write(p[n:min(n+room, len(p))])
			n += m
			h.cond.Broadcast()
			continue
		}
		h.cond.Wait()
	}
}

// closeRead is the reader's close. It reports false if the reader had closed
// before, and whether bytes were left that it had not read.
func (h *half) closeRead(reset bool) (unread, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.readerGone {
		return false, false
	}
	unread = h.buf.Len() > 0
	h.readerGone = true
	h.reset = h.reset || reset || unread
	h.changedLocked()
	return unread, true
}

// closeWrite is the writer's close. It reports false if the writer had closed
// before; then it does nothing but reset, if asked to.
func (h *half) closeWrite(reset bool) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	first := !h.writerGone
	h.writerGone = true
	h.reset = h.reset || reset
	h.changedLocked()
	return first
}

// changedLocked lets go of what a half that has ended does not need.
func (h *half) changedLocked() {
	if h.reset || h.readerGone {
		h.buf = bytes.Buffer{}
	}
	if h.readerGone {
		h.readBy.stop()
	}
	if h.writerGone {
		h.writeBy.stop()
	}
	h.cond.Broadcast()
}

func (h *half) setReadDeadline(t time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.readerGone {
		return net.ErrClosed
	}
	h.readBy.set(t, h.wake)
	h.cond.Broadcast()
	return nil
}

func (h *half) setWriteDeadline(t time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.writerGone {
		return net.ErrClosed
	}
	h.writeBy.set(t, h.wake)
	h.cond.Broadcast()
	return nil
}

func (h *half) wake() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cond.Broadcast()
}

// A deadline is a moment, and the timer that wakes those who wait for it. The
// timer decides nothing, so that one which fires too late to be stopped does
// no harm.
type deadline struct {
	at    time.Time // zero: never
	timer *time.Timer
}

func (d *deadline) passed() bool {
	return !d.at.IsZero() && !time.Now().Before(d.at)
}

func (d *deadline) set(t time.Time, wake func()) {
	d.stop()
	if t.IsZero() {
		return
	}
	wait := time.Until(t)
	d.at = time.Now().Add(wait) // t on the monotonic clock, which timers follow
	switch {
	case wait <= 0:
	case d.timer == nil:
		d.timer = time.AfterFunc(wait, wake)
	default: // a server sets one for every write: use the timer again
		d.timer.Reset(wait)
	}
}

func (d *deadline) stop() {
	d.at = time.Time{}
	if d.timer != nil {
		d.timer.Stop()
	}
}
