package load

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

const okHead = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"

var someFrames = []string{":\n\n", "data: a\n\n", ":\n:\ndata: after heartbeats\n\n", "id: 7\ndata: b\ndata: c\n\n", "\n\n", "data: " + strings.Repeat("x", 300) + "\n\n"}

// scanAll feeds the response in pieces of at most size bytes.
func scanAll(s *scanner, response string, size int) []string {
	var frames []string
	for piece := range slices.Chunk([]byte(response), size) {
		s.feed(piece)
		for frame, ok := s.next(); ok; frame, ok = s.next() {
			frames = append(frames, string(frame))
		}
	}
	return frames
}

// chunked cuts body into chunks whose sizes come from size.
func chunked(body string, size func() int) string {
	var b strings.Builder
	for len(body) > 0 {
		n := min(size(), len(body))
		fmt.Fprintf(&b, "%x\r\n%s\r\n", n, body[:n])
		body = body[n:]
	}
	return okHead + b.String()
}

func TestScanner_framesSurviveAnySplit(t *testing.T) {
	body := strings.Join(someFrames, "")
	for chunk := 1; chunk <= 40; chunk++ {
		response := chunked(body, func() int { return chunk })
		for read := 1; read <= 40; read++ {
			var s scanner
			if got := scanAll(&s, response, read); !slices.Equal(got, someFrames) {
				t.Fatalf("chunks of %d, reads of %d: got %q", chunk, read, got)
			}
			if !s.opened() || s.ended() {
				t.Fatalf("chunks of %d, reads of %d: opened %v, ended %v", chunk, read, s.opened(), s.ended())
			}
		}
	}
}

func TestScanner_framesSurviveRandomSplits(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		var want []string
		for range random.IntN(20) {
			want = append(want, someFrames[random.IntN(len(someFrames))])
		}
		response := chunked(strings.Join(want, ""), func() int { return 1 + random.IntN(400) })
		var s scanner
		if got := scanAll(&s, response, 1+random.IntN(500)); !slices.Equal(got, want) {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
}

func TestScanner_bodyWithoutChunks(t *testing.T) {
	response := "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + strings.Join(someFrames, "")
	for read := 1; read <= 40; read++ {
		var s scanner
		if got := scanAll(&s, response, read); !slices.Equal(got, someFrames) {
			t.Fatalf("reads of %d: got %q", read, got)
		}
	}
}

func TestScanner_ends(t *testing.T) {
	for name, test := range map[string]struct {
		response      string
		opened, ended bool
	}{
		"half a head":  {"HTTP/1.1 200 OK\r\n", false, false},
		"other status": {"HTTP/1.1 503 Service Unavailable\r\n\r\n", false, true},
		"last chunk":   {okHead + "3\r\n:\n\n\r\n0\r\n\r\n", true, true},
		"bad chunk":    {okHead + "zz\r\n", false, true},
	} {
		var s scanner
		scanAll(&s, test.response, 7)
		if s.opened() != test.opened || s.ended() != test.ended {
			t.Errorf("%s: opened %v, ended %v", name, s.opened(), s.ended())
		}
	}
}

func BenchmarkScanner(b *testing.B) {
	frame := "id: 12\ndata: " + strings.Repeat("x", 128) + "\n\n"
	for name, perChunk := range map[string]int{"oneAChunk": 1, "twentyAChunk": 20} {
		b.Run(name, func(b *testing.B) {
			const frames = 100
			response := chunked(strings.Repeat(frame, frames), func() int { return perChunk * len(frame) })
			var s scanner
			scanAll(&s, okHead, len(okHead))
			body := []byte(response[len(okHead):])
			for b.Loop() {
				n := 0
				s.feed(body)
				for _, ok := s.next(); ok; _, ok = s.next() {
					n++
				}
				if n != frames {
					b.Fatalf("found %d frames", n)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*frames), "ns/frame")
		})
	}
}
