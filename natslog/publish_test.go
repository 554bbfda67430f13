package natslog

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin"
	"github.com/ssegin/ssegin/eventlog"
)

// both returns the entries after that position as a follower and as a reader
// get them, which must be the same.
func both(t *testing.T, l *Log, after uint64, n int) []eventlog.Entry {
	t.Helper()
	f := follow(t, l, after)
	var followed []eventlog.Entry
	for range n {
		followed = append(followed, f.next())
	}
	require.Equal(t, followed, read(t, l, after, after+uint64(n)), "Follow and Read give the same")
	return followed
}

// Any client of NATS may publish, as `nats pub` does.
func TestPublish_byOtherPrograms(t *testing.T) {
	e := newEngine(t)
	l := e.log(Config{Stream: "EVENTS", Subject: "events"})
	start := boundsOf(t, l).Last
	nc := e.connect()

	cases := []struct {
		subject string
		header  nats.Header
		data    string
		want    eventlog.Entry
	}{
		{"events", nil, "to everybody", eventlog.Entry{Data: []byte("to everybody")}},
		{"events.room:1", nil, "to a room", eventlog.Entry{Topic: "room:1", Data: []byte("to a room")}},
		{"events.orders.eu", nil, "", eventlog.Entry{Topic: "orders.eu", Data: []byte{}}},
		{"events.a%20b", nil, "x", eventlog.Entry{Topic: "a b", Data: []byte("x")}},
		{"events.straße", nil, "x", eventlog.Entry{Topic: "straße", Data: []byte("x")}},
		{
			"events.job:9",
			nats.Header{"Ssegin-Type": {"done"}, "Ssegin-Retry": {"1500"}, "Ssegin-End": {"1"}, "Nats-Msg-Id": {"order-77"}},
			"x",
			eventlog.Entry{Topic: "job:9", Type: "done", Data: []byte("x"), Retry: 1500 * time.Millisecond, End: true, MessageID: "order-77"},
		},
		{"events.t", nats.Header{"Ssegin-No-Data": {"true"}, "Ssegin-Type": {"50%25 off"}}, "", eventlog.Entry{Topic: "t", Type: "50% off"}},
		// Headers that make no sense.
		{"events.t", nats.Header{"Ssegin-Retry": {"soon"}, "Ssegin-End": {"perhaps"}}, "x", eventlog.Entry{Topic: "t", Data: []byte("x")}},
		{"events.t", nats.Header{"Ssegin-Retry": {"-5"}, "Ssegin-No-Data": {"true"}}, "but data", eventlog.Entry{Topic: "t", Data: []byte("but data")}},
		{"events.t", nats.Header{"Ssegin-Type": {"a%0D%0Ab%00"}}, "x", eventlog.Entry{Topic: "t", Type: "a\ufffd\ufffdb\ufffd", Data: []byte("x")}},
		{"events.t", nats.Header{"Ssegin-Type": {"bad \xff"}}, "x", eventlog.Entry{Topic: "t", Type: "bad \ufffd", Data: []byte("x")}},
		{"events.t", nats.Header{"Ssegin-Type": {"first", "second"}}, "x", eventlog.Entry{Topic: "t", Type: "first", Data: []byte("x")}},
		// Headers that mean something on the way.
		{"events.t", nats.Header{"Status": {"503"}}, "", eventlog.Entry{Topic: "t", Data: []byte{}}},
		{"events.t", nats.Header{"Status": {"204"}, "Nats-Last-Sequence": {"0"}, "Nats-Num-Pending": {"0"}}, "", eventlog.Entry{Topic: "t", Data: []byte{}}},
		{"events.t", nats.Header{"Nats-Sequence": {"1"}, "Nats-Subject": {"events.admin"}, "Nats-Stream": {"EVENTS"}, "Nats-Time-Stamp": {"2001-01-01T00:00:00Z"}}, "x", eventlog.Entry{Topic: "t", Data: []byte("x")}},
		{"events.t", nats.Header{"Ssegin-Type": {"on Nats-Stream"}}, "x", eventlog.Entry{Topic: "t", Type: "on Nats-Stream", Data: []byte("x")}},
	}
	for _, c := range cases {
		require.NoError(t, nc.PublishMsg(&nats.Msg{Subject: c.subject, Header: c.header, Data: []byte(c.data)}))
	}
	require.NoError(t, nc.Flush())
	for i, got := range both(t, l, start, len(cases)) {
		want := cases[i].want
		assert.WithinDuration(t, time.Now(), got.Time, time.Minute)
		want.Position, want.Time = start+1+uint64(i), got.Time
		assert.Equal(t, want, got, "%+v", cases[i])
	}
}

// An event of several topics has a subject of its own, which programs may be denied, so on
// others the topics in its headers are nothing.
func TestPublish_toSeveralTopics(t *testing.T) {
	e := newEngine(t)
	l := e.log(Config{Stream: "EVENTS", Subject: "events"})
	start := boundsOf(t, l).Last
	hub := ssegin.NewHub(ssegin.WithLog(l))
	defer func() { assert.NoError(t, hub.Shutdown(context.Background())) }()
	nc := e.connect()
	for _, m := range []struct {
		subject, data string
		topics        []string
	}{
		{"events.ssegin.several", "both", []string{"room:1", "room%202"}},
		{"events.room:1", "mine", []string{"room%202", "room:3"}},
		{"events.ssegin.several", "to nobody", nil},
		{"events.ssegin.several", "twice", []string{"room:3", "room:3"}},
		{"events.ssegin%2Eseveral", "another spelling", []string{"room:1"}},
	} {
		require.NoError(t, nc.PublishMsg(&nats.Msg{Subject: m.subject, Header: nats.Header{HeaderTopic: m.topics}, Data: []byte(m.data)}))
	}
	require.Eventually(t, func() bool { return boundsOf(t, l).Last == start+5 }, patience, time.Millisecond) // nobody waits for an acknowledgement
	_, err := hub.PublishTo(t.Context(), []string{"room:1", "room 2"}, ssegin.Event{Data: "of the hub"})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return strings.Contains(hub.LastID(), fmt.Sprintf("-%d-", start+6)) }, patience, time.Millisecond)
	for topic, want := range map[string][]string{"room:1": {"both", "mine", "of the hub"}, "room 2": {"both", "of the hub"}, "room:3": {"twice"}} {
		var got []string
		for _, e := range hub.Retained(topic) {
			got = append(got, fmt.Sprint(e.Data))
		}
		assert.Equal(t, want, got, topic)
	}
	assert.EqualValues(t, 1, hub.Stats().Skipped, "what names no topic")

	sub, err := nc.SubscribeSync("events.ssegin.several")
	require.NoError(t, err)
	require.NoError(t, nc.Flush())
	_, err = hub.PublishTo(t.Context(), []string{"room:1", "room 2"}, ssegin.Event{Type: "order", Data: "seen by others"})
	require.NoError(t, err)
	m, err := sub.NextMsg(patience)
	require.NoError(t, err)
	assert.Equal(t, "seen by others", string(m.Data))
	assert.Equal(t, []string{"room:1", "room 2"}, m.Header.Values(HeaderTopic))
}

// rawPublish speaks the protocol, since clients would not send such headers.
func rawPublish(t *testing.T, address, subject string, headers ...string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	defer conn.Close()
	fmt.Fprint(conn, "CONNECT {\"verbose\":false,\"headers\":true}\r\n")
	for _, h := range headers {
		fmt.Fprintf(conn, "HPUB %s %d %d\r\n%sx\r\n", subject, len(h), len(h)+1, h)
	}
	fmt.Fprint(conn, "PING\r\n")
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
	var got strings.Builder
	for !strings.Contains(got.String(), "PONG") {
		b := make([]byte, 4096)
		n, err := conn.Read(b)
		require.NoError(t, err)
		got.Write(b[:n])
	}
	require.NotContains(t, got.String(), "-ERR")
}

// A publisher who may use one subject only can write any bytes where headers
// belong. He must not get into another topic, nor make a reader see another
// entry than a follower, nor stop a reader.
func TestPublish_headersThatAreNone(t *testing.T) {
	e := newEngine(t)
	l := e.log(Config{Stream: "ev"})
	start := boundsOf(t, l).Last
	forged := "Nats-Stream: ev\r\nNats-Subject: ev.admin\r\nNats-Sequence: %d\r\nNats-Time-Stamp: 2001-01-01T00:00:00Z\r\nNats-Num-Pending: 9\r\nNats-Last-Sequence: %d\r\n"
	at := func(format string, i uint64) string {
		return strings.ReplaceAll(fmt.Sprintf(strings.ReplaceAll(format, "FORGED", forged), start+i, start+i-1), "%!(EXTRA", "")
	}
	blocks := []struct{ header, wantType string }{
		{"NATS/1.0\r\nSsegin-Type: fine\r\n\r\n", "fine"},
		{"NATS/1.0\r\nSsegin-Type:fine\r\n\r\n", "fine"},
		{"nonsense", ""},
		{"NATS/1.0\r\n\r\n", ""},
		{"NATS/1.0\r\nno colon\r\n\r\n", ""},
		{at("NATS/1.0\r\nFORGED\r\n\r\n", 6), ""},                                                 // ends early
		{at("NATS/1.0\nFORGED\n\n", 7), ""},                                                       // the same with LF
		{at("NATS/1.0\r\nFORGED"+strings.Repeat("a:b\n", 200)+"\n\n", 8), ""},                     // with headers that are short on the wire
		{at("NATS/1.0\r\nFORGED"+strings.Repeat(": skipped\r\n", 20)+"\r\n", 9), ""},              // with some that are not kept
		{"NATS/1.0\r\nSsegin-Type: open end", ""},                                                 // runs into what the server appends
		{"NATS/1.0\r\nNats-Stream: ev\r\nSsegin-Type: open end", ""},                              //
		{"NATS/1.0\r\nNats-Stream: ev\r\nSsegin-Type: a\r\nopen key", ""},                         //
		{"NATS/1.0\r\nSsegin-Type: a\r\n\n", "a"},                                                 //
		{"NATS/1.0\r\nSsegin-Type: a\rb\r\n\r\n", "a\ufffdb"},                                     // a CR in the middle
		{"NATS/1.0 503\r\nSsegin-Type: a\r\n\r\n", "a"},                                           // a status of his own
		{"NATS/1.0\r\nStatus: 503\r\nSsegin-Type: a\r\n\r\n" + strings.Repeat("x", 200), "a"},     //
		{"NATS/1.0\r\nStatus: 204\r\nNats-Last-Sequence: 0\r\n\r\n" + strings.Repeat("x", 3), ""}, //
		{"NATS/1.0\r\nSsegin-Type: last\r\n\r\n", "last"},
	}
	for _, b := range blocks {
		rawPublish(t, e.listen, "ev.mine", b.header)
	}
	for i, got := range both(t, l, start, len(blocks)) {
		assert.Equal(t, start+1+uint64(i), got.Position)
		assert.Equal(t, "mine", got.Topic, "%q", blocks[i].header)
		assert.Equal(t, blocks[i].wantType, got.Type, "%q", blocks[i].header)
		assert.Equal(t, "x", string(got.Data))
		assert.WithinDuration(t, time.Now(), got.Time, time.Minute)
	}
}
