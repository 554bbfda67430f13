package run

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/ssegin/ssegin/bench/servers"
)

// A Config says what to measure.
type Config struct {
	Servers   []servers.Entry
	LeftOut   []string // servers that could not be measured, each with the reason
	Workloads []Workload
	Rounds    int
	Time      time.Duration // that each run publishes for
	Progress  io.Writer     // a line for each run
}

// Results are the medians over all rounds, by workload and server name.
type Results struct {
	Config  Config
	Machine Machine
	Of      map[string]map[string]Result
}

// What a run takes beside the time that it publishes for: processes start and
// end, and streams open and close.
const (
	perRun    = 700 * time.Millisecond
	perStream = 200 * time.Microsecond
)

// Estimate is about how long Run will take.
func (c Config) Estimate() (total time.Duration) {
	for _, w := range c.Workloads {
		for _, e := range c.Servers {
			if !w.fits(e) {
				continue
			}
			total += perRun + time.Duration(w.Streams)*perStream
			if w.Kind != Idle && w.Kind != Replay {
				total += c.Time
			}
		}
	}
	return total * time.Duration(c.Rounds)
}

// Run measures all. The servers take turns within each round, and another one
// begins each round, so that none has the quiet hours of the machine for itself.
func Run(ctx context.Context, c Config) (Results, error) {
	results := Results{Config: c, Machine: ThisMachine(), Of: make(map[string]map[string]Result)}
	fmt.Fprintf(c.Progress, "this takes about %v\n", c.Estimate().Round(time.Minute/2))
	for _, w := range c.Workloads {
		rounds := make(map[string][]Result)
		for round := range c.Rounds {
			for i := range c.Servers {
				e := c.Servers[(i+round)%len(c.Servers)]
				if !w.fits(e) {
					continue
				}
				r := try(ctx, w, e, c.Time)
				if ctx.Err() != nil {
					return results, context.Cause(ctx)
				}
				rounds[e.Name] = append(rounds[e.Name], r)
				fmt.Fprintf(c.Progress, "%s, round %d: %s: %s\n", w.Name, round+1, e.Name, r.line(w))
			}
		}
		results.Of[w.Name] = make(map[string]Result)
		for name, of := range rounds {
			results.Of[w.Name][name] = median(of)
		}
	}
	return results, nil
}
