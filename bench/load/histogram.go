package load

import (
	"math/bits"
	"time"
)

// A Histogram counts times in buckets that are at most a 64th apart, which is
// as exact as three digits and costs an addition each.
type Histogram struct {
	Counts []uint64 // by bucket, up to the last that is not empty
	Max    time.Duration
}

const (
	subBits    = 6 // 64 buckets for each power of two
	subBuckets = 1 << subBits
)

// Add counts one time. Negative ones count as zero.
func (h *Histogram) Add(d time.Duration) {
	h.Max = max(h.Max, d)
	i := bucket(uint64(max(d, 0)))
	if i >= len(h.Counts) {
		h.Counts = append(h.Counts, make([]uint64, i+1-len(h.Counts))...)
	}
	h.Counts[i]++
}

// Merge adds the times of other.
func (h *Histogram) Merge(other Histogram) {
	h.Max = max(h.Max, other.Max)
	if missing := len(other.Counts) - len(h.Counts); missing > 0 {
		h.Counts = append(h.Counts, make([]uint64, missing)...)
	}
	for i, n := range other.Counts {
		h.Counts[i] += n
	}
}

// Quantile returns the time that the part q of all times does not exceed: 0.5
// is the median. It is 0 when there are none.
func (h *Histogram) Quantile(q float64) time.Duration {
	total := uint64(0)
	for _, n := range h.Counts {
		total += n
	}
	rank := uint64(q * float64(total))
	for i, n := range h.Counts {
		if n > rank {
			return min(value(i), h.Max)
		}
		rank -= n
	}
	return h.Max
}

// bucket is exact below 128; above, it keeps the highest seven bits.
func bucket(v uint64) int {
	if v < subBuckets {
		return int(v)
	}
	exponent := bits.Len64(v) - subBits - 1
	return exponent<<subBits + int(v>>exponent)
}

// value is the largest that falls into bucket i.
func value(i int) time.Duration {
	if i < subBuckets {
		return time.Duration(i)
	}
	exponent := i>>subBits - 1
	return time.Duration(uint64(i-exponent<<subBits+1)<<exponent - 1)
}
