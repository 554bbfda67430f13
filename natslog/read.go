package natslog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ssegin/ssegin/eventlog"
)

// The bounds of one piece of a Read, whichever is reached first. The server
// looks at the bytes after each message, so a piece may be larger by one.
const (
	pieceEntries = 1024
	pieceBytes   = 1 << 20
)

// Read implements eventlog.Log. It asks for pieces of up to 1,024 entries or
// 1 MiB, without any consumer, by direct gets, which every server that has the
// stream answers. One that lags does not know the newest entries yet: where an
// answer ends too early, the stream's leader is asked what comes next.
func (l *Log) Read(ctx context.Context, after, until uint64) iter.Seq2[eventlog.Entry, error] {
	return l.read(ctx, all, after, until)
}

// all are the subjects of all entries.
const all = ">"

// read reads the entries of a subject.
func (l *Log) read(ctx context.Context, subject string, after, until uint64) iter.Seq2[eventlog.Entry, error] {
	return func(yield func(eventlog.Entry, error) bool) {
		for after < until {
			entries, more, err := l.piece(ctx, subject, after+1, min(until-after, pieceEntries))
			if err == nil && (len(entries) == 0 || !more && entries[len(entries)-1].Position < until) {
				entries, more, err = l.ask(ctx, subject, entries, after)
			}
			for _, e := range entries {
				if e.Position > until {
					return
				}
				if !yield(e, nil) {
					return
				}
				after = e.Position
			}
			switch {
			case err != nil:
				yield(eventlog.Entry{}, err)
				return
			case !more:
				return
			}
		}
	}
}

// A getRequest asks for messages of a stream.
type getRequest struct {
	Seq      uint64 `json:"seq,omitempty"`
	LastFor  string `json:"last_by_subj,omitempty"`
	NextFor  string `json:"next_by_subj,omitempty"`
	Batch    uint64 `json:"batch,omitempty"`
	MaxBytes int    `json:"max_bytes,omitempty"`
}

// piece returns up to n entries of a subject from that position on, and whether the server
// says that it has more; if not, others may. It returns what it has with an
// error, too.
//
// nats.go has no batches of direct gets, so this speaks the protocol.
func (l *Log) piece(ctx context.Context, subject string, from, n uint64) (entries []eventlog.Entry, more bool, err error) {
	ctx, release, err := l.connected(ctx)
	if err != nil {
		return nil, false, err
	}
	defer release()
	inbox := l.nc.NewInbox()
	messages := make(chan *nats.Msg, n+1) // all of the answer, whose end is a message as well
	sub, err := l.nc.ChanSubscribe(inbox, messages)
	if err != nil {
		return nil, false, fmt.Errorf("natslog: read: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }() // as in follower.stop

	verb := "DIRECT.GET." + l.config.Stream
	what := getRequest{Seq: from, Batch: n, MaxBytes: pieceBytes}
	if subject != all {
		what.NextFor = subject
	}
	request, err := json.Marshal(what)
	if err != nil {
		return nil, false, fmt.Errorf("natslog: read: %w", err)
	}
	if err := l.nc.PublishRequest(l.api+verb, inbox, request); err != nil {
		return nil, false, fmt.Errorf("natslog: read: %w", err)
	}
	silence := time.NewTimer(l.timing.request)
	defer silence.Stop()
	var last uint64
	for {
		select {
		case m := <-messages:
			silence.Reset(l.timing.request)
			switch {
			case !trusted(m):
				return entries, false, nil
			case m.Header.Get(jetstream.SequenceHeader) == "":
				more, err := pieceEnd(m, last)
				return entries, more, err
			}
			e, err := l.direct(m, last)
			if err != nil {
				return entries, false, err
			}
			last = e.Position
			entries = append(entries, e)
		case <-silence.C:
			return entries, false, fmt.Errorf("natslog: read: %w", l.explain(ctx, errSilent, l.api+verb))
		case <-ctx.Done():
			return entries, false, context.Cause(ctx)
		}
	}
}

// pieceEnd says what a message means that is not an entry, after the entry at
// that last position, or 0 if there was none.
func pieceEnd(m *nats.Msg, last uint64) (more bool, err error) {
	switch status := m.Header.Get("Status"); status {
	case "204": // the end of the batch
		if got := m.Header.Get(lastSequenceHeader); got != strconv.FormatUint(last, 10) {
			return false, fmt.Errorf("%w: the piece ends at %s, and %d was the last", errLost, got, last)
		}
		return m.Header.Get("Nats-Num-Pending") != "0", nil
	case "404":
		return false, nil
	case "503":
		return false, fmt.Errorf("%w: nobody has the stream", errSilent)
	default:
		return false, fmt.Errorf("natslog: read: %s %s", status, m.Header.Get("Description"))
	}
}

// lastSequenceHeader has the position of the one before, in a batch.
const lastSequenceHeader = "Nats-Last-Sequence"

// direct returns the entry in the answer to a direct get, which comes after that
// last one. What comes otherwise by ways of its own, the server says there in
// headers that it appends to those of the publisher, of whatever name those are:
// the last ones count.
func (l *Log) direct(m *nats.Msg, last uint64) (e eventlog.Entry, err error) {
	final := func(key string) string {
		if values := m.Header[key]; len(values) > 0 {
			return values[len(values)-1]
		}
		return ""
	}
	position, err1 := strconv.ParseUint(final(jetstream.SequenceHeader), 10, 64)
	previous, err2 := strconv.ParseUint(final(lastSequenceHeader), 10, 64)
	at, err3 := time.Parse(time.RFC3339Nano, final(jetstream.TimeStampHeaer))
	if err := errors.Join(err1, err2, err3); err != nil {
		return e, fmt.Errorf("natslog: read: %w", err)
	}
	if previous != last || position <= last {
		return e, fmt.Errorf("%w: position %d came after %d, not %d", errLost, position, last, previous)
	}
	return newEntry(l.config.Subject, final(jetstream.SubjectHeader), m.Header, m.Data, position, at), nil
}

// trusted says whether the headers of an answer to a direct get are what the
// server has appended its own to. A publisher can end a header block early, by
// an empty line: what the server appends is then not seen, and the publisher
// may have written another topic in its place. Or he can leave the end off: what
// the server appends runs into his last header. A follower sees neither, and
// must not see another entry than a reader, so the leader is asked for these.
func trusted(m *nats.Msg) bool {
	// What the server appends has at least 136 bytes. A header takes on the wire
	// two bytes more than is counted here, mostly.
	const hidden = 128
	seen, marks := len("NATS/1.0\n\n"), 0
	for key, values := range m.Header {
		for _, value := range values {
			seen += len(key) + len(":") + len(value) + len("\n")
			marks += strings.Count(key, jetstream.StreamHeader) + strings.Count(value, jetstream.StreamHeader)
		}
	}
	block := m.Size() - len(m.Subject) - len(m.Reply) - len(m.Data)
	isEntry := len(m.Header[jetstream.SequenceHeader]) > 0
	return block-seen < hidden && (!isEntry || marks == 1 && len(m.Header[jetstream.StreamHeader]) == 1)
}

// ask appends to entries the one of that subject that the leader has after the last
// of them, or after that position if there are none. There is more if there is one.
func (l *Log) ask(ctx context.Context, subject string, entries []eventlog.Entry, after uint64) (_ []eventlog.Entry, more bool, err error) {
	if len(entries) > 0 {
		after = entries[len(entries)-1].Position
	}
	e, err := l.get(ctx, getRequest{Seq: after + 1, NextFor: subject})
	if err != nil {
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			err = nil
		}
		return entries, false, err
	}
	return append(entries, e), true, nil
}

// A getAnswer is the leader's answer to a request for one message.
type getAnswer struct {
	Message struct {
		Subject string    `json:"subject"`
		Seq     uint64    `json:"seq"`
		Header  []byte    `json:"hdrs"`
		Data    []byte    `json:"data"`
		Time    time.Time `json:"time"`
	} `json:"message"`
	Error *jetstream.APIError `json:"error"`
}

// get asks the leader for one entry.
func (l *Log) get(ctx context.Context, what getRequest) (e eventlog.Entry, err error) {
	request, err := json.Marshal(what)
	if err != nil {
		return e, fmt.Errorf("natslog: read: %w", err)
	}
	m, err := l.request(ctx, "STREAM.MSG.GET."+l.config.Stream, request)
	if err != nil {
		return e, err
	}
	var answer getAnswer
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return e, fmt.Errorf("natslog: read: %w", err)
	}
	if answer.Error != nil {
		return e, fmt.Errorf("natslog: read: %w", answer.Error)
	}
	got := answer.Message
	var h nats.Header // none if nobody can read it, as in a follower
	if len(got.Header) > 0 {
		h, _ = nats.DecodeHeadersMsg(got.Header)
	}
	return newEntry(l.config.Subject, got.Subject, h, got.Data, got.Seq, got.Time), nil
}
