package natslog

import (
	"context"
	"iter"

	"github.com/ssegin/ssegin/eventlog"
)

var _ eventlog.TopicReader = (*Log)(nil)

// ReadTopic implements eventlog.TopicReader: a topic is a subject, of which the
// server has an index. The newest entry alone takes one request, to the leader;
// more of the newest take two and then about two for each step back, which are
// as wide as they must be to find enough.
func (l *Log) ReadTopic(ctx context.Context, topic string, after, until uint64, last int) iter.Seq2[eventlog.Entry, error] {
	subject := Subject(l.config.Subject, topic)
	if last <= 0 {
		return l.read(ctx, subject, after, until)
	}
	return func(yield func(eventlog.Entry, error) bool) {
		entries, err := l.newest(ctx, subject, after, until, last)
		if err != nil {
			yield(eventlog.Entry{}, err)
			return
		}
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// newest returns the n newest entries of a subject after that position and up to
// the other, oldest first.
func (l *Log) newest(ctx context.Context, subject string, after, until uint64, n int) (found []eventlog.Entry, err error) {
	e, err := l.get(ctx, getRequest{LastFor: subject})
	switch {
	case codeOf(err) == codeNotFound:
		return nil, nil
	case err != nil || e.Position <= after:
		return nil, err
	case e.Position <= until:
		found, until = []eventlog.Entry{e}, e.Position-1
	}
	if len(found) == n {
		return found, nil
	}
	info, err := l.info(ctx)
	if err != nil {
		return nil, err
	}
	after, until = max(after, info.State.FirstSeq-min(1, info.State.FirstSeq)), min(until, info.State.LastSeq)
	for width := uint64(4 * max(n, 16)); len(found) < n && after < until; {
		from := until - min(width, until-after)
		step, err := l.newestBetween(ctx, subject, from, until, n-len(found))
		if err != nil {
			return nil, err
		}
		if found = append(step, found...); len(step) < n/4+1 {
			width *= 4
		}
		until = from
	}
	return found, nil
}

func (l *Log) newestBetween(ctx context.Context, subject string, after, until uint64, n int) (entries []eventlog.Entry, err error) {
	for e, err := range l.read(ctx, subject, after, until) {
		if err != nil {
			return nil, err
		}
		if entries = append(entries, e); len(entries) > n {
			entries = entries[1:]
		}
	}
	return entries, nil
}
