package engines

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"

	"github.com/nats-io/nats.go"
	"github.com/redis/go-redis/v9"

	"github.com/ssegin/ssegin/eventlog"
	"github.com/ssegin/ssegin/natslog"
	"github.com/ssegin/ssegin/redislog"
)

// logName is the name of the log in every engine, and in NATS the subject of
// broadcasts.
const logName = "events"

// logBytes is more than the entries of any trial take.
const logBytes = 2 << 30

// poolSize lets every publisher of a process wait for its own answer.
const poolSize = 64

// A connection is that of one process to an engine. It counts what goes
// through its sockets.
type connection struct {
	place Place
	log   eventlog.Log // nil: in memory
	nats  *nats.Conn
	redis *redis.Client

	in, out atomic.Int64
}

// Traffic is what a process and its engine have said to each other.
type Traffic struct {
	In, Out  int64 // bytes from the engine, and to it
	Requests int   // messages to a NATS server, of whatever kind; 0 for others
}

// connect connects to the engine at that place.
func connect(place Place) (*connection, error) {
	c := &connection{place: place}
	var err error
	switch place.Kind {
	case Memory:
	case NATS:
		c.nats, err = nats.Connect(place.Address, nats.MaxReconnects(-1), nats.SetCustomDialer(c))
	case Redis:
		c.redis = redis.NewClient(&redis.Options{
			Addr:     place.Address,
			PoolSize: poolSize,
			Dialer:   func(_ context.Context, network, address string) (net.Conn, error) { return c.Dial(network, address) },
		})
	default:
		err = fmt.Errorf("there is no engine %q", place.Kind)
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// open opens the log, which keeps so many entries.
func (c *connection) open(ctx context.Context, entries int) (err error) {
	switch c.place.Kind {
	case NATS:
		c.log, err = natslog.New(ctx, c.nats, natslog.Config{Stream: logName, MaxMsgs: int64(entries), MaxBytes: logBytes})
	case Redis:
		c.log = redislog.New(c.redis, redislog.Config{Name: logName, MaxEntries: entries, MaxBytes: logBytes})
	}
	return err
}

func (c *connection) traffic() Traffic {
	t := Traffic{In: c.in.Load(), Out: c.out.Load()}
	if c.nats != nil {
		t.Requests = int(c.nats.Stats().OutMsgs)
	}
	return t
}

// Dial implements nats.CustomDialer.
func (c *connection) Dial(network, address string) (net.Conn, error) {
	conn, err := net.Dial(network, address)
	if err != nil {
		return nil, err
	}
	return counted{conn.(*net.TCPConn), c}, nil
}

// counted is a socket whose bytes are counted.
type counted struct {
	*net.TCPConn
	by *connection
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	c.by.in.Add(int64(n))
	return n, err
}

func (c counted) Write(p []byte) (int, error) {
	n, err := c.TCPConn.Write(p)
	c.by.out.Add(int64(n))
	return n, err
}
