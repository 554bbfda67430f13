package ssegintest

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/ssegin/ssegin/eventlog"
)

var entryCases = []logCase{
	{name: "entries come back as they were", check: entriesComeBack},
	{name: "large entries come back as they were", check: largeEntries},
	{name: "an entry that is too large", check: tooLarge},
}

// oddEntries changes one thing of an entry each.
var oddEntries = []func(e *eventlog.Entry){
	func(e *eventlog.Entry) { e.Data = nil },
	func(e *eventlog.Entry) { e.Data = []byte{} },
	func(e *eventlog.Entry) { e.Data = []byte("\x00") },
	func(e *eventlog.Entry) { e.Data = []byte("a\r\nb\nc\rd\x00 \n\n") },
	func(e *eventlog.Entry) { e.Data = []byte("\xff\xfe\x80 is not UTF-8 \xc3") },
	func(e *eventlog.Entry) { e.Data = everyByte() },
	func(e *eventlog.Entry) { e.Data = []byte("null") },

	func(e *eventlog.Entry) { e.Topic = "" },
	func(e *eventlog.Entry) { e.Topic = " " },
	func(e *eventlog.Entry) { e.Topic = " spaces around " },
	func(e *eventlog.Entry) { e.Topic = "." },
	func(e *eventlog.Entry) { e.Topic = ".a..b." },
	func(e *eventlog.Entry) { e.Topic = "*" },
	func(e *eventlog.Entry) { e.Topic = "a.*.>" },
	func(e *eventlog.Entry) { e.Topic = "{a}:b{" },
	func(e *eventlog.Entry) { e.Topic = "$SYS.a/b\\c%20+#?[]^\"'`\t\x01\x7f" },
	func(e *eventlog.Entry) { e.Topic = "комната:房间:🚪:e\u0301" },
	func(e *eventlog.Entry) { e.Topic = strings.Repeat("t", 1<<10) },
	func(e *eventlog.Entry) { e.Topic = strings.Repeat("🚪", 1<<8) },
	func(e *eventlog.Entry) { e.Topic = strings.Repeat(".", 1<<10) },

	several("a", "b"),
	several(" ", ".a..b.", "комната:🚪", "{a}:b{", "%0A, ;=", strings.Repeat("t", 1<<10)),

	func(e *eventlog.Entry) { e.Type = "" },
	func(e *eventlog.Entry) { e.Type = " spaces around " },
	func(e *eventlog.Entry) { e.Type = "тип: 类型\t🚪" },
	func(e *eventlog.Entry) { e.Type = strings.Repeat("type", 1<<10) },

	func(e *eventlog.Entry) { e.Retry = time.Nanosecond },
	func(e *eventlog.Entry) { e.Retry = 1500 * time.Millisecond },
	func(e *eventlog.Entry) { e.Retry = 1000 * time.Hour },

	func(e *eventlog.Entry) { e.End = true },
	func(e *eventlog.Entry) { e.End, e.Data = true, nil },
	func(e *eventlog.Entry) { e.Topic, e.Type, e.Data = "", "", nil }, // nothing but a message ID
}

// several gives an entry these topics.
func several(topics ...string) func(e *eventlog.Entry) {
	return func(e *eventlog.Entry) { e.Topic, e.Topics = eventlog.SeveralTopics, topics }
}

func everyByte() []byte {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

func entriesComeBack(ctx context.Context, s *trial) error {
	start, err := s.bounds(ctx, s.log)
	if err != nil {
		return err
	}
	f := s.follow(ctx, s.other, start.Last)
	var want []eventlog.Entry
	for _, change := range oddEntries {
		e := s.entry()
		change(&e)
		if e, err = s.append(ctx, s.log, e); err != nil {
			return err
		}
		want = append(want, e)
	}
	return s.compareReaders(ctx, start.Last, want, f)
}

// largeEntries has more than many an engine gives back in one answer.
func largeEntries(ctx context.Context, s *trial) error {
	const size, n = 512 << 10, 8
	start, err := s.bounds(ctx, s.log)
	if err != nil {
		return err
	}
	f := s.follow(ctx, s.other, start.Last)
	var want []eventlog.Entry
	for i := range n {
		e := s.entry()
		e.Data = bytes.Repeat([]byte{byte(i), 0xff}, size/2)
		if e, err = s.append(ctx, s.log, e); err != nil {
			return err
		}
		want = append(want, e)
	}
	return s.compareReaders(ctx, start.Last, want, f)
}

// tooLarge appends what is too large for most engines. Those that take it give
// it back as well.
func tooLarge(ctx context.Context, s *trial) error {
	start, err := s.bounds(ctx, s.log)
	if err != nil {
		return err
	}
	huge := s.entry()
	huge.Data = bytes.Repeat([]byte("x"), 16<<20)
	huge, err = s.append(ctx, s.log, huge)
	if err != nil && !errors.Is(err, eventlog.ErrRefused) {
		return broke(ruleRefused, "Append of an entry of 16 MiB returned %v", err)
	}
	var want []eventlog.Entry
	if err == nil {
		want = append(want, huge)
	}
	next, err := s.append(ctx, s.log, s.entry())
	if err != nil {
		return err
	}
	got, err := s.read(ctx, s.log, start.Last, next.Position)
	if err != nil {
		return err
	}
	return compare(ruleAppend, "Read after the append of an entry of 16 MiB and a small one", append(want, next), got)
}
