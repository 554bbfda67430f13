package ssegin

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gin-gonic/gin"
)

// A request is what the application says of a client that wants a stream.
type request struct {
	at     time.Time
	topics []string // each once
	asked  uint64   // how many calls of Disconnect there were before the topics were asked for
	key    string
	until  time.Time
	cause  error
}

// admit asks the application's callbacks.
func admit(c *gin.Context, h *Hub, o *streamOptions) (r request, err error) {
	r.at = time.Now()
	if err = r.ask(c, h, o); err != nil {
		return r, err
	}
	if h.options.key != nil {
		r.key = h.options.key(c)
	}
	if r.until, r.cause = o.end(c, r.at); !r.until.IsZero() && !r.at.Before(r.until) {
		return r, r.cause
	}
	return r, aborted(c)
}

// ask asks WithTopics what the client may follow.
func (r *request) ask(c *gin.Context, h *Hub, o *streamOptions) error {
	r.asked, r.topics = h.disconnections(), nil
	if o.topics == nil {
		return nil
	}
	topics, err := o.topics(c)
	if err != nil {
		return err
	}
	for _, topic := range topics {
		if err := checkTopic(topic); err != nil {
			return err
		}
	}
	r.topics = distinct(topics)
	if n, limit := len(r.topics), orDefault(o.maxTopics, defaultMaxTopics); n > limit {
		o.reportTopics(c, h, n, limit)
		return fmt.Errorf("%w: %d, the limit of WithMaxTopics is %d", ErrTooManyTopics, n, limit)
	}
	return nil
}

// distinct returns the topics without those that come again. Up to a few it looks
// through them, which is cheaper than a map.
func distinct(topics []string) []string {
	if len(topics) < 2 {
		return topics
	}
	kept := make([]string, 0, len(topics))
	var seen map[string]bool
	if len(topics) > fewPlaces {
		seen = make(map[string]bool, len(topics))
	}
	for _, topic := range topics {
		if seen == nil && slices.Contains(kept, topic) || seen[topic] {
			continue
		}
		kept = append(kept, topic)
		if seen != nil {
			seen[topic] = true
		}
	}
	return kept
}

// reportTopics says once for each Handler that WithTopics gives too many topics:
// the list is the application's, so somebody should look at it.
func (o *streamOptions) reportTopics(c *gin.Context, h *Hub, n, limit int) {
	o.crowded.Do(func() {
		h.logger().Warn("ssegin: WithTopics gave a client more topics than WithMaxTopics allows; it is refused with status 403, and so is each one that follows, without another line here",
			"route", c.FullPath(), "topics", n, "limit", limit)
	})
}

// enter joins the hub. If one of the topics was given to Disconnect while the
// request was on its way, the rights that WithTopics saw may be those of before,
// so it is asked once more. A client that is overtaken again comes back later.
func (s *Stream) enter(c *gin.Context, r *request) (verdict, error) {
	ctx := c.Request.Context()
	v, err := s.hub.enter(ctx, s.cursor, r.topics, r.asked, s.lastID)
	if !errors.Is(err, ErrDisconnected) {
		return v, err
	}
	if err := cmp.Or(r.ask(c, s.hub, s.options), aborted(c)); err != nil {
		return verdict{}, err
	}
	return s.hub.enter(ctx, s.cursor, r.topics, r.asked, s.lastID)
}
