package ssegintest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ssegin/ssegin/eventlog"
)

// A trial is one case on its way: a log of its own, and what was started on it.
// Its methods that call a Log do not wait for ever for one that ignores its
// context.
type trial struct {
	t      *testing.T // for the functions of LogFaults
	log    eventlog.Log
	other  eventlog.Log // as another process has it
	faults LogFaults
	prefix string // of the message IDs, so that no engine remembers them from elsewhere
	count  atomic.Uint64
	tails  []*tail
}

func newTrial(t *testing.T, log eventlog.Log, faults LogFaults) *trial {
	t.Helper()
	s := &trial{t: t, log: log, other: log, faults: faults, prefix: rand.Text()[:8]}
	if faults.Open != nil {
		s.other = faults.Open(t, log)
	}
	return s
}

// finish ends all that was started, and says what rule it broke meanwhile.
func (s *trial) finish() error {
	var errs []error
	for _, f := range s.tails {
		f.cancel(errStopped)
	}
	for _, f := range s.tails {
		_, err := f.ends()
		errs = append(errs, err, f.breach())
	}
	return errors.Join(errs...)
}

// entry returns an entry that is unlike all others.
func (s *trial) entry() eventlog.Entry {
	n := strconv.FormatUint(s.count.Add(1), 10)
	return eventlog.Entry{Topic: "room:" + n, Type: "chat", Data: []byte("text " + n), MessageID: s.prefix + "-" + n}
}

// append returns e with its position.
func (s *trial) append(ctx context.Context, log eventlog.Log, e eventlog.Entry) (eventlog.Entry, error) {
	r, err := s.receipt(ctx, log, e)
	if err == nil {
		e.Position = r.Position
	}
	return e, err
}

func (s *trial) receipt(ctx context.Context, log eventlog.Log, e eventlog.Entry) (eventlog.Receipt, error) {
	r, err := guard(ctx, "Append", ruleAppend, func() (eventlog.Receipt, error) { return log.Append(ctx, e) })
	switch {
	case err != nil:
		return r, fmt.Errorf("Append: %w", err)
	case r.Epoch == "":
		return r, broke(ruleReceipt, "Append returned an empty epoch")
	}
	return r, nil
}

// fill appends n entries, one after the other, through both processes in turn.
func (s *trial) fill(ctx context.Context, n int) ([]eventlog.Entry, error) {
	var entries []eventlog.Entry
	for i := range n {
		log := s.log
		if i%2 == 1 {
			log = s.other
		}
		e, err := s.append(ctx, log, s.entry())
		if err != nil {
			return nil, err
		}
		if i > 0 && e.Position != entries[i-1].Position+1 {
			return nil, broke(ruleCount, "Append returned position %d after %d", e.Position, entries[i-1].Position)
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// fillAndFollow appends n entries and follows them.
func (s *trial) fillAndFollow(ctx context.Context, n int) ([]eventlog.Entry, *tail, error) {
	entries, err := s.fill(ctx, n)
	if err != nil {
		return nil, nil, err
	}
	f := s.follow(ctx, s.log, entries[0].Position-1)
	_, err = f.wait(n, prompt)
	return entries, f, err
}

// insist appends one entry after the other to a log that may still have to come
// round, and repeats each until it is kept.
func (s *trial) insist(ctx context.Context, entries ...eventlog.Entry) ([]eventlog.Entry, error) {
	for i, e := range entries {
		if err := until(ctx, func() (err error) {
			entries[i], err = s.append(ctx, s.log, e)
			return err
		}); err != nil {
			return nil, err
		}
	}
	return entries, nil
}

// settle returns the bounds of a log that may still have to come round.
func (s *trial) settle(ctx context.Context) (b eventlog.Bounds, err error) {
	err = until(ctx, func() error {
		b, err = s.bounds(ctx, s.log)
		return err
	})
	return b, err
}

func (s *trial) bounds(ctx context.Context, log eventlog.Log) (eventlog.Bounds, error) {
	b, err := guard(ctx, "Bounds", ruleBounds, func() (eventlog.Bounds, error) { return log.Bounds(ctx) })
	switch {
	case err != nil:
		return b, fmt.Errorf("Bounds: %w", err)
	case b.Epoch == "":
		return b, broke(ruleEpoch, "Bounds returned an empty epoch")
	case b.First == 0:
		return b, broke(ruleCount, "Bounds returned 0 as the first position")
	case b.First > b.Last+1:
		return b, broke(ruleOld, "Bounds returned the first position %d, and the last %d", b.First, b.Last)
	}
	return b, nil
}

// read returns what Read gives, up to the error that ends it.
func (s *trial) read(ctx context.Context, log eventlog.Log, after, until uint64) ([]eventlog.Entry, error) {
	return guard(ctx, "Read", ruleRead, func() (entries []eventlog.Entry, err error) {
		for e, errRead := range log.Read(ctx, after, until) {
			switch {
			case err != nil:
				return entries, broke(ruleReadEnds, "Read went on after the error %v", err)
			case errRead != nil:
				err = fmt.Errorf("Read: %w", errRead)
			default:
				entries = append(entries, e)
			}
		}
		return entries, err
	})
}

// guard calls one method of a Log, and gives up when it does not return: not at
// all, which breaks the given rule, or not after ctx has ended.
func guard[T any](ctx context.Context, method, rule string, call func() (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	answers := make(chan answer, 1) // with room: nobody may be there any more
	go func() {
		value, err := call()
		answers <- answer{value, err}
	}()
	var none T
	select {
	case a := <-answers:
		return a.value, a.err
	case <-time.After(notice):
		return none, broke(rule, "%s has not returned within %v", method, notice)
	case <-ctx.Done():
	}
	select {
	case a := <-answers:
		return a.value, a.err
	case <-time.After(prompt):
		return none, broke(ruleErrors, "%s had not returned %v after its ctx had ended", method, prompt)
	}
}

// until calls f until it succeeds or was given enough time.
func until(ctx context.Context, f func() error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, notice, fmt.Errorf("not within %v", notice))
	defer cancel()
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// parallel calls f n times at once.
func parallel(n int, f func(i int) error) error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = f(i) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// compare says how got is not what the rule gives: want, with its positions.
func compare(rule, what string, want, got []eventlog.Entry) error {
	for i, e := range got {
		if i > 0 && e.Position <= got[i-1].Position {
			return broke(rule, "%s: position %d came after %d", what, e.Position, got[i-1].Position)
		}
	}
	if w, g := positions(want), positions(got); w != g || len(want) != len(got) {
		return broke(rule, "%s: want positions %s, got %s", what, w, g)
	}
	for i, e := range got {
		if err := compareEntry(want[i], e); err != nil {
			return fmt.Errorf("%s: position %d: %w", what, e.Position, err)
		}
	}
	return nil
}

// compareEntry compares what the publisher has set.
func compareEntry(want, got eventlog.Entry) error {
	switch {
	case got.Topic != want.Topic:
		return broke(ruleTopic, "want the topic %.80q, got %.80q", want.Topic, got.Topic)
	case got.Type != want.Type:
		return broke(ruleType, "want the type %.80q, got %.80q", want.Type, got.Type)
	case !bytes.Equal(got.Data, want.Data):
		return broke(ruleData, "want %d bytes of data, %.80q, got %d, %.80q", len(want.Data), want.Data, len(got.Data), got.Data)
	case (got.Data == nil) != (want.Data == nil):
		return broke(ruleData, "want no data: %t, got no data: %t", want.Data == nil, got.Data == nil)
	case got.Retry != want.Retry:
		return broke(ruleEntry, "want the retry %v, got %v", want.Retry, got.Retry)
	case got.End != want.End:
		return broke(ruleEntry, "want the end %t, got %t", want.End, got.End)
	case got.MessageID != want.MessageID:
		return broke(ruleMessageID, "want the message ID %.80q, got %.80q", want.MessageID, got.MessageID)
	case got.Time.IsZero():
		return broke(ruleTime, "the time is zero")
	}
	return nil
}
