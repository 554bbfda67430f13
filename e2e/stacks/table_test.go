package stacks

import (
	"bufio"
	"compress/gzip"
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin"
)

var update = flag.Bool("update", false, "write the table that was found into docs/stacks.md")

const (
	// writeTimeout is the server's, which streams have to outlive.
	writeTimeout = 2 * time.Second
	// patience is how long anything may take that should take a moment.
	patience = 10 * time.Second
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.TestMode)
	slog.SetDefault(slog.New(said))
	// The tests mostly wait, so there may be more of them at a time than cores.
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		fmt.Fprintln(os.Stderr, "e2e/stacks:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// A row is what was found of a stack.
type row struct {
	attached, detached, middleware string // what becomes of a stream
	log                            string // what ssegin says
}

const head = "| before the streams | a hub's stream | with `WithDetached` | behind `Middleware` | ssegin logs | what you must do |\n|---|---|---|---|---|---|\n"

func (r row) text(s stack) string {
	return "| " + strings.Join([]string{s.name, r.attached, r.detached, r.middleware, orNothing(r.log), orNothing(s.needs)}, " | ") + " |\n"
}

func orNothing(text string) string {
	if text == "" {
		return "–"
	}
	return text
}

func TestStacks_theTableOfTheDocsHolds(t *testing.T) {
	found := make([]row, len(stacks))
	t.Run("stacks", func(t *testing.T) {
		for i, s := range stacks {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				found[i] = try(t, i, s)
				t.Log(found[i].text(s))
			})
		}
	})
	if t.Failed() {
		return
	}
	var table strings.Builder
	table.WriteString(head)
	for i, s := range stacks {
		table.WriteString(found[i].text(s))
	}
	compare(t, table.String())
}

// try finds out about a stack: streams of each kind go through it, longer than the
// server's WriteTimeout.
func try(t *testing.T, i int, s stack) (r row) {
	hubs := map[string]*ssegin.Hub{"attached": ssegin.NewHub(), "detached": ssegin.NewHub()}
	says := make(chan string)
	router := gin.New()
	if s.use != nil {
		router.Use(s.use(t))
	}
	// The log tells by the route which stack it is about.
	route := func(kind string) string { return fmt.Sprintf("/%d/%s", i, kind) }
	beat := ssegin.WithHeartbeat(writeTimeout / 8)
	router.GET(route("attached"), ssegin.Handler(hubs["attached"], beat))
	router.GET(route("detached"), ssegin.Handler(hubs["detached"], beat, ssegin.WithDetached()))
	router.GET(route("middleware"), ssegin.Middleware(beat), func(c *gin.Context) { repeat(ssegin.From(c), says) })
	handler := http.Handler(router)
	if s.around != nil {
		handler = s.around(t, handler)
	}
	url := serve(t, handler, hubs["attached"], hubs["detached"])

	var all sync.WaitGroup
	all.Go(func() { r.attached = follow(t, url+route("attached"), broadcasts(hubs["attached"])) })
	all.Go(func() {
		detached := false
		r.detached = follow(t, url+route("detached"), func(ctx context.Context, text string) {
			broadcasts(hubs["detached"])(ctx, text)
			detached = detached || hubs["detached"].Stats().Detached > 0
		})
		if !detached {
			r.detached += ", not detached"
		}
	})
	all.Go(func() {
		r.middleware = follow(t, url+route("middleware"), func(ctx context.Context, text string) {
			select {
			case says <- text:
			case <-ctx.Done():
			}
		})
	})
	all.Wait()
	r.log = said.about(fmt.Sprintf("/%d/", i))
	return r
}

// broadcasts publishes to the one stream of a hub, once that is there.
func broadcasts(hub *ssegin.Hub) func(ctx context.Context, text string) {
	return func(ctx context.Context, text string) {
		for hub.Stats().Streams == 0 && ctx.Err() == nil {
			time.Sleep(5 * time.Millisecond)
		}
		hub.Broadcast(ctx, ssegin.Event{Data: text})
	}
}

// repeat sends what a test says, as a handler of an application sends tokens.
func repeat(s *ssegin.Stream, says <-chan string) {
	for {
		select {
		case text := <-says:
			if s.Send(ssegin.Event{Data: text}) != nil {
				return
			}
		case <-s.Context().Done():
			return
		}
	}
}

// serve runs a server on plain TCP; see ssegin.ConnContext.
func serve(t *testing.T, h http.Handler, hubs ...*ssegin.Hub) (url string) {
	t.Helper()
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := &http.Server{
		Handler:      h,
		ConnContext:  ssegin.ConnContext,
		WriteTimeout: writeTimeout,
		ErrorLog:     log.New(io.Discard, "", 0), // clients come and go on purpose
	}
	served := make(chan struct{})
	go func() {
		_ = server.Serve(l)
		close(served)
	}()
	t.Cleanup(func() {
		now, cancel := context.WithCancel(context.Background())
		cancel()
		for _, hub := range hubs {
			_ = hub.Shutdown(now)
		}
		_ = server.Close()
		<-served
	})
	return "http://" + l.Addr().String()
}

// follow opens a stream and tells what becomes of it. Each event is published when the
// one before has arrived.
func follow(t *testing.T, url string, publish func(ctx context.Context, text string)) (verdict string) {
	l := open(t, url)
	began := time.Now()
	for i := range 10 {
		if i == 5 {
			time.Sleep(time.Until(began.Add(2 * writeTimeout)))
		}
		publish(l.ctx, strconv.Itoa(i))
		select {
		case got, ok := <-l.heard:
			if ok && assert.Equal(t, strconv.Itoa(i), got) {
				continue
			}
		case <-time.After(patience):
			return "no event arrives"
		}
		switch {
		case l.resp != nil && l.resp.StatusCode != http.StatusOK:
			return fmt.Sprint("status ", l.resp.StatusCode)
		case i == 0:
			return "no event arrives"
		}
		return "is cut"
	}
	if coding := l.resp.Header.Get("Content-Encoding"); coding != "" {
		return "live, " + coding
	}
	return "live"
}

// A listener is a client with a stream.
type listener struct {
	ctx   context.Context // ends with the stream
	heard chan string     // the data of each event of the application's; closed at the end
	resp  *http.Response  // once something was heard
}

func open(t *testing.T, url string) *listener {
	t.Helper()
	ctx, leave := context.WithCancel(context.Background())
	l := &listener{ctx: ctx, heard: make(chan string)}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	require.NoError(t, err)
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Accept-Encoding", "gzip")
	left := make(chan struct{})
	t.Cleanup(func() {
		leave()
		<-left
	})
	transport := &http.Transport{DisableKeepAlives: true}
	go func() {
		defer close(left)
		defer leave()
		defer close(l.heard)
		if l.resp, err = transport.RoundTrip(req); err == nil {
			l.read()
		}
	}()
	return l
}

// read reads the events until the end.
func (l *listener) read() {
	defer l.resp.Body.Close()
	body := io.Reader(l.resp.Body)
	if l.resp.Header.Get("Content-Encoding") == "gzip" {
		var err error
		if body, err = gzip.NewReader(body); err != nil {
			return
		}
	}
	own := false // the event is one of ours, not of the application's
	for lines := bufio.NewScanner(body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		switch {
		case name == "event":
			own = strings.HasPrefix(value, "ssegin.")
		case name == "data" && !own:
			select {
			case l.heard <- value:
			case <-l.ctx.Done():
				return
			}
		case name == "":
			own = false
		}
	}
}

// said is what ssegin logs, to which the tests of this package listen.
var said = &ear{messages: make(map[string][]string)}

// An ear is a slog.Handler that keeps messages by the route that they are about.
type ear struct {
	mu       sync.Mutex
	messages map[string][]string
}

func (e *ear) Enabled(context.Context, slog.Level) bool { return true }

func (e *ear) Handle(_ context.Context, r slog.Record) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "route" {
			e.messages[a.Value.String()] = append(e.messages[a.Value.String()], r.Message)
		}
		return true
	})
	return nil
}

func (e *ear) WithAttrs([]slog.Attr) slog.Handler { return e }

func (e *ear) WithGroup(string) slog.Handler { return e }

// about returns how the messages about the routes of a stack begin.
func (e *ear) about(prefix string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var all []string
	for route, messages := range e.messages {
		if strings.HasPrefix(route, prefix) {
			for _, message := range messages {
				begin, _, _ := strings.Cut(strings.TrimPrefix(message, "ssegin: "), ": ")
				all = append(all, "“"+begin+"”")
			}
		}
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), ", ")
}

const (
	docs   = "../../docs/stacks.md"
	begins = "<!-- go test ./stacks -update, in e2e, writes what follows -->\n"
	ends   = "<!-- up to here -->\n"
)

// compare compares the table with that of the docs, or puts it there.
func compare(t *testing.T, table string) {
	t.Helper()
	text, err := os.ReadFile(docs)
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(text), begins)
	require.True(t, ok, "no %q in %s", begins, docs)
	recorded, after, ok := strings.Cut(rest, ends)
	require.True(t, ok, "no %q in %s", ends, docs)
	if *update {
		require.NoError(t, os.WriteFile(docs, []byte(before+begins+table+ends+after), 0o644))
		return
	}
	assert.Equal(t, recorded, table, "the streams fare otherwise than the docs say; if that is right, run with -update")
}
