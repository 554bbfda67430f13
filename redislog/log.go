package redislog

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/ssegin/ssegin/eventlog"
)

// Config says which log it is, and how much it keeps. Its zero value is a log
// named ssegin with the bounds given below. All processes that append to one log
// use the same bounds: each append keeps to its own.
type Config struct {
	// Name tells this log from others in the same Redis: one name for each
	// hub. It is any text without braces; the keys are {Name}:log and the
	// like. Empty is "ssegin".
	Name string

	// MaxEntries is how many entries the log keeps, exactly. Zero is 10,000.
	MaxEntries int

	// MaxBytes is how many bytes of entries the log keeps at most, and 14
	// sixteenths of it at least: names and values of their fields. Redis takes
	// about half as much again for small entries, and hardly more for large
	// ones. An entry that alone is larger is refused. Zero is 64 MiB.
	MaxBytes int64

	// MaxAge is how old an entry gets, give or take a sixteenth of it. Entries
	// leave when others are appended: in a log to which nobody writes, they
	// stay. It is counted in milliseconds. Zero is no bound by age.
	MaxAge time.Duration

	// Duplicates is for how long Redis remembers message IDs at least, unless
	// more than 262,144 come within that time. Zero is 2 minutes, and less
	// than a second is taken for one.
	Duplicates time.Duration
}

// A Log is an [eventlog.Log] on Redis. Its methods may be called from any number
// of goroutines. It has nothing to close: the client is the caller's.
type Log struct {
	client redis.UniversalClient
	bounds bounds
	keys   []string // in the order in which the script takes them; the first is the stream
}

var _ eventlog.Log = (*Log)(nil)

// bounds is a Config, as the script takes it.
type bounds struct {
	entries    int
	bytes      int64
	age        int64 // milliseconds
	duplicates int64 // milliseconds
}

// New returns the log of that name on the Redis that client talks to: a
// [redis.Client], made by NewClient or NewFailoverClient, or a
// [redis.ClusterClient]. It asks Redis nothing.
//
// It panics on a negative bound, on a name with braces, and on a [redis.Ring]: a
// ring goes on with another server when one is away, and there with another log.
func New(client redis.UniversalClient, config Config) *Log {
	if config.MaxEntries < 0 || config.MaxBytes < 0 || config.MaxAge < 0 || config.Duplicates < 0 {
		panic("redislog: a bound is negative")
	}
	if strings.ContainsAny(config.Name, "{}") {
		panic("redislog: the name has braces, which say where a cluster keeps the log")
	}
	if _, ring := client.(*redis.Ring); ring || client == nil {
		panic("redislog: the client is none, or a ring")
	}
	prefix := "{" + or(config.Name, "ssegin") + "}:"
	return &Log{
		client: client,
		bounds: bounds{
			entries:    or(config.MaxEntries, 10_000),
			bytes:      or(config.MaxBytes, 64<<20),
			age:        roundUp(config.MaxAge),
			duplicates: roundUp(max(or(config.Duplicates, 2*time.Minute), time.Second)),
		},
		keys: []string{prefix + "log", prefix + "meta", prefix + "ids", prefix + "ids.before", prefix + "topics", prefix + "topics.before"},
	}
}

// longest is the longest text that Redis takes, unless it is set to less.
const longest = 512 << 20

func or[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}

// roundUp returns milliseconds.
func roundUp(d time.Duration) int64 {
	return int64((d + time.Millisecond - 1) / time.Millisecond)
}

// Append runs the script. It returns when ctx ends, even while the client still
// waits for Redis.
func (l *Log) Append(ctx context.Context, e eventlog.Entry) (eventlog.Receipt, error) {
	return l.append(ctx, e, "append")
}

// AppendIf runs the script, which judges and appends in one step.
func (l *Log) AppendIf(ctx context.Context, e eventlog.Entry, newest eventlog.Receipt) (eventlog.Receipt, error) {
	return l.append(ctx, e, "appendif", newest.Position, newest.Epoch)
}

// append runs the script with that verb, which may have a condition.
func (l *Log) append(ctx context.Context, e eventlog.Entry, verb string, condition ...any) (eventlog.Receipt, error) {
	fields, size := fieldsOf(e)
	if size > min(l.bounds.bytes, longest) {
		return eventlog.Receipt{}, fmt.Errorf("redislog: append: %w: it has %d bytes", eventlog.ErrRefused, size)
	}
	args := slices.Concat([]any{
		verb, e.MessageID,
		l.bounds.entries, l.bounds.bytes, l.bounds.age, l.bounds.duplicates,
	}, condition, fields)
	answer, err := await(ctx, func() ([]any, error) {
		return script.Run(ctx, l.client, l.keys, args...).Slice()
	})
	if err != nil {
		return eventlog.Receipt{}, fmt.Errorf("redislog: append: %w", judge(err))
	}
	return receiptOf(answer)
}

// receiptOf reads a position and an epoch; what follows them says that this is
// not where the entry lies, but what stood against it.
func receiptOf(answer []any) (eventlog.Receipt, error) {
	if len(answer) < 2 {
		return eventlog.Receipt{}, errAnswer
	}
	position, ok1 := answer[0].(int64)
	epoch, ok2 := answer[1].(string)
	if !ok1 || !ok2 {
		return eventlog.Receipt{}, errAnswer
	}
	r := eventlog.Receipt{Position: uint64(position), Epoch: epoch}
	if len(answer) > 2 {
		return eventlog.Receipt{}, &eventlog.ConflictError{Newest: r}
	}
	return r, nil
}

// Bounds asks the master.
func (l *Log) Bounds(ctx context.Context) (eventlog.Bounds, error) {
	state, err := await(ctx, func() (state, error) { return l.look(ctx, l.client, 0) })
	if err != nil {
		return eventlog.Bounds{}, fmt.Errorf("redislog: bounds: %w", err)
	}
	return state.Bounds, nil
}

// state is what the script says of the log.
type state struct {
	eventlog.Bounds
	time string // of the entry that was asked for; empty if it is not there
}

var errAnswer = errors.New("the script answers with something else")

// look asks for the bounds, and for the time of the entry at that position.
func (l *Log) look(ctx context.Context, client redis.Scripter, position uint64) (state, error) {
	answer, err := script.Run(ctx, client, l.keys, "bounds", rand.Text(), position).Slice()
	if err != nil {
		return state{}, err
	}
	if len(answer) != 5 {
		return state{}, errAnswer
	}
	epoch, ok1 := answer[0].(string)
	first, ok2 := answer[1].(int64)
	last, ok3 := answer[2].(int64)
	newest, ok4 := answer[3].(string)
	at, ok5 := answer[4].(string)
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 {
		return state{}, errAnswer
	}
	b := eventlog.Bounds{Epoch: epoch, First: uint64(first), Last: uint64(last)}
	if newest != "" {
		if b.LastTime, err = parseTime(newest); err != nil {
			return state{}, errAnswer
		}
	}
	return state{b, at}, nil
}

// node returns a client of the one server that has the log now, as its master.
func (l *Log) node(ctx context.Context) (*redis.Client, error) {
	switch client := l.client.(type) {
	case *redis.Client:
		return client, nil
	case interface {
		MasterForKey(ctx context.Context, key string) (*redis.Client, error)
	}:
		return client.MasterForKey(ctx, l.keys[0])
	case interface {
		WithTimeout(timeout time.Duration) *redis.Client
	}:
		return client.WithTimeout(silence), nil // a type that embeds a redis.Client
	default:
		return nil, fmt.Errorf("a %T lends no connection", client)
	}
}
