package load

import (
	"testing"
	"time"
)

func TestHistogram_bucketsAreOrderedAndNarrow(t *testing.T) {
	previous := -1
	for v := uint64(0); v < 1<<40; v += 1 + v/100 {
		i := bucket(v)
		if i < previous {
			t.Fatalf("bucket(%d) = %d, below the one before", v, i)
		}
		previous = i
		if top := uint64(value(i)); top < v || float64(top) > float64(v)*(1+1.0/64)+1 {
			t.Fatalf("bucket of %d ends at %d", v, top)
		}
	}
}

func TestHistogram_Quantile(t *testing.T) {
	var h, even Histogram
	if h.Quantile(0.5) != 0 {
		t.Error("an empty histogram has a median")
	}
	for i := 1; i <= 1000; i += 2 {
		h.Add(time.Duration(i) * time.Microsecond)
		even.Add(time.Duration(i+1) * time.Microsecond)
	}
	h.Merge(even)
	for q, want := range map[float64]time.Duration{0.5: 500, 0.99: 990, 0.999: 999, 1: 1000} {
		got := h.Quantile(q)
		if want *= time.Microsecond; got < want || got > want+want/50 {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	if h.Max != time.Millisecond {
		t.Errorf("the maximum is %v", h.Max)
	}
}
