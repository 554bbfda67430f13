package engines

import (
	"fmt"
	"os"
	"time"
)

// An Engine is where the log of the hubs lies.
type Engine struct {
	Name  string
	About string
	Kind  Kind
	Sync  bool  // the engine writes each event to the disk before it acknowledges it
	Quick bool  // it belongs to the short form
	Hubs  []int // numbers of hub processes that it is measured with
}

// Kind tells which program an engine is.
type Kind string

// The kinds of engines.
const (
	Memory Kind = "memory" // the hub's own log: for one process
	NATS   Kind = "nats"
	Redis  Kind = "redis"
)

// Engines are all there are, in the order of the tables.
var Engines = []Engine{
	{Name: "memory", About: "the hub's own log in memory, for one process", Kind: Memory, Quick: true, Hubs: []int{1}},
	{Name: "nats", About: "natslog on a NATS server with a file store", Kind: NATS, Quick: true, Hubs: []int{1, 2, 4}},
	{Name: "redis", About: "redislog on Redis, append-only file, appendfsync everysec", Kind: Redis, Quick: true, Hubs: []int{1, 2, 4}},
	{Name: "nats-sync", About: "the same NATS server with sync_interval: always", Kind: NATS, Sync: true, Hubs: []int{1, 4}},
	{Name: "redis-sync", About: "the same Redis with appendfsync always", Kind: Redis, Sync: true, Hubs: []int{1, 4}},
}

// A Place says where a running engine is.
type Place struct {
	Kind    Kind
	Address string // empty for the memory
}

// A running engine belongs to one trial.
type running interface {
	place() Place
	cpu() (time.Duration, error) // used up since its start
	stop()
}

// start starts the engine, empty, in a process and a folder of its own.
func (e Engine) start() (running, error) {
	if e.Kind == Memory {
		return nothing{}, nil
	}
	dir, err := os.MkdirTemp("", "enginebench-")
	if err != nil {
		return nil, err
	}
	var r running
	switch e.Kind {
	case NATS:
		r, err = startNATS(dir, e.Sync)
	case Redis:
		r, err = startRedis(dir, e.Sync)
	default:
		err = fmt.Errorf("there is no engine %q", e.Kind)
	}
	if err != nil {
		_ = os.RemoveAll(dir) // the first error counts
		return nil, fmt.Errorf("start %s: %w", e.Name, err)
	}
	return r, nil
}

// nothing is the engine of a log in memory.
type nothing struct{}

func (nothing) place() Place                { return Place{Kind: Memory} }
func (nothing) cpu() (time.Duration, error) { return 0, nil }
func (nothing) stop()                       {}
