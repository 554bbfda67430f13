package proxies

import (
	"bufio"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// newClient returns a client that speaks one protocol and compresses nothing of
// its own accord.
func newClient(t *testing.T, protocol string) *http.Client {
	t.Helper()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(protocol == http1)
	protocols.SetHTTP2(protocol == http2)
	transport := &http.Transport{
		Protocols:           protocols,
		TLSClientConfig:     &tls.Config{InsecureSkipVerify: true}, // the certificate is made for the test
		DisableCompression:  true,
		MaxIdleConnsPerHost: 2 * talkers, // with 2, its default, hardly any would be used again
		IdleConnTimeout:     patience,
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// A listener is a client with a stream.
type listener struct {
	coding string      // Content-Encoding of the response
	heard  chan string // the data of each event of the application's
	over   chan error  // gets the error with which the stream ends, nil if it is complete
	leave  func()
}

// listen opens the stream at a path with a topic, as an EventSource that takes gzip does.
func listen(t *testing.T, client *http.Client, base, path, topic string) *listener {
	t.Helper()
	ctx, leave := context.WithCancel(context.Background())
	t.Cleanup(leave)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+path+"?topic="+url.QueryEscape(topic), nil)
	require.NoError(t, err)
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Accept-Encoding", "gzip")
	late := time.AfterFunc(patience/4, leave)
	resp, err := client.Do(req)
	late.Stop()
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode, "of %s", req.URL)
	l := &listener{
		coding: resp.Header.Get("Content-Encoding"),
		heard:  make(chan string, 100),
		over:   make(chan error, 1),
		leave:  leave,
	}
	go func() {
		defer resp.Body.Close()
		l.over <- l.read(resp.Body)
	}()
	return l
}

func (l *listener) read(body io.Reader) (err error) {
	if l.coding == "gzip" {
		if body, err = gzip.NewReader(body); err != nil {
			return err
		}
	}
	own := false // the event is one of ours, not of the application's
	lines := bufio.NewScanner(body)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		switch {
		case name == "event":
			own = strings.HasPrefix(value, "ssegin.")
		case name == "data" && !own:
			l.heard <- value
		case name == "":
			own = false
		}
	}
	return lines.Err()
}

var errNotThere = errors.New("the event does not arrive")

// hears publishes an event and waits until it arrives.
func (l *listener) hears(t *testing.T, addr, topic, data string) (after time.Duration, err error) {
	t.Helper()
	began := time.Now()
	publish(t, addr, topic, data)
	select {
	case got := <-l.heard:
		if got != data {
			return 0, fmt.Errorf("another event arrives: %q, not %q", got, data)
		}
		return time.Since(began), nil
	case err := <-l.over:
		return 0, fmt.Errorf("the stream ends: %w", err)
	case <-time.After(10 * time.Second):
		return 0, errNotThere
	}
}

// publish publishes an event, past the proxy.
func publish(t *testing.T, addr, topic, data string) {
	t.Helper()
	resp, err := http.PostForm("http://"+addr+"/publish?topic="+url.QueryEscape(topic)+"&data="+url.QueryEscape(data), nil)
	require.NoError(t, err)
	_ = resp.Body.Close()
	require.Equal(t, http.StatusOK, resp.StatusCode)
}

// ends waits for the end of the stream, so long at most.
func (l *listener) ends(within time.Duration) (over bool, err error) {
	select {
	case err := <-l.over:
		return true, err
	case <-time.After(within):
		return false, nil
	}
}
