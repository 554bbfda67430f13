package gate

import (
	"math"
	"path/filepath"
	"reflect"
	"testing"
)

func TestRecord_saveAndLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "figures.json")
	want := newRecord([]Figure{
		newFigure("publish", Bytes, "publish", 192),
		newFigure("publish", Allocations, "publish", 1.00049),
		newFigure(`"fan-out"`, Writes, "delivery", 0.5),
	})
	if err := want.save(path); err != nil {
		t.Fatal(err)
	}
	got, err := load(path)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("loaded %+v, want %+v", got, want)
	}
	if f := got.Figures; f[0].Name != `"fan-out"` || f[1].Kind != Allocations || f[1].Value != 1 {
		t.Errorf("not sorted, or not rounded: %v", f)
	}
}

func TestRecord_merged(t *testing.T) {
	one := newRecord([]Figure{{"a", Bytes, "event", 3}, {"b", Bytes, "event", 1}})
	other := newRecord([]Figure{{"a", Bytes, "event", 2}, {"b", Bytes, "event", 4}})
	want := []Figure{{"a", Bytes, "event", 2}, {"b", Bytes, "event", 1}}
	if got := one.merged(other, math.Min).Figures; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestRecord_renewalKeepsInstructionsThatCannotBeCounted(t *testing.T) {
	counted := Figure{"a", Instructions, "event", 3000}
	before := Record{"go1.26", "amd64", 1, []Figure{counted, {"a", Bytes, "event", 3}, {"gone", Heap, "stream", 3}}}
	bytes := []Figure{{"a", Bytes, "event", 2}}
	for _, tc := range []struct {
		name string
		now  Record
		want []Figure
	}{
		{"not counted", Record{"go1.26", "amd64", 1, bytes}, []Figure{bytes[0], counted}},
		{"another Go", Record{"go1.27", "amd64", 1, bytes}, bytes},
		{"counted", Record{"go1.26", "amd64", 1, []Figure{{"a", Instructions, "event", 2000}}}, []Figure{{"a", Instructions, "event", 2000}}},
	} {
		if got := tc.now.withInstructionsOf(before).Figures; !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: got %v, want %v", tc.name, got, tc.want)
		}
	}
}
