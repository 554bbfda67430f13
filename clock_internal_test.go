package ssegin

import (
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/assert"
)

// A clock that is set, or steps, changes the wall clock only. The end of a
// stream must not move with it, whatever kind of time the application gives.
func TestWithExpiry_countsOnTheMonotonicClock(t *testing.T) {
	for name, expiry := range map[string]time.Time{
		"from a token":      time.Unix(time.Now().Unix()+3600, 0),
		"from the same now": time.Now().Add(time.Hour),
	} {
		o := newStreamOptions([]StreamOption{
			WithMaxAge(24 * time.Hour),
			WithExpiry(func(*gin.Context) time.Time { return expiry }),
		})
		until, cause := o.end(nil, time.Now())
		assert.Contains(t, until.String(), " m=", name)
		assert.WithinDuration(t, expiry, until, time.Second, name)
		assert.Equal(t, ErrExpired, cause, name)
	}
}
