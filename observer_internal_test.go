package ssegin

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestObserver_isToldWhatTheHubDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []string
		tell := func(format string, args ...any) { told = append(told, fmt.Sprintf(format, args...)) }
		h := NewHub(WithHistory(2, 0, 0), WithObserver(Observer{
			Published: func(topic string, bytes int) { tell("published %q %d", topic, bytes) },
			Opened:    func(resumed bool, reset Reset) { tell("opened %t %v", resumed, reset) },
			Delivered: func(events, bytes int, lag time.Duration) { tell("delivered %d %d %v", events, bytes, lag) },
			Lagged:    func(reset Reset) { tell("lagged %v", reset) },
		}))
		p := connect(t, h, "", "a")
		h.Publish(t.Context(), "a", say("x"))
		time.Sleep(time.Second)
		id, err := h.Broadcast(t.Context(), say("y"))
		require.NoError(t, err)
		time.Sleep(time.Second)
		p.read()
		connect(t, h, id)
		connect(t, h, "nonsense")
		h.Broadcast(t.Context(), Event{Type: "\n"}) // refused: nothing to tell
		for range 3 {
			h.Publish(t.Context(), "a", say("z"))
		}
		p.read()
		time.Sleep(defaultHeartbeat)
		p.read() // a heartbeat is no event

		block := len("data: x\n")
		delivered := 2 * (block + len("id: -1\n\n") + epochLetters)
		assert.Equal(t, strings.Split(fmt.Sprintf(`opened false { 0}
published "a" %[1]d
published "" %[1]d
delivered 2 %[2]d 2s
opened true { 0}
opened false {invalid -1}
published "a" %[1]d
published "a" %[1]d
published "a" %[1]d
lagged {lagged 3}`, block, delivered), "\n"), told)
	})
}

func TestObserver_hooksMayBeNil(t *testing.T) {
	var o Observer
	assert.NotPanics(t, func() {
		o.published("a", 1)
		o.opened(true, Reset{})
		o.refused(ErrClosed)
		o.delivered(&batch{events: 1, reset: Reset{ReasonLagged, 1}})
		o.closed(context.Canceled, time.Second)
	})
}

// The lag of each event takes a look at the clock, which nobody pays for
// without an Observer.
func TestObserver_lagIsMeasuredForAnObserverOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub()
		p := connect(t, h, "")
		h.Broadcast(t.Context(), say("x"))
		time.Sleep(time.Second)
		b := &batch{}
		p.feed.next(time.Now(), nil, b)
		assert.Zero(t, b.lag)
	})
}
