package servers

import (
	"strings"
	"testing"
)

// add appends events that are the letters of text.
func add(f *feed, text string) {
	for _, c := range text {
		f.append(func(uint64) []byte { return []byte(string(c)) })
	}
}

// rest reads what is left for c, in one string for each write.
func rest(f *feed, c *cursor) string {
	var pieces []string
	for {
		events := f.since(c)
		if len(events) == 0 {
			return strings.Join(pieces, " ")
		}
		pieces = append(pieces, string(events))
	}
}

func TestFeed_segments(t *testing.T) {
	for size, want := range map[int]string{0: "a b c d e", 2: "ab cd e", 100: "abcde"} {
		f := newFeed(size)
		c := f.start("")
		add(f, "abcde")
		if got := rest(f, &c); got != want {
			t.Errorf("segments of %d: got %q, want %q", size, got, want)
		}
	}
}

func TestFeed_start(t *testing.T) {
	f := newFeed(3)
	add(f, "abcde")
	for lastID, want := range map[string]string{"0": "abc de", "2": "c de", "5": "", "6": "", "x": "", "": ""} {
		c := f.start(lastID)
		if got := rest(f, &c); got != want {
			t.Errorf("after %q: got %q, want %q", lastID, got, want)
		}
	}
	add(f, strings.Repeat("x", feedMarks))
	c := f.start("2")
	if got := rest(f, &c); got != "" {
		t.Errorf("after an ID that is too old: got %q", got)
	}
}

func TestFeed_ringsEachBellOnce(t *testing.T) {
	f := newFeed(10)
	first, second := f.join(), f.join()
	add(f, "ab")
	for name, b := range map[string]bell{"first": first, "second": second} {
		if n := len(b); n != 1 {
			t.Errorf("the %s bell holds %d wake-ups", name, n)
		}
	}
	f.leave(second)
	<-first
	<-second
	add(f, "c")
	if len(first) != 1 || len(second) != 0 {
		t.Errorf("wake-ups: %d of the stream that stays, %d of the one that left", len(first), len(second))
	}
}
