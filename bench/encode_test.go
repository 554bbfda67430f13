package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	ginsse "github.com/gin-contrib/sse"
	tmaxmax "github.com/tmaxmax/go-sse"

	"github.com/ssegin/ssegin"
)

// record is something that an application would send as JSON.
type record struct {
	ID    int               `json:"id"`
	Name  string            `json:"name"`
	Tags  []string          `json:"tags"`
	Score float64           `json:"score"`
	Text  string            `json:"text"`
	More  map[string]string `json:"more"`
}

// payloads are what each library encodes.
var payloads = []struct {
	name string
	data any // a string, or something that needs JSON
}{
	{"text128B", strings.Repeat("x", 128)},
	{"json4KB", record{
		ID: 42, Name: "an event of some size", Tags: []string{"a", "b", "c"}, Score: 0.5,
		Text: strings.Repeat("lorem ipsum dolor sit amet ", 140),
		More: map[string]string{"from": "here", "to": "there"},
	}},
	{"lines100", strings.Repeat("a line of no great length\n", 99) + "and a last one"},
}

// encoders encode data as an event of type "message" with an ID. Only gin's and
// ssegin's make JSON by themselves.
var encoders = []struct {
	name   string
	encode func(w io.Writer, data any) error
}{
	{"gin-contrib", func(w io.Writer, data any) error {
		return ginsse.Encode(w, ginsse.Event{Id: "12", Event: "message", Data: data})
	}},
	{"tmaxmax", func(w io.Writer, data any) error {
		text, err := textOf(data)
		if err != nil {
			return err
		}
		m := &tmaxmax.Message{ID: tmaxmax.ID("12"), Type: tmaxmax.Type("message")}
		m.AppendData(text)
		_, err = m.WriteTo(w)
		return err
	}},
	// r3labs encodes inside its handler, for each client: these are the calls
	// that it makes there, with SplitData, without which line breaks are lost.
	{"r3labs", func(w io.Writer, data any) error {
		text, err := textOf(data)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "id: %s\n", []byte("12"))
		lines := bytes.Split([]byte(text), []byte("\n"))
		for i := range lines {
			fmt.Fprintf(w, "data: %s\n", lines[i])
		}
		fmt.Fprintf(w, "event: %s\n", []byte("message"))
		_, err = fmt.Fprint(w, "\n")
		return err
	}},
}

// BenchmarkEncode times one event's encoding. ssegin's includes all of Publish:
// its checks, and the entry in a log of which older events fall out; it is done
// once for all clients, the others' once for each.
func BenchmarkEncode(b *testing.B) {
	for _, payload := range payloads {
		b.Run(payload.name+"/ssegin", func(b *testing.B) {
			hub := ssegin.NewHub()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := hub.Broadcast(context.Background(), ssegin.Event{Type: "message", Data: payload.data}); err != nil {
					b.Fatal(err)
				}
			}
		})
		for _, encoder := range encoders {
			b.Run(payload.name+"/"+encoder.name, func(b *testing.B) {
				var frame bytes.Buffer
				b.ReportAllocs()
				for b.Loop() {
					frame.Reset()
					if err := encoder.encode(&frame, payload.data); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// TestEncoders makes sure that they all encode the same.
func TestEncoders(t *testing.T) {
	for _, payload := range payloads {
		want, err := textOf(payload.data)
		if err != nil {
			t.Fatal(err)
		}
		for _, encoder := range encoders {
			var frame bytes.Buffer
			if err := encoder.encode(&frame, payload.data); err != nil {
				t.Fatal(err)
			}
			var data []string
			for line := range strings.Lines(frame.String()) {
				if text, ok := strings.CutPrefix(line, "data:"); ok {
					data = append(data, strings.TrimSpace(text))
				}
			}
			if got := strings.Join(data, "\n"); got != strings.TrimSpace(want) {
				t.Errorf("%s/%s: %q", payload.name, encoder.name, got)
			}
		}
	}
}

// textOf is what an application does where the library leaves JSON to it.
func textOf(data any) (string, error) {
	if text, ok := data.(string); ok {
		return text, nil
	}
	b, err := json.Marshal(data)
	return string(b), err
}
