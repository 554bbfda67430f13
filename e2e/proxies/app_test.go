package proxies

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin"
)

// beat is between two signs of life of a stream that has nothing else to say, and
// idleTime, in seconds, that of a proxy that is set up strictly.
var beat, idleTime = pace()

func pace() (beat time.Duration, idleTime string) {
	if long {
		return 15 * time.Second, "40" // the default of streams, and of no proxy
	}
	return 3 * time.Second, "8"
}

// kinds are the two ways in which a stream can be served.
var kinds = map[string][]ssegin.StreamOption{
	"attached": nil,
	"detached": {ssegin.WithDetached()},
}

// manners are what else differs between the routes of an app: /<manner>/<kind>.
var manners = map[string][]ssegin.StreamOption{
	"usual":  {ssegin.WithHeartbeat(beat)},
	"quiet":  {ssegin.WithHeartbeat(0)},
	"broken": {ssegin.WithHeartbeat(beat), ssegin.WithBrokenEnds()},
}

// An app is an application with streams of both kinds. The query names their
// topic: ?topic=a.
type app struct {
	hub    *ssegin.Hub
	server *http.Server
	addr   string

	mu   sync.Mutex
	left map[string]time.Time // by topic: when the server knew that the client is gone
}

func newApp() *app {
	a := &app{hub: ssegin.NewHub(), left: make(map[string]time.Time)}
	r := gin.New()
	for kind, opts := range kinds {
		for manner, more := range manners {
			r.GET("/"+manner+"/"+kind, ssegin.Handler(a.hub, append([]ssegin.StreamOption{
				ssegin.WithTopics(func(c *gin.Context) ([]string, error) { return []string{c.Query("topic")}, nil }),
				ssegin.OnConnect(a.connected),
			}, append(more, opts...)...)...))
		}
	}
	r.POST("/say", func(c *gin.Context) {
		said, err := io.ReadAll(c.Request.Body)
		if err != nil {
			c.AbortWithStatus(http.StatusBadRequest)
			return
		}
		c.Data(http.StatusOK, "text/plain", said)
	})
	r.POST("/publish", func(c *gin.Context) {
		id, err := a.hub.Publish(c, c.Query("topic"), ssegin.Event{Data: c.Query("data")})
		if err != nil {
			c.AbortWithStatus(http.StatusBadRequest)
			return
		}
		c.String(http.StatusOK, id)
	})
	a.server = &http.Server{
		Handler:     r,
		ConnContext: ssegin.ConnContext,
		ErrorLog:    log.New(io.Discard, "", 0), // clients come and go on purpose
	}
	return a
}

// connected notes when the stream is over.
func (a *app) connected(_ *gin.Context, s *ssegin.Stream) error {
	context.AfterFunc(s.Context(), func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.left[s.Topics()[0]] = time.Now()
	})
	return nil
}

// departed is when the server knew that the client of a topic is gone, zero if it does not.
func (a *app) departed(topic string) time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.left[topic]
}

// listen opens a port, plain TCP's; see ssegin.ConnContext.
func (a *app) listen() (net.Listener, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err == nil {
		a.addr = l.Addr().String()
	}
	return l, err
}

// startApp starts an app in this process, until the end of the test.
func startApp(t *testing.T) *app {
	t.Helper()
	a := newApp()
	l, err := a.listen()
	require.NoError(t, err)
	served := make(chan struct{})
	go func() {
		_ = a.server.Serve(l)
		close(served)
	}()
	t.Cleanup(func() {
		now, cancel := context.WithCancel(context.Background())
		cancel()
		_ = a.hub.Shutdown(now)
		_ = a.server.Close()
		<-served
	})
	return a
}

// serveForEver is what the process of a mortal does.
func serveForEver() error {
	a := newApp()
	l, err := a.listen()
	if err != nil {
		return err
	}
	fmt.Printf("listens on %s\n", a.addr)
	return a.server.Serve(l)
}

var announced = regexp.MustCompile(`listens on (\S+)\n`)

// startMortal starts an app as a process, so that it can crash.
func startMortal(t *testing.T) (addr string, crash func()) {
	t.Helper()
	program, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), roleKey+"=app")
	_, err = cmd.StdinPipe() // which breaks if this process dies
	require.NoError(t, err)
	p := startCommand(t, 0, cmd)
	var found []string
	until(t, "the app listens", func() bool {
		found = announced.FindStringSubmatch(p.text())
		return found != nil || !p.running()
	})
	require.NotNil(t, found, "the app did not start:\n%s", p.text())
	return found[1], func() {
		_ = cmd.Process.Kill()
		<-p.exited
	}
}
