package engines

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/ssegin/ssegin/bench/run"
)

// A Config says what to measure.
type Config struct {
	Engines  []Engine
	Quick    bool // the short form
	Rounds   int
	Time     time.Duration // that each trial publishes for
	Progress io.Writer     // a line for each trial
}

// Results are the medians over all rounds.
type Results struct {
	Config  Config
	Machine run.Machine
	Trials  []Trial
	Of      map[Trial]Result
}

// The sizes of payloads.
const (
	small = 128
	large = 4 << 10
)

// checkHubs is a number of hub processes with which the model is checked: it is
// made of smaller ones.
const checkHubs = 16

// scale is that of the real measurements.
func (c Config) scale() Scale {
	return Scale{
		Time: c.Time, Rate: 500, Publishers: 16, Fan: 64, Topics: 100, Streams: 100, Window: 32,
		Clients: 5000, Behind: 1000, Entries: 10_000,
	}
}

// groups are all trials; those of one group are compared with each other.
func (c Config) groups() (groups [][]Trial) {
	group := func(of func(Engine) []Trial) {
		var trials []Trial
		for _, e := range c.Engines {
			trials = append(trials, of(e)...)
		}
		groups = append(groups, trials)
	}
	group(latencyOf)
	for _, size := range []int{small, large} {
		for _, hubs := range []int{1, 2, 4} {
			if c.Quick && hubs == 2 {
				continue
			}
			group(func(e Engine) []Trial {
				if !slices.Contains(e.Hubs, hubs) || e.Sync && size == large {
					return nil
				}
				return []Trial{{Kind: loadTrial, Engine: e.Name, Hubs: hubs, Size: size}}
			})
		}
	}
	for _, size := range []int{small, large} {
		for _, hubs := range []int{1, 4, 8, checkHubs} {
			if c.Quick && (size == large || hubs == 8) {
				continue
			}
			group(func(e Engine) []Trial {
				if e.Sync || e.Kind == Memory {
					return nil
				}
				return []Trial{{Kind: fanTrial, Engine: e.Name, Hubs: hubs, Size: size}}
			})
		}
	}
	for _, history := range []int{2000, 10} {
		group(func(e Engine) []Trial {
			if e.Sync || e.Kind == Memory && history == 10 {
				return nil
			}
			return []Trial{{Kind: stormTrial, Engine: e.Name, Hubs: 1, Size: small, History: history}}
		})
	}
	return groups
}

// latencyOf are the trials of latency at an engine, one beside each of its bare
// subscribers. A subscription that need not wait for the disk says nothing about
// an engine that does.
func latencyOf(e Engine) (trials []Trial) {
	for _, bare := range bareOf(e.Kind) {
		if !e.Sync || bare != bareSubscription {
			trials = append(trials, Trial{Kind: latencyTrial, Engine: e.Name, Hubs: min(2, slices.Max(e.Hubs)), Size: small, Bare: bare})
		}
	}
	return trials
}

// Run measures all. Within each group of trials the engines take turns, and
// another one begins each round, so that none has the quiet hours of the machine
// for itself.
func Run(ctx context.Context, c Config) (Results, error) {
	results := Results{Config: c, Machine: run.ThisMachine(), Of: make(map[Trial]Result)}
	rounds := make(map[Trial][]Result)
	for round := range c.Rounds {
		for _, group := range c.groups() {
			for i := range group {
				t := group[(i+round)%len(group)]
				r := try(ctx, t, c.scale())
				if ctx.Err() != nil {
					return results, context.Cause(ctx)
				}
				rounds[t] = append(rounds[t], r)
				fmt.Fprintf(c.Progress, "round %d, %s: %s\n", round+1, t, r.line())
			}
		}
	}
	for _, group := range c.groups() {
		for _, t := range group {
			results.Trials = append(results.Trials, t)
			results.Of[t] = median(rounds[t])
		}
	}
	return results, nil
}

func findEngine(name string) (Engine, error) {
	for _, e := range Engines {
		if e.Name == name {
			return e, nil
		}
	}
	return Engine{}, fmt.Errorf("no engine is called %q", name)
}
