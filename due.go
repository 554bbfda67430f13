package ssegin

// due are the places of one cursor that have events due, as a heap: the first
// has the oldest. Taking the events of many topics in their order so costs what
// is taken, and not for each event a look at every topic.
type due []*place

// newDue orders the places.
func newDue(places []*place) due {
	d := due(places)
	for i := len(d)/2 - 1; i >= 0; i-- {
		d.sink(i)
	}
	return d
}

// next moves the first place past its oldest event. The place leaves when that
// was its last one.
func (d *due) next() {
	p := (*d)[0]
	if p.next++; p.due() == 0 {
		last := len(*d) - 1
		(*d)[0] = (*d)[last]
		*d = (*d)[:last]
	}
	d.sink(0)
}

// sink puts the place at i where it belongs among those below it.
func (d due) sink(i int) {
	for {
		child := 2*i + 1
		if child >= len(d) {
			return
		}
		if right := child + 1; right < len(d) && d[right].position() < d[child].position() {
			child = right
		}
		if d[i].position() <= d[child].position() {
			return
		}
		d[i], d[child] = d[child], d[i]
		i = child
	}
}
