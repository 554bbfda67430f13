package ssegintest

import (
	"context"

	"github.com/ssegin/ssegin/eventlog"
)

var faultCases = []logCase{
	{name: "the oldest entries have left", needs: "Trim", check: trimmed},
	{name: "all entries have left", needs: "Purge", check: purged},
	{name: "an entry was deleted in the middle", needs: "Delete", check: deleted},
	{name: "the log was made anew", needs: "Renew", check: renewed},
	{name: "the log was rolled back to a backup", needs: "Backup", check: rolledBack},
	{name: "the connection was lost for a moment", needs: "Drop", check: dropped},
}

func trimmed(ctx context.Context, s *trial) error {
	entries, err := s.fill(ctx, 8)
	if err != nil {
		return err
	}
	s.faults.Trim(s.t, s.log, 3)
	first, last := entries[3].Position, entries[7].Position
	b, err := s.settle(ctx)
	if err != nil {
		return err
	}
	if b.First != first || b.Last != last {
		return broke(ruleOld, "3 of the entries %s have left, Bounds returned %d to %d", positions(entries), b.First, b.Last)
	}
	for _, after := range []uint64{0, first - 4, first - 2, first - 1, first, last - 1} {
		want := entries[max(after+1, first)-entries[0].Position:]
		got, err := s.read(ctx, s.other, after, last-1)
		if err != nil {
			return err
		}
		if err := compare(ruleRead, "Read when the oldest have left", want[:len(want)-1], got); err != nil {
			return err
		}
		f := s.follow(ctx, s.log, after)
		if got, err = f.wait(len(want), prompt); err != nil {
			return broke(ruleOldest, "Follow after %d when the oldest have left: %v", after, err)
		}
		if err := compare(ruleOldest, "Follow when the oldest have left", want, got); err != nil {
			return err
		}
	}
	return nil
}

func purged(ctx context.Context, s *trial) error {
	entries, err := s.fill(ctx, 5)
	if err != nil {
		return err
	}
	before, err := s.bounds(ctx, s.log)
	if err != nil {
		return err
	}
	newest, err := s.read(ctx, s.other, before.Last-1, before.Last)
	if err != nil {
		return err
	}
	if len(newest) != 1 || !before.LastTime.Equal(newest[0].Time) {
		return broke(ruleNewTime, "Read gave %+v, Bounds returned %+v", newest, before)
	}
	s.faults.Purge(s.t, s.log)
	after, err := s.settle(ctx)
	if err != nil {
		return err
	}
	if after.First != after.Last+1 {
		return broke(ruleOld, "all entries have left, Bounds returned %+v", after)
	}
	if after.Epoch == before.Epoch && after.Last != before.Last {
		return broke(ruleNew, "all entries have left, and the epoch is the same: Bounds returned %+v, and before that %+v", after, before)
	}
	if after.Epoch == before.Epoch && !after.LastTime.Equal(before.LastTime) {
		return broke(ruleNewTime, "all entries have left, and the epoch is the same: Bounds returned %+v, and before that %+v", after, before)
	}
	got, err := s.read(ctx, s.other, 0, before.Last)
	if err != nil {
		return err
	}
	if err := compare(ruleRead, "Read when all have left", nil, got); err != nil {
		return err
	}
	f := s.follow(ctx, s.log, after.Last)
	next, err := s.insist(ctx, s.entry(), s.entry())
	if err != nil {
		return err
	}
	if next[0].Position != after.Last+1 {
		return broke(ruleCount, "the positions %s have left, and the next Append returned %d", positions(entries), next[0].Position)
	}
	if got, err = f.wait(2, prompt); err != nil {
		return err
	}
	return compare(ruleFollow, "Follow when all have left", next, got)
}

func deleted(ctx context.Context, s *trial) error {
	entries, err := s.fill(ctx, 6)
	if err != nil {
		return err
	}
	s.faults.Delete(s.t, s.log, entries[2].Position)
	b, err := s.settle(ctx)
	if err != nil {
		return err
	}
	first, last := entries[0].Position, entries[5].Position
	if b.First != first || b.Last != last {
		return broke(ruleFront, "position %d of %d to %d was deleted, Bounds returned %d to %d", entries[2].Position, first, last, b.First, b.Last)
	}
	more, err := s.insist(ctx, s.entry())
	if err != nil {
		return err
	}
	want := append(append([]eventlog.Entry(nil), entries[:2]...), entries[3:]...)
	want = append(want, more...)
	got, err := s.read(ctx, s.other, first-1, last+1)
	if err != nil {
		return err
	}
	if err := compare(ruleHole, "Read over a deleted entry", want, got); err != nil {
		return err
	}
	f := s.follow(ctx, s.log, first-1)
	if got, err = f.wait(len(want), prompt); err != nil {
		return err
	}
	return compare(ruleHole, "Follow over a deleted entry", want, got)
}

func renewed(ctx context.Context, s *trial) error {
	old, f, err := s.fillAndFollow(ctx, 4)
	if err != nil {
		return err
	}
	before, err := s.bounds(ctx, s.log)
	if err != nil {
		return err
	}
	s.faults.Renew(s.t, s.log)
	after, err := s.settle(ctx)
	if err != nil {
		return err
	}
	if after.Epoch == before.Epoch {
		return broke(ruleEpoch, "the log was made anew, and has the same epoch %q", after.Epoch)
	}
	// Also messages of the old life: where a retry falls into the new one, the
	// position of the first is that of no entry.
	fresh, err := s.insist(ctx, s.entry(), old[3], s.entry(), s.entry(), s.entry(), s.entry(), s.entry())
	if err != nil {
		return err
	}
	if err := f.breaks(4, "the log was made anew"); err != nil {
		return err
	}
	other, err := s.bounds(ctx, s.other)
	if err != nil {
		return err
	}
	if other.Epoch != after.Epoch {
		return broke(ruleEpoch, "the log was made anew, and has the epoch %q here and %q there", after.Epoch, other.Epoch)
	}
	got, err := s.read(ctx, s.other, after.Last, other.Last)
	if err != nil {
		return err
	}
	return compare(ruleAppend, "Read of the log that was made anew", fresh, got)
}

// rolledBack loses three entries to a backup, one of which a publisher tries
// again.
func rolledBack(ctx context.Context, s *trial) error {
	kept, err := s.fill(ctx, 4)
	if err != nil {
		return err
	}
	restore := s.faults.Backup(s.t, s.log)
	lost, f, err := s.fillAndFollow(ctx, 3)
	if err != nil {
		return err
	}
	before, err := s.bounds(ctx, s.log)
	if err != nil {
		return err
	}
	restore()
	after, err := s.settle(ctx)
	if err != nil {
		return err
	}
	if after.Epoch == before.Epoch && after.Last != kept[3].Position {
		return broke(ruleBounds, "the log was rolled back to position %d, Bounds returned %+v", kept[3].Position, after)
	}
	if err := s.follow(ctx, s.log, lost[2].Position).breaks(0, "Follow after a position that was lost to a backup"); err != nil {
		return err
	}
	fresh, err := s.insist(ctx, s.entry(), lost[1], s.entry(), s.entry(), s.entry(), s.entry())
	if err != nil {
		return err
	}
	if err := f.breaks(3, "the log was rolled back"); err != nil {
		return err
	}
	got, err := s.read(ctx, s.log, after.Last, fresh[len(fresh)-1].Position)
	if err != nil {
		return err
	}
	return compare(ruleAppend, "Read of the log that was rolled back", fresh, got)
}

func dropped(ctx context.Context, s *trial) error {
	_, f, err := s.fillAndFollow(ctx, 3)
	if err != nil {
		return err
	}
	s.faults.Drop(s.t, s.log)
	if err := f.breaks(3, "the connection was lost"); err != nil {
		return err
	}
	before, err := s.settle(ctx)
	if err != nil {
		return err
	}
	more, err := s.insist(ctx, s.entry(), s.entry())
	if err != nil {
		return err
	}
	again := s.follow(ctx, s.log, before.Last)
	got, err := again.wait(2, prompt)
	if err != nil {
		return err
	}
	return compare(ruleFollow, "Follow after the connection was lost", more, got)
}
