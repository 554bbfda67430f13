package gate

import (
	"cmp"
	"encoding/json"
	"fmt"
	"go/version"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
)

// A Figure is one count.
type Figure struct {
	Name  string  `json:"name"` // of the work
	Kind  Kind    `json:"kind"`
	Per   string  `json:"per"`
	Value float64 `json:"value"`
}

// newFigure rounds the value to what is worth reading.
func newFigure(name string, kind Kind, per string, value float64) Figure {
	return Figure{name, kind, per, math.Round(value*1000) / 1000}
}

func (f Figure) String() string {
	return fmt.Sprintf("%s: %v %s per %s", f.Name, f.Value, f.Kind, f.Per)
}

// counts reports whether f and g are figures of the same thing.
func (f Figure) counts(g Figure) bool { return f.Name == g.Name && f.Kind == g.Kind && f.Per == g.Per }

// A Record is the figures of one measurement, and with what they were made.
type Record struct {
	Go         string // the release of Go, such as go1.26
	Arch       string
	GOMAXPROCS int
	Figures    []Figure
}

// newRecord is the record of a measurement that this program has made.
func newRecord(figures []Figure) Record {
	r := Record{version.Lang(runtime.Version()), runtime.GOARCH, Processors, figures}
	r.sort()
	return r
}

func (r Record) sort() {
	slices.SortFunc(r.Figures, func(a, b Figure) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(string(a.Kind), string(b.Kind)))
	})
}

// sameGo reports whether r and s were made with the same release of Go for the
// same processor.
func (r Record) sameGo(s Record) bool { return r.Go == s.Go && r.Arch == s.Arch }

// find returns the figure of r that counts the same as f.
func (r Record) find(f Figure) (Figure, bool) {
	i := slices.IndexFunc(r.Figures, f.counts)
	if i < 0 {
		return Figure{}, false
	}
	return r.Figures[i], true
}

// merged returns r with the value that pick chooses of each figure that s has, too.
func (r Record) merged(s Record, pick func(a, b float64) float64) Record {
	r.Figures = slices.Clone(r.Figures)
	for i, f := range r.Figures {
		if g, ok := s.find(f); ok {
			r.Figures[i].Value = pick(f.Value, g.Value)
		}
	}
	return r
}

// withInstructionsOf adds what r lacks where it was made, because the machine
// counts no instructions: those of the record before it, if the same Go made it.
func (r Record) withInstructionsOf(before Record) Record {
	figures := slices.Clone(r.Figures)
	for _, f := range before.Figures {
		if _, ok := r.find(f); !ok && f.Kind == Instructions && r.sameGo(before) {
			figures = append(figures, f)
		}
	}
	r.Figures = figures
	r.sort()
	return r
}

// load reads a record.
func load(path string) (r Record, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(text, &r)
}

// save writes a record, one figure a line.
func (r Record) save(path string) error {
	lines := make([]string, len(r.Figures))
	for i, f := range r.Figures {
		line, err := json.Marshal(f)
		if err != nil {
			return err
		}
		lines[i] = "    " + string(line)
	}
	text := fmt.Sprintf("{\n  \"Go\": %q,\n  \"Arch\": %q,\n  \"GOMAXPROCS\": %d,\n  \"Figures\": [\n%s\n  ]\n}\n",
		r.Go, r.Arch, r.GOMAXPROCS, strings.Join(lines, ",\n"))
	return os.WriteFile(path, []byte(text), 0o644)
}
