package servers

import (
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// listen opens a port of the loopback interface whose connections have send
// buffers of that size. 0 leaves it to the kernel.
func listen(sendBuffer int) (net.Listener, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil || sendBuffer == 0 {
		return l, err
	}
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		return nil, err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { // connections inherit it
		failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer)
	})
	if err != nil {
		return nil, err
	}
	return l, os.NewSyscallError("setsockopt", failed)
}
