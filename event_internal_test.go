package ssegin

import (
	"bytes"
	"encoding/json"
	"errors"
	"html/template"
	"io"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin/ssegintest"
)

func TestEncode_writesEachFieldOnItsLines(t *testing.T) {
	for _, tc := range []struct {
		name  string
		event Event
		block string
	}{
		{"nothing", Event{}, "event: ssegin.cursor\ndata: {}\n"},
		{"everything, in a fixed order", Event{ID: "7", Type: "chat", Data: "hi", Retry: time.Second}, "event: chat\nretry: 1000\ndata: hi\nid: 7\n"},
		{"no data, so that nothing is dispatched", Event{ID: "7"}, "event: ssegin.cursor\ndata: {}\nid: 7\n"},
		{"no data of a type, which is dispatched", Event{Type: "refresh"}, "event: refresh\ndata: \n"},

		{"an empty payload is data", Event{Data: ""}, "data: \n"},
		{"so is a nil slice", Event{Data: []byte(nil)}, "data: \n"},
		{"bytes as they are", Event{Data: []byte(`{"a": 1}`)}, "data: {\"a\": 1}\n"},
		{"a leading space survives", Event{Data: " x"}, "data:  x\n"},
		{"a trailing newline survives", Event{Data: "x\n"}, "data: x\ndata: \n"},
		{"LF, CR and CRLF end a line", Event{Data: "a\nb\rc\r\nd"}, "data: a\ndata: b\ndata: c\ndata: d\n"},
		{"LF CR are two line ends", Event{Data: "a\n\rb"}, "data: a\ndata: \ndata: b\n"},
		{"CR CRLF are two line ends", Event{Data: "\r\r\n"}, "data: \ndata: \ndata: \n"},
		{"nothing else ends a line", Event{Data: "\u0085\u2028\u2029\v\f"}, "data: \u0085\u2028\u2029\v\f\n"},
		{"data cannot make a field", Event{Data: "x\nid: 8\n\nevent: y"}, "data: x\ndata: id: 8\ndata: \ndata: event: y\n"},
		{"NUL and BOM are data", Event{Data: "\ufeff\x00"}, "data: \ufeff\x00\n"},

		{"JSON of a struct", Event{Data: Reset{ReasonExpired, 3}}, "data: {\"reason\":\"expired\",\"missed\":3}\n"},
		{"JSON without HTML escaping", Event{Data: []string{"<b>&</b>"}}, "data: [\"<b>&</b>\"]\n"},
		{"JSON of a nil pointer", Event{Data: (*int)(nil)}, "data: null\n"},
		{"a named string is a string", Event{Data: template.HTML("<b>\n")}, "data: <b>\ndata: \n"},
		{"unless it has an encoding of its own", Event{Data: shout("a")}, "data: \"A\"\n"},
		{"JSON in lines becomes one line", Event{Data: json.RawMessage("{\n\"a\":\r\n1}\n")}, "data: {\"a\":1}\n"},

		{"a fraction of a millisecond is rounded up", Event{Data: "x", Retry: 1}, "retry: 1\ndata: x\n"},
		{"also above one", Event{Data: "x", Retry: 1500 * time.Microsecond}, "retry: 2\ndata: x\n"},
		{"the longest retry", Event{Data: "x", Retry: math.MaxInt64}, "retry: 9223372036855\ndata: x\n"},
		{"reserved is the prefix with its dot", Event{Type: "sseginx", ID: "ssegin"}, "event: sseginx\ndata: \nid: ssegin\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			block, err := encode(tc.event, 0, defaultMaxEventBytes)
			require.NoError(t, err)
			assert.Equal(t, tc.block, string(block))
		})
	}
}

// shout is a named string with an encoding of its own.
type shout string

func (s shout) MarshalText() ([]byte, error) { return []byte(strings.ToUpper(string(s))), nil }

func TestEncode_refusesWhatTheFormatCannotCarry(t *testing.T) {
	for _, tc := range []struct {
		event Event
		text  []string // the field and the value
	}{
		{Event{Type: "a\nid: 8"}, []string{"Type", `"a\nid: 8"`, "contains LF"}},
		{Event{Type: "a\r"}, []string{"Type", `"a\r"`, "contains CR"}},
		{Event{Type: "\x00a"}, []string{"Type", `"\x00a"`, "contains NUL"}},
		{Event{Type: "a\xff"}, []string{"Type", `"a\xff"`, "not valid UTF-8"}},
		{Event{Type: "ssegin.reset"}, []string{"Type", `"ssegin.reset"`, "reserved"}},
		{Event{ID: "7\n\n"}, []string{"ID", `"7\n\n"`, "contains LF"}},
		{Event{ID: "7\rdata: x"}, []string{"ID", `"7\rdata: x"`, "contains CR"}},
		{Event{ID: "7\x00"}, []string{"ID", `"7\x00"`, "contains NUL"}},
		{Event{ID: "\xc3("}, []string{"ID", `"\xc3("`, "not valid UTF-8"}},
		{Event{ID: "ssegin.end"}, []string{"ID", `"ssegin.end"`, "reserved"}},
		{Event{Retry: -time.Second}, []string{"Retry", "-1s", "negative"}},
		{Event{Data: "a\xed\xa0\x80"}, []string{"Data", "not valid UTF-8"}},
		{Event{Data: []byte{0xff}}, []string{"Data", "not valid UTF-8"}},
		{Event{Data: json.RawMessage("\"\xff\"")}, []string{"Data", "not valid UTF-8"}},
		{Event{Data: math.NaN()}, []string{"Data", "float64", "NaN"}},
		{Event{Data: make(chan int)}, []string{"Data", "chan int"}},
		{Event{Data: []any{"begun", func() {}}}, []string{"Data", "[]interface {}", "func()"}},
	} {
		t.Run(strings.Join(tc.text, " "), func(t *testing.T) {
			block, err := encode(tc.event, 0, defaultMaxEventBytes)
			require.ErrorIs(t, err, ErrInvalidEvent)
			assert.Nil(t, block)
			for _, text := range tc.text {
				assert.ErrorContains(t, err, text)
			}
		})
	}
}

func TestEncode_quotesOnlyTheBeginningOfAHugeField(t *testing.T) {
	huge := "\n" + strings.Repeat("€", 1<<20)
	for name, err := range map[string]error{
		"Type":  Event{Type: huge}.check(),
		"ID":    Event{ID: huge}.check(),
		"topic": checkTopic(huge),
	} {
		require.ErrorIs(t, err, ErrInvalidEvent)
		assert.ErrorContains(t, err, name+` "\n€€`)
		assert.Less(t, len(err.Error()), 250)
		assert.True(t, utf8.ValidString(err.Error()))
	}
}

func TestCheckTopic_acceptsShortTextWithoutControl(t *testing.T) {
	for _, topic := range []string{"a", "room:42", " ", "*", ">", "a.b/c d", "ключ", strings.Repeat("x", maxTopicBytes)} {
		assert.NoError(t, checkTopic(topic))
	}
	for topic, text := range map[string]string{
		"":                                   "topic is empty",
		"a\nb":                               `topic "a\nb" contains LF`,
		"a\r":                                `topic "a\r" contains CR`,
		"\x00":                               `topic "\x00" contains NUL`,
		"\xff":                               `topic "\xff" is not valid UTF-8`,
		strings.Repeat("x", maxTopicBytes+1): "1025 bytes, the limit is 1024",
	} {
		err := checkTopic(topic)
		assert.ErrorIs(t, err, ErrInvalidEvent)
		assert.ErrorContains(t, err, text)
	}
}

// The limit counts what goes on the wire: "data: " and LF for each line, too.
func TestEncode_limitIsOnTheEncodedSize(t *testing.T) {
	for _, data := range []string{"", "x", "a\nb", "a\r\nb\rc", strings.Repeat("\n", 100)} {
		e := Event{Type: "t", ID: "i", Data: data}
		block, err := encode(e, 0, defaultMaxEventBytes)
		require.NoError(t, err)
		size := len(block) + len("\n")

		_, err = encode(e, 10, size+10)
		require.NoError(t, err, "%q", data)
		_, err = encode(e, 10, size+9)
		require.ErrorIs(t, err, ErrTooLarge, "%q", data)
		assert.ErrorContains(t, err, "the limit is")
	}
}

func TestEncode_tooLargeEventsTakeNoMemory(t *testing.T) {
	for name, data := range map[string]any{
		"1 MiB of newlines": strings.Repeat("\n", 1<<20),
		"64 MiB string":     strings.Repeat("x", 64<<20),
		"64 MiB bytes":      make([]byte, 64<<20),
	} {
		var err error
		growth := allocated(func() { _, err = encode(Event{Data: data}, maxIDTail, defaultMaxEventBytes) })
		require.ErrorIs(t, err, ErrTooLarge)
		assert.Less(t, growth, uint64(4<<10))
		t.Logf("%s: %v: growth %d KiB", name, err, growth>>10)
	}
}

// allocated returns how many bytes f takes from the heap: the least of some
// runs, because others may take some meanwhile.
func allocated(f func()) (least uint64) {
	least = math.MaxUint64
	for range 5 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		least = min(least, after.TotalAlloc-before.TotalAlloc)
	}
	return least
}

// A frame must not move when the log adds its ID.
func TestEncode_allocatesTheFrameAndNothingElse(t *testing.T) {
	for _, e := range []Event{
		{Data: "hello"},
		{Data: []byte("hello\r\nworld\r")},
		{Type: "tick", Retry: time.Second, Data: strings.Repeat("line\n", 100)},
	} {
		allocs := testing.AllocsPerRun(100, func() {
			block, err := encode(e, maxIDTail, defaultMaxEventBytes)
			require.NoError(t, err)
			block = append(block, "id: "...)
			block = appendID(block, "abcdefghij", mark{math.MaxUint64, 1})
			_ = append(block, "\n\n"...)
		})
		assert.LessOrEqual(t, allocs, 1.0, "%v", e)
		t.Logf("allocations of an event with %T: %v", e.Data, allocs)
	}
}

// half is JSON that fails after some of it has been written.
type half struct{}

func (half) MarshalJSON() ([]byte, error) { return []byte(`{"half":`), errors.New("out of words") }

func TestEncode_jsonThatFailsLeavesNothingBehind(t *testing.T) {
	for range 100 {
		_, err := encode(Event{Data: []any{"begun", half{}}}, 0, defaultMaxEventBytes)
		require.ErrorIs(t, err, ErrInvalidEvent)
		require.ErrorContains(t, err, "out of words")
		block, err := encode(Event{Data: []any{"whole"}}, 0, defaultMaxEventBytes)
		require.NoError(t, err)
		require.Equal(t, "data: [\"whole\"]\n", string(block))
	}
}

func TestEncode_framesOfConcurrentEventsDoNotMix(t *testing.T) {
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			text := strings.Repeat(string(rune('a'+n)), 1000)
			for range 500 {
				block, err := encode(Event{Data: []string{text}}, 0, defaultMaxEventBytes)
				if !assert.NoError(t, err) || !assert.Equal(t, `data: ["`+text+"\"]\n", string(block)) {
					return
				}
			}
		})
	}
	wg.Wait()
}

// received is what the format can carry of data.
var received = strings.NewReplacer("\r\n", "\n", "\r", "\n")

// roundTrip returns what a browser dispatches for the stream, and fails the
// test if that ends in the midst of something.
func roundTrip(t testing.TB, stream []byte) []ssegintest.Event {
	t.Helper()
	var events []ssegintest.Event
	r := ssegintest.NewReader(bytes.NewReader(stream))
	for e, err := range r.Events() {
		require.NoError(t, err)
		events = append(events, e)
	}
	require.False(t, r.Truncated(), "%q", stream)
	return events
}

// pieces are what payloads are made of here: everything that means something
// in an event stream, and a little text.
var pieces = []string{
	"\r", "\n", "\r\n", " ", "  ", "\t", ":", "data", "data:", "data: x\n", "\nid: 1", "event:", "\nretry: 0\n", "\n\n",
	"\x00", "\ufeff", "\u2028", "\u0085", "\v", "é", "😀", "{\"a\":1}", "a", "words and words",
}

func randomText(r *rand.Rand) string {
	var text strings.Builder
	for range r.IntN(7) {
		text.WriteString(pieces[r.IntN(len(pieces))])
	}
	return text.String()
}

func TestEncode_whatIsSentIsWhatIsDispatched(t *testing.T) {
	const batches, size = 500, 1000 // on each of two goroutines
	seed := rand.Uint64()
	var altered atomic.Int64
	var wg sync.WaitGroup
	for worker := range uint64(2) {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, worker))
			want := make([]string, size)
			var stream []byte
			for range batches {
				stream = stream[:0]
				for i := range want {
					data := randomText(r)
					want[i] = received.Replace(data)
					block, err := encode(Event{Data: data}, 1, defaultMaxEventBytes)
					if err != nil {
						altered.Add(1)
					}
					stream = append(append(stream, block...), '\n')
				}
				got := ssegintest.NewReader(bytes.NewReader(stream))
				for i := range want {
					if e, err := got.Next(); err != nil || e != (ssegintest.Event{Type: "message", Data: want[i]}) {
						altered.Add(1)
					}
				}
				if _, err := got.Next(); !errors.Is(err, io.EOF) || got.Truncated() || got.Comments() > 0 {
					altered.Add(1)
				}
			}
		})
	}
	wg.Wait()
	assert.Zero(t, altered.Load(), "seed %d", seed)
	t.Logf("altered %d of %d", altered.Load(), 2*batches*size)
}

// FuzzEncode sends one event between two others. Whatever its fields are,
// either it is refused for a reason, or the client dispatches it as it is.
func FuzzEncode(f *testing.F) {
	for i, piece := range pieces {
		f.Add(piece, "", piece, int64(i), byte(i))
		f.Add("type", piece, "data"+piece, int64(-i), byte(i))
	}
	f.Add("ssegin.reset", "ssegin.end", "\n\n", int64(math.MaxInt64), byte(1))
	f.Fuzz(func(t *testing.T, typ, id, text string, retry int64, kind byte) {
		data := []any{text, []byte(text), nil, map[string]string{"text": text}}[kind%4]
		e := Event{Type: typ, ID: id, Data: data, Retry: time.Duration(retry)}
		const limit = 1 << 10
		block, err := encode(e, 1, limit)
		if err != nil {
			require.Nil(t, block)
			require.True(t, errors.Is(err, ErrInvalidEvent) && !sendable(e) ||
				errors.Is(err, ErrTooLarge) && len(typ)+len(id)+7*len(text) > limit-100, "%v", err)
			return
		}
		require.True(t, sendable(e), "%+v", e)
		require.LessOrEqual(t, len(block)+1, limit)

		const before, after = "id: 0\ndata: before\n\n", "data: after\n\n"
		stream := append(append([]byte(before), block...), "\n"+after...)
		want := []ssegintest.Event{{ID: "0", Type: "message", Data: "before"}}
		lastID := "0"
		if id != "" {
			lastID = id
		}
		if data != nil {
			carried := received.Replace(text)
			if kind%4 == 3 {
				carried = plainJSON(t, data)
			}
			want = append(want, ssegintest.Event{ID: lastID, Type: message(typ), Data: carried})
		}
		want = append(want, ssegintest.Event{ID: lastID, Type: "message", Data: "after"})
		if got := roundTrip(t, stream); !slices.Equal(got, want) { // quicker to fuzz than require.Equal
			t.Fatalf("forged %q out of %q, want %q", got, block, want)
		}
	})
}

func plainJSON(t *testing.T, data any) string {
	var text strings.Builder
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	require.NoError(t, encoder.Encode(data))
	return strings.TrimSpace(text.String())
}

// message is the type that a browser gives an event.
func message(typ string) string {
	if typ == "" {
		return "message"
	}
	return typ
}

// sendable is the rule of Event in other words than those of encode.
func sendable(e Event) bool {
	for _, text := range []string{e.Type, e.ID} {
		if strings.ContainsAny(text, "\x00\r\n") || !utf8.ValidString(text) || strings.HasPrefix(text, "ssegin.") {
			return false
		}
	}
	text, _ := e.Data.(string)
	raw, _ := e.Data.([]byte)
	return utf8.ValidString(text) && utf8.Valid(raw) && e.Retry >= 0
}
