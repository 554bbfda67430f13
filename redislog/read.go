package redislog

import (
	"context"
	"fmt"
	"iter"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/ssegin/ssegin/eventlog"
)

// Read asks the master with XRANGE: for 16 entries first, then for as many as
// 1 MiB holds of such entries, 1,000 at most.
func (l *Log) Read(ctx context.Context, after, until uint64) iter.Seq2[eventlog.Entry, error] {
	return func(yield func(eventlog.Entry, error) bool) {
		piece := firstPiece
		for after < until {
			messages, err := await(ctx, func() ([]redis.XMessage, error) {
				return l.messages(ctx, after+1, until, piece)
			})
			if err != nil {
				yield(eventlog.Entry{}, fmt.Errorf("redislog: read: %w", err))
				return
			}
			for _, m := range messages {
				if r, ok := parse(m); ok && !yield(r.Entry, nil) {
					return
				}
			}
			if len(messages) < piece {
				return
			}
			after = position(messages[len(messages)-1])
			piece = nextPiece(piece, messages)
		}
	}
}

// messages asks for one piece.
func (l *Log) messages(ctx context.Context, from, until uint64, count int) ([]redis.XMessage, error) {
	var client redis.Cmdable = l.client
	// Such a client may ask a replica, which may not have all entries yet.
	if cluster, ok := l.client.(interface{ Options() *redis.ClusterOptions }); ok && cluster.Options().ReadOnly {
		node, err := l.node(ctx)
		if err != nil {
			return nil, err
		}
		client = node
	}
	return client.XRangeN(ctx, l.keys[0],
		strconv.FormatUint(from, 10), strconv.FormatUint(until, 10), int64(count)).Result()
}

// The sizes of pieces. The first is small, because nothing is known yet of how
// large the entries are; a thousand is where larger ones gain nothing more.
const (
	firstPiece = 16
	maxPiece   = 1000
	pieceBytes = 1 << 20
)

// nextPiece returns how many entries to ask for after these, which are not none.
// It grows by steps, because a few small ones say little of those that follow.
func nextPiece(piece int, messages []redis.XMessage) int {
	bytes := 1
	for _, m := range messages {
		for name, value := range m.Values {
			text, _ := value.(string)
			bytes += len(name) + len(text)
		}
	}
	return max(1, min(maxPiece, 8*piece, pieceBytes*len(messages)/bytes))
}
