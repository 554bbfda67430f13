package engines

import (
	"bytes"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// file is what Save writes.
const file = "engines.md"

// shards says how several logs take what one does not.
//
//go:embed shards.md
var shards string

// crowds says what it costs when clients come back with old IDs, with the figures of
// the last time that these were measured.
//
//go:embed crowds.md
var crowds string

// Save writes the page into folder, which is made if need be.
func (r Results) Save(folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	var text bytes.Buffer
	text.WriteString("# One log, several processes\n\nWritten by `make bench-engines`; [the bench folder](../../bench) says how it measures.\n\n")
	if err := r.Write(&text); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, file), text.Bytes(), 0o644)
}

// writeModel writes the model, for the engines of which enough was measured.
func (r Results) writeModel(w *page) {
	w.printf("\n%s\n", strings.TrimSpace(modelIntroduction)+"\n")
	w.head("engine", "bytes", "engine: *a*", "engine: *b*", "hubs: *p*", "hubs: *f*", "wire: *w*")
	r.eachModel(func(e Engine, size int, m model) {
		w.printf("| %s | %s | %s | %s | %s | %s | %s |\n", e.Name, thousands(float64(size)), digits(m.engine.base), digits(m.engine.each),
			digits(m.hubs.base), digits(m.hubs.each), thousands(m.wire))
	})
	w.printf("\n%s\n", strings.TrimSpace(checkIntroduction)+"\n")
	w.head("engine", "bytes", "processes", "CPU, model", "CPU, measured", "model / measured", "publishing process", "following process", "events/s", "receipt p50 ms", "busy %")
	r.eachModel(func(e Engine, size int, m model) {
		for _, t := range r.Trials {
			if t.Kind != fanTrial || t.Engine != e.Name || t.Size != size {
				continue
			}
			of := r.Of[t]
			foretold, measured := m.all(t.Hubs), of.Values[AllCPU]
			count := fmt.Sprint(t.Hubs)
			if t.Hubs == checkHubs {
				count += " (not in the fit)"
			}
			w.printf("| %s | %s | %s | %s | %s | %.2f | %s | %s | %s | %s | %s |\n", e.Name, thousands(float64(size)), count, digits(foretold), digits(measured),
				foretold/measured, digits(of.Values[HubCPU]-of.Values[FollowerCPU]*float64(t.Hubs-1)), of.cell(FollowerCPU), of.cell(EventRate), of.cell(ReceiptP50), of.cell(Busy))
		}
	})
	w.printf("\n%s\n", strings.TrimSpace(limitIntroduction)+"\n")
	w.head("engine", "bytes", "processes", "engine, a core", "hub process, a core", "network, 10 Gbit/s", "events/s", "ends at", "to all processes, events/s")
	r.eachModel(func(e Engine, size int, m model) {
		for _, n := range []int{1, 4, 10, 100} {
			l := m.limit(n)
			least, name := l.least()
			w.printf("| %s | %s | %d | %s | %s | %s | **%s** | %s | %s |\n", e.Name, thousands(float64(size)), n,
				digits(l.engine), digits(l.hub), digits(l.network), digits(least), name, digits(least*float64(n)))
		}
	})
	w.printf("\n%s\n\n%s\n", strings.TrimSpace(crowds), strings.TrimSpace(shards))
}

// eachModel calls f for each engine that does not wait for its disk, and size.
func (r Results) eachModel(f func(Engine, int, model)) {
	for _, size := range []int{small, large} {
		for _, e := range r.Config.Engines {
			if m, ok := r.modelOf(e.Name, size); ok && !e.Sync {
				f(e, size, m)
			}
		}
	}
}

const modelIntroduction = `
## The model

An event is appended once, and every process decodes it and puts it into its own memory, whether or not it has a stream for it: that is
what makes each of them able to take any client. So with *N* processes an event costs, in microseconds of CPU,

    engine:       a + b × N      (keeping it; sending it to each process)
    all hubs:     p + f × N      (publishing it; following, and writing it to one stream, in each)
    network:      w × N          bytes out of the engine

The constants are from runs of their own, in which one process publishes, with 64 publishers as fast as it goes, and 1, 4 and 8 follow,
that one included. Much of what is sent then goes together; an event that comes by itself costs several times as much, see the table of
latencies. The engines that write each event to the disk first are not in the model: their disk is what ends them.
`

const checkIntroduction = `
Held against the measurements, in CPU an event of everything together (clients included; they are fitted in the same way), with the CPU
of the process that publishes and of each that only follows. The runs with 16 processes are not in the fit:
`

const limitIntroduction = `
### Ten and a hundred

This is the model, not a measurement: the engine and each process on a machine of their own, and cores that are all theirs. Then there
are three places where it can end: the engine, at 1 / (*a* + *b* × *N*) events/s for each core that it can use (Redis: one; NATS: several
for sending, but one stream has one lock, so more than one core's worth is not promised here); each process, at 1 / (*f* + *p* / *N*) for each
of its cores (one goroutine follows, so again no more than one core's worth); and the network of the engine, at 1.25 GB/s / (*w* × *N*).
More streams than one for each event cost a process what [sizing](../sizing.md) says.
`
