package ssegintest_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ssegin/ssegin/eventlog"
)

var conditionMutants = []mutation{
	{"AppendIf appends in any case", "AppendIf follows", "Where the condition does not hold nothing is appended", conditional(func(m *mutant, ctx context.Context, e eventlog.Entry, _ eventlog.Receipt) (eventlog.Receipt, error) {
		return m.Log.Append(ctx, e)
	})},
	{"AppendIf takes 0 for no condition", "AppendIf follows", "Its position is 0 if the log holds none", conditional(func(m *mutant, ctx context.Context, e eventlog.Entry, newest eventlog.Receipt) (eventlog.Receipt, error) {
		if newest.Position == 0 && newest.Epoch == "" {
			return m.Log.Append(ctx, e)
		}
		return m.Log.AppendIf(ctx, e, newest)
	})},
	{"AppendIf judges by position alone", "AppendIf follows", "if its epoch is not empty, the log has to be in that life", conditional(func(m *mutant, ctx context.Context, e eventlog.Entry, newest eventlog.Receipt) (eventlog.Receipt, error) {
		newest.Epoch = ""
		return m.Log.AppendIf(ctx, e, newest)
	})},
	{"AppendIf demands an epoch", "AppendIf follows", "on one condition", conditional(func(m *mutant, ctx context.Context, e eventlog.Entry, newest eventlog.Receipt) (eventlog.Receipt, error) {
		if newest.Position > 0 && newest.Epoch == "" {
			newest.Epoch = "none"
		}
		return m.Log.AppendIf(ctx, e, newest)
	})},
	{"AppendIf judges by the newest of all", "AppendIf follows", "which says what stands", judged(func(m *mutant, ctx context.Context, e eventlog.Entry) uint64 {
		b, _ := m.Log.Bounds(ctx)
		if b.First > b.Last {
			return 0
		}
		return b.Last
	})},
	{"AppendIf knows topics without case", "AppendIf tells similar", "Entries of other topics do not matter.", conditional(func(m *mutant, ctx context.Context, e eventlog.Entry, newest eventlog.Receipt) (eventlog.Receipt, error) {
		e.Topic = strings.ToLower(e.Topic)
		return m.Log.AppendIf(ctx, e, newest)
	})},
	{"AppendIf takes an entry of several topics for one of each", "AppendIf of entries of several", "it is not the newest of any of them", judged(func(m *mutant, ctx context.Context, e eventlog.Entry) (position uint64) {
		for other, err := range m.Log.Read(ctx, 0, 1<<62) {
			if err == nil && (other.Topic == e.Topic || slices.Contains(other.Topics, e.Topic)) {
				position = other.Position
			}
		}
		return position
	})},
	{"AppendIf judges entries of several topics by all of them", "AppendIf of entries of several", "whichever these are", judged(func(m *mutant, ctx context.Context, e eventlog.Entry) (position uint64) {
		for other, err := range m.Log.Read(ctx, 0, 1<<62) {
			if err == nil && other.Topic == e.Topic && slices.Equal(other.Topics, e.Topics) {
				position = other.Position
			}
		}
		return position
	})},
	{"AppendIf returns any error", "AppendIf follows", "the error is a *ConflictError", conditional(func(m *mutant, ctx context.Context, e eventlog.Entry, newest eventlog.Receipt) (eventlog.Receipt, error) {
		r, err := m.Log.AppendIf(ctx, e, newest)
		if err != nil {
			err = errors.New("wrong last sequence")
		}
		return r, err
	})},
	{"AppendIf does not say what stands", "AppendIf follows", "which says what stands", conflicting(func(newest *eventlog.Receipt) { newest.Position = 0 })},
	{"AppendIf does not say in which life", "AppendIf follows", "which says what stands", conflicting(func(newest *eventlog.Receipt) { newest.Epoch = "" })},
	{"what AppendIf says cannot be given to it", "AppendIf when all have left", "it can be given to AppendIf as it is", conditional(func(m *mutant, ctx context.Context, e eventlog.Entry, newest eventlog.Receipt) (eventlog.Receipt, error) {
		if newest.Position == 0 && newest.Epoch != "" {
			newest.Position = 1
		}
		return m.Log.AppendIf(ctx, e, newest)
	})},
	{"what AppendIf has refused is there", "AppendIf follows", "nothing is appended", conditional(func(m *mutant, ctx context.Context, e eventlog.Entry, newest eventlog.Receipt) (eventlog.Receipt, error) {
		r, err := m.Log.AppendIf(ctx, e, newest)
		if err != nil {
			e.Topic += "refused"
			_, _ = m.Log.Append(ctx, e)
		}
		return r, err
	})},
	{"AppendIf judges first and appends then", "AppendIf by many", "one succeeds", judged(func(m *mutant, ctx context.Context, e eventlog.Entry) uint64 {
		defer time.Sleep(time.Millisecond)
		return newestOf(ctx, m, e.Topic)
	})},
	{"AppendIf judges before it knows the message", "AppendIf of a message", "before the condition is judged", conditional(func(m *mutant, ctx context.Context, e eventlog.Entry, newest eventlog.Receipt) (eventlog.Receipt, error) {
		if stands := newestOf(ctx, m, e.Topic); newest.Position != stands {
			b, _ := m.Log.Bounds(ctx)
			return eventlog.Receipt{}, &eventlog.ConflictError{Newest: eventlog.Receipt{Position: stands, Epoch: b.Epoch}}
		}
		return m.Log.AppendIf(ctx, e, newest)
	})},
	{"AppendIf knows only the newest message again", "AppendIf of a message", "whatever has followed it", conditional(func(m *mutant, ctx context.Context, e eventlog.Entry, newest eventlog.Receipt) (eventlog.Receipt, error) {
		r, err := m.Log.AppendIf(ctx, e, newest)
		if stands := newestOf(ctx, m, e.Topic); err == nil && stands > r.Position {
			return eventlog.Receipt{}, &eventlog.ConflictError{Newest: eventlog.Receipt{Position: stands, Epoch: r.Epoch}}
		}
		return r, err
	})},
	{"AppendIf knows no message again", "AppendIf again after", "before the condition is judged", func(m *mutant) eventlog.Log {
		var seen sync.Map
		m.appendIf = func(ctx context.Context, e eventlog.Entry, newest eventlog.Receipt) (eventlog.Receipt, error) {
			if _, again := seen.LoadOrStore(e.MessageID, true); again {
				e.MessageID += "again"
			}
			return m.Log.AppendIf(context.WithoutCancel(ctx), e, newest)
		}
		return m
	}},
	{"AppendIf remembers what has left", "AppendIf when the newest has left", "there is none, as if there had never been one", remembersNewest},
	{"AppendIf remembers what all have left", "AppendIf when all have left", "there is none, as if there had never been one", remembersNewest},
	{"AppendIf remembers what was rolled back", "AppendIf in a log that was rolled back", "whoever names an entry that is gone is refused", remembersNewest},
	{"AppendIf does not know lives", "AppendIf in a log that was made anew", "the log has to be in that life", remembersNewest},
	{"AppendIf returns the epoch of others", "AppendIf follows", "finds it under that epoch", conditional(func(m *mutant, ctx context.Context, e eventlog.Entry, newest eventlog.Receipt) (eventlog.Receipt, error) {
		r, err := m.Log.AppendIf(ctx, e, newest)
		r.Epoch += "x"
		return r, err
	})},
	{"AppendIf loses the end", "AppendIf appends as", "in its parts", conditional(func(m *mutant, ctx context.Context, e eventlog.Entry, newest eventlog.Receipt) (eventlog.Receipt, error) {
		e.End = false
		return m.Log.AppendIf(ctx, e, newest)
	})},
	{"AppendIf changes the data", "AppendIf appends as", "sets nothing of e", conditional(func(m *mutant, ctx context.Context, e eventlog.Entry, newest eventlog.Receipt) (eventlog.Receipt, error) {
		r, err := m.Log.AppendIf(ctx, e, newest)
		clear(e.Data)
		return r, err
	})},
	{"AppendIf does not look at its context", "AppendIf with a context", "as soon as it has it", conditional(func(m *mutant, ctx context.Context, e eventlog.Entry, newest eventlog.Receipt) (eventlog.Receipt, error) {
		return m.Log.AppendIf(context.WithoutCancel(ctx), e, newest)
	})},
}

type appendIf = func(m *mutant, ctx context.Context, e eventlog.Entry, newest eventlog.Receipt) (eventlog.Receipt, error)

func conditional(f appendIf) func(*mutant) eventlog.Log {
	return func(m *mutant) eventlog.Log {
		m.appendIf = func(ctx context.Context, e eventlog.Entry, newest eventlog.Receipt) (eventlog.Receipt, error) {
			return f(m, ctx, e, newest)
		}
		return m
	}
}

// conflicting makes the mutant say what change makes of what stands.
func conflicting(change func(*eventlog.Receipt)) func(*mutant) eventlog.Log {
	return conditional(func(m *mutant, ctx context.Context, e eventlog.Entry, newest eventlog.Receipt) (eventlog.Receipt, error) {
		r, err := m.Log.AppendIf(ctx, e, newest)
		if conflict, ok := errors.AsType[*eventlog.ConflictError](err); ok {
			change(&conflict.Newest)
		}
		return r, err
	})
}

// judged makes the mutant judge by that position, and then append.
func judged(by func(m *mutant, ctx context.Context, e eventlog.Entry) uint64) func(*mutant) eventlog.Log {
	return conditional(func(m *mutant, ctx context.Context, e eventlog.Entry, newest eventlog.Receipt) (eventlog.Receipt, error) {
		b, _ := m.Log.Bounds(ctx)
		stands := by(m, ctx, e)
		if newest.Position != stands || newest.Epoch != "" && newest.Epoch != b.Epoch {
			return eventlog.Receipt{}, &eventlog.ConflictError{Newest: eventlog.Receipt{Position: stands, Epoch: b.Epoch}}
		}
		return m.Log.Append(ctx, e)
	})
}

// remembersNewest lets the mutant judge by what it has appended itself.
func remembersNewest(m *mutant) eventlog.Log {
	var mu sync.Mutex
	newest := map[string]eventlog.Receipt{}
	m.appendIf = func(ctx context.Context, e eventlog.Entry, named eventlog.Receipt) (eventlog.Receipt, error) {
		mu.Lock()
		defer mu.Unlock()
		if named != newest[e.Topic] {
			return eventlog.Receipt{}, &eventlog.ConflictError{Newest: newest[e.Topic]}
		}
		r, err := m.Log.Append(ctx, e)
		newest[e.Topic] = r
		return r, err
	}
	return m
}

func newestOf(ctx context.Context, m *mutant, topic string) (position uint64) {
	for e, err := range m.Log.Read(ctx, 0, 1<<62) {
		if err == nil && e.Topic == topic {
			position = e.Position
		}
	}
	return position
}
