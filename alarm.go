package ssegin

import "time"

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
