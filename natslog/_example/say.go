package main

import (
	"errors"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/ssegin/ssegin"
)

// A saying is what somebody on a page says. The page gives it an ID, with which
// it tries again when it gets no answer: perhaps it was published, and the
// process was killed before it could say so.
type saying struct {
	ID   string `json:"id" binding:"required,max=64,printascii"`
	Text string `json:"text" binding:"required,max=200"`
}

func (w *worker) say(c *gin.Context) {
	c.Request.Body = http.MaxBytesReader(c.Writer, c.Request.Body, 4<<10)
	var s saying
	if err := c.ShouldBindJSON(&s); err != nil {
		c.JSON(http.StatusBadRequest, gin.H{"error": err.Error()})
		return
	}
	id, err := w.hub.Broadcast(c, ssegin.Event{
		Type:      "said",
		Data:      gin.H{"id": s.ID, "text": s.Text, "via": w.worker, "at": time.Now()},
		MessageID: "said " + s.ID,
	})
	switch {
	case errors.Is(err, ssegin.ErrInvalidEvent):
		c.JSON(http.StatusBadRequest, gin.H{"error": err.Error()})
	case err != nil: // NATS is away, or this process drains
		c.JSON(http.StatusServiceUnavailable, gin.H{"error": err.Error()})
	default:
		c.JSON(http.StatusCreated, gin.H{"id": id, "via": w.worker})
	}
}
