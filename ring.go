package ssegin

// A ring is a queue in a circular buffer that grows and shrinks as needed: pushing
// and popping are O(1) over time, any element is reached by its place in the queue.
type ring[T any] struct {
	buffer []T // its length is zero or a power of two
	start  int
	length int
}

func (r *ring[T]) at(i int) *T { return &r.buffer[(r.start+i)&(len(r.buffer)-1)] }

func (r *ring[T]) push(v T) {
	if r.length == len(r.buffer) {
		r.resize(max(1, 2*len(r.buffer)))
	}
	r.length++
	*r.at(r.length - 1) = v
}

// pop removes the oldest element and lets go of what it refers to.
func (r *ring[T]) pop() T {
	var zero T
	slot := r.at(0)
	v := *slot
	*slot = zero
	r.start = (r.start + 1) & (len(r.buffer) - 1)
	r.length--
	if len(r.buffer) > smallRing && r.length < len(r.buffer)/4 {
		r.resize(len(r.buffer) / 2)
	}
	return v
}

// smallRing is up to how many elements a ring keeps room for when it is nearly empty: a few,
// because each topic has a ring.
const smallRing = 4

func (r *ring[T]) resize(room int) {
	buffer := make([]T, room)
	for i := range r.length {
		buffer[i] = *r.at(i)
	}
	r.buffer, r.start = buffer, 0
}
