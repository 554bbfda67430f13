package clients

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

type connKey struct{}

// A server serves the cells, and the pages of those that run in a browser.
type server struct {
	url  string
	port string

	mu    sync.Mutex
	cells map[string]*cell
}

func startServer(t *testing.T) *server {
	t.Helper()
	s := &server{cells: map[string]*cell{}}
	mux := http.NewServeMux()
	serve := func(w http.ResponseWriter, r *http.Request) {
		c := s.cell(r.PathValue("id"))
		if c == nil {
			http.NotFound(w, r)
			return
		}
		r.URL.Path = "/c/" + c.id
		c.engine.ServeHTTP(w, r)
	}
	mux.HandleFunc("/c/{id}", serve)
	mux.HandleFunc("/c/{id}/", serve) // where a client adds a path of its own
	mux.HandleFunc("POST /told", func(w http.ResponseWriter, r *http.Request) {
		var reports []report
		if json.NewDecoder(r.Body).Decode(&reports) == nil {
			s.tell(reports...)
		}
		w.WriteHeader(http.StatusNoContent)
	})
	mux.Handle("GET /npm/", http.StripPrefix("/npm/", http.FileServer(modules("npm/node_modules"))))
	mux.Handle("GET /page/", http.StripPrefix("/page/", http.FileServer(http.Dir("npm"))))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	web := &http.Server{Handler: mux, ConnContext: func(ctx context.Context, c net.Conn) context.Context {
		return context.WithValue(ctx, connKey{}, c)
	}}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = web.Serve(listener) // always http.ErrServerClosed
	}()
	t.Cleanup(func() {
		_ = web.Close()
		<-served
	})
	s.port = strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
	s.url = "http://127.0.0.1:" + s.port
	return s
}

func (s *server) cell(id string) *cell {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cells[id]
}

// add lets a cell be served.
func (s *server) add(c *cell) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.id = "c" + strconv.Itoa(len(s.cells)+1)
	c.server, c.changed = s, make(chan struct{})
	s.cells[c.id] = c
}

// tell gives reports to their cells.
func (s *server) tell(reports ...report) {
	for _, r := range reports {
		if c := s.cell(r.Cell); c != nil {
			c.hear(r)
		}
	}
}

// tellLine is tell for a line of a driver's output; others are returned.
func (s *server) tellLine(line string) (other string) {
	var r report
	if strings.HasPrefix(line, "{") && json.Unmarshal([]byte(line), &r) == nil && r.Cell != "" {
		s.tell(r)
		return ""
	}
	return line
}

// modules are folders of modules, which import each other without the ends of their names.
type modules string

// Open implements http.FileSystem.
func (m modules) Open(name string) (http.File, error) {
	if path.Ext(name) == "" {
		if f, err := http.Dir(m).Open(name + ".js"); err == nil {
			return f, nil
		}
	}
	return http.Dir(m).Open(name)
}
