package ssegintest

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// pipe returns the ends of a connection with room for n bytes each way.
func pipe(t *testing.T, n int) (a, b *Conn) {
	t.Helper()
	a, b = newPipe(n, &net.TCPAddr{Port: 1}, &net.TCPAddr{Port: 2})
	t.Cleanup(func() { _, _ = a.Close(), b.Close() })
	return a, b
}

func mustWrite(t *testing.T, c net.Conn, s string) {
	t.Helper()
	n, err := io.WriteString(c, s)
	require.NoError(t, err)
	require.Equal(t, len(s), n)
}

func TestConn_carriesBytesBothWays(t *testing.T) {
	const size = 1 << 20
	a, b := pipe(t, 1000)
	sent := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	var wg sync.WaitGroup
	for _, c := range []*Conn{a, b} {
		wg.Go(func() {
			n, err := c.Write(sent)
			assert.NoError(t, err)
			assert.Equal(t, size, n)
			assert.NoError(t, c.CloseWrite())
		})
		wg.Go(func() {
			got, err := io.ReadAll(c)
			assert.NoError(t, err)
			assert.True(t, bytes.Equal(sent, got))
		})
	}
	wg.Wait()
}

func TestConn_addressesAreThoseOfItsEnds(t *testing.T) {
	a, b := pipe(t, 1)
	assert.Equal(t, a.LocalAddr(), b.RemoteAddr())
	assert.Equal(t, b.LocalAddr(), a.RemoteAddr())
	assert.NotEqual(t, a.LocalAddr(), a.RemoteAddr())
}

func TestConn_writeWaitsOnlyWhileTheBufferIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pipe(t, 4)
		mustWrite(t, a, "1234") // nobody reads
		var wrote bool
		go func() {
			_, err := a.Write([]byte("567"))
			assert.NoError(t, err)
			wrote = true
		}()
		synctest.Wait()
		assert.False(t, wrote)
		got := make([]byte, 2)
		_, err := io.ReadFull(b, got)
		require.NoError(t, err)
		synctest.Wait()
		assert.False(t, wrote, "room for two of three")
		_, err = io.ReadFull(b, got)
		require.NoError(t, err)
		synctest.Wait()
		assert.True(t, wrote)
	})
}

func TestConn_deadlinesEndWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pipe(t, 4)
		start := time.Now()
		require.NoError(t, a.SetReadDeadline(start.Add(time.Second)))
		require.NoError(t, a.SetWriteDeadline(start.Add(2*time.Second)))

		_, err := a.Read(make([]byte, 1))
		assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
		assert.Equal(t, time.Second, time.Since(start))

		n, err := a.Write([]byte("123456"))
		assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
		var ne net.Error
		assert.True(t, errors.As(err, &ne) && ne.Timeout())
		assert.Equal(t, 4, n)
		assert.Equal(t, 2*time.Second, time.Since(start))

		_, err = b.Write([]byte("x"))
		assert.NoError(t, err, "the peer has no deadline")
		_, err = a.Read(make([]byte, 1))
		assert.ErrorIs(t, err, os.ErrDeadlineExceeded, "a deadline stays, be there bytes or not")
		require.NoError(t, a.SetReadDeadline(time.Time{}))
		_, err = a.Read(make([]byte, 1))
		assert.NoError(t, err)
	})
}

func TestConn_deadlinesMoveUnderAWait(t *testing.T) {
	for name, test := range map[string]struct {
		first, then, want time.Duration // from the start; then is set after 1 s
	}{
		"none, then one": {0, 3 * time.Second, 3 * time.Second},
		"later":          {2 * time.Second, 5 * time.Second, 5 * time.Second},
		"earlier":        {5 * time.Second, 2 * time.Second, 2 * time.Second},
		"passed":         {5 * time.Second, -time.Second, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, _ := pipe(t, 1)
				start := time.Now()
				if test.first != 0 {
					require.NoError(t, a.SetDeadline(start.Add(test.first)))
				}
				go func() {
					time.Sleep(time.Second)
					assert.NoError(t, a.SetDeadline(start.Add(test.then)))
				}()
				_, err := a.Read(make([]byte, 1))
				assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
				assert.Equal(t, test.want, time.Since(start))
			})
		})
	}
}

func TestConn_closeGivesThePeerWhatIsOnItsWayAndThenEOF(t *testing.T) {
	a, b := pipe(t, 10)
	mustWrite(t, a, "bye")
	require.NoError(t, a.Close())
	got, err := io.ReadAll(b)
	assert.NoError(t, err)
	assert.Equal(t, "bye", string(got))
	_, err = b.Write([]byte("x"))
	assert.ErrorIs(t, err, syscall.EPIPE)
}

func TestConn_closeWriteIsHalf(t *testing.T) {
	a, b := pipe(t, 10)
	mustWrite(t, a, "request")
	require.NoError(t, a.CloseWrite())
	assert.ErrorIs(t, a.CloseWrite(), net.ErrClosed)
	_, err := a.Write([]byte("x"))
	assert.ErrorIs(t, err, net.ErrClosed)
	got, err := io.ReadAll(b)
	assert.NoError(t, err)
	assert.Equal(t, "request", string(got))
	mustWrite(t, b, "response")
	require.NoError(t, b.Close())
	got, err = io.ReadAll(a)
	assert.NoError(t, err)
	assert.Equal(t, "response", string(got))
}

func TestConn_lingerZeroTearsDown(t *testing.T) {
	a, b := pipe(t, 10)
	mustWrite(t, a, "lost")
	require.NoError(t, a.SetLinger(0))
	require.NoError(t, a.Close())
	_, err := b.Read(make([]byte, 1))
	assert.ErrorIs(t, err, syscall.ECONNRESET)
	_, err = b.Write([]byte("x"))
	assert.ErrorIs(t, err, syscall.ECONNRESET)
}

func TestConn_lingerOtherwiseIsAnOrderlyClose(t *testing.T) {
	a, b := pipe(t, 10)
	require.NoError(t, a.SetLinger(0))
	require.NoError(t, a.SetLinger(-1))
	require.NoError(t, a.Close())
	_, err := b.Read(make([]byte, 1))
	assert.Equal(t, io.EOF, err)
}

func TestConn_closeWithUnreadBytesTearsDown(t *testing.T) {
	a, b := pipe(t, 10)
	mustWrite(t, b, "unread")
	require.NoError(t, a.Close())
	_, err := b.Read(make([]byte, 1))
	assert.ErrorIs(t, err, syscall.ECONNRESET)
	_, err = b.Write([]byte("x"))
	assert.ErrorIs(t, err, syscall.ECONNRESET)
}

func TestConn_closeEndsTheWaitsOfBothEnds(t *testing.T) {
	for name, test := range map[string]struct {
		linger           int
		own, read, write error
	}{
		"FIN": {linger: -1, own: net.ErrClosed, read: io.EOF, write: syscall.EPIPE},
		"RST": {linger: 0, own: net.ErrClosed, read: syscall.ECONNRESET, write: syscall.ECONNRESET},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var ended atomic.Int32
				wait := func(call func([]byte) (int, error), want error) {
					go func() {
						_, err := call(make([]byte, 8))
						assert.ErrorIs(t, err, want)
						ended.Add(1)
					}()
					synctest.Wait()
				}
				a, b := pipe(t, 4)
				wait(a.Read, test.own)
				wait(b.Read, test.read)
				c, d := pipe(t, 4)
				wait(c.Write, test.own)
				e, f := pipe(t, 4)
				wait(f.Write, syscall.ECONNRESET) // for e has not read all of it
				require.Zero(t, ended.Load())
				for _, end := range []*Conn{a, c, e} {
					require.NoError(t, end.SetLinger(test.linger))
					require.NoError(t, end.Close())
				}
				synctest.Wait()
				assert.EqualValues(t, 4, ended.Load())
				_, err := d.Write([]byte("x"))
				assert.ErrorIs(t, err, test.write)
			})
		})
	}
}

func TestConn_allFailsAfterItsClose(t *testing.T) {
	a, _ := pipe(t, 1)
	require.NoError(t, a.Close())
	_, readErr := a.Read(make([]byte, 1))
	_, writeErr := a.Write([]byte("x"))
	for _, err := range []error{
		readErr, writeErr, a.Close(), a.CloseWrite(), a.SetDeadline(time.Now()), a.SetReadDeadline(time.Time{}), a.SetWriteDeadline(time.Time{}),
	} {
		assert.ErrorIs(t, err, net.ErrClosed)
		var op *net.OpError
		assert.ErrorAs(t, err, &op)
	}
}
