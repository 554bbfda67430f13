package ssegintest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/ssegin/ssegin/eventlog"
)

var conditionCases = []logCase{
	{name: "AppendIf follows the newest of its topic", check: conditionFollows},
	{name: "AppendIf appends as Append does", check: conditionAppends},
	{name: "AppendIf tells similar topics apart", check: conditionSimilarTopics},
	{name: "AppendIf of entries of several topics", check: conditionSeveral},
	{name: "AppendIf of a message again", check: conditionAgain},
	{name: "AppendIf by many at once", check: conditionRace},
	{name: "AppendIf again after a context that ended", check: conditionCutOff},
	{name: "AppendIf with a context that has ended", check: conditionCancelled},
	{name: "AppendIf when the newest has left", needs: "Trim", check: conditionTrimmed},
	{name: "AppendIf when all have left", needs: "Purge", check: conditionPurged},
	{name: "AppendIf in a log that was made anew", needs: "Renew", check: conditionRenewed},
	{name: "AppendIf in a log that was rolled back", needs: "Backup", check: conditionRolledBack},
}

// appendIf returns the receipt of e, or the error.
func (s *trial) appendIf(ctx context.Context, log eventlog.Log, e eventlog.Entry, newest eventlog.Receipt) (eventlog.Receipt, error) {
	r, err := guard(ctx, "AppendIf", ruleIf, func() (eventlog.Receipt, error) { return log.AppendIf(ctx, e, newest) })
	switch {
	case err != nil:
		return r, fmt.Errorf("AppendIf: %w", err)
	case r.Epoch == "":
		return r, broke(ruleReceipt, "AppendIf returned an empty epoch")
	}
	return r, nil
}

// of returns an entry of that topic.
func (s *trial) of(topic string) eventlog.Entry {
	e := s.entry()
	e.Topic = topic
	return e
}

// refuses checks that AppendIf is refused under a rule, because something else
// stands. Under an empty epoch any one will do.
func (s *trial) refuses(ctx context.Context, log eventlog.Log, rule, topic string, newest, stands eventlog.Receipt) (eventlog.Receipt, error) {
	r, err := s.appendIf(ctx, log, s.of(topic), newest)
	if err == nil {
		return r, broke(rule, "AppendIf named %+v, stands %+v, and %w: %+v", newest, stands, errAppended, r)
	}
	var conflict *eventlog.ConflictError
	if !errors.As(err, &conflict) {
		return r, broke(ruleConflict, "AppendIf named %+v, stands %+v, and it returned %w", newest, stands, err)
	}
	if stands.Epoch == "" {
		stands.Epoch = conflict.Newest.Epoch
	}
	if conflict.Newest != stands || stands.Epoch == "" {
		return r, broke(ruleConflict, "stands %+v, and the error of AppendIf says %+v", stands, conflict.Newest)
	}
	return conflict.Newest, nil
}

var errAppended = errors.New("it was appended")

// refusesAtLast is refuses for a log that may still have to come round.
func (s *trial) refusesAtLast(ctx context.Context, log eventlog.Log, rule, topic string, newest, stands eventlog.Receipt) (got eventlog.Receipt, err error) {
	var appended error
	err = until(ctx, func() (err error) {
		if got, err = s.refuses(ctx, log, rule, topic, newest, stands); errors.Is(err, errAppended) {
			appended, err = err, nil
		}
		return err
	})
	return got, errors.Join(err, appended)
}

func conditionFollows(ctx context.Context, s *trial) error {
	b, err := s.bounds(ctx, s.log)
	if err != nil {
		return err
	}
	none := eventlog.Receipt{Epoch: b.Epoch}
	for _, topic := range []string{"answer:1", "", "answer:2"} {
		var want []eventlog.Entry
		newest := eventlog.Receipt{}
		for i := range 6 {
			log := []eventlog.Log{s.log, s.other}[i%2]
			// All that does not stand: an older one, one that will be, another epoch.
			for _, wrong := range []eventlog.Receipt{
				{Position: newest.Position + 1},
				{Position: newest.Position + 1, Epoch: b.Epoch},
				{Position: newest.Position, Epoch: b.Epoch + "x"},
			} {
				rule := ruleConflict
				if wrong.Position == newest.Position {
					rule = ruleNone
				}
				if _, err := s.refuses(ctx, log, rule, topic, wrong, eventlog.Receipt{Position: newest.Position, Epoch: b.Epoch}); err != nil {
					return err
				}
			}
			if newest.Position > 0 {
				for _, wrong := range []eventlog.Receipt{{}, none, {Position: newest.Position - 1, Epoch: b.Epoch}} {
					if _, err := s.refuses(ctx, log, ruleNone, topic, wrong, newest); err != nil {
						return err
					}
				}
			}
			e := s.of(topic)
			named := newest
			if i%3 == 1 {
				named.Epoch = ""
			}
			r, err := s.appendIf(ctx, log, e, named)
			if err != nil {
				return broke(ruleIf, "the newest entry of the topic %q is %+v, AppendIf named %+v and returned %w", topic, newest, named, err)
			}
			if r.Epoch != b.Epoch {
				return broke(ruleReceipt, "the epoch is %q, AppendIf returned %+v", b.Epoch, r)
			}
			e.Position, newest = r.Position, r
			want = append(want, e)
			if i == 2 { // by another who asks for nothing
				if e, err = s.append(ctx, s.other, s.of(topic)); err != nil {
					return err
				}
				stands := eventlog.Receipt{Position: e.Position, Epoch: b.Epoch}
				if newest, err = s.refuses(ctx, log, ruleConflict, topic, newest, stands); err != nil {
					return err
				}
				want = append(want, e)
			}
			other, err := s.append(ctx, s.log, s.entry())
			if err != nil {
				return err
			}
			want = append(want, other)
		}
		got, err := s.read(ctx, s.log, want[0].Position-1, want[len(want)-1].Position)
		if err != nil {
			return err
		}
		if err := compare(ruleConflict, "Read of what AppendIf was not refused", want, got); err != nil {
			return err
		}
		if first := b.Last + 1; want[0].Position != first && topic == "answer:1" {
			return broke(ruleConflict, "AppendIf was refused in an empty log, and then returned position %d instead of %d", want[0].Position, first)
		}
	}
	return nil
}

func conditionAppends(ctx context.Context, s *trial) error {
	var want []eventlog.Entry
	newest := eventlog.Receipt{}
	for _, data := range [][]byte{nil, {}, []byte("\x00\xff text")} {
		e := s.of("full")
		e.Data, e.Type, e.Retry, e.End = data, " type ", 1500*time.Millisecond, true
		kept := string(data)
		r, err := s.appendIf(ctx, s.log, e, newest)
		if err != nil {
			return err
		}
		if string(e.Data) != kept {
			return broke(ruleUntouched, "AppendIf has changed the data to %q", e.Data)
		}
		e.Position, newest = r.Position, r
		want = append(want, e)
	}
	got, err := s.read(ctx, s.other, want[0].Position-1, newest.Position)
	if err != nil {
		return err
	}
	return compare(ruleIf, "Read of what AppendIf has appended", want, got)
}

func conditionSimilarTopics(ctx context.Context, s *trial) error {
	for _, topic := range []string{"a", "A", "a.b", "a.B", "a:b", "a b", " a", "a*", "a>", "*", ">", "", "a%20b", "{a}", "é"} {
		r, err := s.appendIf(ctx, s.log, s.of(topic), eventlog.Receipt{})
		if err != nil {
			return broke(ruleOthers, "nothing was appended to the topic %q, only to others like it: %w", topic, err)
		}
		if _, err := s.refuses(ctx, s.other, ruleNone, topic, eventlog.Receipt{}, r); err != nil {
			return err
		}
	}
	return nil
}

// conditionSeveral has three topics that know nothing of each other: one, and what is
// of it and another, and of two others.
func conditionSeveral(ctx context.Context, s *trial) error {
	of := func(topics ...string) eventlog.Entry {
		e := s.entry()
		if e.Topic = topics[0]; len(topics) > 1 {
			several(topics...)(&e)
		}
		return e
	}
	newest := map[string]eventlog.Receipt{}
	for _, topics := range [][]string{{"a", "b"}, {"a"}, {"b", "a"}, {"a"}, {"c", "d"}, {"b"}, {"a", "b"}, {"b"}} {
		e := of(topics...)
		r, err := s.appendIf(ctx, s.log, e, newest[e.Topic])
		if err != nil {
			return broke(ruleSeveral, "the newest of %q is %+v, AppendIf of an entry of the topics %q named that and returned %w", e.Topic, newest[e.Topic], topics, err)
		}
		for _, wrong := range []eventlog.Receipt{newest[e.Topic], {Position: r.Position - 1, Epoch: r.Epoch}} {
			_, err := s.appendIf(ctx, s.other, of(topics...), wrong)
			conflict, ok := errors.AsType[*eventlog.ConflictError](err)
			if !ok || conflict.Newest != r {
				return broke(ruleSeveral, "the newest of %q is %+v, AppendIf of an entry of the topics %q named %+v and returned %w", e.Topic, r, topics, wrong, err)
			}
		}
		newest[e.Topic] = r
	}
	return nil
}

func conditionAgain(ctx context.Context, s *trial) error {
	const topic = "again"
	var entries []eventlog.Entry
	var receipts []eventlog.Receipt
	newest := eventlog.Receipt{}
	for range 3 {
		e := s.of(topic)
		r, err := s.appendIf(ctx, s.log, e, newest)
		if err != nil {
			return err
		}
		entries, receipts, newest = append(entries, e), append(receipts, r), r
		named := eventlog.Receipt{}
		for i, e := range entries {
			for _, named := range []eventlog.Receipt{named, newest, {}} {
				e.Data = []byte("other data under the same message ID")
				again, err := s.appendIf(ctx, s.other, e, named)
				if err != nil {
					return broke(ruleRetried, "the message was appended, and AppendIf, which named %+v, returned %w", named, err)
				}
				if again != receipts[i] {
					return broke(ruleRetried, "AppendIf returned %+v at first, and %+v for the same message again", receipts[i], again)
				}
			}
			named = receipts[i]
		}
	}
	plain, err := s.receipt(ctx, s.log, entries[1])
	if err != nil {
		return err
	}
	if plain != receipts[1] {
		return broke(ruleRetried, "AppendIf returned %+v, and Append of the same message %+v", receipts[1], plain)
	}
	for i := range entries {
		entries[i].Position = receipts[i].Position
	}
	got, err := s.read(ctx, s.log, entries[0].Position-1, newest.Position+10)
	if err != nil {
		return err
	}
	return compare(ruleOnce, "Read of messages that were appended again and again", entries, got)
}

func conditionRace(ctx context.Context, s *trial) error {
	const rounds, producers = 8, 12
	newest := eventlog.Receipt{}
	for range rounds {
		var won atomic.Int64
		var winner atomic.Pointer[eventlog.Receipt]
		err := parallel(producers, func(i int) error {
			r, err := s.appendIf(ctx, []eventlog.Log{s.log, s.other}[i%2], s.of("race"), newest)
			if err == nil {
				won.Add(1)
				winner.Store(&r)
				return nil
			}
			if conflict, ok := errors.AsType[*eventlog.ConflictError](err); !ok || conflict.Newest.Position <= newest.Position {
				return broke(ruleConflict, "of %d producers that name %+v one returned %w", producers, newest, err)
			}
			return nil
		})
		if n := won.Load(); n != 1 {
			return errors.Join(broke(ruleOneWins, "of %d that named %+v at the same time %d succeeded", producers, newest, n), err)
		}
		if err != nil {
			return err
		}
		newest = *winner.Load()
	}
	b, err := s.bounds(ctx, s.log)
	if err != nil {
		return err
	}
	if b.Last != newest.Position {
		return broke(ruleConflict, "the last to win got position %d, and the log ends at %d", newest.Position, b.Last)
	}
	return nil
}

// conditionCutOff does what a producer does whose answer was lost: wherever the
// first attempt got to, the second gives the receipt of the one entry.
func conditionCutOff(ctx context.Context, s *trial) error {
	var want []eventlog.Entry
	newest := eventlog.Receipt{}
	for range 30 {
		e := s.of("cut off")
		short, cancel := context.WithTimeout(ctx, time.Duration(rand.IntN(1000))*time.Microsecond)
		_, _ = s.appendIf(short, s.log, e, newest) // whether it is kept is what nobody knows
		cancel()
		r, err := s.appendIf(ctx, s.other, e, newest)
		if err != nil {
			return broke(ruleRetried, "AppendIf was cut off, and tried again it returned %w", err)
		}
		e.Position, newest = r.Position, r
		want = append(want, e)
	}
	got, err := s.read(ctx, s.log, want[0].Position-1, newest.Position+10)
	if err != nil {
		return err
	}
	return compare(ruleOnce, "Read of what AppendIf has appended, with little time and then again", want, got)
}

func conditionCancelled(ctx context.Context, s *trial) error {
	over, cancel := context.WithCancelCause(ctx)
	cancel(errStopped)
	if _, err := s.appendIf(over, s.log, s.of("x"), eventlog.Receipt{}); err == nil || !stopped(err) {
		return broke(ruleErrors, "the context had ended with the cause %q, AppendIf returned %v", errStopped, err)
	}
	return nil
}

func conditionTrimmed(ctx context.Context, s *trial) error {
	left, err := s.appendIf(ctx, s.log, s.of("left"), eventlog.Receipt{})
	if err != nil {
		return err
	}
	first, err := s.appendIf(ctx, s.log, s.of("there"), eventlog.Receipt{})
	if err != nil {
		return err
	}
	newest, err := s.appendIf(ctx, s.log, s.of("there"), first)
	if err != nil {
		return err
	}
	s.faults.Trim(s.t, s.log, 2)
	if _, err := s.settle(ctx); err != nil {
		return err
	}
	if _, err := s.refuses(ctx, s.log, ruleLeft, "left", left, eventlog.Receipt{Epoch: left.Epoch}); err != nil {
		return err
	}
	if _, err := s.appendIf(ctx, s.other, s.of("left"), eventlog.Receipt{}); err != nil {
		return broke(ruleLeft, "the newest entry of the topic has left, and AppendIf, which named none, returned %w", err)
	}
	if _, err := s.appendIf(ctx, s.other, s.of("there"), newest); err != nil {
		return broke(ruleIf, "an older entry of the topic has left, and AppendIf, which named the newest, returned %w", err)
	}
	return nil
}

func conditionPurged(ctx context.Context, s *trial) error {
	newest, err := s.appendIf(ctx, s.log, s.of("x"), eventlog.Receipt{})
	if err != nil {
		return err
	}
	s.faults.Purge(s.t, s.log)
	b, err := s.settle(ctx)
	if err != nil {
		return err
	}
	none, err := s.refuses(ctx, s.other, ruleLeft, "x", newest, eventlog.Receipt{Epoch: b.Epoch})
	if err != nil {
		return err
	}
	r, err := s.appendIf(ctx, s.log, s.of("x"), none)
	if err != nil {
		return broke(ruleNext, "AppendIf was refused because of %+v, and then again: %w", none, err)
	}
	_, err = s.refuses(ctx, s.other, ruleNone, "x", none, r)
	return err
}

// conditionRenewed lets the topic go on in the new life at the very position that
// it had in the old one, if positions begin again.
func conditionRenewed(ctx context.Context, s *trial) error {
	old := eventlog.Receipt{}
	for range 3 {
		r, err := s.appendIf(ctx, s.log, s.of("x"), old)
		if err != nil {
			return err
		}
		old = r
	}
	s.faults.Renew(s.t, s.log)
	b, err := s.settle(ctx)
	if err != nil {
		return err
	}
	newest := eventlog.Receipt{Epoch: b.Epoch}
	for range 5 {
		if _, err := s.refusesAtLast(ctx, s.other, ruleNone, "x", old, newest); err != nil {
			return err
		}
		e := s.of("x")
		if err := until(ctx, func() (err error) {
			newest, err = s.appendIf(ctx, s.log, e, newest)
			return err
		}); err != nil {
			return err
		}
		if newest.Epoch != b.Epoch {
			return broke(ruleReceipt, "the epoch is %q, AppendIf returned %+v", b.Epoch, newest)
		}
	}
	return nil
}

// conditionRolledBack has two producers: one that was there before, and does not
// know what was lost, and one that takes over.
func conditionRolledBack(ctx context.Context, s *trial) error {
	kept, err := s.appendIf(ctx, s.log, s.of("x"), eventlog.Receipt{})
	if err != nil {
		return err
	}
	restore := s.faults.Backup(s.t, s.log)
	lost := kept
	for range 3 {
		if lost, err = s.appendIf(ctx, s.log, s.of("x"), lost); err != nil {
			return err
		}
	}
	begun, err := s.appendIf(ctx, s.log, s.of("y"), eventlog.Receipt{})
	if err != nil {
		return err
	}
	restore()
	if _, err := s.settle(ctx); err != nil {
		return err
	}
	stands, err := s.refusesAtLast(ctx, s.other, ruleBack, "x", lost, eventlog.Receipt{Position: kept.Position})
	if err != nil {
		return err
	}
	if _, err := s.refusesAtLast(ctx, s.log, ruleBack, "y", begun, eventlog.Receipt{Epoch: stands.Epoch}); err != nil {
		return err
	}
	r, err := s.appendIf(ctx, s.log, s.of("x"), stands)
	if err != nil {
		return broke(ruleNext, "AppendIf was refused because of %+v, and then again: %w", stands, err)
	}
	_, err = s.refuses(ctx, s.other, ruleBack, "x", lost, r)
	return err
}
