package ssegintest

import (
	"context"
	"fmt"
	"math"

	"github.com/ssegin/ssegin/eventlog"
)

var topicCases = []logCase{
	{name: "ReadTopic gives exactly what is of its topic", check: topicRanges},
	{name: "ReadTopic of many entries", check: topicMany},
	{name: "ReadTopic gives what was acknowledged", check: topicFresh},
	{name: "ReadTopic stops when its consumer does", check: topicStops},
	{name: "ReadTopic with a context that has ended", check: topicCancelled},
	{name: "ReadTopic when the oldest have left", needs: "Trim", check: topicTrimmed},
	{name: "ReadTopic over a deleted entry", needs: "Delete", check: topicDeleted},
}

// readTopic returns what ReadTopic gives. has is false if the Log has no ReadTopic.
func (s *trial) readTopic(ctx context.Context, log eventlog.Log, topic string, after, until uint64, last int) (entries []eventlog.Entry, has bool, err error) {
	reader, has := log.(eventlog.TopicReader)
	if !has {
		return nil, false, nil
	}
	entries, err = guard(ctx, "ReadTopic", ruleTopicRead, func() (entries []eventlog.Entry, err error) {
		for e, errRead := range reader.ReadTopic(ctx, topic, after, until, last) {
			switch {
			case err != nil:
				return entries, broke(ruleReadEnds, "ReadTopic went on after the error %v", err)
			case errRead != nil:
				err = fmt.Errorf("ReadTopic: %w", errRead)
			default:
				entries = append(entries, e)
			}
		}
		return entries, err
	})
	return entries, true, err
}

// gives checks what ReadTopic gives out of entries, which are all that there is.
func (s *trial) gives(ctx context.Context, log eventlog.Log, rule string, entries []eventlog.Entry, topic string, after, until uint64, last int) error {
	var want []eventlog.Entry
	for _, e := range entries {
		if e.Topic == topic && e.Position > after && e.Position <= until {
			want = append(want, e)
		}
	}
	if last > 0 {
		want = want[max(0, len(want)-last):]
	}
	got, has, err := s.readTopic(ctx, log, topic, after, until, last)
	if err != nil || !has {
		return err
	}
	return compare(rule, fmt.Sprintf("ReadTopic of %q after %d until %d, the last %d", topic, after, until, last), want, got)
}

func topicRanges(ctx context.Context, s *trial) error {
	topics := []string{"a", "a.b", "A", "", "a b"}
	for _, last := range []int{0, 1} {
		if err := s.gives(ctx, s.log, ruleTopicRead, nil, "a", 0, math.MaxUint64, last); err != nil {
			return broke(ruleTopicRead, "the log is empty: %w", err)
		}
	}
	var entries []eventlog.Entry
	for i := range 4 * len(topics) {
		e, err := s.append(ctx, s.log, s.of(topics[(i+i/len(topics))%len(topics)]))
		if err != nil {
			return err
		}
		entries = append(entries, e)
	}
	first, last := entries[0].Position, entries[len(entries)-1].Position
	marks := []uint64{0, first - 1, first, first + 5, last - 5, last - 1, last, last + 1000, math.MaxUint64}
	for _, topic := range append(topics, "none", "a.*", ">") {
		for i, after := range marks {
			for k, until := range marks {
				if err := s.gives(ctx, s.other, ruleTopicRead, entries, topic, after, until, (i+k)%4); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// topicMany reads more than engines give at once, of a topic that is dense and of
// two that are not.
func topicMany(ctx context.Context, s *trial) error {
	const writers, each = 10, 130
	start, err := s.bounds(ctx, s.log)
	if err != nil {
		return err
	}
	if err := parallel(writers, func(w int) error {
		for i := range each {
			topic := "dense"
			switch {
			case i == 7 && w == 0:
				topic = "once"
			case i%10 == 0:
				topic = "sparse"
			}
			if _, err := s.append(ctx, s.log, s.of(topic)); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	all, err := s.read(ctx, s.log, start.Last, start.Last+writers*each)
	if err != nil {
		return err
	}
	head := start.Last + writers*each
	for _, topic := range []string{"dense", "sparse", "once"} {
		for _, last := range []int{0, 1, 2, 50, 300, 1200, 5000} {
			for _, until := range []uint64{math.MaxUint64, head, head - 400} {
				if err := s.gives(ctx, s.other, ruleTopicRead, all, topic, 0, until, last); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func topicFresh(ctx context.Context, s *trial) error {
	for i := range 40 {
		e, err := s.append(ctx, []eventlog.Log{s.log, s.other}[i%2], s.of("fresh"))
		if err != nil {
			return err
		}
		for _, last := range []int{0, 1} {
			if err := s.gives(ctx, []eventlog.Log{s.other, s.log}[i%2], ruleTopicAll, []eventlog.Entry{e}, "fresh", e.Position-1, math.MaxUint64, last); err != nil {
				return err
			}
		}
	}
	return nil
}

func topicStops(ctx context.Context, s *trial) error {
	reader, has := s.log.(eventlog.TopicReader)
	if !has {
		return nil
	}
	for range 6 {
		if _, err := s.append(ctx, s.log, s.of("x")); err != nil {
			return err
		}
	}
	for stop := 1; stop <= 6; stop++ {
		for _, last := range []int{0, 6} {
			taken, err := guard(ctx, "ReadTopic", ruleTopicRead, func() (taken int, err error) {
				// Not by range, which panics when it is called once more.
				reader.ReadTopic(ctx, "x", 0, math.MaxUint64, last)(func(_ eventlog.Entry, failed error) bool {
					taken++
					err = failed
					return taken < stop
				})
				return taken, err
			})
			if err != nil {
				return err
			}
			if taken != stop {
				return broke(ruleTopicRead, "the consumer of ReadTopic has stopped after %d of 6 entries, and was given %d", stop, taken)
			}
		}
	}
	return nil
}

func topicCancelled(ctx context.Context, s *trial) error {
	if _, err := s.append(ctx, s.log, s.of("x")); err != nil {
		return err
	}
	over, cancel := context.WithCancelCause(ctx)
	cancel(errStopped)
	for _, last := range []int{0, 1, 5} {
		got, has, err := s.readTopic(over, s.log, "x", 0, math.MaxUint64, last)
		if has && (err == nil || !stopped(err)) {
			return broke(ruleErrors, "the context had ended with the cause %q, ReadTopic gave positions %s and the error %v", errStopped, positions(got), err)
		}
	}
	return nil
}

// fillTopics appends to two topics in turn.
func (s *trial) fillTopics(ctx context.Context, n int) (entries []eventlog.Entry, err error) {
	for i := range n {
		e, err := s.append(ctx, s.log, s.of([]string{"x", "y"}[i%2]))
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, nil
}

func topicTrimmed(ctx context.Context, s *trial) error {
	entries, err := s.fillTopics(ctx, 12)
	if err != nil {
		return err
	}
	s.faults.Trim(s.t, s.log, 5)
	return s.givesWhatIsLeft(ctx, entries[5:])
}

func topicDeleted(ctx context.Context, s *trial) error {
	entries, err := s.fillTopics(ctx, 12)
	if err != nil {
		return err
	}
	s.faults.Delete(s.t, s.log, entries[6].Position)
	return s.givesWhatIsLeft(ctx, append(entries[:6:6], entries[7:]...))
}

func (s *trial) givesWhatIsLeft(ctx context.Context, entries []eventlog.Entry) error {
	if _, err := s.settle(ctx); err != nil {
		return err
	}
	for _, last := range []int{0, 1, 3, 4, 100} {
		for _, until := range []uint64{entries[4].Position, math.MaxUint64} {
			if err := s.gives(ctx, s.other, ruleTopicAll, entries, "x", 0, until, last); err != nil {
				return err
			}
		}
	}
	return nil
}
