package ssegin

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"time"
)

// A shared engine is a log that several processes have together, as one of them
// sees it. One goroutine follows the log and appends what it reads to the timeline,
// so that all streams, also those of clients that come back, are served from there.
// Clients that missed more than memory holds are given it from the engine, in
// pages; see backlog.
//
// publish is in shared_publish.go, enter in shared_arrive.go, older in
// shared_older.go.
type shared struct {
	log      Log
	timeline *timeline
	options  *hubOptions
	backlog  *backlog
	ctx      context.Context // ends with stop
	cancel   context.CancelFunc

	contact contact
	asking  asking
	replays replays
}

// How a hub is with an engine that does not answer.
const (
	shortestPause = 50 * time.Millisecond
	longestPause  = 2 * time.Second
	answerTime    = 3 * time.Second        // for one request
	arrivalTime   = 5 * time.Second        // for a client whose ID is ahead of this process
	headStart     = 250 * time.Millisecond // that the follower gets before the engine is asked
	askEvery      = 50 * time.Millisecond  // at the most, whatever clients claim to have seen
	settled       = time.Second            // of following, before the engine counts as back
)

// newShared begins to follow the log.
func newShared(t *timeline, o *hubOptions) *shared {
	s := &shared{log: o.log, timeline: t, options: o, backlog: newBacklog(o.log, o.maxEventBytes, t), replays: newReplays()}
	s.contact.since = time.Now()
	s.ctx, s.cancel = context.WithCancel(context.Background())
	t.hold() // Shutdown waits for the follower
	go s.run()
	return s
}

// run follows the log until the hub ends, however often that fails.
func (s *shared) run() {
	defer s.timeline.release()
	pause := shortestPause
	for {
		began := time.Now()
		err := s.follow()
		if s.ctx.Err() != nil {
			return
		}
		if err == nil {
			err = errors.New("ssegin: the log has ended Follow without an error")
		}
		if time.Since(began) > longestPause {
			pause = shortestPause // it went well for a while
		} else {
			s.lost(err)
		}
		if !sleep(s.ctx, pause/2+rand.N(pause)) {
			return
		}
		pause = min(2*pause, longestPause)
	}
}

// follow follows the log from where the memory ends, until it loses touch.
func (s *shared) follow() error {
	bounds, err := s.bounds(s.ctx)
	if err != nil {
		s.lost(err)
		return err
	}
	s.backlog.front.Store(bounds.First)
	after, broke := s.timeline.align(bounds)
	if broke {
		s.backlog.begin(s.timeline.life())
	}
	called := make(chan struct{})
	timer := time.AfterFunc(settled, func() {
		defer close(called)
		s.found()
	})
	defer func() {
		if !timer.Stop() {
			<-called // nothing of this goes on after Shutdown
		}
	}()
	return s.log.Follow(s.ctx, after, s.deliver)
}

// bounds asks the engine what there is.
func (s *shared) bounds(ctx context.Context) (Bounds, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	return s.log.Bounds(ctx)
}

// deliver takes the next entry of the log into the timeline.
func (s *shared) deliver(e Entry) error {
	block, invalid := blockOf(&e, s.options.maxEventBytes)
	r, err := s.timeline.receive(&e, block)
	if r.broke {
		s.backlog.begin(s.timeline.life())
	}
	if r.first {
		s.options.logger().Warn("ssegin: the log holds an entry that cannot be sent, and is not; Stats counts those that follow",
			"position", e.Position, "topic", clip(e.Topic), "error", invalid)
	}
	if r.fresh { // that it gives again what was there is no sign that it goes on
		s.found()
	}
	return err
}

func (s *shared) stats(stats *Stats) { stats.EngineDown = s.contact.down() }

// stop ends the follower, and publishing that waits for the engine.
func (s *shared) stop() { s.cancel() }

// close ends the reads of pages.
func (s *shared) close(ctx context.Context) { s.backlog.close(ctx) }

// lost notes that the engine is out of touch.
func (s *shared) lost(err error) {
	if s.contact.lost() {
		s.options.logger().Warn("ssegin: lost touch with the log; streams stay open, and events follow when it is back", "error", err)
		s.tell(func() { s.options.observer.engineDown(err) })
	}
}

// found notes that the engine is back: it has given an entry, or said for a
// while that there is none.
func (s *shared) found() {
	if after, told := s.contact.found(); told {
		s.options.logger().Info("ssegin: in touch with the log again")
		s.tell(func() { s.options.observer.engineUp(after) })
	}
}

// tell calls the application's hook. There is no request that a panic could
// end, so it is reported, and the hub goes on.
func (s *shared) tell(hook func()) {
	defer func() {
		if p := recover(); p != nil {
			s.options.logger().Error("ssegin: panic in a hook of Observer for the engine", "panic", p, "stack", string(debug.Stack()))
		}
	}()
	hook()
}

// A contact is since when an engine is out of touch, and whether the application
// knows. Its methods may be called from any goroutine.
type contact struct {
	mu    sync.Mutex // no other lock is taken under it
	since time.Time  // zero: it is in touch
	told  bool
}

// lost reports whether the application is to be told.
func (c *contact) lost() (tell bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.since.IsZero() {
		c.since = time.Now()
	}
	tell, c.told = !c.told, true
	return tell
}

// found returns for how long the engine was out of touch, and whether the
// application was told of that.
func (c *contact) found() (after time.Duration, told bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if told = c.told; told {
		after = time.Since(c.since)
	}
	c.since, c.told = time.Time{}, false
	return after, told
}

// isLost reports whether the engine is known to be out of touch.
func (c *contact) isLost() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.told
}

// down is for how long the engine has been out of touch.
func (c *contact) down() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.since.IsZero() {
		return 0
	}
	return time.Since(c.since)
}
