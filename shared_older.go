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

// search returns what pages have for k. What may be of another log than memory is doubted
// until the engine has been asked; one that is First, which waits anyhow, does that itself.
func (s *shared) search(l *life, k *seeker) (p *page, why Reason, ready bool, err error) {
	if k.doubt == nil {
		p, why, ready, err = s.backlog.page(l, k)
		if err != nil || !ready || why == "" && !s.timeline.isStrange(p) {
			return p, why, ready, err
		}
		k.doubt = newDoubt(p, why)
		if !k.First {
			d := k.doubt
			s.timeline.run(func() {
				s.resolve(d)
				k.Ready()
			})
		}
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
	ctx      context.Context
	drop     context.CancelFunc
	resolved chan struct{} // closed when what follows is set
	err      error         // nil: it holds
}

func newDoubt(p *page, why Reason) *doubt {
	d := &doubt{page: p, why: why, resolved: make(chan struct{})}
	d.ctx, d.drop = context.WithCancel(context.Background())
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

// resolve asks the engine, and waits for it.
func (s *shared) resolve(d *doubt) {
	defer d.drop()
	defer close(d.resolved)
	if d.err = s.confirm(d.ctx); d.err == nil && d.why != "" {
		d.err = s.timeline.wait(d.ctx, (*tail).isSure) // or the reset would have an ID that proves nothing
	}
}

func (s *shared) skip(c *cursor, why Reason) verdict { return s.timeline.skip(c, why) }

func (s *shared) room() int      { return s.backlog.room() }
func (s *shared) hold(bytes int) { s.backlog.held.Add(int64(bytes)) }
