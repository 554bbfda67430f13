package tests

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin"
	"github.com/ssegin/ssegin/ssegintest"
)

// A list is what an application allows one user, and what was asked of it.
type list struct {
	allowed atomic.Bool
	asked   atomic.Int64
	read    chan struct{} // told of each look at the rights
	goOn    chan struct{} // what the look waits for before it answers
}

func newList() *list {
	l := &list{read: make(chan struct{}, 10), goOn: make(chan struct{})}
	l.allowed.Store(true)
	return l
}

var errNoRight = errors.New("no right to the topic")

// topics is for WithTopics: it reads the rights and answers later, as a slow
// database does.
func (l *list) topics(*gin.Context) ([]string, error) {
	l.asked.Add(1)
	allowed := l.allowed.Load()
	l.read <- struct{}{}
	<-l.goOn
	if !allowed {
		return nil, errNoRight
	}
	return []string{"user:42"}, nil
}

// onAllHubs runs a test with both paths, each with a hub in memory and with one
// over an engine.
func onAllHubs(t *testing.T, test func(t *testing.T, path ssegin.StreamOption, opts ...ssegin.HubOption)) {
	onBothPaths(t, func(t *testing.T, path ssegin.StreamOption) {
		t.Run("in memory", func(t *testing.T) { test(t, path) })
		t.Run("over an engine", func(t *testing.T) { test(t, path, ssegin.WithLog(ssegintest.NewLog())) })
	})
}

// stop shuts a hub down at the end of the test.
func stop(t *testing.T, h *ssegin.Hub) {
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		assert.NoError(t, h.Shutdown(ctx))
	})
}

// The rights end after WithTopics has read them and before the stream joins.
func TestDisconnect_reachesARequestOnItsWay(t *testing.T) {
	onAllHubs(t, func(t *testing.T, path ssegin.StreamOption, opts ...ssegin.HubOption) {
		h := ssegin.NewHub(opts...)
		stop(t, h)
		rights := newList()
		srv := listen(t, route(ssegin.Handler(h, path, ssegin.WithTopics(rights.topics))))
		status := make(chan int, 1)
		go func() { status <- statusOf(t, srv.URL+"/events", "") }()
		await(t, rights.read)
		rights.allowed.Store(false)
		assert.Zero(t, disconnect(t, h, "user:42"))
		close(rights.goOn)
		assert.Equal(t, http.StatusForbidden, await(t, status), "WithTopics was asked again")
		assert.EqualValues(t, 2, rights.asked.Load())
		assert.Zero(t, h.Stats().Streams)
	})
}

// A client can hold its own request between WithTopics and the join with an ID of
// the future, for which a hub over an engine waits.
func TestDisconnect_reachesARequestThatWaitsForTheEngine(t *testing.T) {
	onBothPaths(t, func(t *testing.T, path ssegin.StreamOption) {
		log := ssegintest.NewLog()
		h := ssegin.NewHub(ssegin.WithLog(log))
		stop(t, h)
		rights := newList()
		close(rights.goOn)
		srv := listen(t, route(ssegin.Handler(h, path, ssegin.WithTopics(rights.topics))))
		id := publish(t, h, "other", "x")
		future := strings.Replace(id, "-1", "-1000", 1)
		log.Hang()
		status := make(chan int, 1)
		go func() { status <- statusOf(t, srv.URL+"/events", future) }()
		await(t, rights.read)
		rights.allowed.Store(false)
		time.AfterFunc(10*time.Millisecond, log.Back)
		assert.Zero(t, disconnect(t, h, "user:42"))
		assert.Equal(t, http.StatusForbidden, await(t, status))
	})
}

// statusOf makes a request with that last event ID and returns the status: 0 where
// there is none.
func statusOf(t *testing.T, url, lastID string) int {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		return 0
	}
	if lastID != "" {
		req.Header.Set("Last-Event-ID", lastID)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

// More calls than are remembered count as a hit, so the client is asked again,
// and gets its stream if nothing has changed for it.
func TestDisconnect_ofManyOthersAsksAgainAndLosesNothing(t *testing.T) {
	for calls, asked := range map[int]int64{1: 1, 1000: 1, 1001: 2} {
		h := ssegin.NewHub()
		rights := newList()
		srv := listen(t, route(ssegin.Handler(h, ssegin.WithTopics(rights.topics))))
		opened := make(chan *ssegintest.Stream, 1)
		go func() {
			s, _ := ssegintest.Connect(t.Context(), srv.URL+"/events")
			opened <- s
		}()
		await(t, rights.read)
		for i := range calls {
			disconnect(t, h, fmt.Sprint("another:", i))
		}
		close(rights.goOn)
		s := await(t, opened)
		require.NotNil(t, s)
		nextBlock(t, s)
		publish(t, h, "user:42", "hello")
		assert.Equal(t, "hello", next(t, s).Data)
		assert.Equal(t, asked, rights.asked.Load(), "%d calls", calls)
		s.Close()
	}
}

// A client that is overtaken twice is told to come back, because nobody knows
// whether a third answer would hold.
func TestDisconnect_twiceWhileARequestIsOnItsWaySendsItsClientAway(t *testing.T) {
	refused := make(chan error, 1)
	h := ssegin.NewHub(ssegin.WithObserver(ssegin.Observer{Refused: func(err error) { refused <- err }}))
	srv := listen(t, route(ssegin.Handler(h, ssegin.WithTopics(func(c *gin.Context) ([]string, error) {
		_, err := h.Disconnect(c, "user:42")
		return []string{"user:42"}, err
	}))))
	s, err := ssegintest.Connect(t.Context(), srv.URL+"/events", ssegintest.WithHeader("Accept", "text/event-stream"))
	require.NoError(t, err)
	defer s.Close()
	requireEnd(t, s)
	retry, ok := s.Retry()
	assert.True(t, ok)
	assert.Positive(t, retry)
	assert.ErrorIs(t, await(t, refused), ssegin.ErrDisconnected)
	assert.Zero(t, h.Stats().Streams)
}

// Rights end at random moments, while the client comes, waits, and is there.
func TestDisconnect_nothingPublishedAfterwardsIsSent(t *testing.T) {
	tries := 100
	if os.Getenv("SSEGIN_LONG") != "" {
		tries = 2500 // on each of four hubs
	}
	var events atomic.Int64
	onAllHubs(t, func(t *testing.T, path ssegin.StreamOption, opts ...ssegin.HubOption) {
		h := ssegin.NewHub(opts...)
		stop(t, h)
		var rights sync.Map // of the users that may listen
		srv := listen(t, route(ssegin.Handler(h, path, ssegin.WithTopics(func(c *gin.Context) ([]string, error) {
			user := c.Query("user")
			if _, ok := rights.Load(user); !ok {
				return nil, errNoRight
			}
			pause(c) // a look-up that takes its time
			return []string{user}, nil
		}))))
		for n := range tries {
			user := fmt.Sprint("user:", n)
			rights.Store(user, true)
			var client sync.WaitGroup
			client.Go(func() { events.Add(secrets(t, srv.URL+"/events?user="+user)) })
			pause(t.Context())
			rights.Delete(user)
			disconnect(t, h, user)
			publish(t, h, user, "secret")
			disconnect(t, h, user) // who came in spite of all leaves
			client.Wait()
		}
	})
	assert.Zero(t, events.Load())
	t.Logf("events after Disconnect: %d of %d tries", events.Load(), 4*tries)
}

// pause waits for a random part of a millisecond or two.
func pause(ctx context.Context) {
	timer := time.NewTimer(rand.N(2 * time.Millisecond))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// secrets opens a stream, reads it to its end, and counts what it should not get.
func secrets(t *testing.T, url string) (n int64) {
	s, err := ssegintest.Connect(t.Context(), url)
	if err != nil || s.Response().StatusCode != http.StatusOK {
		return 0
	}
	defer s.Close()
	for e, err := range s.Events(t.Context()) {
		if err != nil {
			return n
		}
		if e.Data == "secret" {
			n++
		}
	}
	return n
}

// A list of topics that is taken from the request may be as long as a request.
func TestWithMaxTopics_refusesALongerListAndSaysSoOnce(t *testing.T) {
	onBothPaths(t, func(t *testing.T, path ssegin.StreamOption) {
		var logged bytes.Buffer
		refused := make(chan error, 10)
		h := ssegin.NewHub(ssegin.WithLogger(slog.New(slog.NewTextHandler(&logged, nil))),
			ssegin.WithObserver(ssegin.Observer{Refused: func(err error) { refused <- err }}))
		topics := ssegin.WithTopics(func(c *gin.Context) ([]string, error) { return strings.Split(c.Query("topics"), ","), nil })
		r := gin.New()
		r.GET("/default", ssegin.Handler(h, path, topics))
		r.GET("/few", ssegin.Handler(h, path, topics, ssegin.WithMaxTopics(2)))
		srv := listen(t, r)
		list := func(n int) string {
			var b strings.Builder
			for i := range n {
				fmt.Fprintf(&b, "%d,", i)
			}
			return strings.TrimSuffix(b.String(), ",")
		}
		for query, status := range map[string]int{
			"/default?topics=" + list(1000):                 http.StatusOK,
			"/default?topics=" + list(1000) + ",1,2,3":      http.StatusOK,
			"/default?topics=" + list(1001):                 http.StatusForbidden,
			"/default?topics=" + list(100_000):              http.StatusForbidden,
			"/few?topics=a,b":                               http.StatusOK,
			"/few?topics=a,b,a,b":                           http.StatusOK,
			"/few?topics=a,b,c":                             http.StatusForbidden,
			"/few?topics=" + strings.Repeat("a,", 50) + "a": http.StatusOK,
		} {
			assert.Equal(t, status, statusOf(t, srv.URL+query, ""), "%.40s", query)
		}
		for range 3 {
			assert.ErrorIs(t, await(t, refused), ssegin.ErrTooManyTopics)
		}
		assert.Equal(t, 2, strings.Count(logged.String(), "WithMaxTopics"), "once for each Handler:\n%s", logged.String())
		requireGone(t, h)
	})
}

// One stream with many topics is given the events of each, and leaves nothing.
func TestHandler_aStreamMayHaveAThousandTopics(t *testing.T) {
	onBothPaths(t, func(t *testing.T, path ssegin.StreamOption) {
		h := ssegin.NewHub()
		srv := listen(t, route(ssegin.Handler(h, path, ssegin.WithTopics(func(*gin.Context) (topics []string, _ error) {
			for i := range 1000 {
				topics = append(topics, fmt.Sprint("topic ", i))
			}
			return topics, nil
		}))))
		first, second := open(t, srv, ""), open(t, srv, "")
		for i := range 1000 {
			publish(t, h, fmt.Sprint("topic ", (i*7)%1000), i)
			if i%100 == 0 {
				broadcast(t, h, "all")
			}
			if i == 500 {
				first.Close()
			}
		}
		for i := range 1000 {
			require.Equal(t, fmt.Sprint(i), next(t, second).Data)
			if i%100 == 0 {
				require.Equal(t, "all", next(t, second).Data)
			}
		}
		second.Close()
		requireGone(t, h)
	})
}
