package ssegin

import (
	"context"
	"fmt"
)

// An engine keeps the log of a hub: local, where the log is the hub's own and in
// memory alone, or shared, where several processes have one log and the timeline
// holds its newest part.
type engine interface {
	// publish appends an event that is checked, and returns its ID.
	publish(ctx context.Context, p publication) (id string, err error)

	// disconnect lets every other process that has this log end its streams of topic.
	disconnect(ctx context.Context, topic string) error

	// enter joins c to the timeline, once this process can judge that last ID, and
	// makes sure that what the client missed can be had. See timeline.join.
	enter(c *cursor, topics []string, asked uint64, lastID string) (verdict, error)

	// older returns what follows the place of c, which is behind memory. If it is not
	// ready, k rings when it is.
	older(c *cursor, k *seeker) (o older, ready bool, err error)

	// skip lets c, which can be given no page, begin as a newcomer, and says what it is to
	// be told, and what it lacks then.
	skip(c *cursor, why Reason) verdict

	// grant reads what the newcomer c lacks, and waits for it.
	grant(ctx context.Context, c *cursor, v *verdict) error

	// room is how many bytes of a page a stream may take at once. It holds them until
	// they are written.
	room() int
	hold(bytes int)

	// stats adds the figures of the engine.
	stats(*Stats)

	// stop lets nothing come into the timeline any more. It does not wait.
	stop()

	// close ends what is left when the streams have gone, and waits for it until
	// ctx ends.
	close(ctx context.Context)
}

// A publication is an event, and where it belongs.
type publication struct {
	topic  string   // "" is everybody
	others []string // topics beside that one
	event  Event
	end    bool // it is the last one of its topic
}

// A local engine has no more than the timeline.
type local struct {
	timeline *timeline
	options  *hubOptions
}

func (l *local) publish(_ context.Context, p publication) (string, error) {
	block, err := p.event.block(maxIDTail, l.options.maxEventBytes)
	if err != nil {
		return "", err
	}
	a := addition{topic: p.topic, others: p.others, block: block, end: p.end, messageID: p.event.MessageID}
	if len(a.others) > 0 && !l.options.history.holds(&a) {
		return "", fmt.Errorf("%w: an event of %d bytes does not fit into the history for %d topics, because it counts for each", ErrTooLarge, len(block), 1+len(a.others))
	}
	id, fresh, err := l.timeline.append(a)
	if fresh {
		l.options.observer.published(p.topic, len(block))
	}
	return id, err
}

// disconnect has nobody else to tell.
func (l *local) disconnect(context.Context, string) error { return nil }

func (l *local) enter(c *cursor, topics []string, asked uint64, lastID string) (verdict, error) {
	return l.timeline.join(c, topics, asked, lastID, nil)
}

// older is never asked for: what has left the timeline is gone, and join says so.
func (l *local) older(*cursor, *seeker) (older, bool, error) {
	return older{why: ReasonExpired}, true, nil
}

func (l *local) skip(c *cursor, why Reason) verdict { return l.timeline.skip(c, why) }

// grant has nothing to do: no newcomer lacks anything.
func (l *local) grant(context.Context, *cursor, *verdict) error { return nil }

func (l *local) room() int { return writeBytes }
func (l *local) hold(int)  {}

func (l *local) stats(*Stats)          {}
func (l *local) stop()                 {}
func (l *local) close(context.Context) {}
