package pages

import (
	"slices"
	"sort"
	"time"
)

// A Waiter is one who waits for a page. It belongs to one caller of Ask at a time.
type Waiter[P any] struct {
	Position uint64 // that the page is to answer for; the Reader's from when it begins to wait until it has its answer
	Key      string // among those who are First, keys take turns
	First    bool   // its place is still to be proved, so it is not carried

	// Passes reports whether there is nothing in a page for it, so that it goes on to
	// the page's end without being woken. It is called with the Reader's lock held.
	// Nil: it passes none.
	Passes func(P) bool

	// Ready is called when one who waits has its answer. It is called with the Reader's
	// lock held, so it must not wait, and not call the Reader.
	Ready func()

	serial  uint64 // in the order of their coming
	turn    uint64 // of one that is First, like the next one
	since   time.Time
	exact   bool // the page is to begin at its position
	state   state
	content P
	err     error
}

// A state says what a Waiter does. The Reader's lock guards it.
type state uint8

const (
	idle state = iota
	waiting
	answered // content or err is there, and is taken by the next Ask
)

// answer gives w what it waits for.
func (w *Waiter[P]) answer(content P, err error) {
	w.content, w.err, w.state = content, err, answered
}

// take takes the answer. Who waits for a client must not hold a page.
func (w *Waiter[P]) take() (content P, err error) {
	content, err = w.content, w.err
	var none P
	w.content, w.err, w.state = none, nil, idle
	return content, err
}

// A queue is who waits, by position, and then in the order of their coming.
type queue[P any] struct {
	waiters []*Waiter[P]
	serial  uint64
	lanes   map[string]*lane // of the keys of those who are First
	turn    uint64           // that was given last
}

// A lane is those of one key who are First.
type lane struct {
	waiting int
	turn    uint64 // of the last of them
}

// index returns where those begin who wait for that position or a later one.
func (q *queue[P]) index(position uint64) int {
	return sort.Search(len(q.waiters), func(i int) bool { return q.waiters[i].Position >= position })
}

// wants reports whether somebody waits for one of these positions.
func (q *queue[P]) wants(begin, until uint64) bool {
	i := q.index(begin)
	return i < len(q.waiters) && q.waiters[i].Position < until
}

func (q *queue[P]) add(w *Waiter[P]) {
	q.serial++
	w.serial = q.serial
	i, _ := slices.BinarySearchFunc(q.waiters, w, byPlace[P])
	q.waiters = slices.Insert(q.waiters, i, w)
	if w.First {
		l := q.lanes[w.Key]
		if l == nil {
			l = &lane{}
			q.lanes[w.Key] = l
		}
		l.waiting++
		l.turn = max(l.turn, q.turn) + 1
		w.turn, w.since = l.turn, time.Now()
	}
}

// remove takes out w, which must be there.
func (q *queue[P]) remove(w *Waiter[P]) {
	i, _ := slices.BinarySearchFunc(q.waiters, w, byPlace[P])
	q.waiters = slices.Delete(q.waiters, i, i+1)
	q.gone(w)
}

// gone takes w out of its lane.
func (q *queue[P]) gone(w *Waiter[P]) {
	if !w.First {
		return
	}
	l := q.lanes[w.Key]
	if l.waiting--; l.waiting == 0 {
		delete(q.lanes, w.Key)
	}
}

// proving reports whether one of those up to that serial is First.
func (q *queue[P]) proving(serial uint64) bool {
	return len(q.lanes) > 0 && slices.ContainsFunc(q.waiters, func(w *Waiter[P]) bool { return w.First && w.serial <= serial })
}

// first returns whose turn it is of those who are First and not covered, nil if
// there is nobody.
func (q *queue[P]) first(covered func(*Waiter[P]) bool) (next *Waiter[P]) {
	if len(q.lanes) == 0 {
		return nil
	}
	for _, w := range q.waiters {
		if !w.First || next != nil && (w.turn > next.turn || w.turn == next.turn && w.serial > next.serial) || covered(w) {
			continue
		}
		next = w
	}
	if next != nil {
		q.turn = max(q.turn, next.turn)
	}
	return next
}

// instead returns who is read for in the turn of w: of those of its key, or of another key
// whose turn it is as well, the next one from that position on.
// Turns are there for the keys, and it costs no key one: w gets the turn of the other.
func (q *queue[P]) instead(w *Waiter[P], position uint64, covered func(*Waiter[P]) bool) *Waiter[P] {
	best := w
	for _, other := range q.waiters {
		// What is below the position wraps around, and so is farther than all above it.
		if other.First && (other.Key == w.Key || other.turn == w.turn) &&
			other.Position-position < best.Position-position && !covered(other) {
			best = other
		}
	}
	w.turn, best.turn = best.turn, w.turn
	return best
}

// next returns who is the next one from that position on of those who are not First
// and not covered, nil if there is nobody.
func (q *queue[P]) next(position uint64, covered func(*Waiter[P]) bool) *Waiter[P] {
	for _, w := range q.waiters[q.index(position):] {
		if !w.First && !covered(w) {
			return w
		}
	}
	return nil
}

// serve asks of everybody who waits for one of these positions whether it has been
// answered, and tells those who have. What is asked may change their position to a later one.
func (q *queue[P]) serve(begin, until uint64, over func(*Waiter[P]) bool) {
	from, to := q.index(begin), q.index(until)
	var stay, moved []*Waiter[P]
	for _, w := range q.waiters[from:to] {
		before := w.Position
		switch {
		case over(w):
			q.gone(w)
			w.Ready()
		case w.Position == before:
			stay = append(stay, w)
		default:
			moved = append(moved, w)
		}
	}
	slices.SortFunc(moved, byPlace[P])
	rest := append(stay, q.waiters[to:]...)
	length := len(q.waiters)
	q.waiters = q.waiters[:from]
	for len(moved) > 0 && len(rest) > 0 {
		if byPlace(moved[0], rest[0]) < 0 {
			q.waiters, moved = append(q.waiters, moved[0]), moved[1:]
		} else {
			q.waiters, rest = append(q.waiters, rest[0]), rest[1:]
		}
	}
	q.waiters = append(append(q.waiters, moved...), rest...)
	clear(q.waiters[len(q.waiters):length]) // who was served must not be kept alive
}
