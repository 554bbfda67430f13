package redislog

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/ssegin/ssegin/eventlog"
)

// A follower reads the log with blocking XREADs, on a connection that it keeps to
// itself: when that breaks, the client does not put another in its place.
//
// XREAD itself says nothing of what lies between: from a position that has left,
// it begins with the oldest entry, and from one that is not reached yet, in a log
// that was made anew, say, it waits. But each entry names the one before it, so
// that the follower knows, without asking, that the next one follows the last
// one; and where it does not, or none comes, it asks.
type follower struct {
	log     *Log
	node    *redis.Client
	conn    *redis.Conn
	id      int64 // of the connection; 0 when we may not know it
	deliver func(eventlog.Entry) error
	failed  error // what deliver has returned

	epoch  string
	after  uint64 // position of the last entry
	time   string // of that entry; empty if not known
	cursor string // ID after which to read on
	piece  int    // how many entries to ask for
}

const (
	// block is for how long an XREAD waits. Within it, at most, is noticed that
	// the log was made anew or rolled back while nothing is appended.
	block = time.Second

	// silence is how long Redis may say nothing to an XREAD: long enough for a
	// slow disk or a large fork, and some seconds at most.
	silence = block + 3*time.Second
)

// What ends Follow, besides errors of Redis.
var (
	errAnew   = errors.New("the log was made anew")
	errBack   = errors.New("the log was rolled back, or made anew")
	errMissed = errors.New("entries have left before they were read")
)

// Follow takes a connection out of the client's pool and keeps it. It notices
// within about a second that the log was made anew or rolled back, or at the next
// entry if that comes earlier, and within 4 seconds that Redis says nothing. After
// the end of ctx it frees the connection with CLIENT UNBLOCK; without the right to
// do that it returns within a second.
func (l *Log) Follow(ctx context.Context, after uint64, deliver func(eventlog.Entry) error) error {
	// Two entries first: Redis must not say nothing for too long, however large
	// they are and however slow the line.
	f := &follower{log: l, deliver: deliver, after: after, piece: 2}
	err := f.open(ctx)
	if err == nil {
		defer f.conn.Close()
		err = f.run(ctx)
	}
	switch {
	case f.failed != nil:
		return f.failed
	case ctx.Err() != nil:
		return context.Cause(ctx)
	default:
		return fmt.Errorf("redislog: follow: %w", err)
	}
}

// open takes the connection and finds the place.
func (f *follower) open(ctx context.Context) error {
	node, err := await(ctx, func() (*redis.Client, error) { return f.log.node(ctx) })
	if err != nil {
		return err
	}
	f.node = node.WithTimeout(silence)
	f.conn = f.node.Conn()
	state, err := f.look(ctx)
	if err == nil && state.Last < f.after {
		err = errBack
	}
	if err != nil {
		f.conn.Close()
		return err
	}
	f.epoch, f.time = state.Epoch, state.time
	if state.First > f.after+1 {
		f.after, f.time = state.First-1, ""
	}
	f.cursor = strconv.FormatUint(f.after, 10)
	f.id, _ = await(ctx, func() (int64, error) { return f.conn.ClientID(ctx).Result() })
	return nil
}

func (f *follower) look(ctx context.Context) (state, error) {
	return await(ctx, func() (state, error) { return f.log.look(ctx, f.conn, f.after) })
}

// run never returns nil.
func (f *follower) run(ctx context.Context) error {
	for {
		messages, err := f.read(ctx)
		if err != nil {
			return err
		}
		if len(messages) == 0 {
			if err := f.check(ctx); err != nil {
				return err
			}
			continue
		}
		for _, m := range messages {
			if err := f.take(ctx, m); err != nil {
				return err
			}
		}
		f.piece = nextPiece(f.piece, messages)
	}
}

// read returns the next entries, or none if none came for a while.
func (f *follower) read(ctx context.Context) ([]redis.XMessage, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	cmd := redis.NewXStreamSliceCmd(ctx, "xread", "count", f.piece, "block", block.Milliseconds(),
		"streams", f.log.keys[0], f.cursor)
	done := make(chan struct{})
	var err error
	go func() {
		defer close(done)
		err = f.conn.Process(ctx, cmd)
	}()
	select {
	case <-done:
		if errors.Is(err, redis.Nil) {
			return nil, nil
		}
		if err != nil || len(cmd.Val()) == 0 {
			return nil, err
		}
		return cmd.Val()[0].Messages, nil
	case <-ctx.Done():
		f.unblock(ctx, done)
		return nil, context.Cause(ctx)
	}
}

// unblock ends an XREAD. It gives up after the time in which Redis would do that
// by itself: the connection is dead then, and what waits for it ends with the
// client's timeout.
func (f *follower) unblock(ctx context.Context, done <-chan struct{}) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), block)
	defer cancel()
	var again <-chan time.Time
	for {
		unblocked, err := await(ctx, func() (int64, error) { return f.node.ClientUnblock(ctx, f.id).Result() })
		if err == nil && unblocked == 0 {
			again = time.After(10 * time.Millisecond) // the XREAD has not arrived yet
		}
		select {
		case <-done:
			return
		case <-ctx.Done():
			return
		case <-again:
		}
	}
}

// check asks whether it is still the same log, when nothing came.
func (f *follower) check(ctx context.Context) error {
	state, err := f.look(ctx)
	switch {
	case err != nil:
		return err
	case state.Epoch != f.epoch:
		return errAnew
	case state.Last < f.after, f.time != "" && state.time != "" && state.time != f.time:
		return errBack
	case state.First > f.after+1:
		return errMissed
	}
	return nil
}

// take delivers an entry that belongs here.
func (f *follower) take(ctx context.Context, m redis.XMessage) error {
	f.cursor = m.ID
	r, ok := parse(m)
	if !ok {
		return nil
	}
	if err := f.verify(ctx, r); err != nil {
		return err
	}
	f.after, f.time = r.Position, r.time
	if f.failed = f.deliver(r.Entry); f.failed != nil {
		return f.failed
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// verify says whether r follows the last entry in the same life of the log.
func (f *follower) verify(ctx context.Context, r record) error {
	if r.epoch != "" {
		if r.epoch != f.epoch {
			return errAnew
		}
		return nil
	}
	if f.time != "" && r.Position == f.after+1 {
		if r.prev != f.time {
			return errBack
		}
		return nil
	}
	// Those between have left, or somebody has deleted them.
	state, err := f.look(ctx)
	switch {
	case err != nil:
		return err
	case state.Epoch != f.epoch:
		return errAnew
	case state.Last < r.Position:
		return errBack
	}
	return nil
}
