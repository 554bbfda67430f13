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

// older waits for the page with the events after the place of c, which k carries on
// while there is nothing for it. The engine may be ahead of this process: events that
// are not in memory yet are left out, because they will come from there, so that
// nothing comes twice.
func (s *shared) older(ctx context.Context, c *cursor, k *seeker) (older, error) {
	for {
		life, at, why, err := s.timeline.await(c)
		if why != "" || err != nil {
			return older{why: why}, err
		}
		k.at = at
		p, why, err := s.backlog.page(ctx, life, k)
		if k.at != at {
			s.timeline.move(c, k.at)
		}
		switch {
		case errors.Is(err, pages.ErrStopped):
			continue // the log has another life, as await will say
		case err == nil && (why != "" || s.timeline.isStrange(p)):
			err = s.confirm(ctx)
		}
		if err != nil {
			return older{}, err
		}
		head, gap, err := s.timeline.begin(c)
		if gap != "" || err != nil {
			return older{why: gap}, err
		}
		if why != "" {
			return older{why: why}, nil
		}
		from, _ := p.after(k.at)
		to := len(p.events)
		for to > 0 && p.events[to-1].at.position > head {
			to--
		}
		return older{page: p, from: from, to: to}, nil
	}
}

func (s *shared) skip(c *cursor, why Reason) verdict {
	v := verdict{reset: s.timeline.skip(c, why)}
	if v.wish = s.timeline.wish(c); v.wish != nil && v.reset.Reason != "" {
		s.grant(c, &v)
	}
	return v
}

func (s *shared) room() int      { return s.backlog.room() }
func (s *shared) hold(bytes int) { s.backlog.held.Add(int64(bytes)) }
