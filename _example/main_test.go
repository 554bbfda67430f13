package main

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin/ssegintest"
)

const (
	itself = "http://ssegin.test"
	other  = "http://other.test"
)

// bubble runs a test against the example in a synctest bubble, where an hour
// of ticks takes no time.
func bubble(t *testing.T, test func(t *testing.T, a *app, srv *ssegintest.Server)) {
	t.Helper()
	gin.SetMode(gin.TestMode)
	synctest.Test(t, func(t *testing.T) {
		a := newApp(config{heartbeat: 15 * time.Second}, itself, other)
		srv := ssegintest.NewServer(t, a.routes())
		a.client = srv.Client()
		a.start(t.Context())
		test(t, a, srv)
	})
}

func connect(t *testing.T, srv *ssegintest.Server, path string, opts ...ssegintest.ConnectOption) *ssegintest.Stream {
	t.Helper()
	stream, err := srv.Connect(t.Context(), path, opts...)
	require.NoError(t, err)
	return stream
}

// next returns the data of the next event of that type.
func next(t *testing.T, stream *ssegintest.Stream, eventType string) (data map[string]any) {
	t.Helper()
	for e, err := range stream.Events(t.Context()) {
		require.NoError(t, err)
		if e.Type == eventType {
			require.NoError(t, json.Unmarshal([]byte(e.Data), &data))
			return data
		}
	}
	require.Fail(t, "the stream ended before "+eventType)
	return nil
}

// send makes a request and returns the answer.
func send(t *testing.T, srv *ssegintest.Server, method, path, body string, header ...string) (status int, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, itself+path, strings.NewReader(body))
	require.NoError(t, err)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := srv.Client().Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(text)
}

func TestTick_goesOnAfterEachConnection(t *testing.T) {
	bubble(t, func(t *testing.T, _ *app, srv *ssegintest.Server) {
		start := time.Now()
		stream := connect(t, srv, "/eventsource")
		for count := 1; count <= 100; count++ {
			e, err := stream.Next(t.Context())
			if errors.Is(err, io.EOF) {
				require.NoError(t, stream.Resume(t.Context()))
				e, err = stream.Next(t.Context())
			}
			require.NoError(t, err)
			require.Equal(t, strconv.Itoa(count), e.ID)
		}
		assert.Equal(t, 100*time.Second, time.Since(start))
		assert.Equal(t, 10, stream.Connections())
	})
}

func TestTick_beginsAnewAfterAnIDThatIsNone(t *testing.T) {
	for _, id := range []string{"-1", "nonsense", "99999999999999999999", "9223372036854775807"} {
		bubble(t, func(t *testing.T, _ *app, srv *ssegintest.Server) {
			e, err := connect(t, srv, "/eventsource", ssegintest.WithLastEventID(id)).Next(t.Context())
			require.NoError(t, err)
			assert.Equal(t, "1", e.ID, id)
		})
	}
}

func TestChat_reachesTheRoomAndAllTabsOfAPerson(t *testing.T) {
	bubble(t, func(t *testing.T, _ *app, srv *ssegintest.Server) {
		ada := connect(t, srv, "/events?tab=1&user=Ada&room=lobby")
		grace1 := connect(t, srv, "/events?tab=2&user=Grace&room=lobby")
		grace2 := connect(t, srv, "/events?tab=3&user=Grace&room=garden")

		status, answer := send(t, srv, "POST", "/messages", `{"from":"Ada","room":"lobby","text":"<hello> & all"}`)
		require.Equal(t, http.StatusCreated, status, answer)
		assert.Equal(t, "<hello> & all", next(t, ada, "chat")["text"])
		assert.Equal(t, "<hello> & all", next(t, grace1, "chat")["text"])

		status, answer = send(t, srv, "POST", "/messages", `{"from":"Ada","to":"Grace","text":"psst"}`)
		require.Equal(t, http.StatusCreated, status, answer)
		for _, stream := range []*ssegintest.Stream{ada, grace1, grace2} {
			assert.Equal(t, "psst", next(t, stream, "private")["text"])
		}
	})
}

func TestBadInput_getsAClearAnswer(t *testing.T) {
	long := strings.Repeat("é", 501)
	for _, bad := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"GET", "/events", "", 400, "tab is missing"},
		{"GET", "/events?tab=1&user=Ada&room=cellar", "", 400, `no room \"cellar\"`},
		{"GET", "/events?tab=1&user=Ada%0a&room=lobby", "", 400, ""},
		{"GET", "/rooms/cellar", "", 404, "no room"},
		{"GET", "/jobs/none/events", "", 404, "no such job"},
		{"POST", "/messages", "", 400, "error"},
		{"POST", "/messages", `{"from":"Ada","room":"lobby","text":" "}`, 400, "text is missing"},
		{"POST", "/messages", `{"from":"Ada","room":"lobby","text":"` + long + `"}`, 400, "501 characters, the limit is 500"},
		{"POST", "/messages", `{"from":"Ada","to":"a\nb","text":"x"}`, 400, "LF"},
		{"POST", "/messages", strings.Repeat(" ", 20<<10) + `{}`, 413, "larger than 16384 bytes"},
		{"POST", "/ask", `{"prompt":""}`, 400, "prompt is missing"},
		{"POST", "/cut?tab=nobody", "", 404, "no stream"},
	} {
		bubble(t, func(t *testing.T, _ *app, srv *ssegintest.Server) {
			status, answer := send(t, srv, bad.method, bad.path, bad.body)
			assert.Equal(t, bad.status, status, bad.path)
			assert.Contains(t, answer, bad.says, bad.path)
		})
	}
}

func TestAsk_sendsTheTokensAsTheyAre(t *testing.T) {
	bubble(t, func(t *testing.T, _ *app, srv *ssegintest.Server) {
		stream := connect(t, srv, "/ask", ssegintest.WithPost("application/json", `{"prompt":"Why?"}`))
		var answer strings.Builder
		tokens, last := 0, ssegintest.Event{}
		for e, err := range stream.Events(t.Context()) {
			require.NoError(t, err)
			if last = e; e.Type == "token" {
				answer.WriteString(e.Data)
				tokens++
			}
		}
		assert.Greater(t, tokens, 40)
		assert.True(t, strings.HasPrefix(answer.String(), "You asked: “Why?”\n\nI only pretend to think, yet"), answer.String())
		assert.Equal(t, "[DONE]", last.Data)
		assert.Equal(t, "message", last.Type)
	})
}

func TestAsk_hasNothingInItsStreamButItsOwn(t *testing.T) {
	bubble(t, func(t *testing.T, _ *app, srv *ssegintest.Server) {
		_, answer := send(t, srv, "POST", "/ask", `{"prompt":"Why?"}`)
		require.NoError(t, ssegintest.CheckPlain(strings.NewReader(answer)))
		assert.True(t, strings.HasSuffix(answer, "\n\ndata: [DONE]\nid: ssegin.end\n\n"), answer)
	})
}

func TestJob_endsAndItsClientsDoNotComeBack(t *testing.T) {
	bubble(t, func(t *testing.T, _ *app, srv *ssegintest.Server) {
		status, answer := send(t, srv, "POST", "/jobs", "")
		require.Equal(t, http.StatusAccepted, status, answer)
		var job struct{ Events string }
		require.NoError(t, json.Unmarshal([]byte(answer), &job))

		stream := connect(t, srv, job.Events)
		last := ""
		for e, err := range stream.Events(t.Context()) {
			require.NoError(t, err)
			last = e.Type
		}
		assert.Equal(t, "done", last)
		require.NoError(t, stream.Resume(t.Context()))
		assert.Equal(t, http.StatusNoContent, stream.Response().StatusCode)
	})
}

func TestJob_isBoundedInNumber(t *testing.T) {
	bubble(t, func(t *testing.T, _ *app, srv *ssegintest.Server) {
		for range maxJobs {
			status, answer := send(t, srv, "POST", "/jobs", "")
			require.Equal(t, http.StatusAccepted, status, answer)
		}
		status, _ := send(t, srv, "POST", "/jobs", "")
		assert.Equal(t, http.StatusTooManyRequests, status)
		time.Sleep(10 * time.Second)
		status, _ = send(t, srv, "POST", "/jobs", "")
		assert.Equal(t, http.StatusAccepted, status)
	})
}

func TestCut_losesNothingOfABurst(t *testing.T) {
	bubble(t, func(t *testing.T, a *app, srv *ssegintest.Server) {
		stream := connect(t, srv, "/events?tab=1&user=Ada&room=lobby")
		next(t, stream, "stats") // so that there is an ID to resume from
		status, answer := send(t, srv, "POST", "/cut?tab=1", "")
		require.Equal(t, http.StatusOK, status, answer)
		status, answer = send(t, srv, "POST", "/burst", "")
		require.Equal(t, http.StatusCreated, status, answer)
		status, _ = send(t, srv, "POST", "/burst", "")
		require.Equal(t, http.StatusTooManyRequests, status)

		require.NoError(t, stream.Resume(t.Context()))
		for n := 1; n <= burstSize; n++ {
			require.EqualValues(t, n, next(t, stream, "burst")["n"])
		}
		assert.Zero(t, a.hub.Stats().Resets)
	})
}

func TestCrowd_comesOnceAndGoesHome(t *testing.T) {
	bubble(t, func(t *testing.T, a *app, srv *ssegintest.Server) {
		streams := func() int {
			synctest.Wait()
			return a.hub.Stats().Streams
		}
		open := func() int {
			status, _ := send(t, srv, "POST", "/crowd", "")
			return status
		}
		require.Equal(t, http.StatusCreated, open())
		assert.Equal(t, crowdSize, streams())
		assert.Equal(t, http.StatusConflict, open())

		status, _ := send(t, srv, "DELETE", "/crowd", "")
		assert.Equal(t, http.StatusNoContent, status)
		assert.Zero(t, streams())

		require.Equal(t, http.StatusCreated, open())
		assert.Equal(t, crowdSize, streams())
		time.Sleep(crowdTime)
		assert.Zero(t, streams())
	})
}

func TestCors_letsOneOriginIn(t *testing.T) {
	bubble(t, func(t *testing.T, _ *app, srv *ssegintest.Server) {
		allowed := connect(t, srv, "/greetings",
			ssegintest.WithHeader("Origin", other), ssegintest.WithHeader("Cookie", "visitor=ADA"))
		assert.Equal(t, other, allowed.Response().Header.Get("Access-Control-Allow-Origin"))
		assert.Equal(t, "true", allowed.Response().Header.Get("Access-Control-Allow-Credentials"))
		assert.Equal(t, "ADA", next(t, allowed, "greeting")["visitor"])

		refused := connect(t, srv, "/greetings", ssegintest.WithHeader("Origin", "http://evil.test"))
		assert.Equal(t, http.StatusForbidden, refused.Response().StatusCode)

		status, _ := send(t, srv, "OPTIONS", "/greetings", "",
			"Origin", other, "Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "last-event-id")
		assert.Equal(t, http.StatusNoContent, status)
	})
}

func TestPage_isWhole(t *testing.T) {
	bubble(t, func(t *testing.T, a *app, srv *ssegintest.Server) {
		for path, says := range map[string]string{
			"/":          `data-url="` + other + `"`,
			"/app.js":    "new EventSource",
			"/sse.js":    "export async function* events",
			"/style.css": "prefers-color-scheme",
		} {
			status, text := send(t, srv, "GET", path, "")
			assert.Equal(t, http.StatusOK, status, path)
			assert.Contains(t, text, says, path)
			assert.NotContains(t, text, "https://", path) // everything is here
		}
		cors := ssegintest.NewServer(t, a.corsPage())
		status, text := send(t, cors, "GET", "/", "")
		assert.Equal(t, http.StatusOK, status)
		assert.Contains(t, text, `data-target="`+itself+`"`)
	})
}
