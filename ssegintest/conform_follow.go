package ssegintest

import (
	"bytes"
	"context"
	"time"

	"github.com/ssegin/ssegin/eventlog"
)

var followCases = []logCase{
	{name: "Follow delivers exactly what is missing", check: followMissing},
	{name: "Follow delivers new entries soon", check: followSoon},
	{name: "Follow after a position that does not exist yet", check: followFuture},
	{name: "Follow calls deliver one at a time", check: followOneAtATime},
	{name: "Follow leaves the data to deliver", check: followLeavesData},
}

func followMissing(ctx context.Context, s *trial) error {
	entries, err := s.fill(ctx, 6)
	if err != nil {
		return err
	}
	first := entries[0].Position
	tails := map[uint64]*tail{0: s.follow(ctx, s.log, 0)}
	for i := range uint64(7) { // from before the first entry to the last
		tails[first-1+i] = s.follow(ctx, s.log, first-1+i)
	}
	// What stands at the head must see these, and nothing else.
	more, err := s.fill(ctx, 2)
	if err != nil {
		return err
	}
	entries = append(entries, more...)
	for after, f := range tails {
		want := entries[max(after+1, first)-first:]
		got, err := f.wait(len(want), prompt)
		if err != nil {
			return err
		}
		if err := compare(ruleFollow, "Follow", want, got); err != nil {
			return err
		}
		if err := f.stop(); err != nil {
			return err
		}
	}
	return nil
}

func followSoon(ctx context.Context, s *trial) error {
	start, err := s.bounds(ctx, s.log)
	if err != nil {
		return err
	}
	f := s.follow(ctx, s.log, start.Last)
	var want []eventlog.Entry
	for range 5 {
		e, err := s.append(ctx, s.other, s.entry())
		if err != nil {
			return err
		}
		want = append(want, e)
		got, err := f.wait(len(want), soon)
		if err != nil {
			return err
		}
		if err := compare(ruleFollow, "Follow at the head", want, got); err != nil {
			return err
		}
	}
	return f.stop()
}

// followFuture follows after a position that only a life with more entries can
// have had: the log was rolled back.
func followFuture(ctx context.Context, s *trial) error {
	entries, err := s.fill(ctx, 3)
	if err != nil {
		return err
	}
	return s.follow(ctx, s.log, entries[2].Position+3).breaks(0, "Follow after a position three beyond the last")
}

func followOneAtATime(ctx context.Context, s *trial) error {
	start, err := s.bounds(ctx, s.log)
	if err != nil {
		return err
	}
	const n = 30
	f := s.followWith(ctx, s.log, start.Last, func(eventlog.Entry) error {
		time.Sleep(time.Millisecond) // slower than entries come, so that a second call would meet the first
		return nil
	})
	entries, err := s.fill(ctx, n)
	if err != nil {
		return err
	}
	got, err := f.wait(n, prompt)
	if err != nil {
		return err
	}
	if err := f.stop(); err != nil {
		return err
	}
	return compare(ruleFollow, "Follow with a slow receiver", entries, got)
}

// followLeavesData keeps and overwrites what is delivered, as its owner may.
func followLeavesData(ctx context.Context, s *trial) error {
	entries, err := s.fill(ctx, 6)
	if err != nil {
		return err
	}
	after := entries[0].Position - 1
	overwrite := s.followWith(ctx, s.log, after, func(e eventlog.Entry) error {
		copy(e.Data, bytes.Repeat([]byte("!"), len(e.Data)))
		return nil
	})
	if _, err := overwrite.wait(6, prompt); err != nil {
		return err
	}
	if err := overwrite.stop(); err != nil {
		return err
	}
	for _, e := range overwrite.seen() {
		if len(bytes.Trim(e.Data, "!")) > 0 {
			return broke(ruleOneAtATime, "deliver has overwritten the data at position %d with !, and it became %q later", e.Position, e.Data)
		}
	}
	keep := s.follow(ctx, s.log, after)
	got, err := keep.wait(6, prompt)
	if err != nil {
		return err
	}
	for i, e := range got {
		if !bytes.Equal(e.Data, entries[i].Data) {
			return broke(ruleOneAtATime, "one receiver has overwritten its data, and another, which kept it, has %q instead of %q at position %d", e.Data, entries[i].Data, e.Position)
		}
	}
	return nil
}
