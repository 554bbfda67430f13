package redislog_test

import (
	"context"
	"errors"
	"strconv"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin/eventlog"
	"github.com/ssegin/ssegin/redislog"
)

const benchEntries = 10_000

// benchLog returns a log with entries of 200 bytes of data.
func benchLog(b *testing.B, entries int) named {
	b.Helper()
	l := open(startServer(b), redislog.Config{})
	for range entries {
		_, err := l.Append(context.Background(), benchEntry())
		require.NoError(b, err)
	}
	return l
}

func benchEntry() eventlog.Entry {
	e := entry()
	e.Data = make([]byte, 200)
	return e
}

func perSecond(b *testing.B, n int) {
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
}

func BenchmarkAppend(b *testing.B) {
	l := benchLog(b, 0)
	b.Run("one at a time", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, err := l.Append(b.Context(), benchEntry())
			require.NoError(b, err)
		}
	})
	b.Run("64 at once", func(b *testing.B) {
		b.ReportAllocs()
		b.SetParallelism(32)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := l.Append(context.Background(), benchEntry()); err != nil {
					b.Error(err)
				}
			}
		})
		perSecond(b, 1)
	})
}

// From before Append to deliver.
func BenchmarkAppendToDeliver(b *testing.B) {
	l := benchLog(b, 1)
	f := follow(b, l, 0)
	f.next()
	for b.Loop() {
		_, err := l.Append(b.Context(), benchEntry())
		require.NoError(b, err)
		f.next()
	}
	f.stop()
}

// Following from the start, beside a loop of XREADs that checks nothing.
func BenchmarkFollow(b *testing.B) {
	l := benchLog(b, benchEntries)
	errEnd := errors.New("end")
	b.Run("Follow", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			err := l.Follow(b.Context(), 0, func(e eventlog.Entry) error {
				if e.Position == benchEntries {
					return errEnd
				}
				return nil
			})
			require.ErrorIs(b, err, errEnd)
		}
		perSecond(b, benchEntries)
	})
	b.Run("bare XREAD", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			bareXRead(b, l)
		}
		perSecond(b, benchEntries)
	})
}

func bareXRead(b *testing.B, l named) {
	b.Helper()
	last := "0"
	for last != strconv.Itoa(benchEntries)+"-0" {
		streams, err := l.client.XRead(b.Context(), &redis.XReadArgs{
			Streams: []string{l.key("log")}, ID: last, Count: 1000, Block: -1,
		}).Result()
		require.NoError(b, err)
		messages := streams[0].Messages
		last = messages[len(messages)-1].ID
	}
}

func BenchmarkRead(b *testing.B) {
	l := benchLog(b, benchEntries)
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		for _, err := range l.Read(b.Context(), 0, benchEntries) {
			require.NoError(b, err)
			n++
		}
		require.Equal(b, benchEntries, n)
	}
	perSecond(b, benchEntries)
}
