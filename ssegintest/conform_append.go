package ssegintest

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/ssegin/ssegin/eventlog"
)

var appendCases = []logCase{
	{name: "Append counts positions up by one", check: appendCounts},
	{name: "Append sets nothing and keeps nothing", check: appendKeepsNothing},
	{name: "Append of a message again", check: appendAgain},
	{name: "Append of a message by many at once", check: appendAtOnce},
	{name: "Append again after a context that ended", check: appendCutOff},
	{name: "Append tells similar message IDs apart", check: appendSimilarIDs},
	{name: "Append with a context that has ended", check: appendCancelled},
	{name: "Append returns the epoch", check: appendEpoch},
	{name: "Append while the log is made anew", needs: "Renew", check: appendRenewed},
}

func appendCounts(ctx context.Context, s *trial) error {
	empty, err := s.bounds(ctx, s.log)
	if err != nil {
		return err
	}
	entries, err := s.fill(ctx, 20)
	if err != nil {
		return err
	}
	if first := entries[0].Position; first != empty.Last+1 {
		return broke(ruleNew, "Bounds of the empty log returned the last position %d, and the first Append %d", empty.Last, first)
	}
	got, err := s.read(ctx, s.other, empty.Last, entries[len(entries)-1].Position)
	if err != nil {
		return err
	}
	return compare(ruleAppend, "Read of what was appended", entries, got)
}

func appendKeepsNothing(ctx context.Context, s *trial) error {
	text := []byte("before")
	e := s.entry()
	e.Data, e.Position, e.Time = text, 77, time.Unix(77, 0)
	e, err := s.append(ctx, s.log, e)
	if err != nil {
		return err
	}
	if !bytes.Equal(text, []byte("before")) {
		return broke(ruleUntouched, "Append has changed the data to %q", text)
	}
	copy(text, "AFTER!")
	got, err := s.read(ctx, s.log, e.Position-1, e.Position)
	if err != nil {
		return err
	}
	switch {
	case len(got) != 1 || got[0].Position != e.Position:
		return broke(ruleUntouched, "Append returned position %d for an entry that had 77 before, and Read gives positions %s", e.Position, positions(got))
	case string(got[0].Data) != "before":
		return broke(ruleUntouched, "the data was overwritten after Append had returned, and is now %q in the log", got[0].Data)
	case got[0].Time.Equal(e.Time):
		return broke(ruleUntouched, "the log has taken over the time of the entry")
	}
	return nil
}

func appendAgain(ctx context.Context, s *trial) error {
	entries, err := s.fill(ctx, 3)
	if err != nil {
		return err
	}
	last := entries[2].Position
	before, err := s.read(ctx, s.log, entries[0].Position-1, last)
	if err != nil {
		return err
	}
	for _, log := range []eventlog.Log{s.log, s.other, s.log} {
		for _, e := range entries {
			e.Data = []byte("other data under the same message ID")
			again, err := s.append(ctx, log, e)
			if err != nil {
				return err
			}
			if again.Position != e.Position {
				return broke(ruleOnce+": "+ruleFirst, "Append returned position %d at first, and %d for the same message ID again", e.Position, again.Position)
			}
		}
	}
	next, err := s.append(ctx, s.log, s.entry())
	if err != nil {
		return err
	}
	after, err := s.read(ctx, s.log, entries[0].Position-1, next.Position)
	if err != nil {
		return err
	}
	if err := compare(ruleOnce, "Read of three messages, appended four times each, and one more", append(entries, next), after); err != nil {
		return err
	}
	return compareTimes("before and after the retries", before, after[:3])
}

func appendAtOnce(ctx context.Context, s *trial) error {
	const retries = 16
	first, err := s.append(ctx, s.log, s.entry())
	if err != nil {
		return err
	}
	e := s.entry()
	var got [retries]uint64
	if err := parallel(retries, func(i int) error {
		again, err := s.append(ctx, []eventlog.Log{s.log, s.other}[i%2], e)
		got[i] = again.Position
		return err
	}); err != nil {
		return err
	}
	for _, position := range got {
		if position != first.Position+1 {
			return broke(ruleOnce+": "+ruleFirst, "Append of one message %d times at once returned the positions %d", retries, got)
		}
	}
	e.Position = first.Position + 1
	next, err := s.append(ctx, s.log, s.entry())
	if err != nil {
		return err
	}
	entries, err := s.read(ctx, s.log, first.Position, next.Position)
	if err != nil {
		return err
	}
	return compare(ruleOnce, "Read of a message that was appended by many at once, and one more", []eventlog.Entry{e, next}, entries)
}

// appendCutOff does what a hub does when a publisher's time is up and it tries
// again: wherever the first attempt got to, the message is there once.
func appendCutOff(ctx context.Context, s *trial) error {
	const messages = 40
	start, err := s.bounds(ctx, s.log)
	if err != nil {
		return err
	}
	var want []eventlog.Entry
	for range messages {
		e := s.entry()
		short, cancel := context.WithTimeout(ctx, time.Duration(rand.IntN(1000))*time.Microsecond)
		_, _ = s.append(short, s.log, e) // whether it is kept is what nobody knows
		cancel()
		e, err := s.append(ctx, s.other, e)
		if err != nil {
			return err
		}
		want = append(want, e)
	}
	got, err := s.read(ctx, s.log, start.Last, start.Last+2*messages)
	if err != nil {
		return err
	}
	return compare(ruleOnce, "Read of messages that were appended with little time, and then again", want, got)
}

func appendSimilarIDs(ctx context.Context, s *trial) error {
	var want []eventlog.Entry
	for _, id := range []string{"id", "ID", "id-1", "id-10", "id:1", "id 1", "id.1", "id*", "id>", "{id}", "идентификатор", "id%20", "id+1", "id=1", "\"id\""} {
		e := s.entry()
		e.MessageID = s.prefix + id
		e, err := s.append(ctx, s.log, e)
		if err != nil {
			return err
		}
		want = append(want, e)
	}
	got, err := s.read(ctx, s.log, want[0].Position-1, want[0].Position+uint64(len(want)))
	if err != nil {
		return err
	}
	return compare(ruleMessageID, "Read of messages with similar IDs", want, got)
}

func appendCancelled(ctx context.Context, s *trial) error {
	over, cancel := context.WithCancelCause(ctx)
	cancel(errStopped)
	if _, err := s.append(over, s.log, s.entry()); err == nil || !stopped(err) {
		return broke(ruleErrors, "the context had ended with the cause %q, Append returned %v", errStopped, err)
	}
	_, err := s.append(ctx, s.log, s.entry())
	return err
}

func appendEpoch(ctx context.Context, s *trial) error {
	b, err := s.bounds(ctx, s.log)
	if err != nil {
		return err
	}
	for i := range 8 {
		e := s.entry()
		for _, log := range []eventlog.Log{s.log, s.other} {
			r, err := s.receipt(ctx, log, e)
			if err != nil {
				return err
			}
			if want := (eventlog.Receipt{Position: b.Last + 1 + uint64(i), Epoch: b.Epoch}); r != want {
				return broke(ruleReceipt, "want the receipt %+v, Append returned %+v", want, r)
			}
		}
	}
	return nil
}

// appendRenewed makes the log anew in the midst of appends. Some of them are in
// the old life, and some in the new one; each must say in which.
func appendRenewed(ctx context.Context, s *trial) error {
	const writers, each = 4, 100
	old, err := s.bounds(ctx, s.log)
	if err != nil {
		return err
	}
	ids := make([][]string, writers)
	got := make([][]eventlog.Receipt, writers)
	var count atomic.Int64
	midst, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- parallel(writers, func(i int) error {
			for range each {
				e := s.entry()
				var r eventlog.Receipt
				if err := until(ctx, func() (err error) {
					short, cancel := context.WithTimeout(ctx, soon) // an answer may go down with the log
					defer cancel()
					r, err = s.receipt(short, []eventlog.Log{s.log, s.other}[i%2], e)
					return err
				}); err != nil {
					return err
				}
				ids[i], got[i] = append(ids[i], e.MessageID), append(got[i], r)
				if count.Add(1) == writers*each/4 {
					close(midst)
				}
			}
			return nil
		})
	}()
	select {
	case <-midst:
	case err := <-done:
		return err
	}
	s.faults.Renew(s.t, s.log)
	b, err := s.settle(ctx)
	if err := errors.Join(err, <-done); err != nil {
		return err
	}
	entries, err := s.read(ctx, s.other, b.Last-min(b.Last, writers*each), b.Last+writers*each)
	if err != nil {
		return err
	}
	there := make(map[string]uint64)
	for _, e := range entries {
		there[e.MessageID] = e.Position
	}
	for i := range got {
		for k, r := range got[i] {
			want := old.Epoch
			if position, ok := there[ids[i][k]]; ok {
				want = b.Epoch
				if r.Position != position {
					return broke(ruleAppend, "the entry is at position %d, Append returned %+v", position, r)
				}
			}
			if r.Epoch != want {
				return broke(ruleReceipt, "the log was made anew, with the epoch %q after %q; the entry is in that of %q, Append returned %+v", b.Epoch, old.Epoch, want, r)
			}
		}
	}
	return nil
}

// stopped says whether err tells that the context has ended, by its cause or by
// its error: only Follow promises the cause.
func stopped(err error) bool { return errors.Is(err, errStopped) || errors.Is(err, context.Canceled) }
