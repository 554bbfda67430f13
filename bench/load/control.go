package load

import (
	"context"
	"net/http"
	"time"

	"github.com/ssegin/ssegin/bench/process"
)

// The bodies of the control endpoints.
type (
	// Opened answers open.
	Opened struct{ Failed int }

	// ReadyWhen asks ready to wait until nothing has come for Calm.
	ReadyWhen struct{ Calm time.Duration }

	// Ready answers ready.
	Ready struct {
		Streams int
		LastID  string
	}

	// StartCount asks start to count and, if Step is not 0, to acknowledge to Acks.
	StartCount struct {
		Acks string
		Step int
	}

	// FinishCount asks finish to count up.
	FinishCount struct {
		Published   int
		Quiet, Wait time.Duration
	}

	// ChurnFor asks churn to turn over the streams of Target.
	ChurnFor struct {
		Target Target
		Time   time.Duration
	}
)

// Control offers the pool's methods as control endpoints. One caller at a time
// may use them.
func Control(p *Pool) http.Handler {
	stopAcks := func() {}
	mux := http.NewServeMux()
	mux.Handle("POST /open", process.Endpoint(func(ctx context.Context, t Target) (Opened, error) {
		return Opened{Failed: p.Open(ctx, t)}, nil
	}))
	mux.Handle("POST /ask", process.Endpoint(func(context.Context, process.None) (process.None, error) {
		p.Ask()
		return process.None{}, nil
	}))
	mux.Handle("POST /ready", process.Endpoint(func(ctx context.Context, in ReadyWhen) (Ready, error) {
		streams, lastID := p.Ready(ctx, in.Calm)
		return Ready{Streams: streams, LastID: lastID}, nil
	}))
	mux.Handle("POST /start", process.Endpoint(func(_ context.Context, in StartCount) (process.None, error) {
		stopAcks = p.Start(in.Acks, in.Step)
		return process.None{}, nil
	}))
	mux.Handle("POST /finish", process.Endpoint(func(ctx context.Context, in FinishCount) (Report, error) {
		ctx, cancel := context.WithTimeout(ctx, in.Wait)
		defer cancel()
		defer func() { stopAcks() }()
		return p.Finish(ctx, in.Published, in.Quiet), nil
	}))
	mux.Handle("POST /churn", process.Endpoint(func(ctx context.Context, in ChurnFor) (Turnover, error) {
		return p.Churn(ctx, in.Target, in.Time), nil
	}))
	return mux
}
