package natslog

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ssegin/ssegin/eventlog"
)

// Why a follower cannot go on.
var (
	errLost     = errors.New("natslog: entries were lost on the way here")
	errAnew     = errors.New("natslog: the stream was made anew")
	errBack     = errors.New("natslog: the stream was rolled back")
	errAhead    = errors.New("natslog: the stream does not reach that far")
	errLeader   = errors.New("natslog: the stream has another leader")
	errStalled  = errors.New("natslog: the stream has gone on, and its consumer has not")
	errConsumer = errors.New("natslog: the consumer is gone")
)

// inactive is how long the server keeps a consumer that nobody listens to, for
// when a process ends without a word.
const inactive = 10 * time.Second

// Follow implements eventlog.Log. It has one ephemeral consumer in the stream,
// in memory and without acknowledgements, which it deletes in the end.
//
// It ends with an error when an entry was lost on the way, when the consumer
// says nothing for 4 seconds, when the connection is lost, even for a moment,
// when the stream was deleted, made anew or rolled back, has another leader, or
// goes on without the consumer. It looks at the stream itself every 5 seconds.
func (l *Log) Follow(ctx context.Context, after uint64, deliver func(eventlog.Entry) error) error {
	ctx, release, err := l.connected(ctx)
	if err != nil {
		return err
	}
	defer release()
	info, err := l.info(ctx)
	switch {
	case err != nil:
		return err
	case after > info.State.LastSeq:
		// A consumer would wait until the stream has that many, and skip those.
		return fmt.Errorf("%w: position %d, the last is %d", errAhead, after, info.State.LastSeq)
	}

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	f := &follower{
		log: l, ctx: ctx, deliver: deliver, fail: cancel,
		epoch: epoch(info), leader: leader(info),
		name: rand.Text(), inbox: l.nc.NewInbox(), probeInbox: l.nc.NewInbox(),
		position: after, passed: after,
	}
	if err := f.start(); err != nil {
		f.stop()
		return err
	}
	f.watch()
	f.stop()
	return context.Cause(ctx)
}

// A follower is one call of Follow. Two goroutines of the connection bring it
// what the consumer sends, and the answers about the stream; the one of Follow
// watches over it.
//
// It is a push consumer on a plain subscription, not one of the library's kinds
// of consumers: those recreate themselves, or leave it to their user to compare
// sequences, while here anything out of order must end it. Pushing needs no
// requests, has a heartbeat that says how much was sent, and flow control.
type follower struct {
	log        *Log
	ctx        context.Context         // of this call; nothing is delivered after its end
	fail       context.CancelCauseFunc // ends ctx; the first call counts
	deliver    func(eventlog.Entry) error
	epoch      string
	leader     string
	name       string // of the consumer
	inbox      string
	probeInbox string

	messages, answers *nats.Subscription

	// mu is held while an entry is delivered, which makes stop wait for it.
	mu       sync.Mutex
	over     bool   // nothing more may be delivered
	certain  bool   // the consumer was made in the life of that epoch
	sent     uint64 // how many entries the consumer has sent
	position uint64 // of the newest that was delivered, or where it began
	passed   uint64 // how far the consumer has got, over what is not in the stream any more
	heard    time.Time

	probed    time.Time // when the stream was last asked for, or has answered; zero before the first time
	asked     uint64    // position when it was asked for
	answered  bool      // the last question was
	due       uint64    // the last position in the last answer
	sentAtDue uint64    // sent at that time
}

func leader(info *jetstream.StreamInfo) string {
	if info.Cluster == nil {
		return ""
	}
	return info.Cluster.Leader
}

// start listens, and then makes the consumer: the other way around it would
// begin to send before anybody listens.
func (f *follower) start() (err error) {
	l := f.log
	if f.messages, err = l.nc.Subscribe(f.inbox, f.take); err != nil {
		return fmt.Errorf("natslog: follow: %w", err)
	}
	if f.answers, err = l.nc.Subscribe(f.probeInbox, f.judge); err != nil {
		return fmt.Errorf("natslog: follow: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(f.ctx, l.timing.request, errSilent)
	defer cancel()
	if _, err := l.js.CreatePushConsumer(ctx, l.config.Stream, jetstream.ConsumerConfig{
		Name:              f.name,
		Description:       "a hub of ssegin",
		DeliverSubject:    f.inbox,
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       f.position + 1,
		AckPolicy:         jetstream.AckNonePolicy,
		FlowControl:       true,
		IdleHeartbeat:     l.timing.heartbeat,
		InactiveThreshold: inactive,
		MemoryStorage:     true,
		Replicas:          1,
	}); err != nil {
		return fmt.Errorf("natslog: follow: %w", l.explain(ctx, err, l.api+"CONSUMER.CREATE."+l.config.Stream+"."+f.name))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.heard = time.Now() // a silence begins here, however long the making took
	return nil
}

// stop ends the deliveries, and deletes the consumer without waiting for an
// answer: when the server does not hear of it, it lets the consumer go itself.
func (f *follower) stop() {
	for _, sub := range []*nats.Subscription{f.messages, f.answers} {
		if sub != nil {
			_ = sub.Unsubscribe() // fails only when the connection is closed, and with it the subscription
		}
	}
	_ = f.log.nc.Publish(f.log.api+"CONSUMER.DELETE."+f.log.config.Stream+"."+f.name, nil)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.over = true
	if f.certain {
		f.certain = false
		f.log.lives.follow(-1)
	}
}

// watch returns when ctx ends, which every failure makes it do.
func (f *follower) watch() {
	ticker := time.NewTicker(min(f.log.timing.heartbeat, f.log.timing.probe) / 2)
	defer ticker.Stop()
	for {
		f.check()
		select {
		case <-f.ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// check looks whether the consumer is heard of, and asks for the stream when it
// is time. The first time is at once, since the stream may have changed between
// the first look and the making of the consumer.
func (f *follower) check() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.waiting() { // the silence is ours
		return
	}
	timing, now := f.log.timing, time.Now()
	switch {
	case now.Sub(f.heard) > timing.silence:
		f.fail(fmt.Errorf("%w: nothing from the consumer for %v%s", errSilent, now.Sub(f.heard), f.denial()))
	case !f.probed.IsZero() && !f.answered && now.Sub(f.probed) > timing.request:
		f.fail(fmt.Errorf("%w: nothing about the stream for %v", errSilent, now.Sub(f.probed)))
	case f.probed.IsZero(), f.answered && now.Sub(f.probed) > timing.probe:
		f.probed, f.asked, f.answered = now, f.position, false
		if err := f.log.nc.PublishRequest(f.log.api+"STREAM.INFO."+f.log.config.Stream, f.probeInbox, nil); err != nil {
			f.fail(fmt.Errorf("natslog: follow: %w", err))
		}
	}
}

// denial adds to a silence that the server does not let us listen.
func (f *follower) denial() string {
	if err := f.log.denial(f.inbox); err != nil {
		return ": " + err.Error()
	}
	return ""
}

// take is called with what arrives at the inbox, in order.
func (f *follower) take(m *nats.Msg) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over || f.ctx.Err() != nil {
		return
	}
	var err error
	if m.Subject == f.inbox {
		err = f.control(m)
	} else {
		err = f.entry(m)
	}
	f.heard = time.Now()
	if err != nil {
		f.over = true
		f.fail(err)
	}
}

// entry delivers a message of the stream. The consumer counts what it sends, so
// that a loss is seen; a gap in the positions alone means that entries are not
// in the stream any more, and the hub sees that itself. Subject, positions and
// time are the server's, not from headers, which anybody can write.
func (f *follower) entry(m *nats.Msg) error {
	meta, err := m.Metadata()
	switch {
	case err != nil:
		return fmt.Errorf("natslog: follow: %w", err)
	case meta.Sequence.Consumer != f.sent+1:
		return fmt.Errorf("%w: number %d came after %d", errLost, meta.Sequence.Consumer, f.sent)
	case meta.Sequence.Stream <= f.position:
		return fmt.Errorf("%w: position %d came after %d", errBack, meta.Sequence.Stream, f.position)
	}
	f.sent, f.position, f.passed = meta.Sequence.Consumer, meta.Sequence.Stream, meta.Sequence.Stream
	if f.certain {
		f.log.lives.see(m.Header.Get(HeaderMessageID), eventlog.Receipt{Position: f.position, Epoch: f.epoch})
	}
	return f.deliver(newEntry(f.log.config.Subject, m.Subject, m.Header, m.Data, f.position, meta.Timestamp))
}

// control takes what the consumer says of itself.
func (f *follower) control(m *nats.Msg) error {
	switch status := m.Header.Get("Status"); status {
	case "100":
	case "":
		return nil // from somebody who has guessed the inbox
	default:
		return fmt.Errorf("%w: %s %s", errConsumer, status, m.Header.Get("Description"))
	}
	// A heartbeat counts as well, so that the loss of the last ones is seen.
	if last := m.Header.Get("Nats-Last-Consumer"); last != "" && last != strconv.FormatUint(f.sent, 10) {
		return fmt.Errorf("%w: %d of %s", errLost, f.sent, last)
	}
	if passed, err := strconv.ParseUint(m.Header.Get("Nats-Last-Stream"), 10, 64); err == nil {
		f.passed = max(f.passed, passed)
	}
	// Flow control: the server waits for an answer before it sends much more. It
	// gets one when all that came before was delivered.
	for _, reply := range []string{m.Reply, m.Header.Get("Nats-Consumer-Stalled")} {
		if reply != "" {
			if err := f.log.nc.Publish(reply, nil); err != nil {
				return fmt.Errorf("natslog: follow: %w", err)
			}
		}
	}
	return nil
}

// judge is called with what the stream's leader says of the stream. It sees
// what the consumer, on another server perhaps, cannot.
func (f *follower) judge(m *nats.Msg) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over || f.ctx.Err() != nil {
		return
	}
	// From now on, not from the question on: while a slow receiver had an entry,
	// the consumer was waiting for us, and it is given all of that time anew.
	f.answered, f.probed = true, time.Now()
	if err := f.compare(m); err != nil {
		f.over = true
		f.fail(err)
	}
}

func (f *follower) compare(m *nats.Msg) error {
	if m.Header.Get("Status") != "" {
		return fmt.Errorf("%w: nobody has the stream", errSilent)
	}
	info, err := f.log.parseInfo(m.Data)
	if err != nil {
		return err
	}
	last := info.State.LastSeq
	switch {
	case epoch(info) != f.epoch:
		return errAnew
	case last < f.asked: // not position: what came after the question may be newer than the answer
		return fmt.Errorf("%w: position %d, the last is %d", errBack, f.asked, last)
	case leader(info) != f.leader:
		return fmt.Errorf("%w: %q", errLeader, leader(info))
	case f.passed < f.due && f.sent == f.sentAtDue && !f.waiting():
		return fmt.Errorf("%w: position %d, the last was %d before", errStalled, f.passed, f.due)
	}
	f.due, f.sentAtDue = last, f.sent
	if !f.certain { // it was that life before the consumer was made, and is that life after it
		f.certain = true
		f.log.lives.follow(1)
	}
	return nil
}

// waiting says whether messages are here that were not taken yet.
func (f *follower) waiting() bool {
	n, _, err := f.messages.Pending()
	return err == nil && n > 0
}
