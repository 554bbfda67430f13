package ssegin

import (
	"context"
	"errors"

	"github.com/ssegin/ssegin/internal/pages"
)

// older are events that are older than memory: those of a page from one index up to
// another, at least one; or the reason why there are none any more.
type older struct {
	page     *page
	from, to int
	why      Reason
}

// older returns what follows the place of c. If that is not ready, k waits for it, and
// carries c on while there is nothing for it; it rings when older is to be asked again.
// The engine may be ahead of this process: events that are not in memory yet are left
// out, because they will come from there, so that nothing comes twice.
func (s *shared) older(c *cursor, k *seeker) (o older, ready bool, err error) {
	for {
		life, at, err := s.timeline.await(c)
		if err != nil {
			return older{}, false, err
		}
		k.seek(at)
		p, why, ready, err := s.search(life, k)
		if moved := k.place(); moved != at {
			s.timeline.move(c, moved)
		}
		if errors.Is(err, pages.ErrStopped) {
			continue // the log has another life, as await will say
		}
		if err != nil || !ready {
			return older{}, false, err
		}
		head, err := s.timeline.begin(c)
		if err != nil {
			return older{}, false, err
		}
		if why != "" {
			return older{why: why}, true, nil
		}
		from, _ := p.after(k.place())
		to := len(p.events)
		for to > 0 && p.events[to-1].at.position > head {
			to--
		}
		return older{page: p, from: from, to: to}, true, nil
	}
}

// search returns what pages have for k. What may be of another log than memory is doubted.
func (s *shared) search(l *life, k *seeker) (p *page, why Reason, ready bool, err error) {
	if k.doubt == nil {
		p, why, ready, err = s.backlog.page(l, k)
		if err != nil || !ready || why == "" && !s.timeline.isStrange(p) {
			return p, why, ready, err
		}
		k.doubt = s.newDoubt(p, why, k.Ready)
	}
	d := k.doubt
	if !d.isResolved() {
		return nil, "", false, nil
	}
	k.doubt = nil
	return d.page, d.why, true, d.err
}

// A doubt is a page, or the reason why there is none, that holds only if this process has
// the log that the engine has.
type doubt struct {
	page     *page
	why      Reason
	drop     context.CancelFunc
	resolved chan struct{} // closed when what follows is set
	err      error         // nil: it holds
}

// newDoubt begins to ask. ready is called when the answer is there.
func (s *shared) newDoubt(p *page, why Reason, ready func()) *doubt {
	ctx, drop := context.WithCancel(context.Background())
	d := &doubt{page: p, why: why, drop: drop, resolved: make(chan struct{})}
	s.timeline.run(func() {
		defer drop()
		d.err = s.confirm(ctx)
		if d.err == nil && why != "" {
			d.err = s.timeline.wait(ctx, (*tail).isSure) // or the reset would have an ID that proves nothing
		}
		close(d.resolved)
		ready()
	})
	return d
}

func (d *doubt) isResolved() bool {
	select {
	case <-d.resolved:
		return true
	default:
		return false
	}
}

func (s *shared) skip(c *cursor, why Reason) verdict { return s.timeline.skip(c, why) }

func (s *shared) room() int      { return s.backlog.room() }
func (s *shared) hold(bytes int) { s.backlog.held.Add(int64(bytes)) }
