package natslog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin/eventlog"
)

// While this Log follows, an append costs one message; while nobody does, one more,
// which all share that are under way.
func TestAppend_theEpochCostsNoSecondRequestWhileItFollows(t *testing.T) {
	l := newEngine(t).log()
	l.timing.sighting, l.timing.probe = patience, time.Hour // the one probe at the beginning is all
	start := boundsOf(t, l)
	sent := func(f func()) int {
		before := l.nc.Stats().OutMsgs
		f()
		return int(l.nc.Stats().OutMsgs - before)
	}
	assert.Equal(t, 2*20, sent(func() { appendN(t, l, "alone", 20) }))
	shared := sent(func() {
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				_, err := l.Append(t.Context(), entry(fmt.Sprint("together", i)))
				assert.NoError(t, err)
			})
		}
		wg.Wait()
	})
	t.Logf("200 appends at once: %d messages", shared)
	assert.Less(t, shared, 2*200)

	f := follow(t, l, start.Last)
	require.Eventually(t, func() bool {
		l.lives.mu.Lock()
		defer l.lives.mu.Unlock()
		return l.lives.followers == 1
	}, patience, time.Millisecond)
	for range 220 {
		f.next()
	}
	assert.Equal(t, 50, sent(func() { appendN(t, l, "followed", 50) }))
	assert.Empty(t, l.lives.expected)
	f.cancel()
	require.Error(t, f.fails())
	assert.Zero(t, l.lives.followers)
}

// A stream that is made anew with the first position of the old one gives the same
// positions again: only the life tells the entries apart.
func TestAppend_saysInWhichOfTwoLivesWithTheSamePositions(t *testing.T) {
	e := newEngine(t)
	logs := []*Log{e.log(Config{Stream: "ev"}), e.log(Config{Stream: "ev"})}
	info, err := logs[0].info(t.Context())
	require.NoError(t, err)
	config, start := info.Config, info.State.FirstSeq-1
	ctx, cancel := context.WithCancel(t.Context())
	var followers sync.WaitGroup
	defer followers.Wait()
	defer cancel()
	followers.Go(func() { new(seer).run(ctx, logs[0], start) }) // and nobody follows the other
	compared := 0
	for round := range 10 {
		before := settle(t, logs[0])
		stop := make(chan struct{})
		var mu sync.Mutex
		acked := map[string]eventlog.Receipt{}
		var wg sync.WaitGroup
		for i := range 6 {
			wg.Go(func() {
				for k := 0; ; k++ {
					select {
					case <-stop:
						return
					default:
					}
					id := fmt.Sprint(round, "-", i, "-", k)
					short, cancel := context.WithTimeout(ctx, time.Second)
					r, err := logs[i%2].Append(short, entry(id))
					if cancel(); err == nil {
						mu.Lock()
						acked[id] = r
						mu.Unlock()
					}
				}
			})
		}
		more := func(n int) {
			mu.Lock()
			n += len(acked)
			mu.Unlock()
			require.Eventually(t, func() bool {
				mu.Lock()
				defer mu.Unlock()
				return len(acked) > n
			}, patience, time.Millisecond)
		}
		more(50)
		require.NoError(t, logs[0].js.DeleteStream(t.Context(), "ev"))
		require.Eventually(t, func() bool { // the server may still be busy with the old one
			_, err := logs[0].js.CreateStream(t.Context(), config)
			return err == nil || errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) // the seer was faster
		}, patience, time.Millisecond)
		more(50)
		close(stop)
		wg.Wait()
		after := settle(t, logs[0])
		there := map[string]uint64{}
		for _, e := range readAll(t, logs[1], start, after.Last) {
			there[e.MessageID] = e.Position
		}
		for id, r := range acked {
			compared++
			if position, ok := there[id]; ok {
				require.Equal(t, eventlog.Receipt{Position: position, Epoch: after.Epoch}, r)
			} else {
				require.Equal(t, before.Epoch, r.Epoch)
			}
		}
	}
	t.Logf("%d receipts were right", compared)
}
