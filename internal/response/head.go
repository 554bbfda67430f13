package response

import (
	"mime"
	"net/http"
	"strings"
)

// eventStream is the content type of event streams (WHATWG HTML §9.2.5).
const eventStream = "text/event-stream"

// SetHeaders sets what makes a response a stream that proxies neither buffer,
// change nor keep. A content type that the application has given to its stream stays,
// and so does what it says of caches, if that is no less strict. HTTP/2 has no
// Connection header, and HTTP/1.1 needs none as long as the connection stays.
func SetHeaders(h http.Header) {
	if mediaType(h) != eventStream {
		// Without the charset some clients, Python's requests for one, take the text for Latin-1.
		h.Set("Content-Type", eventStream+"; charset=utf-8")
	}
	h.Set("Cache-Control", cacheControl(h.Values("Cache-Control")))
	h.Set("X-Accel-Buffering", "no")
	h.Del("Content-Length")
}

// KeepOut keeps an answer that is no stream out of every cache. What 204 and 410 say is
// about one last event ID, and the next request has the same URL; but caches may keep
// both (RFC 9110 §15.1), and Chromium keeps a 410 for ever.
func KeepOut(h http.Header) { h.Set("Cache-Control", "no-store") }

// cacheControl returns what the application has set, with no-transform, or the default.
func cacheControl(set []string) string {
	value := strings.Join(set, ", ")
	strict, whole := false, false
	for directive := range strings.SplitSeq(value, ",") {
		name, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(directive)), "=")
		switch name {
		case "no-cache", "no-store", "private":
			strict = true
		case "no-transform":
			whole = true
		}
	}
	switch {
	case !strict:
		return "no-cache, no-transform"
	case !whole:
		return value + ", no-transform"
	}
	return value
}

// mediaType returns the content type without its parameters, empty if there is none.
// One that is no media type is returned as it is.
func mediaType(h http.Header) string {
	value := h.Get("Content-Type")
	kind, _, err := mime.ParseMediaType(value)
	if err != nil && kind == "" {
		return value
	}
	return kind
}
