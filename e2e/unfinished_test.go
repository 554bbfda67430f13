package e2e

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin"
	"github.com/ssegin/ssegin/ssegintest"
)

// startScript starts a telling server whose streams a test writes byte by byte:
// answer waits for the browser and gives it a text, and the stream stays open
// until it is cut.
func startScript(t *testing.T) (s *tellingServer, answer func(text string)) {
	t.Helper()
	texts := make(chan string)
	s = startTellingServer(t, ssegin.NewHub(), func(c *gin.Context) {
		gone := c.Request.Context().Done()
		select {
		case text := <-texts:
			c.Header("Content-Type", "text/event-stream")
			// In one piece: who has seen an event in it has read what follows, too.
			_, _ = c.Writer.WriteString(text)
			c.Writer.Flush()
			<-gone
		case <-gone:
		}
	})
	return s, func(text string) {
		t.Helper()
		select {
		case texts <- text:
		case <-time.After(4 * patience):
			require.FailNow(t, "the browser does not ask", "it would get %q", text)
		}
	}
}

// By the standard an event whose blank line has not come is forgotten with its
// connection. WebKit does that at an end of the response and at a FIN, but not at
// an RST: what comes next over a new connection goes on in the middle of the line.
// The order of the lines in the first block of a response rests on this. Should
// WebKit have mended it, this test fails and may go.
func TestBrowser_afterAnRSTOnlyWebKitGoesOnWithTheUnfinishedEvent(t *testing.T) {
	t.Parallel()
	tries := []struct {
		unfinished, next string
		standard, webkit []ssegintest.Event
	}{
		{
			unfinished: "data: tru",
			next:       "retry: 300\n\n",
			webkit:     []ssegintest.Event{{ID: "1", Type: "message", Data: "truretry: 300"}},
		},
		{
			unfinished: "data: tru",
			next:       "retry: 300\ndata: next\n\n",
			standard:   []ssegintest.Event{{ID: "1", Type: "message", Data: "next"}},
			webkit:     []ssegintest.Event{{ID: "1", Type: "message", Data: "truretry: 300\nnext"}},
		},
		{
			unfinished: "id: 99\nevent: bye\ndata: tru\n",
			next:       ":\ndata: next\n\n",
			standard:   []ssegintest.Event{{ID: "1", Type: "message", Data: "next"}},
			webkit:     []ssegintest.Event{{ID: "99", Type: "bye", Data: "tru\nnext"}},
		},
	}
	for name, show := range browsers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, answer := startScript(t)
			show(t, s.url)
			var want []ssegintest.Event
			for i, try := range tries {
				answer("retry: 300\nevent: hello\nid: 1\ndata: whole\n\n" + try.unfinished)
				until(t, "the whole event is there", 4*patience, func() bool { return len(s.saw("hello")) == 2*i+1 })
				s.cut(t, 0)
				answer(try.next + "event: hello\ndata: it is read\n\n")
				until(t, "the next response is read", patience, func() bool { return len(s.saw("hello")) == 2*i+2 })
				s.cut(t, 1)
				if name == "WebKit" {
					want = append(want, try.webkit...)
				} else {
					want = append(want, try.standard...)
				}
			}
			got := s.saw("message", "bye")
			t.Logf("%s: %d times RST in an event: the page sees %q", name, len(tries), got)
			assert.Equal(t, want, got)
		})
	}
}

// This is what a first block has to be like: a line that may be lost, then a type
// and an ID of its own, which replace those that WebKit has kept.
func TestBrowser_aFirstBlockOfAReservedTypeForgesNothingAfterAnRST(t *testing.T) {
	t.Parallel()
	for name, show := range browsers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, answer := startScript(t)
			show(t, s.url)
			var ids []string // of the application's events, which the page has to see and nothing else
			first := "retry: 300\n"
			for _, line := range []string{":\n", "retry: 300\n"} {
				for _, unfinished := range []string{"data: tru", "id: 99\nevent: bye\ndata: tru\n", "id: 9"} {
					id := strconv.Itoa(len(ids) + 1)
					ids = append(ids, id)
					answer(fmt.Sprintf("%sid: %s\ndata: %[2]s\n\n%s", first, id, unfinished))
					until(t, "the event is there", 4*patience, func() bool {
						events := s.saw("message")
						return len(events) > 0 && events[len(events)-1].ID == id
					})
					s.cut(t, 0)
					first = line + "event: ssegin.cursor\ndata: {}\nid: " + id + "\n\n"
				}
			}
			answer(first)
			until(t, "the last block is there", patience, func() bool { return len(s.saw("ssegin.cursor")) == len(ids) })

			var asked, kept, seen []string
			for _, r := range s.requests()[1:] {
				asked = append(asked, r.lastID)
			}
			for _, e := range s.saw("ssegin.cursor") {
				kept = append(kept, e.ID)
			}
			for _, e := range s.saw("message", "bye") {
				seen = append(seen, e.Data)
			}
			t.Logf("%s: %d times RST in an event: it comes back with the IDs %v, keeps %v, has seen %v", name, len(ids), asked, kept, seen)
			assert.Equal(t, ids, asked)
			assert.Equal(t, ids, kept)
			assert.Equal(t, ids, seen)
		})
	}
}

// A newcomer that is cut in the first event of its replay has seen nothing, and must come
// back as a newcomer, although WebKit keeps the half of that event, with its ID.
func TestBrowser_cutInTheFirstEventOfAReplayItComesBackAsANewcomer(t *testing.T) {
	t.Parallel()
	const first = "retry: 300\nevent: ssegin.cursor\ndata: {}\nid:\n\n"
	for name, show := range browsers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, answer := startScript(t)
			show(t, s.url)
			cursors := func(n int) {
				until(t, "the first block is read", 4*patience, func() bool { return len(s.saw("ssegin.cursor")) == n })
			}
			answer(first + "data: one\nid: 7\n")
			cursors(1)
			s.cut(t, 0)
			answer(first)
			cursors(2)
			s.cut(t, 0)
			answer(first + "data: one\nid: 7\n\n")
			until(t, "the event is there", patience, func() bool { return len(s.saw("message")) == 1 })
			s.cut(t, 0)
			answer(first)
			var asked []string
			for _, r := range s.requests() {
				asked = append(asked, r.lastID)
			}
			t.Logf("%s: it comes back with the IDs %q, has seen %v", name, asked, s.saw("message"))
			assert.Equal(t, []string{"", "", "", "7"}, asked)
			assert.Equal(t, []ssegintest.Event{{ID: "7", Type: "message", Data: "one"}}, s.saw("message"))
		})
	}
}
