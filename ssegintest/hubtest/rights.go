package hubtest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin"
	"github.com/ssegin/ssegin/ssegintest"
)

// Users are those who have rights, as the application knows them.
type users struct{ allowed sync.Map }

func (u *users) topics(c *gin.Context) ([]string, error) {
	_, ok := u.allowed.Load(c.Query("user"))
	time.Sleep(rand.N(2 * time.Millisecond)) // a look-up that takes its time
	if !ok {
		return nil, errors.New("no right to the topic")
	}
	return []string{c.Query("user")}, nil
}

// process starts one more process, whose streams are attached or detached.
func (u *users) process(t *testing.T, e Engine) process {
	t.Helper()
	hub := ssegin.NewHub(ssegin.WithLog(e.Open(t)), ssegin.WithLogger(slog.New(slog.DiscardHandler)))
	router := gin.New()
	router.GET("/attached", ssegin.Handler(hub, ssegin.WithTopics(u.topics)))
	router.GET("/detached", ssegin.Handler(hub, ssegin.WithTopics(u.topics), ssegin.WithDetached()))
	srv := httptest.NewUnstartedServer(router)
	srv.Config.ConnContext = ssegin.ConnContext
	srv.Start()
	t.Cleanup(func() {
		assert.NoError(t, hub.Shutdown(context.Background()))
		srv.Close()
	})
	return process{hub, srv.URL}
}

// rightsEnd lets the right of a user end at one process, at any moment, while its client
// is at another, or on its way there.
func rightsEnd(t *testing.T, e Engine) {
	var u users
	processes := []process{u.process(t, e), u.process(t, e), u.process(t, e)}
	const tries = 200
	var secrets int
	var calls, ends []time.Duration
	for n := range tries {
		user := fmt.Sprint("user:", n)
		u.allowed.Store(user, true)
		at, by := rand.N(3), rand.N(3)
		var client sync.WaitGroup
		var opened, ended time.Time
		client.Go(func() {
			opened, ended = listen(t, processes[at].url+[]string{"/attached", "/detached"}[n%2]+"?user="+user, &secrets)
		})
		time.Sleep(rand.N(4 * time.Millisecond))
		u.allowed.Delete(user)
		begin := time.Now()
		_, err := processes[by].hub.Disconnect(t.Context(), user)
		require.NoError(t, err)
		calls = append(calls, time.Since(begin))
		for range 3 {
			_, err := processes[(by+1)%3].hub.Publish(t.Context(), user, ssegin.Event{Data: "secret"})
			require.NoError(t, err)
		}
		client.Wait()
		if !opened.IsZero() && opened.Before(begin) && at != by {
			ends = append(ends, ended.Sub(begin))
		}
	}
	slices.Sort(calls)
	slices.Sort(ends)
	t.Logf("%d events after Disconnect in %d tries; it takes %v, and ends a stream of another process after %v (medians)",
		secrets, tries, calls[len(calls)/2], slices.Concat(ends, []time.Duration{0})[len(ends)/2])
	assert.Zero(t, secrets)
}

// listen reads a stream to its end, if there is one, and counts what it must not be given.
func listen(t *testing.T, url string, secrets *int) (opened, ended time.Time) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s, err := ssegintest.Connect(ctx, url)
	if err != nil {
		return opened, ended
	}
	defer s.Close()
	if s.Response().StatusCode != http.StatusOK {
		return opened, ended
	}
	opened = time.Now()
	for e, err := range s.Events(ctx) {
		if err != nil {
			break
		}
		if e.Data == "secret" {
			*secrets++
		}
	}
	assert.NoError(t, ctx.Err(), "the stream does not end")
	return opened, time.Now()
}
