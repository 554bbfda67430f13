package engines

import "context"

const (
	pacedPublishers = 4    // where latency is measured: one may wait for the disk
	usualHistory    = 1024 // the hub's default
)

// latency has one process publish at a moderate rate, and compares when the
// client of another process and a bare subscriber have it.
func (a *attempt) latency(ctx context.Context) error {
	topics := []string{everyone}
	if err := a.subscribe(ctx, topics); err != nil {
		return err
	}
	before, err := a.usage(ctx)
	if err != nil {
		return err
	}
	plan := Plan{
		Topics: topics, Publishers: pacedPublishers, Size: a.trial.Size,
		Time: a.scale.Time, Rate: a.scale.Rate,
	}
	var published Published
	if err := a.hubs[0].Call(ctx, "publish", plan, &published); err != nil {
		return err
	}
	in := finish{Published: published.Events, Quiet: quiet, Wait: drainTime}
	var streams, bare Report
	if err := a.reader.Call(ctx, "finish", in, &streams); err != nil {
		return err
	}
	if a.bare != nil {
		if err := a.bare.Call(ctx, "finish", in, &bare); err != nil {
			return err
		}
	}
	now, err := a.usage(ctx)
	if err != nil {
		return err
	}
	a.result.take(streams)
	a.result.take(bare)
	a.result.compared(published, streams, bare, now.sub(before))
	return nil
}

// subscribe starts the processes, and opens one stream of the last.
func (a *attempt) subscribe(ctx context.Context, topics []string) (err error) {
	if err := a.startHubs(ctx, a.trial.Hubs, usualHistory, a.scale.Entries); err != nil {
		return err
	}
	if a.trial.Bare != "" {
		setup := bareSetup{Place: a.engine.place(), Kind: a.trial.Bare, Publishers: pacedPublishers}
		if a.bare, err = startChild(bareRole, setup); err != nil {
			return err
		}
	}
	last := a.hubs[len(a.hubs)-1]
	return a.open(ctx, opening{Hubs: []string{last.Stream}, Topics: topics, Streams: 1, Publishers: pacedPublishers})
}
