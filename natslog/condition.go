package natslog

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ssegin/ssegin/eventlog"
)

// What the server says of a condition, besides jetstream.JSErrCodeStreamWrongLastSequence.
const (
	codeTaken    = 10164 // another append to the subject is on its way, so the condition cannot be judged
	codeNotReady = 10163 // nor by a leader that has just begun
	codeInHand   = 10158 // the same message is on its way
	codeNotFound = 10037 // there is no such message
	codeWrongID  = 10070 // the newest message has another ID
)

// AppendIf implements eventlog.Log: the server judges by the newest message of
// the topic's subject, and appends, in one step. While another append to the same
// topic is on its way in a cluster it says so instead of judging, and then
// AppendIf asks again, for no longer than Append would take.
func (l *Log) AppendIf(ctx context.Context, e eventlog.Entry, newest eventlog.Receipt) (eventlog.Receipt, error) {
	if err := l.ready(ctx); err != nil {
		return eventlog.Receipt{}, err
	}
	m, err := newMessage(l.config.Subject, e)
	if err != nil {
		return eventlog.Receipt{}, err
	}
	before, s := l.lives.expect(m.Header.Get(HeaderMessageID))
	defer func() { l.lives.forget(s) }()
	if newest.Epoch != "" && newest.Epoch != before {
		// Either of the two is old. In a life that begins now all positions are
		// beyond those of earlier ones, so the server would refuse it, but for a
		// stream that somebody has made with the first position of an older one.
		if before, err = l.life(ctx); err != nil {
			return eventlog.Receipt{}, err
		}
		if newest.Epoch != before {
			return l.conflict(ctx, m, before)
		}
	}
	m.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(newest.Position, 10))
	ctx, cancel := context.WithTimeoutCause(ctx, l.timing.request, errSilent)
	defer cancel()
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		ack, err := l.publish(ctx, &nats.Msg{Subject: m.Subject, Header: m.Header, Data: m.Data})
		switch code := codeOf(err); {
		case err == nil && ack.Duplicate:
			return l.receipt(ctx, ack.Sequence, before, nil)
		case err == nil:
			return l.receipt(ctx, ack.Sequence, before, s)
		case code == jetstream.JSErrCodeStreamWrongLastSequence:
			return l.conflict(ctx, m, before)
		case code != codeTaken && code != codeNotReady && code != codeInHand:
			return eventlog.Receipt{}, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return eventlog.Receipt{}, fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
}

// conflict returns what stands against the append of m, or where m lies if it is
// there already.
func (l *Log) conflict(ctx context.Context, m *nats.Msg, before string) (eventlog.Receipt, error) {
	position, err := l.duplicate(ctx, m)
	if err != nil {
		return eventlog.Receipt{}, err
	}
	if position > 0 {
		return l.receipt(ctx, position, before, nil)
	}
	e, err := l.get(ctx, getRequest{LastFor: m.Subject})
	if err != nil && codeOf(err) != codeNotFound {
		return eventlog.Receipt{}, err
	}
	stands, err := l.receipt(ctx, e.Position, before, nil)
	if err != nil {
		return eventlog.Receipt{}, err
	}
	return eventlog.Receipt{}, &eventlog.ConflictError{Newest: stands}
}

// duplicate returns the position of a message that the stream remembers, or 0. A
// stream that several servers keep has looked for that before it judges a
// condition, and one that a single server keeps has not. That one is asked by a
// message that it can never take, but looks up before it comes to see why.
func (l *Log) duplicate(ctx context.Context, m *nats.Msg) (uint64, error) {
	id := m.Header.Get(HeaderMessageID)
	if id == "" || !l.lives.single() {
		return 0, nil
	}
	question := nats.NewMsg(m.Subject)
	question.Header.Set(HeaderMessageID, id)
	question.Header.Set(jetstream.ExpectedLastMsgIDHeader, rand.Text())
	ack, err := l.publish(ctx, question)
	switch {
	case err == nil && ack.Duplicate:
		return ack.Sequence, nil
	case err == nil:
		return 0, fmt.Errorf("natslog: append: the stream %q has ignored a condition", l.config.Stream)
	case codeOf(err) == codeWrongID:
		return 0, nil
	}
	return 0, err
}

// codeOf returns the code of an error of JetStream, or 0.
func codeOf(err error) jetstream.ErrorCode {
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		return api.ErrorCode
	}
	return 0
}
