package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/ssegin/ssegin"
)

const (
	burstSize = 1000
	crowdSize = 50
	crowdTime = time.Minute // after which the crowd goes home by itself
)

// cut ends the connection of one page. The browser comes back after the
// reconnection time, and gets what it missed.
func (a *app) cut(c *gin.Context) {
	streams, err := a.hub.Disconnect(c, "tab:"+c.Query("tab"))
	if err != nil {
		fail(c, http.StatusBadRequest, err)
		return
	}
	if streams == 0 {
		fail(c, http.StatusNotFound, errors.New("this tab has no stream now"))
		return
	}
	c.JSON(http.StatusOK, gin.H{"streams": streams})
}

// burst sends a thousand events to everybody, as fast as it can, and at most once
// a second.
func (a *app) burst(c *gin.Context) {
	if !a.burstLimit.TryLock() {
		fail(c, http.StatusTooManyRequests, errors.New("one burst a second is enough: wait a moment"))
		return
	}
	defer time.AfterFunc(time.Second, a.burstLimit.Unlock)
	start, last := time.Now(), 0
	for range burstSize {
		_, err := a.bursts.next(func(n int) (string, error) {
			last = n
			return a.hub.Broadcast(c, ssegin.Event{Type: "burst", Data: gin.H{"n": n}})
		})
		if err != nil {
			published(c, "", err)
			return
		}
	}
	c.JSON(http.StatusCreated, gin.H{"last": last, "microseconds": time.Since(start).Microseconds()})
}

// A crowd are clients of the server's own, over the loopback interface: a page
// could not open that many streams.
type crowd struct {
	mu    sync.Mutex
	ctx   context.Context // nil or ended: there is no crowd
	leave context.CancelFunc
}

// openCrowd opens fifty streams like those of the page.
func (a *app) openCrowd(c *gin.Context) {
	a.crowd.mu.Lock()
	defer a.crowd.mu.Unlock()
	if a.crowd.ctx != nil && a.crowd.ctx.Err() == nil {
		fail(c, http.StatusConflict, errors.New("the crowd is here already"))
		return
	}
	ctx, leave := context.WithTimeout(a.working, crowdTime)
	a.crowd.ctx, a.crowd.leave = ctx, leave
	for n := range crowdSize {
		a.work.Go(func() { a.follow(ctx, n) })
	}
	c.JSON(http.StatusCreated, gin.H{"streams": crowdSize, "seconds": crowdTime.Seconds()})
}

// closeCrowd sends it home.
func (a *app) closeCrowd(c *gin.Context) {
	a.crowd.mu.Lock()
	defer a.crowd.mu.Unlock()
	if a.crowd.leave != nil {
		a.crowd.leave()
	}
	c.Status(http.StatusNoContent)
}

// follow reads one stream, and throws away what it reads, until either side
// has enough.
func (a *app) follow(ctx context.Context, n int) {
	query := url.Values{"tab": {fmt.Sprint("crowd", n)}, "user": {"Crowd"}, "room": {"lobby"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url+"/events?"+query.Encode(), nil)
	if err != nil {
		return
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
}
