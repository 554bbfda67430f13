package engines

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/ssegin/ssegin/bench/load"
	"github.com/ssegin/ssegin/bench/payload"
	"github.com/ssegin/ssegin/bench/process"
)

// The bodies of a reader's control endpoints.
type (
	// An opening asks for streams: as many of each hub, spread over the topics.
	opening struct {
		Hubs       []string // addresses of streams
		Topics     []string
		Streams    int // of each hub
		Publishers int // of all hub processes
	}

	// A counting asks to tell the hub processes that publish, at these URLs and
	// with so many publishers in each, how far all streams are.
	counting struct {
		Acks []string
		Each int
	}

	// A finish asks to wait for the rest of what was published.
	finish struct {
		Published   []uint64      // by publisher
		Quiet, Wait time.Duration // nothing may come for so long; and all of it may take so long
	}

	// A Report is what all receivers of a process have been given.
	Report struct {
		Deliveries int
		Lost       int // not there when it was due
		Again      int // a second time, or late
		Unordered  int // with an ID that does not go up
		Different  int // streams that were not given the same bytes as those of the same topic in other processes
		Resets     int // gaps that streams were told of
		Ended      int // streams that the server ended
		Last       int64
		Latency    load.Histogram
	}
)

// A reader is the process of the streams' clients.
type reader struct {
	publishers int
	topics     []string
	streams    []*stream
	stopAcks   func()
}

// serveReader is the main function of a reader process.
func serveReader() error {
	r := &reader{stopAcks: func() {}}
	mux := http.NewServeMux()
	mux.Handle("POST /open", process.Endpoint(func(_ context.Context, in opening) (process.None, error) {
		return process.None{}, r.open(in)
	}))
	mux.Handle("POST /ready", process.Endpoint(func(context.Context, process.None) (int, error) { return r.ready(), nil }))
	mux.Handle("POST /start", process.Endpoint(func(_ context.Context, in counting) (process.None, error) {
		r.stopAcks = r.startAcks(in)
		return process.None{}, nil
	}))
	mux.Handle("POST /finish", process.Endpoint(func(_ context.Context, in finish) (Report, error) {
		return r.finish(in), nil
	}))
	return process.Serve(mux, "")
}

func (r *reader) open(in opening) error {
	r.publishers, r.topics = in.Publishers, in.Topics
	for _, address := range in.Hubs {
		for i := range in.Streams {
			topic := i % len(in.Topics)
			conn, body, err := openStream(address, attached, in.Topics[topic])
			if err != nil {
				return err
			}
			s := newStream(topic, len(in.Topics), r.publishers)
			s.conn, s.body = conn, body
			r.streams = append(r.streams, s)
			go s.run()
		}
	}
	return nil
}

// ready is how many streams have had a probe.
func (r *reader) ready() (n int) {
	for _, s := range r.streams {
		s.mu.Lock()
		if s.ready {
			n++
		}
		s.mu.Unlock()
	}
	return n
}

// ackEvery is short beside the time that a window of events takes, and long
// enough that looking at all streams takes little.
const ackEvery = 4 * time.Millisecond

// startAcks tells each hub process, again and again, how far all streams are
// with the events of its publishers.
func (r *reader) startAcks(in counting) (stop func()) {
	var lines []*io.PipeWriter
	var wg sync.WaitGroup
	for _, url := range in.Acks {
		body, pipe := io.Pipe()
		lines = append(lines, pipe)
		wg.Go(func() {
			// Without it the publishers stop at their window, which is noticed.
			if response, err := http.Post(url, "application/json", body); err == nil {
				response.Body.Close()
			}
			body.Close()
		})
	}
	done := make(chan struct{})
	wg.Go(func() {
		for ticker := time.NewTicker(ackEvery); ; {
			select {
			case <-done:
				ticker.Stop()
				return
			case <-ticker.C:
			}
			passed := r.passed()
			for hub, line := range lines {
				of := passed[hub*in.Each : (hub+1)*in.Each]
				_ = json.NewEncoder(line).Encode(of) // it fails once the hub has gone
			}
		}
	})
	return func() {
		close(done)
		for _, line := range lines {
			line.Close()
		}
		wg.Wait()
	}
}

// passed is, by publisher, up to which number all streams have its events.
func (r *reader) passed() []uint64 {
	least := slices.Repeat([]uint64{math.MaxUint64}, r.publishers)
	for _, s := range r.streams {
		for p := range least {
			least[p] = min(least[p], s.passed[p].Load())
		}
	}
	return least
}

const finishPoll = 10 * time.Millisecond

func (r *reader) finish(in finish) Report {
	defer r.stopAcks()
	due := 0
	for _, s := range r.streams {
		due += expected(s.topic, len(r.topics), in.Published)
	}
	began := payload.Now()
	for {
		report := r.report(in.Published)
		now := payload.Now()
		if report.Deliveries >= due || now-max(began, report.Last) > int64(in.Quiet) || now-began > int64(in.Wait) {
			return report
		}
		time.Sleep(finishPoll) // nobody tells when the last one has come
	}
}

func (r *reader) report(published []uint64) (all Report) {
	digests := make([][]uint64, len(r.topics))
	for _, s := range r.streams {
		s.mu.Lock()
		all.add(&s.tally, published)
		all.Unordered += s.unordered
		all.Resets += s.resets
		if s.ended {
			all.Ended++
		}
		digest := s.digest.Sum64()
		s.mu.Unlock()
		digests[s.topic] = append(digests[s.topic], digest)
	}
	for _, of := range digests {
		for _, digest := range of {
			if digest != slices.Max(of) {
				all.Different++
			}
		}
	}
	return all
}

// add adds what one receiver was given.
func (r *Report) add(t *tally, published []uint64) {
	r.Deliveries += t.deliveries
	r.Lost += t.lost(published)
	r.Again += t.again
	r.Last = max(r.Last, t.last)
	r.Latency.Merge(t.latency)
}

var errNotReady = errors.New("not all receivers have had a probe")
