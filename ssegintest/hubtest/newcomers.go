package hubtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin"
	"github.com/ssegin/ssegin/eventlog"
	"github.com/ssegin/ssegin/ssegintest"
)

// beginningMissing is what a newcomer is told that is not given all that it is to get.
const beginningMissing = `{"reason":"expired","missed":-1}`

// readsTopics reports whether the engine can be read by topic.
func (e Engine) readsTopics(t *testing.T) bool {
	_, ok := e.Open(t).(eventlog.TopicReader)
	return ok
}

// A told event is one that was published; its data is its place in the order of all.
type told []string // its topics; the broadcasts are those of ""

// A due is what newcomers get.
type due struct {
	replay     ssegin.Replay
	each, last int // zero: no matter
	conflate   bool
}

// of returns the data of what a newcomer of these topics gets, if these are all.
func (d due) of(all []told, first int, topics []string) (data []string) {
	topics = append([]string{""}, topics...)
	var its []int
	for i := first; i < len(all); i++ {
		if slices.ContainsFunc(all[i], func(topic string) bool { return slices.Contains(topics, topic) }) {
			its = append(its, i)
		}
	}
	if d.last > 0 {
		its = its[max(0, len(its)-d.last):]
	}
	newer := map[string]int{} // how many
	for _, i := range slices.Backward(its) {
		keep := d.each == 0 && !d.conflate
		for _, topic := range all[i] {
			keep = keep || slices.Contains(topics, topic) && newer[topic] < max(1, d.each)
			newer[topic]++
		}
		if keep {
			data = append(data, strconv.Itoa(i))
		}
	}
	slices.Reverse(data)
	return data
}

// publish publishes to these topics, and to everybody if that is "".
func (p process) publish(t *testing.T, data string, topics ...string) (id string) {
	t.Helper()
	e := ssegin.Event{Data: data}
	var err error
	if topics[0] == "" {
		id, err = p.hub.Broadcast(t.Context(), e)
	} else {
		id, err = p.hub.PublishTo(t.Context(), topics, e)
	}
	require.NoError(t, err)
	return id
}

// has waits until the process knows the log up to that event.
func (p process) has(t *testing.T, id string) {
	t.Helper()
	require.Eventually(t, func() bool { return p.hub.LastID() == id }, patience, time.Millisecond)
}

func query(topics []string) string { return "?topic=" + strings.Join(topics, "&topic=") }

// newcomersGetTheirs has a long log, of which a process has the newest events in memory.
func newcomersGetTheirs(t *testing.T, e Engine) {
	const events, memory = 200, 8
	readable := e.readsTopics(t)
	writer := e.process(t)
	var all []told
	var id string
	tell := func(topics ...string) {
		id = writer.publish(t, strconv.Itoa(len(all)), topics...)
		all = append(all, topics)
	}
	tell("old", "a")
	tell("")
	for n := range events {
		switch {
		case n%17 == 0:
			tell("a", "b")
		case n%50 == 3:
			tell("")
		default:
			tell(string("abc"[n%3]))
		}
	}
	late := e.process(t, ssegin.WithHistory(memory, 0, 0))
	late.has(t, id)

	var streams []*ssegintest.Stream
	given, resets := 0, 0
	for _, d := range []due{
		{replay: ssegin.ReplayAll()},
		{replay: ssegin.ReplayEach(1), each: 1},
		{replay: ssegin.ReplayEach(5), each: 5},
		{replay: ssegin.ReplayLast(30), last: 30},
		{replay: ssegin.ReplayLast(2), last: 2}, // memory has them
	} {
		for _, d.conflate = range []bool{false, true} {
			opts := []ssegin.StreamOption{ssegin.WithReplay(d.replay)}
			if d.conflate {
				opts = append(opts, ssegin.WithConflation())
				d.each = 1
			}
			p := late.serve(t, opts...)
			for _, topics := range [][]string{{"old"}, {"a"}, {"b", "c"}, {"c", "old"}, {"a", "b", "c"}} {
				if d.last > 0 && len(topics) == 3 {
					continue // of these an event of two counts twice
				}
				what := fmt.Sprintf("%v, conflate %t, topics %q", d.replay, d.conflate, topics)
				want := d.of(all, 0, topics)
				s := p.stream(t, query(topics), "")
				if known := d.of(all, len(all)-memory, topics); !readable && (d.last != 2 || len(known) < len(want)) {
					reset := next(t, s)
					require.Equal(t, "ssegin.reset "+beginningMissing, reset.Type+" "+reset.Data, what)
					want = known
					resets++
				}
				for i, data := range want {
					got := next(t, s)
					require.Equal(t, "message "+data, got.Type+" "+got.Data, "%s: event %d of %v", what, i, want)
					given++
					if readable && d.replay == ssegin.ReplayAll() && !d.conflate && i == len(want)/2 { // it goes on at another process
						id := s.LastEventID()
						s.Cut()
						s = writer.stream(t, query(topics), id)
					}
				}
				streams = append(streams, s)
			}
		}
	}
	live := writer.publish(t, "live", "a", "b", "c", "old")
	for i, s := range streams {
		assert.Equal(t, ssegintest.Event{ID: live, Type: "message", Data: "live"}, next(t, s), "stream %d", i)
	}
	t.Logf("%d newcomers were given %d events, %d of them told that the beginning is missing", len(streams), given, resets)
}

// reloads lets three processes publish while pages are reloaded at any of them, half of
// the times with an ID.
func reloads(t *testing.T, e Engine) {
	const times = 60
	readable := e.readsTopics(t)
	var processes []process
	for range 3 {
		processes = append(processes, e.process(t, ssegin.WithHistory(40, 0, 0)).serve(t, ssegin.WithReplay(ssegin.ReplayLast(80))))
	}
	ctx, stop := context.WithCancel(t.Context())
	var publishers sync.WaitGroup
	defer publishers.Wait()
	defer stop()
	for i, p := range processes {
		publishers.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				topics := [][]string{{"a"}, {"b"}, {"a", "b"}, {"b", "c", "a"}}[rand.IntN(4)]
				event := ssegin.Event{Data: fmt.Sprint(i, " ", n), MessageID: fmt.Sprint("m", i, " ", n)}
				for ctx.Err() == nil {
					if _, err := p.hub.PublishTo(ctx, topics, event); err == nil {
						break
					}
				}
				<-time.After(rand.N(4 * time.Millisecond))
			}
		})
	}
	require.Eventually(t, func() bool { return processes[0].hub.Stats().Published > 150 }, patience, time.Millisecond)
	seen, resets, lagged, id := 0, 0, 0, ""
	var last map[int]int // of each publisher, the newest that the client has seen
	for range times {
		newcomer := id == "" || rand.IntN(2) == 0
		if newcomer {
			id, last = "", map[int]int{}
		}
		s := processes[rand.IntN(3)].stream(t, "?topic=a&topic=b", id)
		for i := range 20 + rand.IntN(120) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			got, err := s.Next(ctx)
			cancel()
			if err != nil {
				require.NotErrorIs(t, err, context.DeadlineExceeded, "nothing comes")
				lagged++ // it is to come back, and the engine has what it missed
				break
			}
			if got.Type == "ssegin.reset" {
				require.True(t, newcomer && i == 0 && !readable, "event %d, newcomer %t: %q", i, newcomer, got.Data)
				require.Equal(t, beginningMissing, got.Data)
				resets++
				continue
			}
			var publisher, n int
			_, err = fmt.Sscan(got.Data, &publisher, &n)
			require.NoError(t, err)
			before, known := last[publisher]
			require.True(t, !known || n == before+1, "of publisher %d came %d after %d", publisher, n, before)
			last[publisher] = n
			seen++
		}
		id = s.LastEventID()
		s.Cut()
	}
	t.Logf("%d reloads, %d events: gaps 0, duplicates 0; %d times the beginning was missing, %d streams had to come back", times, seen, resets, lagged)
	require.Greater(t, seen, 10*times)
}

// severalTopics publishes to several topics. A stream that follows two of them is given
// the event once, in whichever way it comes to it, and under one ID.
func severalTopics(t *testing.T, e Engine) {
	const events, memory = 60, 6
	// A heartbeat would wake a stream that nobody wakes.
	quiet := ssegin.WithHeartbeat(0)
	processes := []process{e.process(t).serve(t, quiet), e.process(t).serve(t, quiet)}
	var ways [][]string // sets of topics that streams follow
	var live [][]*ssegintest.Stream
	for _, topics := range [][]string{{"x"}, {"y"}, {"z"}, {"x", "y"}, {"z", "y", "x"}, {"none"}} {
		ways = append(ways, topics)
		live = append(live, []*ssegintest.Stream{processes[0].stream(t, query(topics), ""), processes[1].stream(t, query(topics), "")})
	}
	var all []told
	var ids []string
	for n := range events {
		topics := [][]string{{"x", "y"}, {"z"}, {"y", "z", "x"}, {""}, {"x"}}[n%5]
		if n > 4 && n%5 == 1 {
			topics = []string{"x"} // so that the newest of z alone is old
		}
		id := processes[n%2].publish(t, strconv.Itoa(n), topics...)
		again, err := processes[(n+1)%2].hub.PublishTo(t.Context(), []string{"x", "z"}, ssegin.Event{Data: "again", MessageID: "said twice"})
		require.NoError(t, err)
		if n == 0 {
			all, ids = append(all, topics, told{"x", "z"}), append(ids, id, again)
			continue
		}
		require.Equal(t, ids[1], again, "an event that is published again has the ID of the first")
		all, ids = append(all, topics), append(ids, id)
	}
	data := func(i int) string {
		switch i {
		case 0:
			return "0"
		case 1:
			return "again"
		}
		return strconv.Itoa(i - 1)
	}
	// has reads from s what it is to be given after the event there.
	has := func(s *ssegintest.Stream, topics []string, after int, what string) {
		t.Helper()
		for i := after + 1; i < len(all); i++ {
			if slices.ContainsFunc(all[i], func(topic string) bool { return topic == "" || slices.Contains(topics, topic) }) {
				require.Equal(t, ssegintest.Event{ID: ids[i], Type: "message", Data: data(i)}, next(t, s), "%s, topics %q, event %d", what, topics, i)
			}
		}
	}
	for i, topics := range ways {
		has(live[i][0], topics, -1, "live")
		has(live[i][1], topics, -1, "live at the other process")
	}
	// All wait now, and nothing else comes that would wake a stream of its later topics.
	ids = append(ids, processes[0].publish(t, strconv.Itoa(events), "x", "y", "z"))
	all = append(all, told{"x", "y", "z"})
	for i, topics := range ways {
		has(live[i][0], topics, len(all)-2, "woken")
		has(live[i][1], topics, len(all)-2, "woken at the other process")
	}
	late := e.process(t, ssegin.WithHistory(memory, 0, 0)).serve(t, ssegin.WithReplay(ssegin.ReplayAll()))
	late.has(t, ids[len(ids)-1])
	for _, topics := range ways {
		for _, after := range []int{0, 1, 7, len(all) - 3} {
			has(processes[after%2].stream(t, query(topics), ids[after]), topics, after, "resumed from memory")
			has(late.stream(t, query(topics), ids[after]), topics, after, "resumed from pages")
		}
		s := late.stream(t, query(topics), "")
		if e.readsTopics(t) {
			has(s, topics, -1, "replayed")
			continue
		}
		require.Equal(t, beginningMissing, next(t, s).Data)
		first := slices.Index(ids, next(t, s).ID)
		require.GreaterOrEqual(t, first, len(all)-memory)
		has(s, topics, first, "replayed from memory")
	}
}
