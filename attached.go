package ssegin

import (
	"io"
	"time"

	"github.com/gin-gonic/gin"
)

// An attached stream stays with net/http: a loop on the goroutine of its request
// writes what is due and waits for its bell, which everything rings that can feed or
// end the stream, because waiting for the first of many channels costs more.
type attached session

// serve is the loop. It returns when the stream is over.
func (a *attached) serve(c *gin.Context) {
	f, now, bell := &a.feed, time.Now(), (*session)(a).bell()
	alarm := newAlarm(bell.notify, f, now)
	defer alarm.stop()
	gone := a.stream.request.Done()
	more := true                    // the first look does not wait
	c.Stream(func(io.Writer) bool { // it flushes after each step, so the opening leaves with the first one
		if !more {
			select {
			case <-bell:
			case <-gone:
				a.stream.left()
			}
		}
		now = time.Now()
		var over bool
		more, over = a.turn(now)
		alarm.set(f, now)
		return !over
	})
}

func (a *attached) turn(now time.Time) (more, over bool) {
	b := a.batch()
	defer b.release()
	_, more, over = (*session)(a).step(a, b, now)
	a.hub.options.observer.turned(b)
	return more, over
}

// batch is what a turn fills. While its client takes it, which may be for long, it is held.
func (a *attached) batch() *batch {
	if a.catching != nil {
		return newOwnBatch()
	}
	return newBatch(0)
}

func (a *attached) write(b *batch, now time.Time) error {
	w := a.stream.writer
	if b.large != nil {
		if err := w.Send(b.large, now); err != nil {
			return err
		}
	}
	if len(b.data) > 0 {
		if err := w.Send(b.data, now); err != nil {
			return err
		}
	}
	a.hub.wrote(b)
	return nil
}

func (a *attached) finish(cause error, _ time.Time) { a.stream.end(cause) }

func (a *attached) reset(reset Reset) { (*session)(a).tell(reset) }

// An alarm rings when a feed has something to say by itself: a heartbeat, the
// end. That moves away with every write, so the alarm is set again only when
// it has gone off: one too early costs less than setting it each time.
type alarm struct {
	timer *time.Timer
	at    time.Time
}

func newAlarm(ring func(), f *feed, now time.Time) alarm {
	rest := f.rest(now)
	return alarm{time.AfterFunc(rest, ring), now.Add(rest)}
}

func (a *alarm) set(f *feed, now time.Time) {
	if now.Before(a.at) {
		return
	}
	rest := f.rest(now)
	a.timer.Reset(rest)
	a.at = now.Add(rest)
}

func (a *alarm) stop() { a.timer.Stop() }
