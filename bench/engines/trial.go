package engines

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/ssegin/ssegin/bench/process"
)

// A Kind of trial.
type trialKind string

const (
	latencyTrial trialKind = "latency"
	loadTrial    trialKind = "load" // all processes publish
	fanTrial     trialKind = "fan"  // one of them does
	stormTrial   trialKind = "storm"
)

// A Scale is how large the trials are.
type Scale struct {
	Time       time.Duration // that each publishes for
	Rate       float64       // events a second where latency is measured
	Publishers int           // in each hub process that publishes as fast as it can
	Fan        int           // publishers where one process does
	Topics     int           //
	Streams    int           // of each hub process
	Window     int           // events of each publisher on their way at most, with an engine
	Clients    int           // that come back at once
	Behind     int           // events that they have missed
	Entries    int           // that the log keeps, at least: old ones leave as new ones come
}

// A Trial is one thing that is measured at one engine.
type Trial struct {
	Kind    trialKind
	Engine  string
	Hubs    int    // processes
	Size    int    // bytes of a payload
	Bare    string // beside which latency is measured
	History int    // events in the memory of the process to which a storm comes
}

// An attempt is one run of a trial: processes of its own, and what came out.
type attempt struct {
	trial  Trial
	scale  Scale
	engine running
	hubs   []*process.Child
	reader *process.Child
	bare   *process.Child
	result Result
}

const (
	quiet     = 3 * time.Second  // after so long without a delivery the rest is lost
	drainTime = 20 * time.Second // for what is still on its way at the end
	setUpTime = 30 * time.Second
)

// try runs the trial. What goes wrong is in the result.
func try(ctx context.Context, t Trial, s Scale) Result {
	a := &attempt{trial: t, scale: s, result: newResult()}
	ctx, cancel := context.WithTimeout(ctx, setUpTime+s.Time+drainTime)
	defer cancel()
	defer a.stop()
	if err := a.run(ctx); err != nil {
		a.result = newResult()
		a.result.Err = err.Error()
	}
	return a.result
}

func (a *attempt) run(ctx context.Context) error {
	engine, err := findEngine(a.trial.Engine)
	if err != nil {
		return err
	}
	if a.engine, err = engine.start(); err != nil {
		return err
	}
	switch a.trial.Kind {
	case latencyTrial:
		return a.latency(ctx)
	case loadTrial, fanTrial:
		return a.load(ctx)
	default:
		return a.storm(ctx)
	}
}

func (a *attempt) stop() {
	for _, c := range append(a.hubs, a.reader, a.bare) {
		if c != nil {
			c.Stop()
		}
	}
	if a.engine != nil {
		a.engine.stop()
	}
}

// startChild starts this program in a role with a setup.
func startChild(role string, setup any) (*process.Child, error) {
	if setup == nil {
		return process.Start(role)
	}
	text, err := json.Marshal(setup)
	if err != nil {
		return nil, err
	}
	return process.Start(role, string(text))
}

// startHub starts a hub process whose hub has not begun.
func (a *attempt) startHub(history, entries int) (*process.Child, error) {
	hub, err := startChild(hubRole, hubSetup{Place: a.engine.place(), History: history, Entries: entries})
	if err != nil {
		return nil, err
	}
	a.hubs = append(a.hubs, hub)
	return hub, nil
}

// startHubs starts so many, and begins the hubs.
func (a *attempt) startHubs(ctx context.Context, n, history, entries int) error {
	for range n {
		hub, err := a.startHub(history, entries)
		if err != nil {
			return err
		}
		if err := hub.Call(ctx, "begin", nil, nil); err != nil {
			return err
		}
	}
	return nil
}

// open opens streams at those hubs, and returns when every receiver has had a
// probe that the first hub published.
func (a *attempt) open(ctx context.Context, in opening) (err error) {
	if a.reader, err = startChild(readerRole, nil); err != nil {
		return err
	}
	if err := a.reader.Call(ctx, "open", in, nil); err != nil {
		return err
	}
	want := map[*process.Child]int{a.reader: len(in.Hubs) * in.Streams}
	if a.bare != nil {
		want[a.bare] = 1
	}
	for deadline := time.Now().Add(setUpTime / 2); ; {
		if err := a.hubs[0].Call(ctx, "probe", in.Topics, nil); err != nil {
			return err
		}
		time.Sleep(probeTime) // for the probes to arrive
		missing := 0
		for child, n := range want {
			var ready int
			if err := child.Call(ctx, "ready", nil, &ready); err != nil {
				return err
			}
			missing += n - ready
		}
		if missing == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%w: %d of them", errNotReady, missing)
		}
	}
}

const probeTime = 50 * time.Millisecond
