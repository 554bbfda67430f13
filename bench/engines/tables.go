package engines

import (
	"fmt"
	"io"
	"strings"
)

// Write writes the tables and the model as Markdown.
func (r Results) Write(out io.Writer) error {
	w := &page{out: out}
	w.printf("Measured on %s.\nMedians of %d rounds of %v, in which the engines took turns.\n",
		r.Machine, r.Config.Rounds, r.Config.Time)
	r.writeShort(w)
	r.writeLatency(w)
	r.writeLoad(w, small)
	r.writeLoad(w, large)
	r.writeStorm(w)
	r.writeModel(w)
	w.printf("\n## The engines\n\n| name | what it is |\n|---|---|\n")
	for _, e := range r.Config.Engines {
		w.printf("| %s | %s |\n", e.Name, e.About)
	}
	return w.err
}

func (r Results) writeLatency(w *page) {
	s := r.Config.scale()
	w.printf(`
## From publish on one process to the client of another

%s events/s of %d bytes. **Bare** is a process that subscribes to the engine itself, in the same run: it sees the same events.
A NATS subscription has them before they are in the log, an ordered consumer and an XREAD loop after. **Stream** is a client, over HTTP, of a
process that does not publish. The goal is a ratio of 2 or less, of which the table has the median over the rounds. CPU is in
microseconds an event, one by one: of the process that publishes (and follows, too), of the one that follows and has the stream, and of
the engine. With the memory there is one process.

`, thousands(s.Rate), small)
	w.head("engine", "bare subscriber", "bare p50 ms", "stream p50 ms", "ratio", "bare p99 ms", "stream p99 ms", "ratio",
		"publish p50 ms", "publish p99 ms", "CPU publishing", "CPU following", "CPU engine", "faults")
	for _, t := range r.Trials {
		if t.Kind == latencyTrial {
			bare := t.Bare
			if bare == "" {
				bare = "–"
			}
			w.row(r.Of[t], []string{t.Engine, bare}, BareP50, ReceiptP50, RatioP50, BareP99, ReceiptP99, RatioP99,
				PublishP50, PublishP99, PublisherCPU, FollowerCPU, EngineCPU)
		}
	}
}

func (r Results) writeLoad(w *page, size int) {
	s := r.Config.scale()
	w.printf("\n## Events of %s bytes, as fast as it goes\n\n", thousands(float64(size)))
	if size == small {
		w.printf(`Each process has %d publishers, each of which waits for the answer to one event before it publishes the next, and %d streams on as
many topics. Each event goes to one stream of each process. A publisher has at most %d events on their way to the slowest
stream (in memory %d). All processes, the engine and the clients share the %d cores. CPU is in microseconds an event: of all hub
processes together, of the engine, and of the clients. **Wire** is what the engine sends to each process, in bytes an event.

`, s.Publishers, s.Streams, s.Window, s.Window*memoryWindow, r.Machine.Cores)
	}
	if size == large {
		w.printf(`Only the window holds these publishers back; a hub never makes them wait for followers. Where many publish large events at once, Redis
answers a follower in turn with all of them, and it falls behind (see the receipts). An application that publishes as fast as it goes for
long needs a bound of its own, or its streams come to lag behind what the log keeps.

`)
	}
	w.head("engine", "processes", "events/s", "MB/s", "deliveries/s", "CPU hubs", "CPU engine", "CPU clients", "busy %",
		"publish p50 ms", "publish p99 ms", "receipt p50 ms", "receipt p99 ms", "wire", "faults")
	for _, e := range r.Config.Engines {
		for _, t := range r.Trials {
			if t.Kind == loadTrial && t.Engine == e.Name && t.Size == size {
				w.row(r.Of[t], []string{t.Engine, fmt.Sprint(t.Hubs)}, EventRate, MegaBytes, Deliveries, HubCPU, EngineCPU, ReaderCPU, Busy,
					PublishP50, PublishP99, ReceiptP50, ReceiptP99, WireIn)
			}
		}
	}
}

func (r Results) writeStorm(w *page) {
	s := r.Config.scale()
	w.printf(`
## Reconnect storm

%s clients, each %s events behind, come back at once to a process that begins at that moment. With a history of 2,000 it serves them from
its memory, with one of 10 from the engine. **Requests** are all that the process asks of the engine from its beginning to the last
receipt: messages to NATS of whatever kind, commands to Redis. The goal is fewer than 50. With the memory it is the process that
they left. Times are from the beginning of the process.

`, thousands(float64(s.Clients)), thousands(float64(s.Behind)))
	w.head("engine", "history", "requests", "MB from the engine", "ms until all are served", "deliveries/s", "faults")
	for _, t := range r.Trials {
		if t.Kind == stormTrial {
			w.row(r.Of[t], []string{t.Engine, thousands(float64(t.History))}, Requests, EngineMB, ServedMs, Deliveries)
		}
	}
}

// A page is Markdown that is being written. It keeps the first error, so that
// it need be looked at only once.
type page struct {
	out io.Writer
	err error
}

func (w *page) printf(format string, args ...any) {
	if w.err == nil {
		_, w.err = fmt.Fprintf(w.out, format, args...)
	}
}

// head begins a table.
func (w *page) head(columns ...string) {
	w.printf("| %s |\n|%s\n", strings.Join(columns, " | "), strings.Repeat("---|", len(columns)))
}

// row writes the names, a value for each measure, and the faults.
func (w *page) row(r Result, names []string, measures ...Measure) {
	cells := names
	for _, m := range measures {
		cells = append(cells, r.cell(m))
	}
	w.printf("| %s |\n", strings.Join(append(cells, r.faults()), " | "))
}
