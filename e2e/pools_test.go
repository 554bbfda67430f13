package e2e

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// pools are what keeps connections to a server and gives them to later requests.
// Each is started in front of an address, and tries again as it does by default.
var pools = []struct {
	name  string
	start func(t *testing.T, addr string) (url string)
}{
	{"Go's http.Client", func(_ *testing.T, addr string) string { return "http://" + addr }},
	{"Go's ReverseProxy", startReverseProxy},
	{"nginx with keepalive", startPooledNginx},
	{"HAProxy", startHAProxy},
}

func startReverseProxy(t *testing.T, addr string) (url string) {
	t.Helper()
	transport := http.DefaultTransport.(*http.Transport).Clone() // its pool must not outlive the test
	srv := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "http", addr },
		Transport: transport,
		ErrorLog:  log.New(io.Discard, "", 0), // the clients see what fails
	})
	t.Cleanup(func() {
		srv.Close()
		transport.CloseIdleConnections()
	})
	return srv.URL
}

func startPooledNginx(t *testing.T, addr string) (url string) {
	t.Helper()
	return runNginx(t, fmt.Sprintf("upstream app { server %s; keepalive 16; }", addr),
		`location / { proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; }`)
}

// startHAProxy puts HAProxy in front of an address. It holds small chunks back
// for a moment unless it is told not to.
func startHAProxy(t *testing.T, addr string) (url string) {
	t.Helper()
	port := freePort(t)
	conf := filepath.Join(t.TempDir(), "haproxy.cfg")
	text := fmt.Sprintf(`
defaults
	mode http
	timeout connect 60s
	timeout client 60s
	timeout server 60s
	option http-no-delay
	http-reuse always
listen app
	bind 127.0.0.1:%d
	server app %s
`, port, addr)
	require.NoError(t, os.WriteFile(conf, []byte(text), 0o600))
	start(t, haproxyBinary, "-db", "-f", conf).listens(t, port)
	return fmt.Sprintf("http://127.0.0.1:%d", port)
}

// A connection ends with its stream if that is detached, and stays if it is not.
// Whoever keeps connections must know which: a request that is given one that
// is being closed is lost, and a POST may not be sent a second time.
func TestPools_loseNoRequestBesideStreamsThatEnd(t *testing.T) {
	t.Parallel()
	total := int64(1_000) // POSTs, for each kind of stream
	if long {
		total = 20_000
	}
	for kind, opts := range kinds {
		t.Run(kind, func(t *testing.T) {
			var sum tally
			var names []string
			for _, pool := range pools {
				names = append(names, pool.name)
				t.Run(pool.name, func(t *testing.T) {
					x := startTraffic(t, pool.start, asItIs, opts)
					x.run(total / int64(len(pools)))
					t.Logf("%s streams: %s", kind, x.through(pool.name))
					assert.Zero(t, x.failed.Load(), "POSTs, the last fault is: %v", x.fault.Load())
					assert.Zero(t, x.broken.Load(), "streams, the last fault is: %v", x.fault.Load())
					assert.Greater(t, x.ended.Load(), x.posts()/20, "too few streams ended beside the POSTs to prove anything")
					sum.add(&x.tally)
				})
			}
			t.Logf("%s streams: %s", kind, sum.through(strings.Join(names, ", ")))
		})
	}
}

// Each of them does lose POSTs if the head does not say that the connection
// closes, so the test above can fail.
func TestPools_loseRequestsBesideStreamsThatEndUnannounced(t *testing.T) {
	t.Parallel()
	for _, pool := range pools {
		t.Run(pool.name, func(t *testing.T) {
			x := startTraffic(t, pool.start, unannounced, kinds["detached"])
			until(t, "a POST is lost", 10*patience, func() bool {
				x.run(100)
				return x.failed.Load() > 0
			})
			t.Logf("unannounced: %s; the last fault: %v", x.through(pool.name), x.fault.Load())
		})
	}
}

func asItIs(h http.Handler) http.Handler { return h }

// unannounced takes Connection: close out of what h answers.
func unannounced(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(silenced{w}, r) })
}

// A silenced writer has all that a stream needs to be detached.
type silenced struct{ http.ResponseWriter }

func (w silenced) WriteHeader(status int) {
	w.Header().Del("Connection")
	w.ResponseWriter.WriteHeader(status)
}

func (w silenced) FlushError() error { return http.NewResponseController(w.ResponseWriter).Flush() }

func (w silenced) SetWriteDeadline(at time.Time) error {
	return http.NewResponseController(w.ResponseWriter).SetWriteDeadline(at)
}

func (w silenced) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(w.ResponseWriter).Hijack()
}
