package ssegintest

import (
	"context"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
)

// request is what a Stream asks for on each of its connections.
type request struct {
	client  *http.Client
	url     string
	method  string
	body    string
	header  http.Header
	idQuery string // the query parameter of the last event ID; "": the header
	lastID  string // to begin with
	habit   Habit  // by which the answers are read
}

// A ConnectOption changes how a Stream connects, the first time and again.
type ConnectOption func(*request)

// WithClient connects by means of c, instead of http.DefaultClient.
func WithClient(c *http.Client) ConnectOption {
	return func(r *request) { r.client = c }
}

// WithHeader sets a header of the requests. An empty value removes it, the
// default "Accept: text/event-stream" included.
func WithHeader(name, value string) ConnectOption {
	return func(r *request) {
		if r.header.Set(name, value); value == "" {
			r.header.Del(name)
		}
	}
}

// WithPost makes the requests POST requests with the given body, as clients
// built on fetch can send.
func WithPost(contentType, body string) ConnectOption {
	return func(r *request) {
		r.method, r.body = http.MethodPost, body
		r.header.Set("Content-Type", contentType)
	}
}

// WithLastEventID makes the first connection a resumption after the event
// with this ID, as if an earlier stream had received it.
func WithLastEventID(id string) ConnectOption {
	return func(r *request) { r.lastID = id }
}

// WithIDInQuery sends the last event ID in the query parameter of that name,
// and not in the header, as clients do that cannot set headers. A parameter
// of that name in the URL is replaced.
func WithIDInQuery(name string) ConnectOption {
	return func(r *request) { r.idQuery = name }
}

// WithHabit reads the answers as clients of habit h do, and not as the standard
// says. By the habit WebKit, the event in which the client's side or an RST
// has ended a connection goes on after Resume.
func WithHabit(h Habit) ConnectOption {
	return func(r *request) { r.habit = h }
}

func newRequest(url string, opts []ConnectOption) request {
	r := request{
		client: http.DefaultClient,
		url:    url,
		method: http.MethodGet,
		header: http.Header{"Accept": {"text/event-stream"}},
	}
	for _, opt := range opts {
		opt(&r)
	}
	return r
}

// build makes the request of one connection. Like an EventSource it sends a
// last event ID only if it is not empty (WHATWG HTML §9.2.3).
func (r *request) build(ctx context.Context, lastID string) (*http.Request, error) {
	var body io.Reader
	if r.body != "" {
		body = strings.NewReader(r.body)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, r.url, body)
	if err != nil {
		return nil, err
	}
	req.Header = maps.Clone(r.header)
	switch {
	case lastID == "":
	case r.idQuery == "":
		req.Header.Set("Last-Event-ID", lastID)
	default:
		setQuery(req.URL, r.idQuery, lastID)
	}
	return req, nil
}

func setQuery(u *url.URL, name, value string) {
	q := u.Query()
	q.Set(name, value)
	u.RawQuery = q.Encode()
}
