package ssegin

import "context"

// older gives c the events after its place from the pages of the backlog. The
// engine may be ahead of this process: events that are not in memory yet are left
// out, because they will come from there, so that nothing comes twice.
func (s *shared) older(ctx context.Context, c *cursor, begin uint64) (older, error) {
	life, at, why, err := s.timeline.await(c)
	if why != "" || err != nil {
		return older{why: why}, err
	}
	page, err := s.backlog.after(ctx, life, at, begin)
	if err != nil {
		return older{}, err
	}
	head, why, err := s.timeline.begin(c)
	if why != "" || err != nil {
		return older{why: why}, err
	}
	n := len(page.events)
	for n > 0 && page.events[n-1].at.position > head {
		n--
	}
	page.events = page.events[:n]
	return page, nil
}
