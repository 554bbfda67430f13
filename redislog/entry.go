package redislog

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/ssegin/ssegin/eventlog"
)

// fieldsOf returns the fields of e that the script does not make itself, and how
// many bytes they have. Its bytes are copied: the caller may use them again while
// the client still waits.
func fieldsOf(e eventlog.Entry) (fields []any, size int64) {
	add := func(name, value string) {
		fields = append(fields, name, value)
		size += int64(len(name) + len(value))
	}
	if e.Topic != "" {
		add("topic", e.Topic)
	}
	if len(e.Topics) > 0 {
		add("topics", strings.Join(e.Topics, "\n"))
	}
	if e.Type != "" {
		add("type", e.Type)
	}
	if e.Retry != 0 {
		milliseconds := float64(e.Retry) / float64(time.Millisecond)
		add("retry", strconv.FormatFloat(milliseconds, 'f', -1, 64))
	}
	if e.End {
		add("end", "1")
	}
	if e.Data != nil {
		add("data", string(e.Data))
	}
	return fields, size
}

// A record is an entry as it lies in the stream.
type record struct {
	eventlog.Entry

	// Either of them says what the entry follows: the time of the one before it,
	// or, for the first of a life, the epoch.
	time, prev string
	epoch      string
}

// parseTime reads a time of Redis, in microseconds.
func parseTime(text string) (time.Time, error) {
	at, err := strconv.ParseInt(text, 10, 64)
	return time.UnixMicro(at), err
}

// parse reads what the script has written. It returns false for what another
// hand has put into the stream.
func parse(m redis.XMessage) (r record, ok bool) {
	if !strings.HasSuffix(m.ID, "-0") {
		return r, false
	}
	field := func(name string) string {
		value, _ := m.Values[name].(string)
		return value
	}
	r.time, r.prev, r.epoch = field("time"), field("prev"), field("epoch")
	at, err := parseTime(r.time)
	if err != nil {
		return r, false
	}
	r.Entry = eventlog.Entry{
		Position:  position(m),
		Time:      at,
		Topic:     field("topic"),
		Type:      field("type"),
		Retry:     parseRetry(field("retry")),
		End:       field("end") == "1",
		MessageID: field("id"),
	}
	if topics := field("topics"); topics != "" {
		r.Topics = strings.Split(topics, "\n")
	}
	if data, ok := m.Values["data"].(string); ok {
		r.Data = []byte(data)
	}
	return r, true
}

// position returns the first part of a message's ID, <position>-0.
func position(m redis.XMessage) uint64 {
	digits, _, _ := strings.Cut(m.ID, "-")
	position, _ := strconv.ParseUint(digits, 10, 64) // Redis writes nothing else
	return position
}

// parseRetry returns zero for what is no number of milliseconds.
func parseRetry(text string) time.Duration {
	milliseconds, err := strconv.ParseFloat(text, 64)
	nanoseconds := math.Round(milliseconds * float64(time.Millisecond))
	if err != nil || math.IsNaN(nanoseconds) || math.Abs(nanoseconds) >= math.MaxInt64 {
		return 0
	}
	return time.Duration(nanoseconds)
}
