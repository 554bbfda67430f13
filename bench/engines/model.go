package engines

import "maps"

// A line says what an event costs with n hub processes: base + each × n.
type line struct{ base, each float64 }

func (l line) at(n int) float64 { return l.base + l.each*float64(n) }

// fit returns the line of the least squares through values by n, which are
// two or more.
func fit(values map[int]float64) line {
	var count, sumX, sumY, sumXX, sumXY float64
	for n, y := range values {
		x := float64(n)
		count++
		sumX += x
		sumY += y
		sumXX += x * x
		sumXY += x * y
	}
	each := (count*sumXY - sumX*sumY) / (count*sumXX - sumX*sumX)
	if each < 0 { // no process makes the others' work less: that is noise
		return line{base: sumY / count}
	}
	return line{base: (sumY - each*sumX) / count, each: each}
}

// A model says what the events of one size cost at one engine, in microseconds
// of CPU an event, by the number of hub processes.
type model struct {
	engine  line
	hubs    line // all of them together
	clients line
	wire    float64 // bytes from the engine to each hub process
}

// modelOf makes the model of what was measured with fewer than checkHubs. It
// reports whether there was enough.
func (r Results) modelOf(engine string, size int) (m model, ok bool) {
	points := make(map[Measure]map[int]float64)
	wires := make(map[int]float64)
	for _, t := range r.Trials {
		if t.Kind != fanTrial || t.Engine != engine || t.Size != size || t.Hubs == checkHubs {
			continue
		}
		for _, measure := range []Measure{EngineCPU, HubCPU, ReaderCPU} {
			value, ok := r.Of[t].Values[measure]
			if !ok {
				return model{}, false
			}
			if points[measure] == nil {
				points[measure] = make(map[int]float64)
			}
			points[measure][t.Hubs] = value
		}
		wires[t.Hubs] = r.Of[t].Values[WireIn]
	}
	if len(wires) < 2 {
		return model{}, false
	}
	for wire := range maps.Values(wires) {
		m.wire += wire / float64(len(wires))
	}
	m.engine, m.hubs, m.clients = fit(points[EngineCPU]), fit(points[HubCPU]), fit(points[ReaderCPU])
	return m, true
}

const second = 1e6 // microseconds

// all is what an event costs with n processes, with everything.
func (m model) all(n int) float64 { return m.engine.at(n) + m.hubs.at(n) + m.clients.at(n) }

// network is 10 Gbit/s, in bytes.
const network = 1.25e9

// A limit is what ends the growth, where each process and the engine have a
// machine of their own.
type limit struct {
	engine  float64 // events a second for each core that the engine can use
	hub     float64 // events a second for each core of a hub process
	network float64 // events a second from the engine to all, with 10 Gbit/s
}

func (m model) limit(n int) limit {
	return limit{
		engine:  second / m.engine.at(n),
		hub:     second / (m.hubs.each + m.hubs.base/float64(n)),
		network: network / (m.wire * float64(n)),
	}
}

// least returns the lowest of the limits, and its name.
func (l limit) least() (float64, string) {
	least, name := l.engine, "engine"
	if l.hub < least {
		least, name = l.hub, "hub process"
	}
	if l.network < least {
		least, name = l.network, "network"
	}
	return least, name
}
