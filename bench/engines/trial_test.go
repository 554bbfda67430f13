package engines

import (
	"context"
	"testing"
	"time"
)

// little is the scale of the tests: enough that all processes publish at the
// same time, and that a window is full now and then.
var little = Scale{
	Time: 300 * time.Millisecond, Rate: 500, Publishers: 4, Fan: 8, Topics: 10, Streams: 20, Window: 16,
	Clients: 40, Behind: 300, Entries: 1000,
}

func TestTry_nothingIsLostDoubledOrReordered(t *testing.T) {
	for _, e := range Engines {
		hubs := 2
		if e.Kind == Memory {
			hubs = 1
		}
		trials := []Trial{{Kind: loadTrial, Engine: e.Name, Hubs: hubs, Size: 300}}
		if e.Kind != Memory && !e.Sync {
			trials = append(trials, Trial{Kind: fanTrial, Engine: e.Name, Hubs: 2, Size: 300})
		}
		for _, bare := range bareOf(e.Kind) {
			trials = append(trials, Trial{Kind: latencyTrial, Engine: e.Name, Hubs: hubs, Size: small, Bare: bare})
		}
		if !e.Sync {
			trials = append(trials, Trial{Kind: stormTrial, Engine: e.Name, Size: small, History: 2 * little.Behind})
		}
		if !e.Sync && e.Kind != Memory {
			trials = append(trials, Trial{Kind: stormTrial, Engine: e.Name, Size: small, History: 10})
		}
		for _, trial := range trials {
			t.Run(trial.String(), func(t *testing.T) {
				t.Parallel()
				checkTrial(t, trial)
			})
		}
	}
}

func checkTrial(t *testing.T, trial Trial) {
	r := try(context.Background(), trial, little)
	if faults := r.faults(); faults != "" {
		t.Fatal(faults)
	}
	t.Log(r.line())
	want := r.Events // one stream of the process that follows
	switch {
	case trial.Kind == loadTrial || trial.Kind == fanTrial:
		want *= trial.Hubs * little.Streams / little.Topics
	case trial.Kind == stormTrial:
		want = little.Clients * little.Behind
	case trial.Bare != "":
		want *= 2
	}
	if r.Events == 0 || r.Deliveries != want {
		t.Errorf("%d events, %d deliveries, want %d", r.Events, r.Deliveries, want)
	}
	if n := r.Values[Requests]; n >= 50 {
		t.Errorf("%v requests to the engine, want fewer than 50", n)
	}
	if trial.Kind == stormTrial && trial.Engine != "memory" && r.Values[Requests] == 0 {
		t.Error("no request to the engine was counted")
	}
}

func TestTry_aGapIsFoundOut(t *testing.T) {
	t.Parallel()
	s := little
	s.Entries = s.Behind / 2
	r := try(context.Background(), Trial{Kind: stormTrial, Engine: "redis", Size: small, History: 10}, s)
	if r.Err != "" || r.Lost == 0 {
		t.Errorf("%d lost, error %q; want some", r.Lost, r.Err)
	}
}
