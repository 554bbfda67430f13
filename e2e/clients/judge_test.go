package clients

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

const (
	patience = time.Minute      // how long anything may take that should take a moment
	away     = 15 * time.Second // how long a client may take to come back before it is taken for gone
	crowded  = 1500 * time.Millisecond
	forever  = 4  // so many requests that are all in vain go on for ever
	flood    = 15 // so many within crowded are a flood
)

// What a cell may say, beyond what a scene has of its own.
const (
	all      = "all"           // every step, and the end, once
	resumes  = "resumes"       // the same, over more than one response
	again    = "asks again"    // the answer is made once more, and comes twice
	told     = "error"         // the application is told, and may ask again
	ended    = "ends early"    // it ends as a complete one does, but for the last event
	nothing  = "stops"         // nothing more comes, and nobody is told
	newcomer = "as a new one"  // what was sent while it was away is lost to it, as to any new client
	loops    = "asks for ever" // it asks again and again, in vain
	goesOn   = "goes on"       // after a gap, with what is new
	back     = "comes back"    // when there is room
	floods   = "floods"        // the same, but meanwhile it asks all the time
	unasked  = " +unasked"     // and the application is given something that is not its own
)

// judge says what has become of the cell up to now.
func (c *cell) judge() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	word := c.verdict()
	if len(c.odd) > 0 {
		word += unasked
	}
	return word
}

func (c *cell) verdict() string {
	statuses := c.statuses()
	vain := c.vain()
	switch c.scene {
	case live:
		return c.outcome(all) + ", " + c.after(statuses)
	case gap:
		switch {
		case c.gotAll(21, 24):
			return goesOn
		case vain >= forever || len(statuses) > 2*forever:
			return loops
		case len(statuses) > 1 && c.over == "":
			return fmt.Sprintf("%d, %s", statuses[len(statuses)-1], nothing)
		}
		return c.lost()
	case full:
		switch {
		case !c.gotAll(1, last):
			return c.lost()
		case c.before > flood:
			return floods
		}
		return back
	}
	return c.outcome(resumes)
}

// outcome is what has come of a stream that is complete, if the client does its part.
func (c *cell) outcome(good string) string {
	twice := len(c.got) > len(slices.Compact(slices.Sorted(slices.Values(c.got))))
	switch {
	case c.scene == quiet && !c.gotAll(1, 3) && c.gotAll(4, last):
		return newcomer
	case len(c.asked) >= 3*forever && !c.gotAll(1, last):
		return loops
	case twice && (c.mode == byPost):
		return again
	case twice:
		return "twice"
	case c.gotAll(1, last):
		return good
	}
	return c.lost()
}

// lost is how the application learns that something is missing.
func (c *cell) lost() string {
	switch c.over {
	case "":
		return nothing
	case "done":
		return ended
	}
	return told
}

// after is how the client ends.
func (c *cell) after(statuses []int) string {
	later := statuses[min(1, len(statuses)):]
	switch {
	case !c.gotAll(1, last):
		return "-"
	case len(later) >= forever:
		return loops
	case slices.Contains(later, http.StatusNoContent):
		return "204"
	case c.over != "" && c.over != "done":
		return "then error"
	case !c.seen && c.over != "done":
		return "no end"
	case len(later) > 0:
		return fmt.Sprintf("asks again (%s)", strings.Trim(fmt.Sprint(later), "[]"))
	}
	return "ends"
}

// vain is how many requests have got no stream.
func (c *cell) vain() (n int) {
	for _, a := range c.asked {
		if a.status != http.StatusOK && a.status != 0 {
			n++
		}
	}
	return n
}

func (c *cell) gotAll(from, to int) bool {
	for n := from; n <= to; n++ {
		if !slices.Contains(c.got, n) {
			return false
		}
	}
	return true
}

func (c *cell) statuses() (statuses []int) {
	for _, a := range c.asked {
		statuses = append(statuses, a.status)
	}
	return statuses
}

// story is all that has happened.
func (c *cell) story() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "got %v", c.got)
	if c.seen {
		fmt.Fprint(&b, " and the end")
	}
	if c.over != "" {
		fmt.Fprintf(&b, "; over: %s", c.over)
	}
	if len(c.odd) > 0 {
		fmt.Fprintf(&b, "; unasked: %q", c.odd[:min(3, len(c.odd))])
	}
	fmt.Fprintf(&b, "; %d requests:", len(c.asked))
	for _, a := range c.asked[:min(6, len(c.asked))] {
		fmt.Fprintf(&b, " %s %q %d", a.method, a.lastID, a.status)
	}
	return b.String()
}

// settled reports whether the cell says what is expected and has been quiet for long
// enough to believe it. Without an expectation it has to be quiet for longer.
func (c *cell) settled(expected string) bool {
	word := c.judge()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.staged.IsZero() {
		return false
	}
	since := c.moved
	if vain := c.vain(); vain >= forever {
		since = c.staged // it will never be quiet
	}
	quiet := time.Since(since)
	if word == expected {
		return quiet > silence || strings.Contains(word, loops)
	}
	return expected == "" && quiet > 2*silence
}
