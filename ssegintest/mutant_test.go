package ssegintest_test

import (
	"context"
	"errors"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/ssegin/ssegin/eventlog"
	"github.com/ssegin/ssegin/ssegintest"
)

// A mutant is a Log with one rule broken: a function that is not nil takes the
// place of the method.
type mutant struct {
	*ssegintest.Log
	append    func(ctx context.Context, e eventlog.Entry) (eventlog.Receipt, error)
	appendIf  func(ctx context.Context, e eventlog.Entry, newest eventlog.Receipt) (eventlog.Receipt, error)
	follow    func(ctx context.Context, after uint64, deliver func(eventlog.Entry) error) error
	read      func(ctx context.Context, after, until uint64) iter.Seq2[eventlog.Entry, error]
	readTopic func(ctx context.Context, topic string, after, until uint64, last int) iter.Seq2[eventlog.Entry, error]
	bounds    func(ctx context.Context) (eventlog.Bounds, error)
	open      func() eventlog.Log // as another process does; nil: all share this one
}

func (m *mutant) Append(ctx context.Context, e eventlog.Entry) (eventlog.Receipt, error) {
	if m.append == nil {
		return m.Log.Append(ctx, e)
	}
	return m.append(ctx, e)
}

func (m *mutant) AppendIf(ctx context.Context, e eventlog.Entry, newest eventlog.Receipt) (eventlog.Receipt, error) {
	if m.appendIf == nil {
		return m.Log.AppendIf(ctx, e, newest)
	}
	return m.appendIf(ctx, e, newest)
}

func (m *mutant) Follow(ctx context.Context, after uint64, deliver func(eventlog.Entry) error) error {
	if m.follow == nil {
		return m.Log.Follow(ctx, after, deliver)
	}
	return m.follow(ctx, after, deliver)
}

func (m *mutant) Read(ctx context.Context, after, until uint64) iter.Seq2[eventlog.Entry, error] {
	if m.read == nil {
		return m.Log.Read(ctx, after, until)
	}
	return m.read(ctx, after, until)
}

func (m *mutant) ReadTopic(ctx context.Context, topic string, after, until uint64, last int) iter.Seq2[eventlog.Entry, error] {
	if m.readTopic == nil {
		return m.Log.ReadTopic(ctx, topic, after, until, last)
	}
	return m.readTopic(ctx, topic, after, until, last)
}

func (m *mutant) Bounds(ctx context.Context) (eventlog.Bounds, error) {
	if m.bounds == nil {
		return m.Log.Bounds(ctx)
	}
	return m.bounds(ctx)
}

func (m *mutant) Unwrap() *ssegintest.Log { return m.Log }

// stored makes the mutant show what change makes of each entry.
func (m *mutant) stored(change func(*eventlog.Entry)) *mutant {
	m.follow = func(ctx context.Context, after uint64, deliver func(eventlog.Entry) error) error {
		return m.Log.Follow(ctx, after, func(e eventlog.Entry) error {
			change(&e)
			return deliver(e)
		})
	}
	m.read = func(ctx context.Context, after, until uint64) iter.Seq2[eventlog.Entry, error] {
		return func(yield func(eventlog.Entry, error) bool) {
			for e, err := range m.Log.Read(ctx, after, until) {
				change(&e)
				if !yield(e, err) {
					return
				}
			}
		}
	}
	return m
}

// receipts makes the mutant return what change makes of each receipt.
func (m *mutant) receipts(change func(*eventlog.Receipt)) *mutant {
	m.append = func(ctx context.Context, e eventlog.Entry) (eventlog.Receipt, error) {
		r, err := m.Log.Append(ctx, e)
		change(&r)
		return r, err
	}
	return m
}

// delivering makes the mutant deliver by the function that deliverer returns
// for each Follow.
func (m *mutant) delivering(deliverer func(deliver func(eventlog.Entry) error) func(eventlog.Entry) error) *mutant {
	m.follow = func(ctx context.Context, after uint64, deliver func(eventlog.Entry) error) error {
		return m.Log.Follow(ctx, after, deliverer(deliver))
	}
	return m
}

// bounding makes the mutant's Bounds return what change makes of them.
func (m *mutant) bounding(change func(*eventlog.Bounds)) *mutant {
	m.bounds = func(ctx context.Context) (eventlog.Bounds, error) {
		b, err := m.Log.Bounds(ctx)
		change(&b)
		return b, err
	}
	return m
}

// The suite finds each mutant, and names the rule. Time is a bubble's, because
// some mutants are found only by waiting.
func TestLog_findsEveryMutant(t *testing.T) {
	mutants := slices.Concat(appendMutants, conditionMutants, entryMutants, followMutants, readMutants, topicMutants, boundsMutants)
	for _, test := range mutants {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				errs := ssegintest.CheckLog(t, test.by, func(*testing.T) eventlog.Log { return test.make(memoryMutant()) }, mutantFaults())
				time.Sleep(2 * time.Hour) // longer than any mutant ignores its context
				assert.ErrorContains(t, errors.Join(slices.Collect(maps.Values(errs))...), test.rule)
			})
		})
	}
}

// A mutant without a mutation is found by none: the wrapper itself is right.
func TestLog_findsNothingInAGoodWrapper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good := func(*testing.T) eventlog.Log { return memoryMutant().stored(func(*eventlog.Entry) {}) }
		assert.Empty(t, ssegintest.CheckLog(t, "", good, mutantFaults()))
	})
}

type mutation struct {
	name string
	by   string // the case that finds it, as its name begins
	rule string // words of the rule that must be named
	make func(m *mutant) eventlog.Log
}

// memoryMutant begins anywhere, so that no case counts on a position.
func memoryMutant() *mutant {
	return &mutant{Log: ssegintest.NewLog(ssegintest.WithFirstPosition(1 + rand.Uint64N(5000)))}
}

func mutantFaults() ssegintest.LogFaults {
	faults := memoryFaults()
	faults.Open = func(_ *testing.T, log eventlog.Log) eventlog.Log {
		if m := log.(*mutant); m.open != nil {
			return m.open()
		}
		return log
	}
	return faults
}
