package natslog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ssegin/ssegin/eventlog"
)

// What goes wrong between here and the server. The hub treats all of it alike,
// so there is nothing to tell apart for others.
var (
	errNotConnected = errors.New("natslog: not connected")
	errConnection   = errors.New("natslog: the connection was lost")
	errSilent       = errors.New("natslog: the server does not answer")
)

// A Log is an eventlog.Log in a JetStream stream. Its methods may be called
// from any goroutine. It lives as long as the connection that it was given, and
// has nothing to close.
type Log struct {
	config Config
	nc     *nats.Conn
	js     jetstream.JetStream
	api    string // the beginning of the subjects of JetStream's API
	timing timing
	lives  *lives
}

var _ eventlog.Log = (*Log)(nil)

// A timing is how patient a Log is.
type timing struct {
	request   time.Duration // for any one answer of the server
	sighting  time.Duration // from an acknowledgement to a follower that brings the entry, before the stream is asked
	suspicion time.Duration // without an acknowledgement, before asking whether it was refused
	heartbeat time.Duration // of the follower's consumer, when there is nothing new
	silence   time.Duration // of the follower's consumer, before it counts as gone
	probe     time.Duration // between two looks of a follower at the stream itself
}

var defaultTiming = timing{
	request:   5 * time.Second,
	sighting:  20 * time.Millisecond,
	suspicion: 100 * time.Millisecond,
	heartbeat: time.Second,
	silence:   4 * time.Second,
	probe:     5 * time.Second,
}

// New returns the Log in the stream that config names, and makes the stream
// where it does not exist. It is an error if the stream is there and cannot be
// the log: its limits would make holes, say. All rights come with nc; the
// package documentation lists those that are needed.
//
// Processes of a first deploy may start together: a stream that one of them has
// made just now is not known everywhere yet, or has no leader. New tries again
// until ctx ends, so give that a deadline, and returns at once what waiting
// cannot mend: a wrong config, a stream that cannot be the log, want of rights, a
// server without JetStream, no connection.
//
// nc stays the caller's, who closes it after the hub has shut down. It should
// reconnect for ever (nats.MaxReconnects(-1)).
func New(ctx context.Context, nc *nats.Conn, config Config) (*Log, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	// Append bounds its time itself. What is left to the library is to forget
	// what was never acknowledged.
	options := []jetstream.JetStreamOpt{
		jetstream.WithPublishAsyncTimeout(2 * defaultTiming.request),
		jetstream.WithPublishAsyncMaxPending(1 << 20), // as good as none: the hub decides how many wait
	}
	js, api := jetstream.JetStream(nil), "$JS.API."
	if config.Domain == "" {
		js, err = jetstream.New(nc, options...)
	} else {
		js, err = jetstream.NewWithDomain(nc, config.Domain, options...)
		api = "$JS." + config.Domain + ".API."
	}
	if err != nil {
		return nil, fmt.Errorf("natslog: %w", err)
	}
	l := &Log{config: config, nc: nc, js: js, api: api, timing: defaultTiming, lives: newLives()}
	if err := l.open(ctx); err != nil {
		return nil, err
	}
	return l, nil
}

// open finds the stream or makes it, however often it has to try. An answer that
// does not come is waited for a little longer each time.
func (l *Log) open(ctx context.Context) error {
	for patience, pause := time.Second, 50*time.Millisecond; ; patience, pause = 2*patience, min(2*pause, time.Second) {
		try, cancel := context.WithTimeoutCause(ctx, min(patience, l.timing.request), errSilent)
		_, err := l.stream(try)
		cancel()
		if err == nil || !passing(err) {
			return err
		}
		select {
		case <-time.After(pause/2 + rand.N(pause)):
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
}

// passing says whether waiting may mend err.
func passing(err error) bool {
	switch codeOf(err) {
	case jetstream.JSErrCodeStreamNotFound, // by a server that does not know yet that it was made
		codeNoLeader, codeNotLeader, codeOffline:
		return true
	}
	return errors.Is(err, errSilent) && !errors.Is(err, nats.ErrPermissionViolation)
}

// What servers say when a stream, or they themselves, have no leader.
const (
	codeNoLeader  = 10008
	codeNotLeader = 10009
	codeOffline   = 10118
)

// Bounds implements eventlog.Log. It asks the stream's leader.
func (l *Log) Bounds(ctx context.Context) (eventlog.Bounds, error) {
	info, err := l.stream(ctx)
	if err != nil {
		return eventlog.Bounds{}, err
	}
	return bounds(info), nil
}

func bounds(info *jetstream.StreamInfo) eventlog.Bounds {
	b := eventlog.Bounds{Epoch: epoch(info), First: info.State.FirstSeq, Last: info.State.LastSeq, LastTime: info.State.LastTime}
	if info.State.Msgs == 0 {
		b.First = b.Last + 1
	}
	return b
}

// epoch names a life of the stream by the moment in which it was made, to the
// nanosecond. The server keeps that moment with the stream, the same on all
// servers, through restarts, moves and restores, and nobody can set it. Text in
// the stream's metadata or its first sequence would be copied together with the
// rest of the configuration by whoever makes the stream anew from a saved one. But
// an operator can add some, under MetadataEpoch, to begin another life.
func epoch(info *jetstream.StreamInfo) string {
	epoch := strconv.FormatInt(info.Created.UnixNano(), 36)
	if added := info.Config.Metadata[MetadataEpoch]; added != "" {
		epoch += " " + added
	}
	return epoch
}

// MetadataEpoch is what an operator sets in the metadata of the stream, to any
// text that was not there before, when the stream was restored from a backup: see
// the package documentation.
const MetadataEpoch = "ssegin-epoch"

// stream returns what the stream is, which is made if it is not there.
func (l *Log) stream(ctx context.Context) (*jetstream.StreamInfo, error) {
	info, err := l.info(ctx)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return l.create(ctx)
	}
	return info, err
}

// An infoAnswer is the server's answer to the question for a stream.
type infoAnswer struct {
	jetstream.StreamInfo
	Error *jetstream.APIError `json:"error"`
}

// info asks the stream's leader, and looks whether the stream can be the log.
func (l *Log) info(ctx context.Context) (*jetstream.StreamInfo, error) {
	m, err := l.request(ctx, "STREAM.INFO."+l.config.Stream, nil)
	if err != nil {
		return nil, err
	}
	return l.parseInfo(m.Data)
}

func (l *Log) parseInfo(data []byte) (*jetstream.StreamInfo, error) {
	var answer infoAnswer
	if err := json.Unmarshal(data, &answer); err != nil {
		return nil, fmt.Errorf("natslog: the stream's info: %w", err)
	}
	if answer.Error != nil {
		return nil, fmt.Errorf("natslog: the stream's info: %w", answer.Error)
	}
	l.lives.note(&answer.StreamInfo)
	return &answer.StreamInfo, l.config.fits(answer.Config)
}

// create makes the stream. If another process was faster, that is as good.
func (l *Log) create(ctx context.Context) (*jetstream.StreamInfo, error) {
	ctx, release, err := l.connected(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	ctx, cancel := context.WithTimeoutCause(ctx, l.timing.request, errSilent)
	defer cancel()
	stream, err := l.js.CreateStream(ctx, l.config.stream(time.Now()))
	switch {
	case errors.Is(err, jetstream.ErrStreamNameAlreadyInUse):
		return l.info(ctx)
	case err != nil:
		return nil, fmt.Errorf("natslog: make the stream %q: %w", l.config.Stream, l.explain(ctx, err, l.api+"STREAM.CREATE."+l.config.Stream))
	}
	l.lives.note(stream.CachedInfo())
	return stream.CachedInfo(), nil
}

// request asks JetStream's API for one answer.
func (l *Log) request(ctx context.Context, verb string, data []byte) (*nats.Msg, error) {
	ctx, release, err := l.connected(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	ctx, cancel := context.WithTimeoutCause(ctx, l.timing.request, errSilent)
	defer cancel()
	m, err := l.nc.RequestWithContext(ctx, l.api+verb, data)
	if err != nil {
		return nil, fmt.Errorf("natslog: %s: %w", verb, l.explain(ctx, err, l.api+verb))
	}
	return m, nil
}

// ready says why there is no use in asking now. A request made while there is
// no connection would be sent later, when nobody waits for it any more.
func (l *Log) ready(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if !l.nc.IsConnected() {
		return fmt.Errorf("%w (%v)", errNotConnected, l.nc.Status())
	}
	return nil
}

// connected returns a context that ends when the connection is lost, even for a
// moment: what was asked before is not answered after that. release must be
// called; it waits for the goroutine that this takes.
func (l *Log) connected(ctx context.Context) (_ context.Context, release func(), err error) {
	status := l.nc.StatusChanged(nats.DISCONNECTED, nats.RECONNECTING, nats.CLOSED)
	if err := l.ready(ctx); err != nil { // only now: a loss is noticed from here on
		l.nc.RemoveStatusListener(status)
		return nil, nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case s := <-status:
			cancel(fmt.Errorf("%w (%v)", errConnection, s))
		case <-ctx.Done():
		}
	})
	return ctx, func() {
		cancel(nil)
		wg.Wait()
		l.nc.RemoveStatusListener(status)
	}, nil
}

// explain finds the reason for which a request to subject has failed: the cause
// of ctx, and that the server has refused it, which comes apart from any answer.
func (l *Log) explain(ctx context.Context, err error, subject string) error {
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if denial := l.denial(subject); denial != nil && errors.Is(err, errSilent) {
		err = fmt.Errorf("%w: %w", err, denial)
	}
	return err
}

// denial returns the connection's last error, if it is that nobody may publish
// to subject here.
func (l *Log) denial(subject string) error {
	err := l.nc.LastError()
	if errors.Is(err, nats.ErrPermissionViolation) && strings.Contains(err.Error(), strconv.Quote(subject)) {
		return err
	}
	return nil
}
