package engines

import (
	"context"
	"testing"
	"time"
)

// Small crowds of each kind, with real engines: everybody is served, nobody is sent
// away, and the log is read a few times at the most.
func TestCrowd_isServed(t *testing.T) {
	crowds := []Crowd{
		{Name: "spread", Events: 3000, Size: 256, Memory: 100, Clients: 100, Live: true, Wait: time.Minute},
		{Name: "same", Events: 1000, Size: 128, Memory: 10, Clients: 300, SameID: true, Wait: time.Minute},
		{Name: "large", Events: 60, Size: 256 << 10, Memory: 10, Clients: 10, Wait: time.Minute},
	}
	for _, e := range Engines {
		for _, c := range crowds {
			if e.Kind == Memory || e.Sync {
				continue
			}
			t.Run(c.Name+" "+e.Name, func(t *testing.T) {
				t.Parallel()
				r := c.Come(context.Background(), e)
				t.Log(r)
				if r.Err != nil || r.Served != c.Clients || r.Sent != 0 {
					t.Errorf("%d of %d served, %d sent away, error %v", r.Served, c.Clients, r.Sent, r.Err)
				}
				// Small events are the half of what an engine sends, and live ones come on top.
				if limit := 8.0; r.Read > limit {
					t.Errorf("the log was read %.2f times, want %.1f at the most", r.Read, limit)
				}
			})
		}
	}
}

func TestCrowd_thatIsForgedHoldsNobodyUp(t *testing.T) {
	c := Crowd{Name: "forged", Events: 3000, Size: 256, Memory: 100, Clients: 10, Forged: 10}
	for _, e := range Engines {
		if e.Kind == Memory || e.Sync {
			continue
		}
		t.Run(e.Name, func(t *testing.T) {
			t.Parallel()
			r := c.Come(context.Background(), e)
			t.Log(r)
			if r.Err != nil || r.Sent != 0 || r.Served != 4*c.Clients {
				t.Errorf("%d of %d served, %d sent away, error %v", r.Served, 4*c.Clients, r.Sent, r.Err)
			}
		})
	}
}
