package payload

import (
	"encoding/json"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestAppend_sizes(t *testing.T) {
	for size, want := range map[int]int{0: Size, 32: 32, 38: 32, 39: 39, 128: 128, 4096: 4096} {
		p := Append(nil, 7, 9, size)
		if len(p) != want {
			t.Errorf("size %d: got %d bytes, want %d", size, len(p), want)
		}
		if !json.Valid(p) {
			t.Errorf("size %d: not JSON: %s", size, p)
		}
	}
}

func TestParse_findsWhatAppendWrote(t *testing.T) {
	const seq, sent = 1<<40 - 1, int64(1)<<55 + 12345
	frame := append([]byte("id: 4-2\ndata: "), Append(nil, seq, sent, 64)...)
	gotSeq, gotSent, ok := Parse(append(frame, "\n\n"...))
	if !ok || gotSeq != seq || gotSent != sent {
		t.Fatalf("got %d, %d, %v", gotSeq, gotSent, ok)
	}
}

func TestParse_refusesOtherFrames(t *testing.T) {
	for _, frame := range []string{"", ":\n\n", "data: @\n\n", `data: {"@":"00000000010000000000000`, `data: {"@":"000000000x00000000000000"}`, `data: a@b.example and more than enough text`} {
		if _, _, ok := Parse([]byte(frame)); ok {
			t.Errorf("%q was taken for a payload", frame)
		}
	}
}

func TestNow_isTheSharedClock(t *testing.T) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		t.Fatal(err)
	}
	if d := time.Duration(Now() - ts.Nano()); d < -time.Millisecond || d > time.Second {
		t.Errorf("off by %v", d)
	}
}

func BenchmarkParse(b *testing.B) {
	frame := append([]byte("id: 1\ndata: "), Append(nil, 7, Now(), 128)...)
	for b.Loop() {
		Parse(frame)
	}
}
