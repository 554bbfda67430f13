package ssegintest_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ssegin/ssegin/eventlog"
	"github.com/ssegin/ssegin/ssegintest"
)

var appendMutants = []mutation{
	{"Append skips a position now and then", "Append counts", "counted up by exactly 1", func(m *mutant) eventlog.Log {
		var count counter
		m.append = func(ctx context.Context, e eventlog.Entry) (eventlog.Receipt, error) {
			if count.next()%5 == 0 {
				hole, _ := m.Log.Append(ctx, eventlog.Entry{})
				m.Delete(hole.Position)
			}
			return m.Log.Append(ctx, e)
		}
		return m
	}},
	{"Append returns before the entry is kept", "an entry that is too large", "once the engine says that it is kept", func(m *mutant) eventlog.Log {
		m.append = func(ctx context.Context, e eventlog.Entry) (eventlog.Receipt, error) {
			b, err := m.Log.Bounds(ctx)
			e.Data = bytes.Clone(e.Data)
			time.AfterFunc(time.Millisecond, func() { _, _ = m.Log.Append(ctx, e) })
			return eventlog.Receipt{Position: b.Last + 1, Epoch: b.Epoch}, err
		}
		return m
	}},
	{"Append forgets message IDs", "Append of a message again", "is there once", func(m *mutant) eventlog.Log {
		m.Log = ssegintest.NewLog(ssegintest.WithMessageWindow(0))
		return m
	}},
	{"each process remembers message IDs by itself", "Append of a message by many", "is there once", func(m *mutant) eventlog.Log {
		m.Log = ssegintest.NewLog(ssegintest.WithMessageWindow(0))
		m.open = func() eventlog.Log { return remembering(&mutant{Log: m.Log}) }
		return remembering(m)
	}},
	{"message IDs outlive the log", "the log was made anew", "Append puts e at the end", func(m *mutant) eventlog.Log { return remembering(m) }},
	{"Append again returns the newest position", "Append of a message again", "returns the receipt of the first", func(m *mutant) eventlog.Log {
		m.append = func(ctx context.Context, e eventlog.Entry) (eventlog.Receipt, error) {
			if _, err := m.Log.Append(ctx, e); err != nil {
				return eventlog.Receipt{}, err
			}
			b, err := m.Log.Bounds(ctx)
			return eventlog.Receipt{Position: b.Last, Epoch: b.Epoch}, err
		}
		return m
	}},
	{"message IDs without case", "Append tells similar", "tells this entry from all others", func(m *mutant) eventlog.Log {
		m.append = func(ctx context.Context, e eventlog.Entry) (eventlog.Receipt, error) {
			e.MessageID = strings.ToUpper(e.MessageID)
			return m.Log.Append(ctx, e)
		}
		return m
	}},
	{"Append returns no epoch", "Append returns the epoch", "returned an empty epoch", func(m *mutant) eventlog.Log {
		return m.receipts(func(r *eventlog.Receipt) { r.Epoch = "" })
	}},
	{"Append returns an epoch of its own", "Append returns the epoch", "finds it under that epoch", func(m *mutant) eventlog.Log {
		return m.receipts(func(r *eventlog.Receipt) { r.Epoch += "x" })
	}},
	{"Append returns the epoch that it knew before", "Append while the log is made anew", "finds it under that epoch", func(m *mutant) eventlog.Log {
		m.append = func(ctx context.Context, e eventlog.Entry) (eventlog.Receipt, error) {
			b, _ := m.Log.Bounds(ctx)
			time.Sleep(time.Millisecond)
			r, err := m.Log.Append(ctx, e)
			return eventlog.Receipt{Position: r.Position, Epoch: b.Epoch}, err
		}
		return m
	}},
	{"Append returns the epoch of now", "Append while the log is made anew", "finds it under that epoch", func(m *mutant) eventlog.Log {
		m.append = func(ctx context.Context, e eventlog.Entry) (eventlog.Receipt, error) {
			r, err := m.Log.Append(ctx, e)
			time.Sleep(time.Millisecond)
			b, _ := m.Log.Bounds(ctx)
			return eventlog.Receipt{Position: r.Position, Epoch: b.Epoch}, err
		}
		return m
	}},
	{"Append keeps the data", "Append sets nothing", "does not keep e.Data", func(m *mutant) eventlog.Log { return sharing(m) }},
	{"Append changes the data", "Append sets nothing", "sets nothing of e", func(m *mutant) eventlog.Log {
		m.append = func(ctx context.Context, e eventlog.Entry) (eventlog.Receipt, error) {
			r, err := m.Log.Append(ctx, e)
			clear(e.Data)
			return r, err
		}
		return m
	}},
	{"Append goes on after its context has ended", "Append with a context", "as soon as it has it", func(m *mutant) eventlog.Log {
		m.append = func(ctx context.Context, e eventlog.Entry) (eventlog.Receipt, error) {
			if ctx.Err() != nil {
				time.Sleep(time.Hour)
			}
			return m.Log.Append(ctx, e)
		}
		return m
	}},
	{"Append does not look at its context", "Append with a context", "as soon as it has it", func(m *mutant) eventlog.Log {
		m.append = func(ctx context.Context, e eventlog.Entry) (eventlog.Receipt, error) {
			return m.Log.Append(context.WithoutCancel(ctx), e)
		}
		return m
	}},
	{"a refusal that looks like an error to be tried again", "an entry that is too large", "wraps [ErrRefused]", func(m *mutant) eventlog.Log {
		m.append = func(ctx context.Context, e eventlog.Entry) (eventlog.Receipt, error) {
			if len(e.Data) > 1<<20 {
				return eventlog.Receipt{}, errors.New("maximum payload exceeded")
			}
			return m.Log.Append(ctx, e)
		}
		return m
	}},
	{"a refused entry is there", "an entry that is too large", "Append puts e at the end", func(m *mutant) eventlog.Log {
		m.append = func(ctx context.Context, e eventlog.Entry) (eventlog.Receipt, error) {
			r, err := m.Log.Append(ctx, e)
			if len(e.Data) > 1<<20 {
				err = eventlog.ErrRefused
			}
			return r, err
		}
		return m
	}},
}

var entryMutants = []mutation{
	{"nil data is empty", "entries come back", "nil, which is not the same as empty", changed(func(e *eventlog.Entry) { e.Data = append([]byte{}, e.Data...) })},
	{"empty data is nil", "entries come back", "nil, which is not the same as empty", changed(func(e *eventlog.Entry) { e.Data = append([]byte(nil), e.Data...) })},
	{"data is UTF-8", "entries come back", "any bytes", changed(func(e *eventlog.Entry) {
		if e.Data != nil {
			e.Data = bytes.ToValidUTF8(e.Data, []byte("\ufffd"))
		}
	})},
	{"data ends at NUL", "entries come back", "any bytes", changed(func(e *eventlog.Entry) { e.Data, _, _ = bytes.Cut(e.Data, []byte{0}) })},
	{"large data is cut", "large entries", "any bytes", changed(func(e *eventlog.Entry) { e.Data = e.Data[:min(len(e.Data), 64<<10)] })},
	{"topics lose the spaces around", "entries come back", "up to 1 KiB", changed(func(e *eventlog.Entry) { e.Topic = strings.TrimSpace(e.Topic) })},
	{"topics are cut", "entries come back", "up to 1 KiB", changed(func(e *eventlog.Entry) { e.Topic = e.Topic[:min(len(e.Topic), 255)] })},
	{"topics are a wildcard", "entries come back", "up to 1 KiB", changed(func(e *eventlog.Entry) { e.Topic = strings.ReplaceAll(e.Topic, ">", "") })},
	{"types lose the spaces around", "entries come back", "any text without CR, LF or NUL", changed(func(e *eventlog.Entry) { e.Type = strings.TrimSpace(e.Type) })},
	{"types are cut", "entries come back", "any text without CR, LF or NUL", changed(func(e *eventlog.Entry) { e.Type = e.Type[:min(len(e.Type), 255)] })},
	{"retry in milliseconds", "entries come back", "in its parts", changed(func(e *eventlog.Entry) { e.Retry = e.Retry.Truncate(time.Millisecond) })},
	{"the end is lost", "entries come back", "in its parts", changed(func(e *eventlog.Entry) { e.End = false })},
	{"the message ID is lost", "entries come back", "tells this entry from all others", changed(func(e *eventlog.Entry) { e.MessageID = "" })},
	{"no time", "entries come back", "when the log took it", changed(func(e *eventlog.Entry) { e.Time = time.Time{} })},
	{"the time of the reader", "Append of a message again", "it never changes", changed(func(e *eventlog.Entry) { e.Time = e.Time.Add(rand.N(time.Hour)) })},
	{"the time of the publisher", "Append sets nothing", "ignores e.Position and e.Time", func(m *mutant) eventlog.Log {
		var times sync.Map
		m.append = func(ctx context.Context, e eventlog.Entry) (eventlog.Receipt, error) {
			times.Store(e.MessageID, e.Time)
			return m.Log.Append(ctx, e)
		}
		return m.stored(func(e *eventlog.Entry) {
			if t, _ := times.Load(e.MessageID); t != nil && !t.(time.Time).IsZero() {
				e.Time = t.(time.Time)
			}
		})
	}},
}

var boundsMutants = []mutation{
	{"an empty log ends at 0", "Append counts", "one below the start before the first", bounded(func(b *eventlog.Bounds) {
		if b.First > b.Last {
			b.First, b.Last = 1, 0
		}
	})},
	{"an empty log begins at its last position", "Bounds makes", "Last+1 when there is none", bounded(func(b *eventlog.Bounds) { b.First = min(b.First, b.Last) })},
	{"an empty log has no first position", "Bounds makes", "Bounds returned 0 as the first position", bounded(func(b *eventlog.Bounds) {
		if b.First > b.Last {
			b.First = 0
		}
	})},
	{"one epoch for all logs", "Append of a message", "not used before", bounded(func(b *eventlog.Bounds) { b.Epoch = "epoch" })},
	{"no epoch", "Bounds says", "returned an empty epoch", bounded(func(b *eventlog.Bounds) { b.Epoch = "" })},
	{"each time another epoch", "Bounds makes", "Where the log does not exist, it is made", bounded(func(b *eventlog.Bounds) { b.Epoch = strconv.Itoa(rand.Int()) })},
	{"each process has its epoch", "Bounds says", "is the same in all processes", func(m *mutant) eventlog.Log {
		m.open = func() eventlog.Log {
			return (&mutant{Log: m.Log}).bounding(func(b *eventlog.Bounds) { b.Epoch += "there" })
		}
		return m
	}},
	{"the epoch survives the log", "the log was made anew", "it changes when the log is made anew", func(m *mutant) eventlog.Log {
		epoch := strconv.Itoa(rand.Int())
		return m.bounding(func(b *eventlog.Bounds) { b.Epoch = epoch })
	}},
	{"bounds from memory", "Bounds says", "not from a memory", func(m *mutant) eventlog.Log {
		var once sync.Once
		var first eventlog.Bounds
		return m.bounding(func(b *eventlog.Bounds) {
			once.Do(func() { first = *b })
			*b = first
		})
	}},
	{"the last position follows the entries", "all entries have left", "that there ever was in this life", func(m *mutant) eventlog.Log {
		var once sync.Once
		var start uint64
		return m.bounding(func(b *eventlog.Bounds) {
			once.Do(func() { start = b.First })
			if b.First > b.Last {
				b.First, b.Last = start, start-1
			}
		})
	}},
	{"the first position never moves", "all entries have left", "position of the oldest entry", func(m *mutant) eventlog.Log {
		var once sync.Once
		var start uint64
		return m.bounding(func(b *eventlog.Bounds) {
			once.Do(func() { start = b.First })
			b.First = start
		})
	}},
	{"no time of the newest entry", "all entries have left", "LastTime is the Time", bounded(func(b *eventlog.Bounds) { b.LastTime = time.Time{} })},
	{"the time of the newest entry leaves with it", "all entries have left", "also when that has left", bounded(func(b *eventlog.Bounds) {
		if b.First > b.Last {
			b.LastTime = time.Time{}
		}
	})},
	{"an empty log has a time", "Bounds makes", "zero before the first entry", bounded(func(b *eventlog.Bounds) {
		if b.LastTime.IsZero() {
			b.LastTime = time.Unix(1, 0)
		}
	})},
	{"Bounds does not look at its context", "Bounds with a context", "as soon as it has it", func(m *mutant) eventlog.Log {
		m.bounds = func(ctx context.Context) (eventlog.Bounds, error) {
			return m.Log.Bounds(context.WithoutCancel(ctx))
		}
		return m
	}},
}

func changed(change func(*eventlog.Entry)) func(*mutant) eventlog.Log {
	return func(m *mutant) eventlog.Log { return m.stored(change) }
}

func bounded(change func(*eventlog.Bounds)) func(*mutant) eventlog.Log {
	return func(m *mutant) eventlog.Log { return m.bounding(change) }
}

// remembering lets the mutant remember message IDs itself, for ever.
func remembering(m *mutant) *mutant {
	var mu sync.Mutex
	seen := make(map[string]eventlog.Receipt)
	m.append = func(ctx context.Context, e eventlog.Entry) (eventlog.Receipt, error) {
		mu.Lock()
		defer mu.Unlock()
		if r, ok := seen[e.MessageID]; ok && ctx.Err() == nil {
			return r, nil
		}
		r, err := m.Log.Append(ctx, e)
		if err == nil {
			seen[e.MessageID] = r
		}
		return r, err
	}
	return m
}

// sharing lets publisher, log and readers have the same bytes.
func sharing(m *mutant) *mutant {
	var data sync.Map
	m.append = func(ctx context.Context, e eventlog.Entry) (eventlog.Receipt, error) {
		r, err := m.Log.Append(ctx, e)
		data.LoadOrStore(e.MessageID, e.Data)
		return r, err
	}
	return m.stored(func(e *eventlog.Entry) {
		if d, ok := data.Load(e.MessageID); ok {
			e.Data = d.([]byte)
		}
	})
}

type counter struct {
	mu sync.Mutex
	n  int
}

func (c *counter) next() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	return c.n
}
