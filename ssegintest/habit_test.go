package ssegintest_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin/ssegintest"
)

// The blocks that ssegin sends of its own accord, or did once.
const (
	cursor    = "event: ssegin.cursor\ndata: {}\nid: X\n\n"
	retry     = "retry: 300\n"
	loneRetry = retry + "\n"
	end       = "event: ssegin.end\ndata: {}\nid: ssegin.end\n\n"
)

func reader(h ssegintest.Habit, src io.Reader) *ssegintest.Reader {
	r := ssegintest.NewReader(src)
	r.Habit(h)
	return r
}

// blocksOf reads to the end, which must be in order.
func blocksOf(t *testing.T, r *ssegintest.Reader) (blocks []ssegintest.Block) {
	t.Helper()
	for {
		b, err := r.NextBlock()
		if err != nil {
			require.Equal(t, io.EOF, err)
			return blocks
		}
		blocks = append(blocks, b)
	}
}

// broken is a response whose connection is reset after its last byte.
func broken(response string) io.Reader {
	return io.MultiReader(strings.NewReader(response), iotest.ErrReader(syscall.ECONNRESET))
}

func TestHabit_hasAName(t *testing.T) {
	assert.Equal(t, "standard strict WebKit Habit(3) Habit(-1)",
		fmt.Sprint(ssegintest.Standard, " ", ssegintest.Strict, " ", ssegintest.WebKit, " ", ssegintest.Habit(3), " ", ssegintest.Habit(-1)))
}

func TestStrict_dispatchesAtEveryBlankLine(t *testing.T) {
	type events = []ssegintest.Event
	none, a := message("", ""), message("", "a")
	for name, test := range map[string]struct {
		in    string
		want  events
		plain bool // CheckPlain is content
	}{
		"nothing":                         {"", nil, true},
		"a retry of its own":              {"retry: 2000\n\ndata: a\n\n", events{none, a}, false},
		"a retry in front of an event":    {"retry: 2000\ndata: a\n\n", events{a}, true},
		"a retry at the end":              {"data: a\n\nretry: 2000\n", events{a}, true},
		"a heartbeat with a blank line":   {"data: a\n\n:\n\ndata: a\n\n", events{a, none, a}, false},
		"a heartbeat in front":            {":\ndata: a\n\n", events{a}, true},
		"heartbeats between":              {"data: a\n\n:\n:\ndata: a\n\n:\n", events{a, a}, true},
		"a heartbeat inside":              {"data: a\n:\ndata: b\n\n", events{message("", "a\nb")}, true},
		"a heartbeat alone":               {":\n", nil, true},
		"a comment that looks like data":  {":data: a\n\n", events{none}, false},
		"a blank line after nothing":      {"\ndata: a\n\n", events{none, a}, false},
		"a blank line too many":           {"data: a\n\n\n", events{a, none}, false},
		"an unknown field":                {"foo: a\n\n", events{none}, false},
		"a type without data":             {"event: x\n\n", events{{Type: "x"}}, false},
		"an ID without data":              {"id: 1\n\ndata: a\n\n", events{message("1", ""), message("1", "a")}, false},
		"an ID without data, behind":      {"id: 1\ndata: a\n\n\n", events{message("1", "a"), message("1", "")}, false},
		"a cursor":                        {cursor, events{{ID: "X", Type: "ssegin.cursor", Data: "{}"}}, false},
		"an old cursor":                   {"event: ssegin.cursor\ndata:\nid: X\n\n", events{{ID: "X", Type: "ssegin.cursor"}}, false},
		"an end":                          {end, events{{ID: "ssegin.end", Type: "ssegin.end", Data: "{}"}}, false},
		"an end of the application's":     {"data: [DONE]\nid: ssegin.end\n\n", events{message("ssegin.end", "[DONE]")}, true},
		"empty data is the application's": {"data\n\ndata:\n\ndata: \n\n", events{none, none, none}, true},
		"CR":                              {":\rdata: a\r\r:\rretry: 1\r", events{a}, true},
		"CR and a blank line":             {"data: a\r\r\r", events{a, none}, false},
		"CRLF":                            {":\r\ndata: a\r\n\r\n:\r\nretry: 1\r\n", events{a}, true},
		"CRLF and a blank line":           {":\r\n\r\ndata: a\r\n\r\n", events{none, a}, false},
		"LF CR is two line ends":          {"data: a\n\r\rdata: a\n\n", events{a, none, a}, false},
		"BOM":                             {"\ufeffdata: a\n\n", events{a}, true},
		"BOM and a blank line":            {"\ufeff\ndata: a\n\n", events{none, a}, false},
		"an unfinished block":             {"data: a\n\nid: 1\ndata: b\n", events{a}, true},
		"an unfinished line":              {"data: a\n\nretry: 1", events{a}, true},
	} {
		t.Run(name, func(t *testing.T) {
			for how, src := range map[string]func() io.Reader{
				"at once":      func() io.Reader { return strings.NewReader(test.in) },
				"byte by byte": func() io.Reader { return iotest.OneByteReader(strings.NewReader(test.in)) },
			} {
				assert.Equal(t, test.want, readAll(t, reader(ssegintest.Strict, src())), how)
				err := ssegintest.CheckPlain(src())
				assert.Equal(t, test.plain, err == nil, "%s: %v", how, err)
			}
			assert.Equal(t, test.want, ssegintest.Strict.Events(test.in))
		})
	}
}

func TestStrict_blocksSayWhatWasThere(t *testing.T) {
	in := ": one\n:two\nretry: 5\n\n\nevent: x\nid: 1\ndata\n: in\n\nfoo\n\n"
	r := reader(ssegintest.Strict, strings.NewReader(in))
	blocks := blocksOf(t, r)
	type fields = []ssegintest.Field
	none, x, foo := message("", ""), ssegintest.Event{ID: "1", Type: "x"}, message("1", "")
	assert.Equal(t, []ssegintest.Block{
		{Comments: []string{" one", "two"}, Fields: fields{{"retry", "5"}}, Event: &none},
		{Event: &none},
		{Comments: []string{" in"}, Fields: fields{{"event", "x"}, {"id", "1"}, {"data", ""}}, Event: &x, LastEventID: "1"},
		{Fields: fields{{"foo", ""}}, Event: &foo, LastEventID: "1"},
	}, blocks)
	var data []bool
	for _, b := range blocks {
		data = append(data, b.HasData())
	}
	assert.Equal(t, []bool{false, false, true, false}, data)
	assert.Equal(t, 3, r.Comments())
	assert.Zero(t, r.Bookmarks(), "each block is an event")
	got, ok := r.Retry()
	assert.True(t, ok)
	assert.Equal(t, 5*time.Millisecond, got)
}

func TestStrict_retryCountsByTheStandard(t *testing.T) {
	r := reader(ssegintest.Strict, strings.NewReader("retry: 1\nretry: 5x\nretry\n"))
	readAll(t, r)
	got, ok := r.Retry()
	assert.True(t, ok)
	assert.Equal(t, time.Millisecond, got)
}

func TestStrict_resetThrowsTheUnfinishedAway(t *testing.T) {
	assert.Equal(t, []ssegintest.Event{message("", "b")}, ssegintest.Strict.Events("id: 1\ndata: a\nda", "data: b\n\n"))
}

func TestCheckPlain_saysWhatIsWrong(t *testing.T) {
	gone := errors.New("gone")
	for in, want := range map[string]string{
		"data: a\n\n: x\nretry: 1\n\n": `ssegintest: block 2 has no data: fields [{"retry" "1"}], comments [" x"]`,
		cursor:                         `ssegintest: block 1 is not the application's: fields [{"event" "ssegin.cursor"} {"data" "{}"} {"id" "X"}]`,
		"data: a\n\n":                  "gone",
	} {
		err := ssegintest.CheckPlain(io.MultiReader(strings.NewReader(in), iotest.ErrReader(gone)))
		assert.EqualError(t, err, want)
	}
}

// WebKitGTK 2.50.6 was given most of these bytes, with an RST between them, and
// its pages saw the same.
func TestWebKit_goesOnWithWhatAResetLeft(t *testing.T) {
	type events = []ssegintest.Event
	trueEvent := "id: 1\ndata: true\n\n"
	whole := message("1", "true")
	for name, test := range map[string]struct {
		cut, then string
		want      events
	}{
		"nothing left":                           {"id: 0\ndata: x\n\n", trueEvent, events{message("0", "x"), whole}},
		"nothing received":                       {"", trueEvent, events{whole}},
		"a lone retry forges an event":           {"data: tru", loneRetry + trueEvent, events{message("", "truretry: 300"), whole}},
		"a lone retry, a byte further":           {"data: true\n", loneRetry + trueEvent, events{message("", "true"), whole}},
		"a retry spoils the first event":         {"data: tru", retry + trueEvent, events{message("1", "truretry: 300\ntrue")}},
		"so does a heartbeat":                    {"data: tru", ":\n" + trueEvent, events{message("1", "tru:\ntrue")}},
		"and the first event itself":             {"data: tru", trueEvent, events{message("", "truid: 1\ntrue")}},
		"a line that is lost spoils nothing":     {"event: x", retry + trueEvent, events{{ID: "1", Type: "xretry: 300", Data: "true"}}},
		"a lost line in an unknown field":        {"dat", retry + trueEvent, events{whole}},
		"a lost line in a comment":               {": hear", retry + trueEvent, events{whole}},
		"the finished lines stay as well":        {"event: x\ndata: a\nid: 7\n", "data: b\n\n", events{{ID: "7", Type: "x", Data: "a\nb"}}},
		"a cursor takes up unfinished data":      {"id: 7\ndata: a\ndata: tru", retry + cursor + trueEvent, events{whole}},
		"a cursor takes up an unfinished type":   {"event: fo", retry + cursor + trueEvent, events{whole}},
		"its ID wins":                            {"id: 7\ndata: a\n", retry + cursor + "data: b\n\n", events{message("X", "b")}},
		"its ID wins over an unfinished one":     {"data: a\nid: 7", retry + cursor + "data: b\n\n", events{message("X", "b")}},
		"without the line that may be lost":      {"data: tru", cursor + trueEvent, events{message("X", "truevent: ssegin.cursor\n{}"), whole}},
		"CR at the cut ends the line":            {"data: a\r", "\n\ndata: b\n\n", events{message("", "a"), message("", "b")}},
		"CRLF is not cut in two":                 {"data: a\r", "\ndata: b\n\n", events{message("", "a\nb")}},
		"a character may be cut":                 {"data: \xe2\x9c", "\x85\n\n", events{message("", "✅")}},
		"a BOM is dropped after nothing":         {"", "\ufeff" + "data: a\n\n", events{message("", "a")}},
		"no BOM is dropped after something":      {"data: a\n\n", "\ufeff" + "data: b\ndata: c\n\n", events{message("", "a"), message("", "c")}},
		"an end without a listener takes it up":  {"data: tru", end, events{{ID: "ssegin.end", Type: "message", Data: "truevent: ssegin.end\n{}"}}},
		"an end behind a cursor is no event":     {"data: tru", retry + cursor + end, nil},
		"an application's end is an event of it": {"", "event: ssegin.end\ndata: {\"sum\":1}\nid: ssegin.end\n\n", events{{ID: "ssegin.end", Type: "ssegin.end", Data: `{"sum":1}`}}},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, test.want, ssegintest.WebKit.Events(test.cut, test.then))
			var got events
			r := reader(ssegintest.WebKit, iotest.OneByteReader(broken(test.cut)))
			for e, err := range r.Events() {
				if err == nil {
					got = append(got, e)
				}
			}
			r.Reset(iotest.OneByteReader(strings.NewReader(test.then)))
			assert.Equal(t, test.want, append(got, readAll(t, r)...), "byte by byte")
		})
	}
}

func TestWebKit_throwsAwayWhatAnEndOrAFINLeft(t *testing.T) {
	for _, end := range []error{io.EOF, io.ErrUnexpectedEOF} {
		r := reader(ssegintest.WebKit, io.MultiReader(strings.NewReader("id: 1\n\nid: 2\nevent: x\ndata: a\ndata: tru"), iotest.ErrReader(end)))
		_, err := r.Next()
		assert.Equal(t, end, err)
		assert.True(t, r.Truncated())
		r.Reset(strings.NewReader("\ufeffdata: b\n\n"))
		assert.Equal(t, []ssegintest.Event{message("", "b")}, readAll(t, r))
		assert.False(t, r.Truncated())
	}
}

func TestWebKit_takesOverAnIDWithTheNextDataOnly(t *testing.T) {
	r := reader(ssegintest.WebKit, strings.NewReader("id: 1\n\ndata: a\n\nid: 2\n\nid\n\nevent: ssegin.cursor\nid: 3\n\n"+
		"data: b\n\nid: 4\nevent: ssegin.cursor\ndata: {}\n\nid: 5\n\n"))
	var ids []string
	for _, b := range blocksOf(t, r) {
		ids = append(ids, b.LastEventID)
	}
	assert.Equal(t, []string{"", "1", "1", "1", "1", "3", "4", "4"}, ids)
	assert.Equal(t, 1, r.Bookmarks(), "a block that moves nothing is none")
}

func TestWebKit_keepsIDAndRetryOverTheResponses(t *testing.T) {
	r := reader(ssegintest.WebKit, broken("retry: 20\nid: 1\ndata: a\n\nid: 2\n\n"))
	for _, err := range r.Events() {
		_ = err // that of a broken response at last
	}
	for _, response := range []string{"", ": x\n"} {
		r.Reset(strings.NewReader(response))
		assert.Empty(t, readAll(t, r))
		assert.Equal(t, "1", r.LastEventID())
		got, ok := r.Retry()
		assert.True(t, ok)
		assert.Equal(t, 20*time.Millisecond, got)
	}
	r.Reset(strings.NewReader("data: b\n\n"))
	assert.Equal(t, []ssegintest.Event{message("1", "b")}, readAll(t, r), "the ID that waited has gone with the clean end")
}

func TestWebKit_retryMayHaveSpaces(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"retry: 300\n":            300 * time.Millisecond,
		"retry:  300\t\n":         300 * time.Millisecond,
		"retry: +300\n":           300 * time.Millisecond,
		"retry: 30\nretry:  \n":   30 * time.Millisecond,
		"retry: 30x\n":            -1,
		"retry: 30\nretry: x30\n": 30 * time.Millisecond,
		"retry: 30\nretry\n":      -1,
		"retry: 30\nretry:\n":     -1,
		"retry: x\n":              -1,
	} {
		r := reader(ssegintest.WebKit, strings.NewReader(in))
		readAll(t, r)
		got, ok := r.Retry()
		if !ok {
			got = -1
		}
		assert.Equal(t, want, got, in)
	}
}

// What a test has received and not looked at is as good as never received, but
// for the event in which the connection broke.
func TestWebKit_resetDropsWholeBlocksThatWereNotReturned(t *testing.T) {
	r := reader(ssegintest.WebKit, strings.NewReader("id: 1\ndata: a\n\nid: 2\ndata: b\n\nid: 3\n\ndata: tru"))
	e, err := r.Next()
	require.NoError(t, err)
	assert.Equal(t, message("1", "a"), e)
	r.Reset(strings.NewReader("e\n\n"))
	assert.Equal(t, "1", r.LastEventID())
	assert.Equal(t, []ssegintest.Event{message("1", "true")}, readAll(t, r))
}

// cutServer resets the connection of its first response in an event, and answers
// the second request with what a server has for those that come back.
func cutServer(t *testing.T, cut, then string) http.Handler {
	first := true
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !first {
			_, _ = io.WriteString(w, then)
			return
		}
		first = false
		_, _ = io.WriteString(w, cut)
		_ = http.NewResponseController(w).Flush()
		synctest.Wait() // until the client has read it: a reset destroys what is unread
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_ = conn.(*ssegintest.Conn).SetLinger(0)
			err = conn.Close()
		}
		assert.NoError(t, err)
	})
}

func TestWithHabit_makesAStreamThatClient(t *testing.T) {
	for h, want := range map[ssegintest.Habit][]string{
		ssegintest.Standard: {"a", "b"},
		ssegintest.Strict:   {"a", "", "b"},
		ssegintest.WebKit:   {"a", "truretry: 300", "b"},
	} {
		t.Run(h.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := ssegintest.NewServer(t, cutServer(t, "id: 1\ndata: a\n\ndata: tru", loneRetry+"data: b\n\n"))
				st, err := srv.Connect(t.Context(), "/", ssegintest.WithHabit(h))
				require.NoError(t, err)
				var got []string
				read := func() (last error) {
					for e, err := range st.Events(t.Context()) {
						if err != nil {
							return err
						}
						got = append(got, e.Data)
						assert.Equal(t, "1", e.ID)
					}
					return nil
				}
				assert.ErrorIs(t, read(), syscall.ECONNRESET)
				require.NoError(t, st.Resume(t.Context()))
				assert.NoError(t, read())
				assert.Equal(t, want, got)
			})
		})
	}
}

func TestWithHabit_cutLeavesWebKitItsUnfinishedLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := []string{"id: 1\ndata: a\n\ndata: tru", loneRetry}
		srv := ssegintest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, answers[0])
			_ = http.NewResponseController(w).Flush()
			answers = answers[1:]
			<-r.Context().Done()
		}))
		st, err := srv.Connect(t.Context(), "/", ssegintest.WithHabit(ssegintest.WebKit))
		require.NoError(t, err)
		e, err := st.Next(t.Context())
		require.NoError(t, err)
		assert.Equal(t, message("1", "a"), e)
		st.Cut()
		require.NoError(t, st.Resume(t.Context()))
		e, err = st.Next(t.Context())
		require.NoError(t, err)
		assert.Equal(t, message("1", "truretry: 300"), e)
	})
}

// The first block of a hub's responses is made so that a cut anywhere does no
// harm: what WebKit sees is what the standard says.
func TestWebKit_aCursorMakesEveryCutHarmless(t *testing.T) {
	const first = ":\n" + retry + "event: x\nid: 7\ndata: {\"a\":\ndata: 1}\n\n:\r\ndata: ✅\r\n\r\nid: 8\rdata: b\r\r"
	for _, lost := range []string{retry, ":\n"} {
		second := lost + cursor + "data: c\n\n" + end
		for cut := range len(first) + 1 {
			assert.Equal(t, ssegintest.Standard.Events(first[:cut], second), ssegintest.WebKit.Events(first[:cut], second), "%q", first[:cut])
		}
	}
}

// FuzzHabits_agreeOnBlocksWithData reads the same bytes by all habits.
func FuzzHabits_agreeOnBlocksWithData(f *testing.F) {
	for _, in := range []string{
		"retry: 2000\n\ndata: a\n\n", ":\n\ndata: a\n\n\n:\n", retry + cursor + "data: a\n\n" + end, "\ufeff:\r\n\r\nid: 1\rdata: a\r\r",
		"id: 1\n\ndata\n\nid\n\nevent: x\ndata: b\ndata: c\nfoo\n\ndata: d\n", "id: \x00\ndata: \xe2\x9c\n\n\xef\xbb\xbfdata: a\n\n",
	} {
		f.Add([]byte(in), uint8(5))
	}
	f.Fuzz(func(t *testing.T, in []byte, chunk uint8) {
		blocks := func(h ssegintest.Habit) []ssegintest.Block {
			return blocksOf(t, reader(h, &chunkReader{string(in), int(chunk) + 1}))
		}
		strict := blocks(ssegintest.Strict)
		assert.Len(t, strict, blankLines(string(in)))
		want := withData(blocks(ssegintest.Standard))
		got := withData(strict)
		require.Len(t, got, len(want))
		for i := range want {
			assert.Equal(t, want[i].Fields, got[i].Fields)
			assert.Equal(t, want[i].LastEventID, got[i].LastEventID)
			require.NotNil(t, got[i].Event)
			if want[i].Event != nil { // no bookmark
				assert.Equal(t, want[i].Event, got[i].Event)
			}
		}
		assert.Equal(t, want, withData(blocks(ssegintest.WebKit)))
	})
}

// FuzzWebKit_aCursorMakesEveryCutHarmless has a hub's first block after whatever
// was received.
func FuzzWebKit_aCursorMakesEveryCutHarmless(f *testing.F) {
	for _, cut := range []string{"data: tru", "id: 1\ndata: a\n\nid: 2\nevent: x\n", "id: 1\n\nid", "data: a\r", "event: ssegin.en", "\xef\xbb", "\ufeff"} {
		f.Add([]byte(cut))
	}
	f.Fuzz(func(t *testing.T, cut []byte) {
		for _, lost := range []string{retry, ":\n"} {
			second := lost + cursor + "data: a\n\n"
			assert.Equal(t, ssegintest.Standard.Events(string(cut), second), ssegintest.WebKit.Events(string(cut), second))
		}
	})
}

// withData returns the blocks with data. The comments in front of a block belong
// to it for a strict client only.
func withData(blocks []ssegintest.Block) (some []ssegintest.Block) {
	for _, b := range blocks {
		if b.HasData() {
			b.Comments = nil
			some = append(some, b)
		}
	}
	return some
}

// blankLines counts them in another way than a Reader.
func blankLines(stream string) (n int) {
	stream = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(strings.TrimPrefix(stream, "\ufeff"))
	for line := range strings.Lines(stream) {
		if line == "\n" {
			n++
		}
	}
	return n
}
