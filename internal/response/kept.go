package response

import (
	"bufio"
	"fmt"
	"net"
	"net/http"

	"github.com/gin-gonic/gin"
)

// kept is beneath a writer whose handler has returned. It leads nowhere.
type kept struct{}

// ErrReturned is returned by a Writer that is closed. Where the stream has moved to
// another sink, it goes on there.
var ErrReturned = fmt.Errorf("%w: the handler has returned", ErrClosed)

func (kept) Header() http.Header                          { return http.Header{} }
func (kept) WriteHeader(int)                              {}
func (kept) WriteHeaderNow()                              {}
func (kept) Write([]byte) (int, error)                    { return 0, ErrReturned }
func (kept) WriteString(string) (int, error)              { return 0, ErrReturned }
func (kept) Flush()                                       {}
func (kept) Status() int                                  { return http.StatusOK }
func (kept) Size() int                                    { return -1 }
func (kept) Written() bool                                { return true }
func (kept) CloseNotify() <-chan bool                     { return nil }
func (kept) Hijack() (net.Conn, *bufio.ReadWriter, error) { return nil, nil, ErrReturned }
func (kept) Pusher() http.Pusher                          { return nil }

// ended is what the handlers around a stream find when it is over: they can see what the
// response was, and write nothing into it.
type ended struct{ gin.ResponseWriter }

func (*ended) WriteHeader(int)                              {}
func (*ended) WriteHeaderNow()                              {}
func (*ended) Write([]byte) (int, error)                    { return 0, errEnded }
func (*ended) WriteString(string) (int, error)              { return 0, errEnded }
func (*ended) Flush()                                       {}
func (*ended) Written() bool                                { return true }
func (*ended) Hijack() (net.Conn, *bufio.ReadWriter, error) { return nil, nil, errEnded }

var errEnded = fmt.Errorf("%w: the stream of this response has ended", ErrClosed)
