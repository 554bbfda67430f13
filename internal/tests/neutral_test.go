package tests

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin"
	"github.com/ssegin/ssegin/ssegintest"
)

// Middleware is neutral until a stream begins: whatever is no event stream passes as on
// Gin alone, byte for byte, with its status and headers.

// answers are handlers that stream no events, by kind.
func answers(t *testing.T) map[string]gin.HandlerFunc {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.txt"), []byte("some lines\n\nof text"), 0o600))
	upstream := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Query().Get("up") {
		case "none":
			w.WriteHeader(http.StatusNoContent)
		case "untyped":
			w.Header()["Content-Type"] = nil
			_, _ = w.Write([]byte("\x01\x02\n\n\x03"))
		case "trailer":
			w.Header().Set("Trailer", "X-Sum")
			_, _ = w.Write([]byte("body"))
			w.Header().Set("X-Sum", "7")
			w.Header().Set(http.TrailerPrefix+"X-More", "8")
		default:
			w.Header().Set("X-Up", "1")
			w.WriteHeader(http.StatusTeapot)
			_, _ = w.Write([]byte("data: no stream\n\n"))
		}
	}))
	target, err := url.Parse(upstream.URL)
	require.NoError(t, err)
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.Transport = upstream.Client().Transport
	return map[string]gin.HandlerFunc{
		"JSON by an encoder": func(c *gin.Context) { _ = json.NewEncoder(c.Writer).Encode(gin.H{"a": 1}) },
		"an image":           func(c *gin.Context) { _, _ = c.Writer.Write([]byte("\x89PNG\x0d\x0a\x1a\x0a\n\ndata: x\n\n")) },
		"a page":             func(c *gin.Context) { fmt.Fprint(c.Writer, "<html>\n\n<p>data: x\n\n</html>") },
		"hello":              func(c *gin.Context) { fmt.Fprint(c.Writer, "hello") },
		"events as text":     func(c *gin.Context) { c.Data(200, "text/plain", []byte("data: x\n\ndata: y\n\n")) },
		"events of a status": func(c *gin.Context) { c.Data(202, "text/event-stream", []byte("data: x\n\n")) },
		"c.Data":             func(c *gin.Context) { c.Data(200, "", []byte("hello")) },
		"a header of mail":   func(c *gin.Context) { fmt.Fprint(c.Writer, "id: 3\nname: x\n\nthe text") },
		"half a field":       func(c *gin.Context) { fmt.Fprint(c.Writer, "dat") },
		"a field":            func(c *gin.Context) { fmt.Fprint(c.Writer, "data: no blank line\n") },
		"many small writes": func(c *gin.Context) {
			for range 1000 {
				fmt.Fprint(c.Writer, "i", "d", ": ", "x\n")
			}
		},
		"lines by c.Stream": func(c *gin.Context) {
			n := 0
			c.Stream(func(w io.Writer) bool { n++; fmt.Fprintln(w, "line", n); return n < 5 })
		},
		"JSON 503 by c.Stream": func(c *gin.Context) {
			c.Stream(func(io.Writer) bool { c.JSON(503, gin.H{"error": "overloaded"}); return false })
		},
		"429 by c.Stream": func(c *gin.Context) {
			c.Stream(func(io.Writer) bool { c.AbortWithStatusJSON(429, gin.H{"error": "slow down"}); return false })
		},
		"204 by c.Stream":    func(c *gin.Context) { c.Stream(func(io.Writer) bool { c.Status(204); return false }) },
		"404 if not written": func(c *gin.Context) { c.Stream(func(io.Writer) bool { ifUnwritten(c); return false }) },
		"an error late in the first step": func(c *gin.Context) {
			c.Stream(func(io.Writer) bool {
				time.Sleep(50 * time.Millisecond)
				c.JSON(500, gin.H{"error": "upstream"})
				return false
			})
		},
		"JSON after a question": func(c *gin.Context) {
			_, _, _ = c.Writer.CloseNotify(), c.Writer.Status(), c.Writer.Written()
			time.Sleep(time.Second)
			c.JSON(200, gin.H{"ok": true})
		},
		"a file":    func(c *gin.Context) { c.File(filepath.Join(dir, "a.txt")) },
		"no file":   func(c *gin.Context) { c.File(filepath.Join(dir, "b.txt")) },
		"not found": func(c *gin.Context) { http.NotFound(c.Writer, c.Request) },
		"the head first": func(c *gin.Context) {
			c.Writer.Flush()
			fmt.Fprint(c.Writer, "<html>")
			c.Writer.Flush()
			fmt.Fprint(c.Writer, "</html>")
		},
		"a flush within": func(c *gin.Context) {
			fmt.Fprint(c.Writer, "id: 3\n")
			c.Writer.Flush()
			fmt.Fprint(c.Writer, "name: x\n")
		},
		"an empty first step": func(c *gin.Context) {
			n := 0
			c.Stream(func(w io.Writer) bool {
				if n++; n > 1 {
					fmt.Fprintln(w, "line", n)
				}
				return n < 4
			})
		},
		"a status":   func(c *gin.Context) { c.Status(http.StatusAccepted); c.Writer.WriteHeaderNow() },
		"ok alone":   func(c *gin.Context) { c.AbortWithStatus(http.StatusOK) },
		"own head":   func(c *gin.Context) { c.Header("X-Len", "9"); c.JSON(200, gin.H{}) },
		"an upgrade": hijack,
		"a proxy":    gin.WrapH(proxy),
		"already compressed": func(c *gin.Context) {
			c.Header("Content-Type", "text/event-stream")
			c.Header("Content-Encoding", "br")
			_, _ = c.Writer.Write([]byte("\x0b\n\n\x80:\n\ndata: x"))
		},
		"encoded as text": func(c *gin.Context) {
			c.Header("Content-Type", "text/event-stream")
			c.Header("Content-Encoding", "rot13")
			_, _ = c.Writer.WriteString("data: x\n\nqngn: l")
		},
		"no event in an event stream": func(c *gin.Context) { c.Data(200, "text/event-stream", []byte("<oops>\n\ndata: x\n\n")) },
		"a mark in front":             func(c *gin.Context) { c.Data(200, "text/event-stream", []byte("\ufeffdata: x\n\n")) },
		"trailers": func(c *gin.Context) {
			h := c.Writer.Header()
			h.Set("Trailer", "X-Sum")
			c.String(200, "body")
			c.Writer.Flush()
			h.Set("X-Sum", "7")
		},
		"served anew": func(c *gin.Context) {
			c.Request.URL.Path = "/elsewhere"
			c.Request.RequestURI = "/elsewhere"
			if e, ok := c.Get("engine"); ok {
				e.(*gin.Engine).HandleContext(c)
			}
		},
		"an error with headers": func(c *gin.Context) {
			c.Header("X-Set", "before")
			_ = c.AbortWithError(http.StatusBadGateway, errors.New("upstream"))
		},
		"a panic with headers": func(c *gin.Context) { c.Header("X-Set", "before"); panic("boom") },
	}
}

func ifUnwritten(c *gin.Context) {
	if !c.Writer.Written() {
		c.String(http.StatusNotFound, "no such job")
	}
}

func hijack(c *gin.Context) {
	if c.Request.ProtoMajor > 1 {
		return
	}
	c.Header("X-Set", "before")
	conn, buffered, err := c.Writer.Hijack()
	if err != nil {
		return
	}
	// As a relay of an upgrade does, it sends the headers that were set.
	fmt.Fprintf(buffered, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\nX-Set: %s\r\n\r\nhi", c.Writer.Header().Get("X-Set"))
	_ = buffered.Flush()
	_ = conn.Close()
}

// seenOf is all that a client can see of an answer, or of its error.
func seenOf(t *testing.T, srv *ssegintest.Server, method, path string, header ...string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, srv.URL+path, nil)
	require.NoError(t, err)
	req.Header.Set("Accept-Encoding", "identity")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	client := &http.Client{Transport: srv.Client().Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return fmt.Sprintln(resp.StatusCode, headersOf(resp), len(body), err, resp.Trailer, resp.ContentLength) + string(body)
}

func TestMiddleware_isNeutralToWhatIsNoEventStream(t *testing.T) {
	for version, opts := range map[string][]ssegintest.ServerOption{"HTTP/1.1": nil, "HTTP/2": {ssegintest.WithHTTP2()}} {
		synctest.Test(t, func(t *testing.T) { compare(t, version, opts) })
	}
}

func compare(t *testing.T, version string, opts []ssegintest.ServerOption) {
	t.Helper()
	all := answers(t)
	asked, reached := 0, 0
	engine := func(under bool) *gin.Engine {
		r := gin.New()
		r.Use(gin.CustomRecoveryWithWriter(io.Discard, func(c *gin.Context, _ any) { c.AbortWithStatus(http.StatusInternalServerError) }),
			func(c *gin.Context) { c.Set("engine", r) })
		if under {
			r.Use(ssegin.Middleware())
		}
		for name, handler := range all {
			r.Any("/"+name, func(c *gin.Context) { reached++ }, handler)
		}
		r.GET("/elsewhere", func(c *gin.Context) { c.JSON(http.StatusTeapot, gin.H{"elsewhere": true}) })
		return r
	}
	bare, under := serve(t, engine(false), opts...), serve(t, engine(true), opts...)
	for name := range all {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodOptions} {
			for _, query := range []string{"", "?up=none", "?up=untyped", "?up=trailer", "?lastEventId=ssegin.end"} {
				if query != "" && name != "a proxy" && query != "?lastEventId=ssegin.end" {
					continue
				}
				path := "/" + url.PathEscape(name) + query
				for _, header := range [][]string{nil, {"Range", "bytes=2-5"}} {
					if header != nil && name != "a file" {
						continue
					}
					want, got := seenOf(t, bare, method, path, header...), seenOf(t, under, method, path, header...)
					asked += 2
					assert.Equal(t, want, got, "%s %s %s", version, method, path)
				}
			}
		}
	}
	assert.Equal(t, asked, reached, "each request has come to its handler")
	for _, path := range []string{"/no/route", "/hello/"} {
		assert.Equal(t, seenOf(t, bare, http.MethodHead, path), seenOf(t, under, http.MethodHead, path), path)
		assert.Equal(t, seenOf(t, bare, http.MethodGet, path), seenOf(t, under, http.MethodGet, path), path)
	}
}

// What is no event stream is live, too: nothing of it waits until it is known what it is.
func TestMiddleware_holdsNothingBackOfLinesWithoutAType(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := serve(t, route(ssegin.Middleware(), func(c *gin.Context) {
			n := 0
			c.Stream(func(w io.Writer) bool { n++; fmt.Fprintln(w, "line", n); time.Sleep(time.Minute); return n < 4 })
		}))
		start := time.Now()
		resp, err := srv.Client().Get(srv.URL + "/events")
		require.NoError(t, err)
		defer resp.Body.Close()
		lines := bufio.NewScanner(resp.Body)
		for n := 1; lines.Scan(); n++ {
			assert.Equal(t, fmt.Sprint("line ", n), lines.Text())
			assert.Equal(t, time.Duration(n)*time.Minute, time.Since(start), "c.Stream flushes after each step")
		}
	})
}

// A compressing middleware may stand on either side, and every event is live; the lines
// of a handler that is compressed are none that could be looked at.
func TestMiddleware_isLiveBesideACompressingMiddlewareInEitherOrder(t *testing.T) {
	for name, order := range map[string][]gin.HandlerFunc{
		"outside": {zipped(""), ssegin.Middleware()},
		"inside":  {ssegin.Middleware(), zipped("")},
	} {
		for _, way := range []string{"c.SSEvent", "Fprintf", "Send"} {
			t.Run(name+" "+way, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := gin.New()
					g := r.Group("/", order...)
					g.GET("/events", func(c *gin.Context) {
						n := 0
						c.Stream(func(w io.Writer) bool {
							time.Sleep(time.Duration(min(n, 1)) * time.Second)
							switch way {
							case "c.SSEvent":
								c.SSEvent("tick", n)
							case "Fprintf":
								c.Header("Content-Type", "text/event-stream")
								fmt.Fprintf(w, "event: tick\ndata: %d\n\n", n)
							default:
								assert.NoError(t, ssegin.From(c).Send(ssegin.Event{Type: "tick", Data: n}))
							}
							n++
							return n < 6
						})
					})
					resp := live(t, serve(t, r), "/events")
					defer resp.Body.Close()
					reader, start := readerOf(t, resp), time.Now()
					for n := range 6 {
						e, err := reader.Next()
						require.NoError(t, err)
						assert.Equal(t, ssegintest.Event{Type: "tick", Data: fmt.Sprint(n)}, e)
						assert.Equal(t, time.Duration(n)*time.Second, time.Since(start), "at once")
					}
					_, err := reader.Next()
					assert.Equal(t, io.EOF, err)
					assert.False(t, reader.Truncated(), "nothing follows")
				})
			})
		}
	}
}

// What the application has set of the headers of a stream stays.
func TestMiddleware_keepsWhatTheApplicationHasSet(t *testing.T) {
	for set, want := range map[[2]string][2]string{
		{"", ""}:                          {"text/event-stream; charset=utf-8", "no-cache, no-transform"},
		{"text/event-stream", "no-store"}: {"text/event-stream", "no-store, no-transform"},
		{"text/event-stream;charset=UTF-8", "private"}:        {"text/event-stream;charset=UTF-8", "private, no-transform"},
		{"", "public, max-age=60"}:                            {"text/event-stream; charset=utf-8", "no-cache, no-transform"},
		{"text/event-stream", "Private, max-age=0, NO-STORE"}: {"text/event-stream", "Private, max-age=0, NO-STORE, no-transform"},
		{"", "no-cache, no-transform"}:                        {"text/event-stream; charset=utf-8", "no-cache, no-transform"},
	} {
		set := func(c *gin.Context) {
			for name, value := range map[string]string{"Content-Type": set[0], "Cache-Control": set[1]} {
				if value != "" {
					c.Header(name, value)
				}
			}
		}
		w := httptest.NewRecorder()
		route(ssegin.Middleware(), set, func(c *gin.Context) { _ = ssegin.From(c).Send(ssegin.Event{Data: "x"}) }).
			ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/events", nil))
		assert.Equal(t, want, [2]string{w.Header().Get("Content-Type"), w.Header().Get("Cache-Control")})
		w = httptest.NewRecorder()
		route(set, ssegin.Handler(ssegin.NewHub(), ssegin.WithMaxAge(time.Millisecond))).
			ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/events", nil))
		assert.Equal(t, want, [2]string{w.Header().Get("Content-Type"), w.Header().Get("Cache-Control")}, "Handler")
	}
}

// An error that comes too late is not taken for an event, nor the response for complete.
func TestMiddleware_breaksOffAStreamThatEndsInAnError(t *testing.T) {
	for name, opts := range map[string][]ssegintest.ServerOption{"HTTP/1.1": nil, "HTTP/2": {ssegintest.WithHTTP2()}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				defer slog.SetDefault(slog.Default())
				slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
				r := gin.New()
				late := func(c *gin.Context) {
					c.Stream(func(io.Writer) bool {
						time.Sleep(time.Second)
						c.JSON(http.StatusBadGateway, gin.H{"error": "upstream"})
						return false
					})
				}
				r.GET("/late", ssegin.Middleware(), late)
				r.GET("/inner", ssegin.Middleware(), gin.CustomRecoveryWithWriter(io.Discard, func(c *gin.Context, _ any) {
					c.AbortWithStatus(http.StatusInternalServerError)
				}), func(c *gin.Context) { c.SSEvent("", "x"); panic("boom") })
				r.GET("/json", ssegin.Middleware(), func(c *gin.Context) {
					c.Stream(func(io.Writer) bool {
						time.Sleep(time.Second)
						c.JSON(http.StatusOK, gin.H{"ok": true})
						return false
					})
				})
				srv := serve(t, r, opts...)
				for _, path := range []string{"/late", "/inner", "/late"} {
					resp, err := srv.Client().Get(srv.URL + path)
					require.NoError(t, err)
					assert.Equal(t, http.StatusOK, resp.StatusCode)
					body, err := io.ReadAll(resp.Body)
					resp.Body.Close()
					assert.Error(t, err, "%s: the end is broken", path)
					assert.NotContains(t, string(body), "error", path)
				}
				assert.Equal(t, 2, strings.Count(log.String(), "after its stream had begun"), "once for each route: %s", &log)
				_, body := get(t, srv, http.MethodGet, "/json")
				assert.Equal(t, ":\n{\"ok\":true}", body, "it is passed on, and no event")
				assert.Equal(t, 1, strings.Count(log.String(), "is no event"), log.String())
			})
		})
	}
}

// Asking for the channel in each step costs nothing.
func TestMiddleware_hasOneChannelForCloseNotify(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		left := make(chan bool, 1)
		srv := serve(t, route(ssegin.Middleware(), func(c *gin.Context) {
			c.SSEvent("", "x")
			c.Writer.Flush()
			gone := c.Writer.CloseNotify()
			before := c.Writer.CloseNotify()
			assert.Equal(t, gone, before)
			assert.Zero(t, testing.AllocsPerRun(100, func() { c.Writer.CloseNotify() }))
			<-gone
			left <- true
		}))
		s := request(t, srv, "")
		next(t, s)
		s.Cut()
		await(t, left)
	})
}

// A handler that does not look at its client's end is named once for its route.
func TestMiddleware_namesAHandlerThatRunsOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		defer slog.SetDefault(slog.Default())
		slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
		forever := make(chan struct{})
		r := gin.New()
		r.Use(ssegin.Middleware())
		r.GET("/events", func(c *gin.Context) { c.SSEvent("", "x"); c.Writer.Flush(); <-forever })
		r.GET("/events/good", func(c *gin.Context) { c.SSEvent("", "x"); c.Writer.Flush(); <-c.Request.Context().Done() })
		r.GET("/events/json", func(c *gin.Context) { <-forever; c.JSON(200, 1) })
		srv := serve(t, r)
		for _, path := range []string{"", "", "/good"} {
			s := request(t, srv, path)
			next(t, s)
			s.Cut()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := srv.Connect(ctx, "/events/json")
		require.Error(t, err)
		time.Sleep(16 * time.Second)
		synctest.Wait()
		assert.Equal(t, 1, strings.Count(log.String(), "still runs"), log.String())
		assert.Contains(t, log.String(), "route=/events\n")
		close(forever)
	})
}

// Other responses that last are bounded in their writes, and not as a whole.
func TestMiddleware_letsLinesOfJSONLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failed := make(chan time.Duration, 1)
		r := gin.New()
		r.GET("/lines", ssegin.Middleware(ssegin.WithWriteTimeout(3*time.Second)), func(c *gin.Context) {
			c.Header("Content-Type", "application/x-ndjson")
			n := 0
			c.Stream(func(w io.Writer) bool {
				fmt.Fprintf(w, "{\"n\":%d}\n", n)
				time.Sleep(time.Second)
				n++
				return n < 20
			})
		})
		r.GET("/stalled", ssegin.Middleware(ssegin.WithWriteTimeout(3*time.Second)), func(c *gin.Context) {
			c.Header("Content-Type", "application/x-ndjson")
			var begin time.Time
			for {
				begin = time.Now()
				if _, err := c.Writer.WriteString(strings.Repeat("x", 1000) + "\n"); err != nil {
					break
				}
				c.Writer.Flush()
			}
			failed <- time.Since(begin)
		})
		srv := serve(t, r, ssegintest.WithBuffer(4<<10), ssegintest.WithServer(func(s *http.Server) { s.WriteTimeout = 5 * time.Second }))
		_, body := get(t, srv, http.MethodGet, "/lines")
		assert.Equal(t, 20, strings.Count(body, "\n"), "20 lines in 20 s beyond a WriteTimeout of 5 s")
		conn, err := srv.Dial(t.Context())
		require.NoError(t, err)
		defer conn.Close()
		fmt.Fprintf(conn, "GET /stalled HTTP/1.1\r\nHost: x\r\n\r\n")
		assert.LessOrEqual(t, await(t, failed), 4*time.Second, "a client that does not read is cut")
	})
}

// Who is around a stream may look at what it was, and writes nothing into it.
func TestStream_nothingIsWrittenAfterIt(t *testing.T) {
	streams := map[string]gin.HandlerFunc{
		"own":   func(c *gin.Context) { _ = ssegin.From(c).Send(ssegin.Event{Data: "x"}) },
		"Gin's": func(c *gin.Context) { c.SSEvent("", "x") },
		"hub":   ssegin.Handler(ssegin.NewHub(), ssegin.WithMaxAge(time.Millisecond), ssegin.WithRetry(time.Millisecond)),
	}
	for name, stream := range streams {
		for _, layers := range []int{1, 2} {
			if name == "hub" {
				layers--
			}
			var status, size int
			outside := func(c *gin.Context) {
				c.Next()
				status, size = c.Writer.Status(), c.Writer.Size()
				c.JSON(http.StatusInternalServerError, gin.H{"error": "late"})
				_, err := c.Writer.WriteString("data: late\n\n")
				assert.ErrorIs(t, err, ssegin.ErrClosed)
				c.Writer.Flush()
				_, _, err = c.Writer.Hijack()
				assert.ErrorIs(t, err, ssegin.ErrClosed)
				assert.True(t, c.Writer.Written())
			}
			var handlers []gin.HandlerFunc
			for range layers {
				handlers = append(handlers, outside, ssegin.Middleware())
			}
			if name == "hub" {
				handlers = append(handlers, outside)
			}
			w := httptest.NewRecorder()
			route(append(handlers, stream)...).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/events", nil))
			assert.Equal(t, http.StatusOK, status)
			assert.Equal(t, w.Body.Len(), size)
			assert.NotContains(t, w.Body.String(), "late", "%s under %d layers", name, layers)
		}
	}
}

// Handlers within a layer see what was set before, and those around it what they have
// done, though they have a context of their own.
func TestMiddleware_contextsSeeEachOther(t *testing.T) {
	r := gin.New()
	r.Use(func(c *gin.Context) {
		c.Set("before", 1)
		c.SetSameSite(http.SameSiteStrictMode)
		_ = c.Error(errors.New("first"))
		c.Next()
		assert.Equal(t, 2, c.GetInt("within"))
		assert.Len(t, c.Errors, 2)
		assert.True(t, c.IsAborted())
		assert.Equal(t, "added", c.Param("more"))
	}, ssegin.Middleware(), ssegin.Middleware())
	var calls int
	r.GET("/users/:id", func(c *gin.Context) {
		calls++
		assert.Equal(t, 1, c.GetInt("before"))
		assert.Equal(t, "7", c.Param("id"))
		assert.Equal(t, "/users/:id", c.FullPath())
		c.Set("within", 2)
		c.AddParam("more", "added")
		_ = c.Error(errors.New("second"))
		c.SetCookie("a", "b", 0, "/", "", false, true)
		c.AbortWithStatus(http.StatusTeapot)
	}, func(*gin.Context) { t.Error("it was aborted") })
	w := httptest.NewRecorder()
	r.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/users/7", nil))
	assert.Equal(t, http.StatusTeapot, w.Code)
	assert.Equal(t, "a=b; Path=/; HttpOnly; SameSite=Strict", w.Header().Get("Set-Cookie"))
	assert.Equal(t, 1, calls)
}

// A goroutine that was forgotten renders into the context after its handler has
// returned, while other requests are served.
func TestFault_whoRendersIntoAContextThatWasLeftHarmsNobody(t *testing.T) {
	const requests, connections = 10_000, 4
	strays := joined(t)
	r := gin.New()
	r.GET("/stream/:n", func(c *gin.Context) {
		returned := make(chan struct{})
		c.Set("returned", returned)
		c.Next()
		close(returned)
	}, ssegin.Middleware(), func(c *gin.Context) {
		n, returned := c.Param("n"), c.MustGet("returned").(chan struct{})
		c.SSEvent("", n)
		c.Writer.Flush()
		strays.Go(func() {
			<-returned
			for range 20 {
				c.SSEvent("stray", "of "+n)
				c.Writer.Flush()
				c.Header("X-Stray", n)
				c.Status(http.StatusTeapot)
				runtime.Gosched()
			}
		})
	})
	r.GET("/plain/:n", func(c *gin.Context) {
		runtime.Gosched()
		c.String(http.StatusOK, "plain %s", c.Param("n"))
	})
	srv := listen(t, r)
	var touched atomic.Int64
	var all sync.WaitGroup
	for k := range connections {
		all.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for i := k; i < requests; i += connections {
				path, want := "/stream/", fmt.Sprintf("data:%d\n\n", i)
				if i/connections%2 == 1 {
					path, want = "/plain/", fmt.Sprintf("plain %d", i)
				}
				resp, err := client.Get(fmt.Sprint(srv.URL, path, i))
				if !assert.NoError(t, err) {
					return
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || string(body) != want || resp.StatusCode != http.StatusOK || resp.Header.Get("X-Stray") != "" {
					touched.Add(1)
				}
			}
		})
	}
	all.Wait()
	strays.Wait()
	t.Logf("a goroutine renders into the context of a handler that has returned: other responses touched %d of %d", touched.Load(), requests)
	assert.Zero(t, touched.Load())
}

// One event in many small writes is linear.
func BenchmarkMiddleware_oneEventInSmallWrites(b *testing.B) {
	event := []byte("data: " + strings.Repeat("x", 1<<20) + "\n\n")
	for range b.N {
		w := httptest.NewRecorder()
		route(ssegin.Middleware(), func(c *gin.Context) {
			c.Header("Content-Type", "text/event-stream")
			for i := range event {
				_, _ = c.Writer.Write(event[i : i+1])
			}
		}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/events", nil))
	}
}

// What streams in Gin's own way reads the same behind Middleware: the same body, in the
// same framing, whatever is added to the headers.
func TestMiddleware_addsNothingToWhatGinsHandlersStream(t *testing.T) {
	all := map[string]gin.HandlerFunc{
		"one event": func(c *gin.Context) { c.SSEvent("m", gin.H{"a": 1}) },
		"a loop":    func(c *gin.Context) { n := 0; c.Stream(func(io.Writer) bool { n++; c.SSEvent("m", n); return n < 9 }) },
		"Fprintf": func(c *gin.Context) {
			c.Header("Content-Type", "text/event-stream")
			fmt.Fprint(c.Writer, "data: x\n\n")
		},
		"pieces": func(c *gin.Context) {
			c.Header("Content-Type", "text/event-stream")
			pieces(c, "id: 1\r\ndata: x\r\n\r\nretry: 7\n\n:c\n\ndata: y\n\n")
		},
		"head first": func(c *gin.Context) {
			c.Header("Content-Type", "text/event-stream")
			c.Writer.Flush()
			c.SSEvent("", "x")
		},
		"head now": func(c *gin.Context) {
			c.Header("Content-Type", "text/event-stream")
			c.Writer.WriteHeaderNow()
			c.SSEvent("", "x")
		},
		"no event": func(c *gin.Context) { c.Header("Content-Type", "text/event-stream"); c.Writer.Flush() },
		"own keepalive": func(c *gin.Context) {
			c.Header("Content-Type", "text/event-stream")
			fmt.Fprint(c.Writer, ": ping\n\n")
			c.SSEvent("", "x")
		},
		"unfinished": func(c *gin.Context) { c.SSEvent("", "x"); fmt.Fprint(c.Writer, "data: half") },
		"an error":   func(c *gin.Context) { c.Stream(func(io.Writer) bool { c.SSEvent("error", "quota"); return false }) },
		"large":      func(c *gin.Context) { c.SSEvent("image", strings.Repeat("A", 3<<20)); c.SSEvent("done", "") },
		"unknown field": func(c *gin.Context) {
			c.Header("Content-Type", "text/event-stream")
			fmt.Fprint(c.Writer, "foo: bar\ndata: x\n\n")
		},
		"an error type": func(c *gin.Context) {
			c.Header("Content-Type", "text/event-stream")
			c.String(http.StatusBadGateway, "data: x\n\n")
		},
	}
	asked, reached := 0, 0
	for version, opts := range map[string][]ssegintest.ServerOption{"HTTP/1.1": nil, "HTTP/2": {ssegintest.WithHTTP2()}} {
		synctest.Test(t, func(t *testing.T) {
			start := func(handlers ...gin.HandlerFunc) *ssegintest.Server {
				r := gin.New()
				r.Use(handlers...)
				for name, handler := range all {
					r.Any("/"+name, func(c *gin.Context) { reached++ }, handler)
				}
				return serve(t, r, opts...)
			}
			added := func(seen string) string {
				return strings.NewReplacer("X-Accel-Buffering:[no]", "", "Cache-Control:[no-cache, no-transform]", "Cache-Control:[no-cache]", " ", "").Replace(seen)
			}
			bare, under := start(), start(ssegin.Middleware())
			for name := range all {
				for _, method := range []string{http.MethodGet, http.MethodPost} {
					path := "/" + url.PathEscape(name)
					want, got := added(seenOf(t, bare, method, path)), added(seenOf(t, under, method, path))
					asked += 2
					if !strings.Contains(want, "Cache-Control") {
						got = strings.Replace(got, "Cache-Control:[no-cache]", "", 1)
					}
					if want != got { // a difference of megabytes is not to be printed
						t.Errorf("%s, %s %s\nwant %.400q\ngot  %.400q", version, method, name, want, got)
					}
				}
			}
		})
	}
	assert.Equal(t, asked, reached, "each request has come to its handler")
}

func pieces(c *gin.Context, text string) {
	for piece := range chunks(text, 3) {
		_, _ = c.Writer.WriteString(piece)
		c.Writer.Flush()
	}
}

// A form that the handler has parsed leaves no file behind.
func TestMiddleware_leavesNoFileOfAForm(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	r := gin.New()
	r.MaxMultipartMemory = 1
	r.POST("/events", ssegin.Middleware(), func(c *gin.Context) {
		file, err := c.FormFile("f")
		assert.NoError(t, err)
		left, err := os.ReadDir(os.TempDir())
		assert.NoError(t, err)
		assert.NotEmpty(t, left)
		c.String(http.StatusOK, "%d", file.Size)
	})
	srv := listen(t, r)
	body := "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x\"\r\n\r\n" + strings.Repeat("x", 11<<20) + "\r\n--b--\r\n"
	resp, err := http.Post(srv.URL+"/events", "multipart/form-data; boundary=b", strings.NewReader(body))
	require.NoError(t, err)
	_, err = io.ReadAll(resp.Body)
	require.NoError(t, err)
	resp.Body.Close()
	require.Eventually(t, func() bool {
		left, err := os.ReadDir(os.TempDir())
		return err == nil && len(left) == 0
	}, patience, time.Millisecond)
}
