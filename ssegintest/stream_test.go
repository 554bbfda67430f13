package ssegintest_test

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin/ssegintest"
)

// counting is a server whose events count up from the last event ID, one every
// interval, for ever. It sends the end of each handler's context to left.
type counting struct {
	interval time.Duration
	left     chan error
}

func (c counting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n, _ := strconv.Atoi(r.Header.Get("Last-Event-ID"))
	w.Header().Set("Content-Type", "text/event-stream")
	rc := http.NewResponseController(w)
	if err := rc.Flush(); err != nil {
		return
	}
	tick := time.NewTicker(c.interval)
	defer tick.Stop()
	for {
		select {
		case <-r.Context().Done():
			c.left <- context.Cause(r.Context())
			return
		case <-tick.C:
			n++
			fmt.Fprintf(w, "id: %d\ndata: %d\n\n", n, n)
			_ = rc.Flush()
		}
	}
}

func newCounting(interval time.Duration) counting {
	return counting{interval: interval, left: make(chan error, 1000)} // room for all, so that no handler waits
}

func events(text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) })
}

func TestStream_readsAndResumes(t *testing.T) {
	bothProtocols(t, func(t *testing.T, opts ...ssegintest.ServerOption) {
		handler := newCounting(time.Second)
		srv := ssegintest.NewServer(t, handler, opts...)
		st, err := srv.Connect(t.Context(), "/")
		require.NoError(t, err)
		next := 1
		for _, drop := range []func(){st.Cut, st.Disconnect, func() {}} {
			for range 3 {
				e, err := st.Next(t.Context())
				require.NoError(t, err)
				assert.Equal(t, message(strconv.Itoa(next), strconv.Itoa(next)), e)
				next++
			}
			drop()
			require.NoError(t, st.Resume(t.Context()))
			assert.Equal(t, context.Canceled, <-handler.left)
		}
		assert.Equal(t, 4, st.Connections())
		assert.Equal(t, "9", st.LastEventID())
	})
}

func TestStream_nextEndsWithItsContextAndLosesNothing(t *testing.T) {
	bothProtocols(t, func(t *testing.T, opts ...ssegintest.ServerOption) {
		srv := ssegintest.NewServer(t, newCounting(time.Minute), opts...)
		st, err := srv.Connect(t.Context(), "/")
		require.NoError(t, err)
		start := time.Now()
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err = st.Next(ctx)
			cancel()
			assert.Equal(t, context.DeadlineExceeded, err)
			assert.False(t, st.Truncated())
		}
		assert.Equal(t, 3*time.Second, time.Since(start))
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		time.Sleep(10 * time.Minute)
		for i := range 10 {
			_, err = st.Next(ended)
			assert.Equal(t, context.Canceled, err, "be there events or not")
			e, err := st.Next(t.Context())
			require.NoError(t, err)
			assert.Equal(t, strconv.Itoa(i+1), e.Data)
		}
	})
}

func TestStream_serverSeesHowItsClientLeft(t *testing.T) {
	for name, test := range map[string]struct {
		leave func(*ssegintest.Stream)
		want  error
	}{
		"Cut":        {(*ssegintest.Stream).Cut, syscall.ECONNRESET},
		"Disconnect": {(*ssegintest.Stream).Disconnect, syscall.EPIPE},
		"Close":      {(*ssegintest.Stream).Close, syscall.EPIPE},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := make(chan error, 1)
				srv := ssegintest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					rc := http.NewResponseController(w)
					assert.NoError(t, rc.Flush())
					<-r.Context().Done()
					_, _ = io.WriteString(w, "data: late\n\n")
					got <- rc.Flush()
				}))
				st, err := srv.Connect(t.Context(), "/")
				require.NoError(t, err)
				test.leave(st)
				assert.ErrorIs(t, <-got, test.want)
			})
		})
	}
}

func TestStream_canBeDroppedWhileNextWaits(t *testing.T) {
	bothProtocols(t, func(t *testing.T, opts ...ssegintest.ServerOption) {
		srv := ssegintest.NewServer(t, newCounting(time.Hour), opts...)
		for _, test := range []struct {
			drop func(*ssegintest.Stream)
			want error
		}{
			{(*ssegintest.Stream).Cut, ssegintest.ErrDisconnected},
			{(*ssegintest.Stream).Disconnect, ssegintest.ErrDisconnected},
			{(*ssegintest.Stream).Close, ssegintest.ErrClosed},
		} {
			st, err := srv.Connect(t.Context(), "/")
			require.NoError(t, err)
			time.AfterFunc(time.Second, func() { test.drop(st) })
			_, err = st.Next(t.Context())
			assert.Equal(t, test.want, err)
			_, err = st.NextBlock(t.Context())
			assert.Equal(t, test.want, err)
			test.drop(st) // a second time does nothing
			st.Close()
		}
	})
}

func TestStream_dropsWhatItHasNotReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := ssegintest.NewServer(t, newCounting(time.Second))
		st, err := srv.Connect(t.Context(), "/")
		require.NoError(t, err)
		time.Sleep(5 * time.Second) // five events are there
		_, err = st.Next(t.Context())
		require.NoError(t, err)
		st.Cut()
		_, err = st.Next(t.Context())
		assert.Equal(t, ssegintest.ErrDisconnected, err)
		assert.Equal(t, "1", st.LastEventID())
		require.NoError(t, st.Resume(t.Context()))
		e, err := st.Next(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "2", e.Data)
	})
}

func TestStream_cutNeverBreaksAConnectionThatServesAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int32
		srv := ssegintest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if n.Add(1) == 1 {
				return
			}
			assert.NoError(t, http.NewResponseController(w).Flush())
			time.Sleep(time.Second)
			fmt.Fprint(w, "data: a\n\n")
		}))
		first, err := srv.Connect(t.Context(), "/")
		require.NoError(t, err)
		_, err = first.Next(t.Context())
		require.Equal(t, io.EOF, err)
		second, err := srv.Connect(t.Context(), "/") // on the connection of the first
		require.NoError(t, err)
		first.Cut()
		_, err = second.Next(t.Context())
		assert.NoError(t, err)
	})
}

func TestStream_resumesInTheMidstOfAWait(t *testing.T) {
	bothProtocols(t, func(t *testing.T, opts ...ssegintest.ServerOption) {
		srv := ssegintest.NewServer(t, newCounting(time.Minute), opts...)
		st, err := srv.Connect(t.Context(), "/")
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = st.Next(ctx) // goes on reading
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NoError(t, st.Resume(t.Context()))
		e, err := st.Next(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "1", e.Data)
	})
}

// A client that is cut again and again, by another goroutine and at any
// moment, loses nothing with a server that resumes rightly.
func TestStream_survivesAStormOfCuts(t *testing.T) {
	bothProtocols(t, func(t *testing.T, opts ...ssegintest.ServerOption) {
		const last = 2000
		srv := ssegintest.NewServer(t, newCounting(time.Millisecond), opts...)
		st, err := srv.Connect(t.Context(), "/")
		require.NoError(t, err)
		var storm sync.WaitGroup
		over := make(chan struct{})
		storm.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-over:
					return
				case <-time.After(time.Duration(5+i%17) * time.Millisecond):
					[]func(){st.Cut, st.Disconnect}[i%2]()
				}
			}
		})
		check := ssegintest.NewChecker(1, dataAsNumber)
		for check.Next() <= last {
			e, err := st.Next(t.Context())
			if err != nil {
				require.NoError(t, st.Resume(t.Context()))
				continue
			}
			check.Check(e)
		}
		close(over)
		storm.Wait()
		assert.Equal(t, ssegintest.Verdict{Events: last}, check.Verdict(last))
		assert.Greater(t, st.Connections(), 100)
	})
}

func TestStream_endsInEOF(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := ssegintest.NewServer(t, events(": hi\nretry: 7\nid: 1\n\ndata: a\n\ndata: b\n\ndata: lost"))
		st, err := srv.Connect(t.Context(), "/")
		require.NoError(t, err)
		var got []ssegintest.Event
		for e, err := range st.Events(t.Context()) {
			require.NoError(t, err)
			got = append(got, e)
		}
		assert.Equal(t, []ssegintest.Event{message("1", "a"), message("1", "b")}, got)
		assert.True(t, st.Truncated())
		_, err = st.Next(t.Context())
		assert.Equal(t, io.EOF, err)
		assert.Equal(t, 1, st.Comments())
		assert.Equal(t, 1, st.Bookmarks())
		retry, ok := st.Retry()
		assert.True(t, ok)
		assert.Equal(t, 7*time.Millisecond, retry)
	})
}

func TestStream_brokenResponseIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := ssegintest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, "data: a\n\n")
			assert.NoError(t, http.NewResponseController(w).Flush())
			panic(http.ErrAbortHandler)
		}))
		st, err := srv.Connect(t.Context(), "/")
		require.NoError(t, err)
		_, err = st.Next(t.Context())
		require.NoError(t, err)
		var last error
		for _, last = range st.Events(t.Context()) {
		}
		assert.Equal(t, io.ErrUnexpectedEOF, last)
	})
}

func TestStream_showsBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := ssegintest.NewServer(t, events(":\n\nid: 1\n\n"))
		st, err := srv.Connect(t.Context(), "/")
		require.NoError(t, err)
		b, err := st.NextBlock(t.Context())
		require.NoError(t, err)
		assert.Equal(t, ssegintest.Block{Comments: []string{""}}, b)
		b, err = st.NextBlock(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "1", b.LastEventID)
	})
}

func TestStream_leavesStatusAndHeadersToTheCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		status := http.StatusNoContent
		srv := ssegintest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
		st, err := srv.Connect(t.Context(), "/")
		require.NoError(t, err)
		assert.Equal(t, http.StatusNoContent, st.Response().StatusCode)
		status = http.StatusServiceUnavailable
		require.NoError(t, st.Resume(t.Context()))
		assert.Equal(t, http.StatusServiceUnavailable, st.Response().StatusCode)
		_, err = st.Next(t.Context())
		assert.Equal(t, io.EOF, err)
	})
}

func TestStream_decompresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := ssegintest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			assert.Equal(t, "gzip", r.Header.Get("Accept-Encoding"))
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			fmt.Fprint(z, "data: a\n\n")
			assert.NoError(t, z.Flush())
			assert.NoError(t, http.NewResponseController(w).Flush())
			<-r.Context().Done()
		}))
		st, err := srv.Connect(t.Context(), "/")
		require.NoError(t, err)
		e, err := st.Next(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "a", e.Data)
		time.AfterFunc(time.Second, st.Cut)
		_, err = st.Next(t.Context())
		assert.Equal(t, ssegintest.ErrDisconnected, err)
	})
}

func TestConnect_requestIsThatOfAnEventSource(t *testing.T) {
	const id = "ä 1-2"
	type opts = []ssegintest.ConnectOption
	for name, test := range map[string]struct {
		opts  opts
		check func(t *testing.T, r *http.Request, again bool)
	}{
		"default": {nil, func(t *testing.T, r *http.Request, again bool) {
			assert.Equal(t, http.MethodGet, r.Method)
			assert.Equal(t, []string{"text/event-stream"}, r.Header["Accept"])
			assert.Equal(t, "/events?a=b&last=0", r.RequestURI)
			assert.Equal(t, again, r.Header["Last-Event-Id"] != nil, "sent only if not empty")
			if again {
				assert.Equal(t, []string{id}, r.Header["Last-Event-Id"], "raw UTF-8")
			}
		}},
		"with an ID": {opts{ssegintest.WithLastEventID("x")}, func(t *testing.T, r *http.Request, again bool) {
			want := map[bool]string{false: "x", true: id}[again]
			assert.Equal(t, want, r.Header.Get("Last-Event-ID"))
		}},
		"ID in the query": {opts{ssegintest.WithIDInQuery("last")}, func(t *testing.T, r *http.Request, again bool) {
			want := map[bool]string{false: "0", true: id}[again]
			assert.Equal(t, []string{want}, r.URL.Query()["last"])
			assert.Equal(t, "b", r.URL.Query().Get("a"))
			assert.NotContains(t, r.Header, "Last-Event-Id")
		}},
		"headers": {
			opts{ssegintest.WithHeader("accept", ""), ssegintest.WithHeader("Authorization", "Bearer x")},
			func(t *testing.T, r *http.Request, _ bool) {
				assert.NotContains(t, r.Header, "Accept")
				assert.Equal(t, "Bearer x", r.Header.Get("Authorization"))
			},
		},
		"POST": {opts{ssegintest.WithPost("text/plain", "hello")}, func(t *testing.T, r *http.Request, _ bool) {
			assert.Equal(t, http.MethodPost, r.Method)
			assert.Equal(t, "text/plain", r.Header.Get("Content-Type"))
			body, err := io.ReadAll(r.Body)
			assert.NoError(t, err)
			assert.Equal(t, "hello", string(body))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var again bool
				srv := ssegintest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					test.check(t, r, again)
					fmt.Fprint(w, "id: ", id, "\n\n")
				}))
				st, err := srv.Connect(t.Context(), "/events?a=b&last=0", test.opts...)
				require.NoError(t, err)
				_, err = st.Next(t.Context())
				require.Equal(t, io.EOF, err)
				again = true
				require.NoError(t, st.Resume(t.Context()))
			})
		})
	}
}

func TestConnect_contextBoundsTheConnectingOnly(t *testing.T) {
	bothProtocols(t, func(t *testing.T, opts ...ssegintest.ServerOption) {
		handler := newCounting(time.Minute)
		srv := ssegintest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" {
				<-r.Context().Done()
				return
			}
			handler.ServeHTTP(w, r)
		}), opts...)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		st, err := srv.Connect(ctx, "/")
		require.NoError(t, err)
		_, err = srv.Connect(ctx, "/slow")
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.ErrorIs(t, st.Resume(ctx), context.DeadlineExceeded)
		_, err = st.Next(t.Context())
		assert.Equal(t, ssegintest.ErrDisconnected, err, "a Resume that failed leaves no connection")

		ctx, cancel = context.WithCancel(t.Context())
		require.NoError(t, st.Resume(ctx))
		cancel()
		_, err = st.Next(t.Context())
		assert.NoError(t, err)
	})
}

func TestConnect_errorsAreThoseOfTheRequest(t *testing.T) {
	_, err := ssegintest.Connect(t.Context(), "http://a b")
	assert.Error(t, err)
	srv := ssegintest.NewServer(t, nil)
	srv.Close()
	_, err = srv.Connect(t.Context(), "/")
	assert.ErrorIs(t, err, syscall.ECONNREFUSED)
}

func TestStream_closeIsForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := ssegintest.NewServer(t, newCounting(time.Second))
		st, err := srv.Connect(t.Context(), "/")
		require.NoError(t, err)
		st.Close()
		assert.Equal(t, ssegintest.ErrClosed, st.Resume(t.Context()))
		_, err = st.Next(t.Context())
		assert.Equal(t, ssegintest.ErrClosed, err)
		st.Close()
	})
}

// A real network, to show that Cut is an RST there, too.
func TestStream_worksOverTCP(t *testing.T) {
	gone := make(chan error, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		fmt.Fprint(w, "id: 1\ndata: a\n\n")
		_ = rc.Flush()
		<-r.Context().Done()
		var err error
		for err == nil {
			_, _ = io.WriteString(w, ":\n")
			err = rc.Flush()
		}
		gone <- err
	}))
	defer srv.Close()
	st, err := ssegintest.Connect(t.Context(), srv.URL)
	require.NoError(t, err)
	defer st.Close()
	for range 2 {
		e, err := st.Next(t.Context())
		require.NoError(t, err)
		assert.Equal(t, message("1", "a"), e)
		st.Cut()
		err = <-gone
		assert.True(t, errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE), err)
		require.NoError(t, st.Resume(t.Context()))
	}
}
