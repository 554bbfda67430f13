package main

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/ssegin/ssegin"
)

const (
	maxJobs   = 4               // at the same time
	jobMemory = 5 * time.Minute // after which a job that is done is forgotten
)

type jobs struct {
	running chan struct{} // holds one for each

	mu    sync.Mutex
	known map[string]bool // by ID; no more than maxJobs can make in jobMemory
}

// startJob begins something long, and says where to follow it.
func (a *app) startJob(c *gin.Context) {
	select {
	case a.jobs.running <- struct{}{}:
	default: // no waiting: whoever asks is told at once
		fail(c, http.StatusTooManyRequests, errors.New("four jobs are running already: wait for one to end"))
		return
	}
	id := rand.Text()
	a.jobs.remember(id)
	a.work.Go(func() {
		defer func() { <-a.jobs.running }()
		a.runJob(a.working, id)
		time.AfterFunc(jobMemory, func() { a.jobs.forget(id) })
	})
	c.JSON(http.StatusAccepted, gin.H{"id": id, "events": "/jobs/" + id + "/events"})
}

// runJob works, and tells how far it is. Hub.End makes the last event the end
// of the topic: the streams that follow it close, and a browser that comes
// back is told not to, with status 204.
func (a *app) runJob(ctx context.Context, id string) {
	topic := "job:" + id
	steps := []string{"fetching", "sorting", "counting", "packing"}
	for percent := range 100 {
		if !wait(ctx, 40*time.Millisecond) {
			return
		}
		progress := gin.H{"percent": percent, "step": steps[percent*len(steps)/100]}
		if _, err := a.hub.Publish(ctx, topic, ssegin.Event{Type: "progress", Data: progress}); err != nil {
			return
		}
	}
	_, _ = a.hub.End(ctx, topic, ssegin.Event{Type: "done", Data: gin.H{"percent": 100, "step": "done"}})
}

// followJob needs no word about the end: that is the hub's business.
func (a *app) followJob() gin.HandlerFunc {
	return ssegin.Handler(a.hub,
		ssegin.WithRetry(time.Second),
		ssegin.WithHeartbeat(a.cfg.heartbeat),
		ssegin.WithTopics(func(c *gin.Context) ([]string, error) {
			id := c.Param("id")
			if !a.jobs.knows(id) {
				err := errors.New("there is no such job, or not any more")
				fail(c, http.StatusNotFound, err)
				return nil, err
			}
			return []string{"job:" + id}, nil
		}))
}

func (j *jobs) remember(id string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.known[id] = true
}

func (j *jobs) forget(id string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.known, id)
}

func (j *jobs) knows(id string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.known[id]
}
