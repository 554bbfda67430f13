package engines

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/ssegin/ssegin/bench/payload"
)

func TestTally(t *testing.T) {
	// Publisher 0 sends its events 1, 4, 7, … to the topic with the index 1.
	for _, c := range []struct {
		name        string
		events      []uint64
		lost, again int
	}{
		{"all", []uint64{1, 4, 7, 10}, 0, 0},
		{"none", nil, 4, 0},
		{"without the first", []uint64{4, 7, 10}, 1, 0},
		{"without one", []uint64{1, 7, 10}, 1, 0},
		{"without the last", []uint64{1, 4, 7}, 1, 0},
		{"one twice", []uint64{1, 4, 4, 7, 10}, 0, 1},
		{"two in the wrong order", []uint64{1, 7, 4, 10}, 1, 1},
		{"all twice", []uint64{1, 4, 7, 10, 1, 4, 7, 10}, 0, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			tally := newTally(1, 3, 1)
			for _, n := range c.events {
				tally.see(number(0, n), 0, 0)
			}
			if lost := tally.lost([]uint64{11}); lost != c.lost || tally.again != c.again || tally.deliveries != len(c.events) {
				t.Errorf("%d lost, %d again, %d deliveries; want %d, %d, %d",
					lost, tally.again, tally.deliveries, c.lost, c.again, len(c.events))
			}
		})
	}
}

func TestTally_theTopicsShareAllEvents(t *testing.T) {
	published := []uint64{100, 0, 7, 31, 1}
	const topics = 6
	sum := 0
	for topic := range topics {
		sum += expected(topic, topics, published)
		tally := newTally(topic, topics, len(published))
		for p, events := range published {
			for event := range events {
				if n := event + 1; (p+int(n))%topics == topic {
					tally.see(number(p, n), 0, 0)
				}
			}
		}
		if lost := tally.lost(published); lost != 0 || tally.again != 0 {
			t.Errorf("topic %d: %d lost, %d again", topic, lost, tally.again)
		}
	}
	if want := total(published); sum != want {
		t.Errorf("%d are expected at all topics, want %d", sum, want)
	}
}

// frames returns what a hub writes for these events.
func frames(events ...uint64) []byte {
	var b bytes.Buffer
	b.WriteString("retry: 2000\nevent: ssegin.cursor\ndata: {}\nid: abc-0-de\n\n:\n")
	for i, n := range events {
		fmt.Fprintf(&b, "data: %s\nid: abc-%d-de\n\n", payload.Append(nil, number(0, n), 0, 100), i+1)
	}
	return b.Bytes()
}

func TestStream_takesFramesHoweverTheyAreCut(t *testing.T) {
	input := frames(1, 2, 3)
	for cut := range input {
		s := newStream(0, 1, 1)
		used := s.take(input[:cut], 0)
		used += s.take(input[used:], 0)
		if used != len(input) || s.tally.deliveries != 3 || s.tally.lost([]uint64{3}) != 0 || s.unordered != 0 || s.position != 3 {
			t.Fatalf("cut at %d: %+v", cut, s.tally)
		}
	}
}

func TestReader_theSameEventsInAnotherOrderAreADifference(t *testing.T) {
	for _, c := range []struct {
		name      string
		second    []byte
		different int
	}{
		{"the same", frames(1, 2, 3), 0},
		{"heartbeats at another time", bytes.ReplaceAll(frames(1, 2, 3), []byte("data: {\"@"), []byte(":\n:\ndata: {\"@")), 0},
		{"another order", frames(1, 3, 2), 1},
		{"other IDs", bytes.Replace(frames(1, 2, 3), []byte("abc-2-"), []byte("abc-9-"), 1), 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &reader{topics: []string{everyone}}
			for _, input := range [][]byte{frames(1, 2, 3), c.second} {
				s := newStream(0, 1, 1)
				s.take(input, 0)
				r.streams = append(r.streams, s)
			}
			if report := r.report([]uint64{3}); report.Different != c.different {
				t.Errorf("%d streams are different, want %d", report.Different, c.different)
			}
		})
	}
}

func TestStream_IDsThatDoNotGoUpAreFound(t *testing.T) {
	s := newStream(0, 1, 1)
	s.take(bytes.Replace(frames(1, 2, 3), []byte("abc-2-"), []byte("abc-1-"), 1), 0)
	if s.unordered != 1 {
		t.Errorf("%d out of order, want 1", s.unordered)
	}
}

func TestStream_countsResets(t *testing.T) {
	s := newStream(0, 1, 1)
	reset := []byte("event: ssegin.reset\ndata: {}\nid: abc-9-de\n\n")
	s.take(slices.Concat(frames(1), reset, []byte(":\n:\n"), reset), 0)
	if s.resets != 2 {
		t.Errorf("%d resets, want 2, one of them after heartbeats", s.resets)
	}
}
