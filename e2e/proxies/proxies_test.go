package proxies

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	http1 = "HTTP/1.1"
	http2 = "HTTP/2"
)

// A proxy is a program in front of an application, in one set-up.
type proxy struct {
	name   string
	conf   string   // its configuration: a file in testdata
	edits  []string // what is another text in it: old, new, old, new
	speaks []string // protocols, to the client
	run    func(t *testing.T, p place)

	// strict are more edits, which let it compress and cut streams that are idle.
	strict []string
	// idle is the setting with which it cuts them, and its default; "" if there is none.
	idle string
}

var proxies = []proxy{
	{
		name: "nginx, no settings", conf: "nginx-defaults.conf", run: runNginx, speaks: []string{http1},
		strict: []string{"location /", "gzip on; gzip_types text/event-stream; proxy_read_timeout " + idleTime + "s; location /"},
		idle:   "`proxy_read_timeout`, 60 s",
	},
	{
		name: "nginx", conf: "nginx.conf", run: runNginx, speaks: []string{http1, http2},
		strict: []string{"location /", "gzip on; gzip_types text/event-stream; proxy_read_timeout " + idleTime + "s; location /"},
		idle:   "`proxy_read_timeout`, 60 s",
	},
	{
		name: "HAProxy without the two options", conf: "haproxy.cfg", run: runHAProxy, speaks: []string{http1},
		edits:  []string{"\toption http-no-delay\n", "", "\toption abortonclose\n", ""},
		strict: strictHAProxy, idle: idleHAProxy,
	},
	{
		name: "HAProxy", conf: "haproxy.cfg", run: runHAProxy, speaks: []string{http1, http2},
		strict: strictHAProxy, idle: idleHAProxy,
	},
	{
		name: "Apache", conf: "apache.conf", run: runApache, speaks: []string{http1, http2},
		strict: []string{"\tProxyPass ", "\tSetOutputFilter DEFLATE\n\tProxyTimeout " + idleTime + "\n\tProxyPass "},
		idle:   "`ProxyTimeout`, 60 s",
	},
	{
		name: "Varnish", conf: "varnish.vcl", run: runVarnish, speaks: []string{http1},
		strict: strictVarnish, idle: "`pipe_timeout`, 60 s",
	},
	{
		name: "Varnish with `pass`", conf: "varnish.vcl", run: runVarnish, speaks: []string{http1},
		edits:  []string{"return (pipe)", "return (pass)"},
		strict: strictVarnish, idle: "`between_bytes_timeout`, 60 s",
	},
	{
		name: "Caddy", conf: "Caddyfile", run: runCaddy, speaks: []string{http1, http2},
		strict: []string{"\treverse_proxy ", "\tencode gzip\n\treverse_proxy "},
	},
	{
		name: "Squid", conf: "squid.conf", run: runSquid, speaks: []string{http1},
		strict: []string{"http_access ", "read_timeout " + idleTime + " seconds\nhttp_access "},
		idle:   "`read_timeout`, 15 min",
	},
	{name: "Go's ReverseProxy", run: runReverseProxy, speaks: []string{http1}},
}

var (
	strictHAProxy = []string{
		"timeout server 60s", "timeout server " + idleTime + "s",
		"backend app\n", "backend app\n\tcompression algo gzip\n\tcompression type text/event-stream\n",
	}
	idleHAProxy = "`timeout server`"

	strictVarnish = []string{"sub vcl_recv", "sub vcl_backend_response { set beresp.do_gzip = true; }\n\nsub vcl_recv"}
)

// A place is where a proxy runs.
type place struct {
	app    string         // the address of the application
	ports  map[string]int // of the proxy, for each protocol of clients
	dir    string         // for its files
	conf   string         // its configuration
	strict bool
}

// startProxy starts a proxy in front of an application, and returns its URLs, for
// each protocol.
func startProxy(t *testing.T, p proxy, app string, strict bool) (urls map[string]string) {
	t.Helper()
	at := place{app: app, ports: map[string]int{http1: freePort(t), http2: freePort(t)}, dir: shelf(t), strict: strict}
	if p.conf != "" {
		edits := p.edits
		if strict {
			edits = append(edits[:len(edits):len(edits)], p.strict...)
		}
		at.conf = at.write(t, p.conf, at.adapt(t, edit(t, configuration(t, p.conf), edits)))
	}
	p.run(t, at)
	return map[string]string{
		http1: fmt.Sprintf("http://127.0.0.1:%d", at.ports[http1]),
		http2: fmt.Sprintf("https://127.0.0.1:%d", at.ports[http2]),
	}
}

// shelf is a folder that every user may read: some proxies leave root behind.
func shelf(t *testing.T) (dir string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "ssegin-proxy-")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func configuration(t *testing.T, name string) (text string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	return string(b)
}

// edit replaces texts, each of which has to be there.
func edit(t *testing.T, text string, edits []string) string {
	t.Helper()
	for i := 0; i < len(edits); i += 2 {
		require.Contains(t, text, edits[i])
		text = strings.ReplaceAll(text, edits[i], edits[i+1])
	}
	return text
}

// adapt puts addresses and paths of the test in the place of those that a
// configuration has in the docs.
func (at place) adapt(t *testing.T, conf string) string {
	t.Helper()
	appHost, appPort, err := net.SplitHostPort(at.app)
	require.NoError(t, err)
	return strings.NewReplacer(
		"127.0.0.1:9000", at.app,
		"127.0.0.1 parent 9000", appHost+" parent "+appPort,
		`"9000"`, `"`+appPort+`"`,
		":8080", fmt.Sprint(":", at.ports[http1]),
		":8443", fmt.Sprint(":", at.ports[http2]),
		"/etc/ssl/site.pem", at.certificate(t),
	).Replace(conf)
}

// certificate writes a certificate and its key, in one file.
func (at place) certificate(t *testing.T) (path string) {
	t.Helper()
	own := httptest.NewUnstartedServer(nil) // for its certificate
	own.StartTLS()
	own.Close()
	pair := own.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	require.NoError(t, err)
	return at.write(t, "site.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}))+
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
}

func (at place) write(t *testing.T, name, text string) (path string) {
	t.Helper()
	path = filepath.Join(at.dir, name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	return path
}

// runNginx runs nginx with the configuration as one of its sites.
func runNginx(t *testing.T, at place) {
	t.Helper()
	conf := at.write(t, "frame.conf", fmt.Sprintf(`
daemon off;
master_process off;
pid %[1]s/pid;
events {}
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	include %[2]s;
}
`, at.dir, at.conf))
	start(t, at.ports[http1], programs["nginx"], "-e", "stderr", "-c", conf)
}

func runHAProxy(t *testing.T, at place) {
	t.Helper()
	start(t, at.ports[http1], programs["haproxy"], "-db", "-f", at.conf)
}

// runApache runs Apache with the modules that Debian enables and those that the
// docs name.
func runApache(t *testing.T, at place) {
	t.Helper()
	const modules = "/usr/lib/apache2/modules"
	var load strings.Builder
	for _, name := range []string{"mpm_event", "authz_core", "filter", "deflate", "proxy", "proxy_http", "socache_shmcb", "ssl", "http2"} {
		fmt.Fprintf(&load, "LoadModule %s_module %s/mod_%[1]s.so\n", name, modules)
	}
	conf := at.write(t, "frame.conf", fmt.Sprintf(`
%s
ServerName localhost
DefaultRuntimeDir %[2]s
PidFile %[2]s/pid
Mutex file:%[2]s default
User www-data
Group www-data
ErrorLog /dev/stderr
Listen 127.0.0.1:%[3]d
Listen 127.0.0.1:%[4]d
Include %[5]s
`, load.String(), at.dir, at.ports[http1], at.ports[http2], at.conf))
	start(t, at.ports[http1], programs["apache2"], "-D", "FOREGROUND", "-f", conf)
}

func runVarnish(t *testing.T, at place) {
	t.Helper()
	args := []string{
		"-F", "-j", "none", "-n", filepath.Join(at.dir, "varnish"), "-s", "malloc,16m",
		"-a", fmt.Sprintf("127.0.0.1:%d", at.ports[http1]), "-f", at.conf,
	}
	if at.strict {
		args = append(args, "-p", "pipe_timeout="+idleTime, "-p", "between_bytes_timeout="+idleTime)
	}
	start(t, at.ports[http1], programs["varnishd"], args...)
}

// runCaddy runs Caddy without the port for its administration and without a
// certificate authority of its own.
func runCaddy(t *testing.T, at place) {
	t.Helper()
	conf := at.write(t, "frame", "{\n\tadmin off\n\tauto_https off\n}\n\nimport "+at.conf+"\n")
	cmd := exec.Command(programs["caddy"], "run", "--adapter", "caddyfile", "--config", conf)
	cmd.Env = append(os.Environ(), "HOME="+at.dir, "XDG_CONFIG_HOME="+at.dir, "XDG_DATA_HOME="+at.dir)
	startCommand(t, at.ports[http1], cmd)
}

func runSquid(t *testing.T, at place) {
	t.Helper()
	conf := at.write(t, "frame.conf", fmt.Sprintf(`
pid_filename none
pinger_enable off
access_log none
cache_log stdio:/dev/stderr
coredump_dir %s
visible_hostname localhost
include %s
`, at.dir, at.conf))
	start(t, at.ports[http1], programs["squid"], "-N", "-f", conf)
}

// runReverseProxy runs Go's own, in this process.
func runReverseProxy(t *testing.T, at place) {
	t.Helper()
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", at.ports[http1]))
	require.NoError(t, err)
	rp := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: at.app})
	transport := http.DefaultTransport.(*http.Transport).Clone() // its pool must not outlive the test
	rp.Transport = transport
	rp.ErrorLog = log.New(io.Discard, "", 0) // the clients see what fails
	srv := &http.Server{Handler: rp, ErrorLog: rp.ErrorLog}
	served := make(chan struct{})
	go func() {
		_ = srv.Serve(l)
		close(served)
	}()
	t.Cleanup(func() {
		_ = srv.Close()
		transport.CloseIdleConnections()
		<-served
	})
}
