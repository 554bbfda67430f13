package natslog

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin/eventlog"
	"github.com/ssegin/ssegin/natslog/embedded"
)

var errDone = errors.New("done")

// embeddedLog is what one process has without any other program.
func embeddedLog(b *testing.B, sync bool) (*Log, *nats.Conn) {
	b.Helper()
	s, err := embedded.Start(embedded.Config{Dir: b.TempDir(), SyncAlways: sync})
	require.NoError(b, err)
	b.Cleanup(s.Close)
	nc, err := s.Connect()
	require.NoError(b, err)
	b.Cleanup(nc.Close)
	return openLog(b, nc, Config{}), nc
}

func BenchmarkAppend(b *testing.B) {
	run := func(b *testing.B, l *Log) {
		data := make([]byte, 200)
		b.ReportAllocs()
		for n := 0; b.Loop(); n++ {
			_, err := l.Append(b.Context(), eventlog.Entry{Topic: "room:1", Type: "chat", Data: data, MessageID: fmt.Sprint(n)})
			require.NoError(b, err)
		}
	}
	b.Run("embedded", func(b *testing.B) {
		l, _ := embeddedLog(b, false)
		run(b, l)
	})
	// As a hub does, which follows what it appends to.
	follows := func(b *testing.B, l *Log) *Log {
		last := boundsOf(b, l).Last
		ctx, cancel := context.WithCancel(b.Context())
		arrived, ended := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(ended)
			first := true
			_ = l.Follow(ctx, last, func(eventlog.Entry) error {
				if first {
					close(arrived)
				}
				first = false
				return nil
			})
		}()
		b.Cleanup(func() { cancel(); <-ended })
		_, err := l.Append(b.Context(), entry("first"))
		require.NoError(b, err)
		<-arrived
		return l
	}
	b.Run("embedded, followed", func(b *testing.B) {
		l, _ := embeddedLog(b, false)
		run(b, follows(b, l))
	})
	b.Run("TCP, followed", func(b *testing.B) {
		e := newEngine(b)
		run(b, follows(b, openLog(b, connect(b, "nats://"+e.listen), Config{})))
	})
	b.Run("embedded, sync always", func(b *testing.B) {
		l, _ := embeddedLog(b, true)
		run(b, l)
	})
	b.Run("TCP", func(b *testing.B) {
		e := newEngine(b)
		run(b, openLog(b, connect(b, "nats://"+e.listen), Config{}))
	})
	many := func(b *testing.B, l *Log) {
		data := make([]byte, 200)
		b.ReportAllocs()
		b.SetParallelism(50)
		var n atomic.Int64
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				_, err := l.Append(b.Context(), eventlog.Entry{Topic: "room:1", Type: "chat", Data: data, MessageID: fmt.Sprint("many", n.Add(1))})
				if err != nil {
					b.Error(err)
				}
			}
		})
	}
	b.Run("embedded, many goroutines", func(b *testing.B) {
		l, _ := embeddedLog(b, false)
		many(b, l)
	})
	b.Run("embedded, many goroutines, followed", func(b *testing.B) {
		l, _ := embeddedLog(b, false)
		many(b, follows(b, l))
	})
}

const filled = 100_000

// BenchmarkReaders reads a log of 100,000 entries, in each way.
func BenchmarkReaders(b *testing.B) {
	e := newEngine(b)
	nc := connect(b, "nats://"+e.listen)
	l := openLog(b, nc, Config{})
	start := fill(b, l, filled, make([]byte, 200))
	report := func(b *testing.B) {
		b.ReportMetric(float64(b.N)*filled/b.Elapsed().Seconds(), "entries/s")
	}
	b.Run("Follow", func(b *testing.B) {
		for b.Loop() {
			n := 0
			err := l.Follow(b.Context(), start, func(eventlog.Entry) error {
				if n++; n == filled {
					return errDone
				}
				return nil
			})
			require.ErrorIs(b, err, errDone)
		}
		report(b)
	})
	b.Run("Read", func(b *testing.B) {
		for b.Loop() {
			n := 0
			for _, err := range l.Read(b.Context(), start, start+filled) {
				require.NoError(b, err)
				n++
			}
			require.Equal(b, filled, n)
		}
		report(b)
	})
	// What NATS does without a log: messages of that size, from one connection to
	// another.
	b.Run("bare subscriber", func(b *testing.B) {
		from := connect(b, "nats://"+e.listen)
		data := make([]byte, 200)
		for b.Loop() {
			ctx, cancel := context.WithCancelCause(b.Context())
			n := 0
			sub, err := nc.Subscribe("bare", func(*nats.Msg) {
				if n++; n == filled {
					cancel(errDone)
				}
			})
			require.NoError(b, err)
			require.NoError(b, nc.Flush())
			for range filled {
				require.NoError(b, from.Publish("bare", data))
			}
			<-ctx.Done()
			require.NoError(b, sub.Unsubscribe())
		}
		report(b)
	})
}
