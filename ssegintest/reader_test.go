package ssegintest_test

import (
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin/ssegintest"
)

// message is an event without a type.
func message(id, data string) ssegintest.Event {
	return ssegintest.Event{ID: id, Type: "message", Data: data}
}

func readAll(t *testing.T, r *ssegintest.Reader) []ssegintest.Event {
	t.Helper()
	var got []ssegintest.Event
	for e, err := range r.Events() {
		require.NoError(t, err)
		got = append(got, e)
	}
	return got
}

func TestReader_followsTheStandard(t *testing.T) {
	type events = []ssegintest.Event
	for name, test := range map[string]struct {
		in     string
		want   events
		lastID string
	}{
		"nothing":                          {in: ""},
		"blank lines dispatch nothing":     {in: "\n\r\r\n\n"},
		"one event":                        {in: "data: a\n\n", want: events{message("", "a")}},
		"lines become LF":                  {in: "data: a\ndata: b\ndata:\ndata: d\n\n", want: events{message("", "a\nb\n\nd")}},
		"CR ends lines":                    {in: "data: a\rdata: b\r\r", want: events{message("", "a\nb")}},
		"CRLF ends lines":                  {in: "data: a\r\ndata: b\r\n\r\n", want: events{message("", "a\nb")}},
		"line ends may be mixed":           {in: "data: a\rdata: b\n\r\ndata: c\r\n\rdata: d\n\n", want: events{message("", "a\nb"), message("", "c"), message("", "d")}},
		"an LF after CRLF is a blank line": {in: "data: a\r\n\ndata: b\r\n\n", want: events{message("", "a"), message("", "b")}},
		"LF CR is two line ends":           {in: "data: a\n\rdata: b\n\n", want: events{message("", "a"), message("", "b")}},
		"no other line ends":               {in: "data: a\u2028b\u0085c\u2029d\x0be\x0cf\n\n", want: events{message("", "a\u2028b\u0085c\u2029d\x0be\x0cf")}},
		"one space is removed":             {in: "data:a\n\ndata:  b\n\ndata:\tc\n\ndata: d \n\n", want: events{message("", "a"), message("", " b"), message("", "\tc"), message("", "d ")}},
		"data alone is an empty payload":   {in: "data\n\ndata:\n\ndata: \n\n", want: events{message("", ""), message("", ""), message("", "")}},
		"empty lines of data":              {in: "data\ndata\n\n", want: events{message("", "\n")}},
		"without data there is no event":   {in: "event: x\n\ndata: a\n\n", want: events{message("", "a")}},
		"type":                             {in: "event: x\ndata: a\n\ndata: b\n\n", want: events{{Type: "x", Data: "a"}, message("", "b")}},
		"the last type counts":             {in: "event: x\nevent: y\ndata: a\n\n", want: events{{Type: "y", Data: "a"}}},
		"an empty type is message":         {in: "event: x\nevent\ndata: a\n\n", want: events{message("", "a")}},
		"colons in values":                 {in: "data: a: b:c\n\n", want: events{message("", "a: b:c")}},
		"comments":                         {in: ": x\n:\n:data: no\ndata: a\n: y\ndata: b\n\n:\n\n", want: events{message("", "a\nb")}},
		"unknown fields":                   {in: "foo: x\nDATA: no\n data: no\ndata : no\ndata: a\n\n", want: events{message("", "a")}},
		"BOM at the start":                 {in: "\ufeffdata: a\n\n", want: events{message("", "a")}},
		"BOM alone":                        {in: "\ufeff"},
		"BOM and a blank line":             {in: "\ufeff\n\ufeffdata: no\ndata: a\n\n", want: events{message("", "a")}},
		"a second BOM spoils the name":     {in: "\ufeff\ufeffdata: no\n\ndata: a\n\n", want: events{message("", "a")}},
		"a later BOM spoils the name":      {in: "data: a\n\n\ufeffdata: no\n\n", want: events{message("", "a")}},
		"a BOM in data is data":            {in: "data: \ufeffa\n\n", want: events{message("", "\ufeffa")}},
		"NUL in data is data":              {in: "data: a\x00b\n\n", want: events{message("", "a\x00b")}},
		"broken UTF-8":                     {in: "data: a\xffb\xe2\x82\ndata: \xf0\x80\x80\n\n", want: events{message("", "a\ufffdb\ufffd\n\ufffd\ufffd\ufffd")}},
		"ID":                               {in: "id: 1\ndata: a\n\n", want: events{message("1", "a")}, lastID: "1"},
		"ID behind the data":               {in: "data: a\nid: 1\n\n", want: events{message("1", "a")}, lastID: "1"},
		"ID is kept":                       {in: "id: 1\ndata: a\n\ndata: b\n\n", want: events{message("1", "a"), message("1", "b")}, lastID: "1"},
		"the last ID of a block counts":    {in: "id: 1\nid: 2\ndata: a\n\n", want: events{message("2", "a")}, lastID: "2"},
		"an empty ID resets":               {in: "id: 1\ndata: a\n\nid\ndata: b\n\n", want: events{message("1", "a"), message("", "b")}},
		"an empty ID resets without data":  {in: "id: 1\ndata: a\n\nid:\n\n", want: events{message("1", "a")}},
		"an ID with NUL is ignored whole":  {in: "id: 1\ndata: a\n\nid: 2\x003\ndata: b\n\nid:\x00\ndata: c\n\n", want: events{message("1", "a"), message("1", "b"), message("1", "c")}, lastID: "1"},
		"an ID with NUL behind a good one": {in: "id: 1\nid: \x00\ndata: a\n\n", want: events{message("1", "a")}, lastID: "1"},
		"an ID needs no data":              {in: "id: 1\n\ndata: a\n\n", want: events{message("1", "a")}, lastID: "1"},
		"an ID without data is the last":   {in: "data: a\n\nid: 1\n\n", want: events{message("", "a")}, lastID: "1"},
		"an ID of spaces and UTF-8":        {in: "id:  ä \ndata: a\n\n", want: events{message(" ä ", "a")}, lastID: " ä "},
		"an unfinished event is dropped":   {in: "id: 1\ndata: a\n\nid: 2\ndata: b\n", want: events{message("1", "a")}, lastID: "1"},
		"an unfinished line is dropped":    {in: "id: 1\ndata: a\n\nid: 2", want: events{message("1", "a")}, lastID: "1"},
		"an unfinished ID moves nothing":   {in: "id: 2\n"},
	} {
		t.Run(name, func(t *testing.T) {
			for how, src := range map[string]io.Reader{
				"at once":        strings.NewReader(test.in),
				"with the error": iotest.DataErrReader(strings.NewReader(test.in)),
				"byte by byte":   iotest.OneByteReader(strings.NewReader(test.in)),
			} {
				r := ssegintest.NewReader(src)
				assert.Equal(t, test.want, readAll(t, r), how)
				assert.Equal(t, test.lastID, r.LastEventID(), how)
			}
		})
	}
}

func TestReader_retryCountsIfAllDigits(t *testing.T) {
	const longest = (math.MaxInt64 / time.Millisecond) * time.Millisecond
	for in, want := range map[string]time.Duration{
		"retry: 1500\n":                       1500 * time.Millisecond,
		"retry:0\n":                           0,
		"retry: 007\n":                        7 * time.Millisecond,
		"retry: 1\nretry: 2\n":                2 * time.Millisecond,
		"retry: 1\nretry: x\n":                time.Millisecond,
		"retry: 1\ndata: a\n\n":               time.Millisecond,
		"retry: 10000000000000000\n":          longest,
		"retry: 99999999999999999999999\n":    longest,
		"retry: 99999999999999999999999x\n":   -1,
		"retry\n":                             -1,
		"retry:\n":                            -1,
		"retry:  1\n":                         -1,
		"retry: 1 \n":                         -1,
		"retry: +1\n":                         -1,
		"retry: -1\n":                         -1,
		"retry: 1.5\n":                        -1,
		"retry: 1_000\n":                      -1,
		"retry: 0x1\n":                        -1,
		"retry: \uff11\n":                     -1, // a digit, but not of ASCII
		"Retry: 1\n":                          -1,
		"retry: 1":                            -1, // the line did not end
		": retry: 1\n data: a\nretry : 1\n\n": -1,
	} {
		r := ssegintest.NewReader(strings.NewReader(in))
		readAll(t, r)
		got, ok := r.Retry()
		if !ok {
			assert.Zero(t, got, in)
			got = -1
		}
		assert.Equal(t, want, got, in)
	}
}

func TestReader_neverWaitsForTheByteAfterCR(t *testing.T) {
	in, out := io.Pipe()
	go func() {
		_, _ = io.WriteString(out, "data: a\r\r")
		_, _ = io.WriteString(out, "\ndata: b\r\n\r") // the LF belongs to the CR before
		_, _ = io.WriteString(out, "\n")
		_ = out.Close()
	}()
	r := ssegintest.NewReader(in)
	for _, want := range []string{"a", "b"} {
		e, err := r.Next() // a pipe's write returns when it is read: waiting would block here
		require.NoError(t, err)
		assert.Equal(t, message("", want), e)
	}
	_, err := r.Next()
	assert.Equal(t, io.EOF, err)
	assert.False(t, r.Truncated())
}

func TestReader_showsBlocksInOrder(t *testing.T) {
	const in = ": hello\nid: 1\n\n:\n\n\ndata: a\n:inside\nid: 2\nfoo\n\nretry: 5\n\nid: \x00\n\nid\n\n"
	r := ssegintest.NewReader(strings.NewReader(in))
	var got []ssegintest.Block
	for {
		b, err := r.NextBlock()
		if err != nil {
			require.Equal(t, io.EOF, err)
			break
		}
		got = append(got, b)
	}
	type fields = []ssegintest.Field
	a := message("2", "a")
	assert.Equal(t, []ssegintest.Block{
		{Comments: []string{" hello"}},
		{Fields: fields{{"id", "1"}}, LastEventID: "1"},
		{Comments: []string{""}, LastEventID: "1"},
		{
			Fields: fields{{"data", "a"}, {"id", "2"}, {"foo", ""}}, Comments: []string{"inside"},
			Event: &a, LastEventID: "2",
		},
		{Fields: fields{{"retry", "5"}}, LastEventID: "2"},
		{Fields: fields{{"id", "\x00"}}, LastEventID: "2"},
		{Fields: fields{{"id", ""}}},
	}, got)
	assert.Equal(t, 3, r.Comments())
	assert.Equal(t, 2, r.Bookmarks(), "an ID with NUL is no bookmark, an empty one is")
}

func TestReader_blocksStayWhatTheyAre(t *testing.T) {
	r := ssegintest.NewReader(strings.NewReader("data: a\n\ndata: b\n\n"))
	first, err := r.NextBlock()
	require.NoError(t, err)
	_, err = r.Next()
	require.NoError(t, err)
	assert.Equal(t, []ssegintest.Field{{"data", "a"}}, first.Fields)
}

func TestReader_heartbeatIsSeenAtItsLineEnd(t *testing.T) {
	in, out := io.Pipe()
	go func() { _, _ = io.WriteString(out, ": beat\n") }()
	b, err := ssegintest.NewReader(in).NextBlock()
	require.NoError(t, err)
	assert.Equal(t, []string{" beat"}, b.Comments)
}

func TestReader_limitHoldsForABlock(t *testing.T) {
	const limit = 16
	for name, test := range map[string]struct {
		in string
		ok bool
	}{
		"a line that fits":        {"data: 7890123456\n\ndata: 7890123456\n\n", true},
		"a line that does not":    {"data: 78901234567\n\n", false},
		"a line without end":      {strings.Repeat("x", 1<<20), false},
		"lines that fit":          {"data: 78\ndata: 78\n\n", true},
		"lines that do not":       {"data: 78\ndata: 789\n\n", false},
		"line ends do not count":  {"data: 78\r\ndata: 78\r\n\r\n", true},
		"a comment that fits":     {":234567890123456\n", true},
		"a comment that does not": {":2345678901234567\n", false},
		"comments between":        {strings.Repeat(":23456789012345\n", 10), true},
		"comments inside":         {"data: a\n:23456789\n\n", true},
		"comments inside do not":  {"data: a\n:2345678901\n\n", false},
	} {
		for how, src := range map[string]io.Reader{
			"at once":      strings.NewReader(test.in),
			"byte by byte": iotest.OneByteReader(strings.NewReader(test.in)),
		} {
			r := ssegintest.NewReader(src)
			r.Limit(limit)
			var err error
			for err == nil {
				_, err = r.Next()
			}
			want := io.EOF
			if !test.ok {
				want = ssegintest.ErrTooLarge
			}
			assert.Equal(t, want, err, "%s %s", name, how)
			_, err = r.Next()
			assert.Equal(t, want, err, "%s %s, again", name, how)
		}
	}
}

func TestReader_defaultLimitIsFourMebibytes(t *testing.T) {
	long := strings.Repeat("x", 4<<20-len("data:"))
	for _, limit := range []int{4 << 20, 0, -1} {
		r := ssegintest.NewReader(strings.NewReader("data:" + long + "\n\ndata: " + long + "\n\n"))
		r.Limit(limit)
		e, err := r.Next()
		require.NoError(t, err)
		assert.Len(t, e.Data, len(long))
		_, err = r.Next()
		assert.ErrorIs(t, err, ssegintest.ErrTooLarge)
	}
}

func TestReader_returnsTheErrorAfterTheEvents(t *testing.T) {
	broken := errors.New("broken")
	src := io.MultiReader(strings.NewReader("data: a\n\nid: 1\ndata: b"), iotest.ErrReader(broken))
	r := ssegintest.NewReader(src)
	var got []ssegintest.Event
	var last error
	for e, err := range r.Events() {
		if last = err; err == nil {
			got = append(got, e)
		}
	}
	assert.Equal(t, []ssegintest.Event{message("", "a")}, got)
	assert.Equal(t, broken, last)
	assert.True(t, r.Truncated())
	assert.Empty(t, r.LastEventID())
	_, err := r.Next()
	assert.Equal(t, broken, err)
	_, err = r.NextBlock()
	assert.Equal(t, broken, err)
}

func TestReader_givesUpOnASourceThatGivesNothing(t *testing.T) {
	_, err := ssegintest.NewReader(emptyReader{}).Next()
	assert.Equal(t, io.ErrNoProgress, err)
}

type emptyReader struct{}

func (emptyReader) Read([]byte) (int, error) { return 0, nil }

func TestReader_truncatedTellsWhetherABlockWasLost(t *testing.T) {
	for in, want := range map[string]bool{
		"":                      false,
		"data: a\n\n":           false,
		"data: a\r\r":           false,
		": x\n":                 false,
		"data: a\n":             true,
		"data: a":               true,
		"data: a\n\n:":          true,
		"data: a\n\nretry: 1\n": true,
	} {
		r := ssegintest.NewReader(strings.NewReader(in))
		readAll(t, r)
		assert.Equal(t, want, r.Truncated(), "%q", in)
	}
}

func TestReader_eventsCanStopAndGoOn(t *testing.T) {
	r := ssegintest.NewReader(strings.NewReader("data: a\n\ndata: b\n\n"))
	for e, err := range r.Events() {
		require.NoError(t, err)
		assert.Equal(t, "a", e.Data)
		break
	}
	assert.Equal(t, []ssegintest.Event{message("", "b")}, readAll(t, r))
}

func TestReader_resetKeepsTheIDAndDropsTheRest(t *testing.T) {
	r := ssegintest.NewReader(strings.NewReader(": x\nretry: 5\nid: 1\ndata: a\n\nid: 2\ndata: lost\n"))
	readAll(t, r)
	r.Reset(strings.NewReader("\ufeffdata: b\n\nid: 3\n\n"))
	assert.False(t, r.Truncated())
	assert.Equal(t, []ssegintest.Event{message("1", "b")}, readAll(t, r), "an event without an ID leaves it alone")
	assert.Equal(t, "3", r.LastEventID())
	retry, ok := r.Retry()
	assert.True(t, ok)
	assert.Equal(t, 5*time.Millisecond, retry)
	assert.Equal(t, 1, r.Comments())
	assert.Equal(t, 1, r.Bookmarks())
}

// FuzzReader_chunksDoNotMatter cuts the same bytes into reads in three ways.
func FuzzReader_chunksDoNotMatter(f *testing.F) {
	for _, in := range []string{
		"data: a\n\n", "\ufeffid: 1\r\ndata: a\rdata: b\n\n\n", ": c\r\r\n\nretry: 1\n\ndata", "\xef\xbb", "\r\n\r", "data: \xf0\x9f\x92\n\n",
		"id: \x00\ndata: 12345678901234567890123456789012345678901234567890\n\n",
	} {
		f.Add([]byte(in), uint8(3))
	}
	f.Fuzz(func(t *testing.T, in []byte, chunk uint8) {
		whole := transcript(strings.NewReader(string(in)))
		assert.Equal(t, whole, transcript(iotest.OneByteReader(strings.NewReader(string(in)))))
		assert.Equal(t, whole, transcript(&chunkReader{string(in), int(chunk) + 1}))
	})
}

// transcript is all that a Reader makes of a source.
func transcript(src io.Reader) (out []any) {
	r := ssegintest.NewReader(src)
	r.Limit(64) // within reach of the fuzzer
	for {
		b, err := r.NextBlock()
		retry, ok := r.Retry()
		out = append(out, b, err, r.LastEventID(), retry, ok, r.Comments(), r.Bookmarks())
		if err != nil {
			return append(out, r.Truncated())
		}
	}
}

type chunkReader struct {
	rest string
	n    int
}

func (c *chunkReader) Read(p []byte) (int, error) {
	if c.rest == "" {
		return 0, io.EOF
	}
	n := copy(p, c.rest[:min(c.n, len(c.rest))])
	c.rest = c.rest[n:]
	return n, nil
}
