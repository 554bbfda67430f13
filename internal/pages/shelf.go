package pages

import (
	"slices"
	"sort"
)

// A shelf is what is known of the pages that were read: where each begins and ends,
// and its trace; of those that were used last, also their content. No two of them
// answer for the same position.
type shelf[P any] struct {
	pages     []*page[P] // by where they begin
	bytes     int        // of the content that is kept
	positions int        // in the traces
	clock     uint64     // counts uses
}

type page[P any] struct {
	begin, end uint64
	full       bool // the content is kept
	content    P
	bytes      int
	trace      []uint32
	used       uint64
}

// before returns how many pages begin at that position or before it.
func (s *shelf[P]) before(position uint64) int {
	return sort.Search(len(s.pages), func(i int) bool { return s.pages[i].begin > position })
}

// find returns the page that answers for that position, nil if none is known.
func (s *shelf[P]) find(position uint64) *page[P] {
	i := s.before(position)
	if i == 0 || position >= s.pages[i-1].end {
		return nil
	}
	p := s.pages[i-1]
	s.clock++
	p.used = s.clock
	return p
}

// kept is find, for a page whose content is needed.
func (s *shelf[P]) kept(position uint64) *page[P] {
	if p := s.find(position); p != nil && p.full {
		return p
	}
	return nil
}

func (s *shelf[P]) trace(position uint64) (trace uint32, known bool) {
	p := s.find(position)
	if p == nil || position-p.begin >= uint64(len(p.trace)) {
		return 0, false
	}
	return p.trace[position-p.begin], true
}

// extent returns where the page begins that is to answer for that position, and how
// far it may go: as it did when it was read before, or from begin on, if that is
// free.
func (s *shelf[P]) extent(position, begin, length uint64) (from, until uint64) {
	i := s.before(position)
	if i > 0 {
		if p := s.pages[i-1]; position < p.end {
			return p.begin, max(p.end, p.begin+1)
		} else {
			begin = max(begin, p.end)
		}
	}
	until = begin + length
	if i < len(s.pages) {
		until = min(until, s.pages[i].begin)
	}
	return begin, until
}

// keep takes a page that was read, and lets others go for it. The sweep is at that
// place: what follows there will be wanted soon.
func (s *shelf[P]) keep(begin uint64, read Page[P], limits Limits, place uint64) {
	i := s.before(begin)
	if i > 0 && s.pages[i-1].begin == begin {
		i--
		s.empty(s.pages[i])
		s.positions -= len(s.pages[i].trace)
		s.pages = slices.Delete(s.pages, i, i+1)
	}
	s.clock++
	p := &page[P]{begin: begin, end: read.End, full: true, content: read.Content, bytes: read.Bytes, trace: read.Trace, used: s.clock}
	s.pages = slices.Insert(s.pages, i, p)
	s.bytes += p.bytes
	s.positions += len(p.trace)
	for s.bytes > limits.Bytes {
		other := s.leastWanted(p, limits.Bytes/2, place)
		if other == nil {
			break // one page may be larger than all
		}
		s.empty(other)
	}
	for len(s.pages) > limits.Pages || s.positions > limits.Trace {
		oldest := s.oldest(func(other *page[P]) bool { return other != p })
		if oldest < 0 {
			break
		}
		s.empty(s.pages[oldest])
		s.positions -= len(s.pages[oldest].trace)
		s.pages = slices.Delete(s.pages, oldest, oldest+1)
	}
}

// leastWanted returns the page beside p whose content is to go first, nil if there is
// none: of those behind the place of the sweep the one that was used least recently, and
// of those ahead of it, once they take more than their room, the one that it comes to last.
func (s *shelf[P]) leastWanted(p *page[P], room int, place uint64) *page[P] {
	var behind, last *page[P]
	for _, other := range s.pages {
		switch {
		case !other.full || other == p:
		case other.begin >= place:
			room -= other.bytes
			last = other
		case behind == nil || other.used < behind.used:
			behind = other
		}
	}
	if last != nil && (room < 0 || behind == nil) {
		return last
	}
	return behind
}

// empty lets the content of p go.
func (s *shelf[P]) empty(p *page[P]) {
	var none P
	if p.full {
		s.bytes -= p.bytes
	}
	p.full, p.content = false, none
}

func (s *shelf[P]) emptyAll() {
	for _, p := range s.pages {
		s.empty(p)
	}
}

// oldest returns the index of that one of these pages that was used least recently,
// below zero if there is none.
func (s *shelf[P]) oldest(of func(*page[P]) bool) (index int) {
	index = -1
	for i, p := range s.pages {
		if of(p) && (index < 0 || p.used < s.pages[index].used) {
			index = i
		}
	}
	return index
}
