package engines

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestPlan_publishersStayWithinTheirWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w window
		var mu sync.Mutex
		var acked, given [2]uint64
		publish := func(_ context.Context, _ string, data []byte) (string, error) {
			time.Sleep(time.Millisecond)
			tally := newTally(0, 1, 2)
			publisher, ok := tally.frame(data, 0)
			mu.Lock()
			defer mu.Unlock()
			given[publisher]++
			if !ok || given[publisher] > acked[publisher]+3 {
				t.Errorf("publisher %d has sent %d, %d are acknowledged", publisher, given[publisher], acked[publisher])
			}
			return "", nil
		}
		go func() {
			for range 20 {
				time.Sleep(10 * time.Millisecond)
				mu.Lock()
				acked[0] = given[0] // nobody ever has the other's events
				w.ack(acked[:])
				mu.Unlock()
			}
		}()
		plan := Plan{Topics: []string{"t"}, Publishers: 2, Size: 100, Time: 100 * time.Millisecond, Window: 3}
		published, err := plan.carryOut(t.Context(), publish, &w)
		if err != nil || published.Events[0] < 20 || published.Events[1] != 3 {
			t.Errorf("published %v, error %v", published.Events, err)
		}
		time.Sleep(time.Second) // until the one who acknowledges is through
	})
}

func TestPlan_keepsThePace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w window
		var count atomic.Int64
		publish := func(context.Context, string, []byte) (string, error) {
			if count.Add(1) == 10 {
				time.Sleep(20 * time.Millisecond) // one answer takes long
			}
			return "", nil
		}
		plan := Plan{Topics: []string{"t"}, Publishers: 4, Size: 100, Time: time.Second, Rate: 500}
		published, err := plan.carryOut(t.Context(), publish, &w)
		if err != nil || total(published.Events) != 500 {
			t.Errorf("%d events, error %v; want 500", total(published.Events), err)
		}
		// The same publisher's next event, due 12 ms before the slow answer came,
		// counts from then. That makes two of 500.
		if p := published.Latency.Quantile(0.996); p < 11*time.Millisecond {
			t.Errorf("the delay of the event after the slow answer is hidden: %v", p)
		}
	})
}
