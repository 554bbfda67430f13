package redislog_test

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin"
	"github.com/ssegin/ssegin/eventlog"
	"github.com/ssegin/ssegin/redislog"
)

// requireDense checks that the log has each position from first to last.
func requireDense(t testing.TB, l eventlog.Log) []eventlog.Entry {
	t.Helper()
	b := bounds(t, l)
	entries := read(t, l, 0, b.Last)
	require.Len(t, entries, int(b.Last-b.First+1))
	for i, e := range entries {
		require.Equal(t, b.First+uint64(i), e.Position)
	}
	return entries
}

func TestTrim_entries(t *testing.T) {
	t.Parallel()
	l := open(startServer(t), redislog.Config{MaxEntries: 7})
	for range 250 {
		last := appendOne(t, l)
		require.Len(t, requireDense(t, l), int(min(last, 7)))
	}
}

func TestTrim_bytes(t *testing.T) {
	t.Parallel()
	const most = 64 << 10
	l := open(startServer(t), redislog.Config{MaxBytes: most})
	size := func(e eventlog.Entry) int {
		return len("topic") + len(e.Topic) + len("type") + len(e.Type) + len("data") + len(e.Data)
	}
	for i := range 1500 {
		e := entry()
		e.Data = make([]byte, i%300)
		if i%500 == 499 {
			e.Data = make([]byte, most-100)
		}
		_, err := l.Append(t.Context(), e)
		require.NoError(t, err)
		if i%10 != 9 {
			continue
		}
		bytes := 0
		for _, e := range requireDense(t, l) {
			bytes += size(e)
		}
		require.LessOrEqual(t, bytes, most)
		if i == 490 {
			require.GreaterOrEqual(t, bytes, most*14/16-300)
		}
	}
}

func TestTrim_age(t *testing.T) {
	t.Parallel()
	const most = 640 * time.Millisecond
	l := open(startServer(t), redislog.Config{MaxAge: most})
	began := time.Now()
	before, pause := began, time.Duration(0)
	for time.Since(began) < 2*time.Second {
		last := appendOne(t, l)
		pause = max(pause, time.Since(before)) // between two appends
		if before = time.Now(); last%50 != 0 {
			continue
		}
		entries := requireDense(t, l)
		age := entries[len(entries)-1].Time.Sub(entries[0].Time)
		require.LessOrEqual(t, age, most)
		if entries[0].Position > 1 {
			require.GreaterOrEqual(t, age, most*13/16-2*pause)
		}
	}
	assert.Greater(t, bounds(t, l).First, uint64(1))
	marks := l.client.HGet(t.Context(), l.key("meta"), "marks").Val()
	assert.LessOrEqual(t, strings.Count(marks, ";"), 18)
}

func TestDuplicates_areRememberedForAWhile(t *testing.T) {
	t.Parallel()
	// On a busy machine nothing may happen within a short time, so it gets longer.
	for window := time.Second; !remembersFor(t, window); window *= 4 {
		require.Less(t, window, patience)
	}
}

// remembersFor checks what a log with that window remembers. It returns false if
// too little was appended within the window to say so.
func remembersFor(t *testing.T, window time.Duration) bool {
	t.Helper()
	l := open(startServer(t), redislog.Config{Duplicates: window})
	again := entry()
	began := time.Now() // what is appended after this moment is remembered for a window at least
	first, err := l.Append(t.Context(), again)
	require.NoError(t, err)
	var remembered []string
	before, pause := began, time.Duration(0)
	for time.Since(began) < 3*window {
		e := entry()
		_, err := l.Append(t.Context(), e)
		require.NoError(t, err)
		pause = max(pause, time.Since(before)) // between two appends
		before = time.Now()
		if time.Since(began) > window*9/10 {
			continue
		}
		r, err := l.Append(t.Context(), again)
		require.NoError(t, err)
		if time.Since(began) > window {
			continue // the machine has paused
		}
		require.Equal(t, first, r)
		remembered = append(remembered, e.MessageID)
	}
	if len(remembered) == 0 || pause > window/4 {
		return false
	}
	for _, key := range []string{"ids", "ids.before"} {
		for _, value := range l.client.HMGet(t.Context(), l.key(key), remembered...).Val() {
			require.Nil(t, value, "the memory does not grow without end")
		}
	}
	r, err := l.Append(t.Context(), again)
	require.NoError(t, err)
	assert.Greater(t, r.Position, first.Position, "forgotten after more than twice the time")

	require.Eventually(t, func() bool {
		return l.client.Exists(t.Context(), l.key("ids"), l.key("ids.before")).Val() == 0
	}, patience, 50*time.Millisecond, "an idle log remembers nothing")
	return true
}

func TestDuplicates_areBoundedByNumber(t *testing.T) {
	t.Parallel()
	const most = 262_144
	l := open(startServer(t), redislog.Config{Duplicates: time.Hour})
	for range 3 {
		appendOne(t, l)
		for piece := range most / 4096 {
			ids := make([]string, 0, 2*4096)
			for i := range 4096 {
				ids = append(ids, "id"+strconv.Itoa(4096*piece+i), "1")
			}
			require.NoError(t, l.client.HSet(t.Context(), l.key("ids"), ids).Err())
		}
		fill(t, l, 1024)
		assert.Less(t, l.client.HLen(t.Context(), l.key("ids")).Val(), int64(1025))
		assert.Less(t, l.client.HLen(t.Context(), l.key("ids.before")).Val(), int64(most+1025))
	}
}

func TestRead_makesFewRequests(t *testing.T) {
	t.Parallel()
	l := open(startServer(t), redislog.Config{})
	fill(t, l, 5000)
	calls := func() int {
		info := l.client.Info(t.Context(), "commandstats").Val()
		match := regexp.MustCompile(`cmdstat_xrange:calls=(\d+)`).FindStringSubmatch(info)
		require.NotNil(t, match)
		n, _ := strconv.Atoi(match[1])
		return n
	}
	read(t, l, 0, 1)
	before := calls()
	require.Len(t, read(t, l, 0, 5000), 5000)
	assert.LessOrEqual(t, calls()-before, 8)

	// Large ones come in small pieces.
	for range 40 {
		e := entry()
		e.Data = make([]byte, 256<<10)
		_, err := l.Append(t.Context(), e)
		require.NoError(t, err)
	}
	before = calls()
	require.Len(t, read(t, l, 5000, 5040), 40)
	assert.GreaterOrEqual(t, calls()-before, 1+24/4)
}

// What the package documentation says to programs in other languages.
func TestScript_anyClientMayPublish(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	l := open(s, redislog.Config{Name: "chat"})
	f := follow(t, l, 0)
	cli := func(args ...string) string {
		args = append([]string{"-p", strconv.Itoa(s.port)}, args...)
		output, err := exec.CommandContext(context.Background(), program(t, "redis-cli"), args...).CombinedOutput()
		require.NoError(t, err, string(output))
		return strings.TrimSpace(string(output))
	}
	keys := []string{"6", "{chat}:log", "{chat}:meta", "{chat}:ids", "{chat}:ids.before", "{chat}:topics", "{chat}:topics.before"}
	call := func(args ...string) string {
		return cli(append(append([]string{"eval", redislog.Script()}, keys...), args...)...)
	}
	publish := func(args ...string) string {
		return call(append([]string{"append"}, args...)...)
	}
	epoch := bounds(t, l).Epoch
	assert.Equal(t, "1\n"+epoch, publish("order-1", "10000", "67108864", "0", "120000",
		"topic", "room:7", "type", "order", "data", "new", "retry", "1500.5", "end", "1", "colour", "red"))
	assert.Equal(t, "1\n"+epoch, publish("order-1", "10000", "67108864", "0", "120000", "data", "again"))
	assert.Equal(t, "2\n"+epoch, publish("", "0", "0", "0", "0"))
	e := f.next()
	assert.WithinDuration(t, time.Now(), e.Time, time.Minute)
	assert.Equal(t, eventlog.Entry{
		Position: 1, Time: e.Time, Topic: "room:7", Type: "order", Data: []byte("new"), Retry: 1500500 * time.Microsecond,
		End: true, MessageID: "order-1",
	}, e)
	e = f.next()
	assert.Equal(t, eventlog.Entry{Position: 2, Time: e.Time}, e)
	r, err := l.Append(t.Context(), eventlog.Entry{MessageID: "order-1"})
	require.NoError(t, err)
	assert.Equal(t, eventlog.Receipt{Position: 1, Epoch: epoch}, r, "one memory of message IDs for all")
	f.stop()

	// Of several topics, and of one that says that it has others.
	assert.Equal(t, "3\n"+epoch, publish("several", "0", "0", "0", "0", "topic", "ssegin.several", "topics", "user:42\nuser:43", "data", "shipped"))
	assert.Equal(t, "4\n"+epoch, publish("one", "0", "0", "0", "0", "topic", "user:42", "topics", "user:43\nuser:44", "data", "mine"))
	given := given(t, l, 4, "user:42", "user:43", "user:44")
	assert.Equal(t, map[string][]string{"user:42": {"shipped", "mine"}, "user:43": {"shipped"}, "user:44": {}}, given)
	e = read(t, l, 3, 4)[0]

	b := bounds(t, l)
	assert.Equal(t, fmt.Sprintf("%s\n%d\n%d\n%d\n%[4]d", b.Epoch, b.First, b.Last, e.Time.UnixMicro()), call("bounds", "any text", "4"))
	assert.Contains(t, call("publish"), "append, appendif or bounds")
	assert.Contains(t, publish("id", "0", "0", "0", "0", "topic"), "wrong number of arguments")
}

// given returns what a hub has for the streams of each topic, once it has come to that
// many entries.
func given(t *testing.T, l eventlog.Log, entries uint64, topics ...string) map[string][]string {
	t.Helper()
	hub := ssegin.NewHub(ssegin.WithLog(l))
	defer func() { assert.NoError(t, hub.Shutdown(context.Background())) }()
	require.Eventually(t, func() bool { return strings.Contains(hub.LastID(), fmt.Sprintf("-%d-", entries)) }, patience, time.Millisecond)
	given := map[string][]string{}
	for _, topic := range topics {
		given[topic] = []string{}
		for _, e := range hub.Retained(topic) {
			given[topic] = append(given[topic], fmt.Sprint(e.Data))
		}
	}
	return given
}
