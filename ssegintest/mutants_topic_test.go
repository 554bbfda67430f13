package ssegintest_test

import (
	"context"
	"iter"
	"strings"

	"github.com/ssegin/ssegin/eventlog"
)

var topicMutants = []mutation{
	{"ReadTopic gives all topics", "ReadTopic gives exactly", "the entries of that topic", readsTopic(func(m *mutant, ctx context.Context, _ string, after, until uint64, _ int) iter.Seq2[eventlog.Entry, error] {
		return m.Log.Read(ctx, after, until)
	})},
	{"ReadTopic knows topics without case", "ReadTopic gives exactly", "the entries of that topic", filtered(func(topic, of string) bool { return strings.EqualFold(topic, of) })},
	{"ReadTopic gives those below a topic", "ReadTopic gives exactly", "the entries of that topic", filtered(strings.HasPrefix)},
	{"ReadTopic gives a broadcast to all topics", "ReadTopic gives exactly", "the entries of that topic", filtered(func(of, topic string) bool { return of == topic || of == "" })},
	{"ReadTopic begins with the position itself", "ReadTopic gives exactly", "after one position and up to another", readsTopic(func(m *mutant, ctx context.Context, topic string, after, until uint64, last int) iter.Seq2[eventlog.Entry, error] {
		return m.Log.ReadTopic(ctx, topic, max(after, 1)-1, until, last)
	})},
	{"ReadTopic leaves out the last position", "ReadTopic gives exactly", "after one position and up to another", readsTopic(func(m *mutant, ctx context.Context, topic string, after, until uint64, last int) iter.Seq2[eventlog.Entry, error] {
		return m.Log.ReadTopic(ctx, topic, after, max(until, 1)-1, last)
	})},
	{"ReadTopic gives the newest of all, and not those up to a position", "ReadTopic gives exactly", "the newest of them", readsTopic(func(m *mutant, ctx context.Context, topic string, after, until uint64, last int) iter.Seq2[eventlog.Entry, error] {
		if last > 0 {
			until = 1 << 62
		}
		return m.Log.ReadTopic(ctx, topic, after, until, last)
	})},
	{"ReadTopic gives the oldest", "ReadTopic gives exactly", "the newest of them", readsTopic(func(m *mutant, ctx context.Context, topic string, after, until uint64, last int) iter.Seq2[eventlog.Entry, error] {
		return func(yield func(eventlog.Entry, error) bool) {
			n := 0
			for e, err := range m.Log.ReadTopic(ctx, topic, after, until, 0) {
				if n++; last > 0 && n > last || !yield(e, err) {
					return
				}
			}
		}
	})},
	{"ReadTopic gives the newest first", "ReadTopic gives exactly", "in order, as Read does", readsTopic(func(m *mutant, ctx context.Context, topic string, after, until uint64, last int) iter.Seq2[eventlog.Entry, error] {
		return func(yield func(eventlog.Entry, error) bool) {
			for ; last > 0; last-- {
				for e, err := range m.Log.ReadTopic(ctx, topic, after, until, 1) {
					if until = e.Position - 1; !yield(e, err) {
						return
					}
				}
			}
		}
	})},
	{"ReadTopic knows no limit", "ReadTopic gives exactly", "no more than that many", readsTopic(func(m *mutant, ctx context.Context, topic string, after, until uint64, _ int) iter.Seq2[eventlog.Entry, error] {
		return m.Log.ReadTopic(ctx, topic, after, until, 0)
	})},
	{"ReadTopic gives one piece", "ReadTopic of many", "the entries of that topic", readsTopic(func(m *mutant, ctx context.Context, topic string, after, until uint64, last int) iter.Seq2[eventlog.Entry, error] {
		return func(yield func(eventlog.Entry, error) bool) {
			n := 0
			for e, err := range m.Log.ReadTopic(ctx, topic, after, until, last) {
				if n++; n > 256 || !yield(e, err) {
					return
				}
			}
		}
	})},
	{"ReadTopic is behind", "ReadTopic gives what was", "nothing that was acknowledged before the call is left out", readsTopic(func(m *mutant, ctx context.Context, topic string, after, until uint64, last int) iter.Seq2[eventlog.Entry, error] {
		b, _ := m.Log.Bounds(ctx)
		return m.Log.ReadTopic(ctx, topic, after, min(until, b.Last-1), last)
	})},
	{"ReadTopic does not stop", "ReadTopic stops", "ReadTopic gives the entries", readsTopic(func(m *mutant, ctx context.Context, topic string, after, until uint64, last int) iter.Seq2[eventlog.Entry, error] {
		return func(yield func(eventlog.Entry, error) bool) {
			for e, err := range m.Log.ReadTopic(ctx, topic, after, until, last) {
				yield(e, err)
			}
		}
	})},
	{"ReadTopic does not look at its context", "ReadTopic with a context", "as soon as it has it", readsTopic(func(m *mutant, ctx context.Context, topic string, after, until uint64, last int) iter.Seq2[eventlog.Entry, error] {
		return m.Log.ReadTopic(context.WithoutCancel(ctx), topic, after, until, last)
	})},
	{"ReadTopic goes on after an error", "ReadTopic with a context", "ends after the first error", readsTopic(func(m *mutant, ctx context.Context, topic string, after, until uint64, last int) iter.Seq2[eventlog.Entry, error] {
		return func(yield func(eventlog.Entry, error) bool) {
			for e, err := range m.Log.ReadTopic(ctx, topic, after, until, last) {
				if !yield(e, err) || err != nil && !yield(e, err) {
					return
				}
			}
		}
	})},
	{"ReadTopic fails where the oldest have left", "ReadTopic when the oldest", "was in the log, at these positions", readsTopic(func(m *mutant, ctx context.Context, topic string, after, until uint64, last int) iter.Seq2[eventlog.Entry, error] {
		if b, _ := m.Log.Bounds(ctx); last > 3 && after+1 < b.First {
			last -= int(min(3, b.First-after-1))
		}
		return m.Log.ReadTopic(ctx, topic, after, until, last)
	})},
	{"ReadTopic ends at a hole", "ReadTopic over a deleted", "was in the log, at these positions", readsTopic(func(m *mutant, ctx context.Context, topic string, after, until uint64, last int) iter.Seq2[eventlog.Entry, error] {
		return func(yield func(eventlog.Entry, error) bool) {
			var before uint64
			for e, err := range m.Log.ReadTopic(ctx, topic, after, until, last) {
				if before != 0 && e.Position > before+3 || !yield(e, err) {
					return
				}
				before = e.Position
			}
		}
	})},
}

func readsTopic(read func(m *mutant, ctx context.Context, topic string, after, until uint64, last int) iter.Seq2[eventlog.Entry, error]) func(*mutant) eventlog.Log {
	return func(m *mutant) eventlog.Log {
		m.readTopic = func(ctx context.Context, topic string, after, until uint64, last int) iter.Seq2[eventlog.Entry, error] {
			return read(m, ctx, topic, after, until, last)
		}
		return m
	}
}

// filtered reads those of whose topics is says that they are of the one.
func filtered(is func(of, topic string) bool) func(*mutant) eventlog.Log {
	return readsTopic(func(m *mutant, ctx context.Context, topic string, after, until uint64, last int) iter.Seq2[eventlog.Entry, error] {
		return func(yield func(eventlog.Entry, error) bool) {
			var found []eventlog.Entry
			for e, err := range m.Log.Read(ctx, after, until) {
				if err != nil {
					yield(e, err)
					return
				}
				if is(e.Topic, topic) {
					found = append(found, e)
				}
			}
			if last > 0 {
				found = found[max(0, len(found)-last):]
			}
			for _, e := range found {
				if !yield(e, nil) {
					return
				}
			}
		}
	})
}
