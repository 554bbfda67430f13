// Golang runs the clients that are Go packages, in a process of its own, because a
// client may panic or race. It reads commands, a line of JSON each, and writes what the
// application of each client is given.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
)

// A command begins a cell, or stops it.
type command struct {
	Cell, Client, URL, Method string
	Stop                      bool
}

// An application is what a client is given to by its adapter.
type application struct {
	command
}

var output sync.Mutex

func (a *application) report(what string, value any) {
	output.Lock()
	defer output.Unlock()
	_ = json.NewEncoder(os.Stdout).Encode(map[string]any{"cell": a.Cell, what: value}) // nobody is left to tell
}

func (a *application) step(n int)      { a.report("n", n) }
func (a *application) odd(what string) { a.report("odd", what) }
func (a *application) last()           { a.report("last", true) }

// json takes an event as most applications do. Its error is what they make of an event
// that is not their own.
func (a *application) json(data, kind string) error {
	var value struct {
		N    int
		Text string
		End  bool
	}
	err := json.Unmarshal([]byte(data), &value)
	switch {
	case err == nil && value.N > 0 && value.Text == "✅ 入Å":
		a.step(value.N)
	case err == nil && value.End:
		a.last()
	default:
		a.odd(kind + "|" + data)
	}
	return err
}

// text takes the steps from the text of a language model.
func (a *application) text(text string) {
	for word := range strings.FieldsSeq(text) {
		var n int
		if _, err := fmt.Sscan(word, &n); err != nil {
			a.odd(word)
			continue
		}
		a.step(n)
	}
}

// request is the request for the stream.
func (a *application) request(ctx context.Context) *http.Request {
	var body io.Reader
	if a.Method == http.MethodPost {
		body = strings.NewReader("{}")
	}
	r, err := http.NewRequestWithContext(ctx, a.Method, a.URL, body)
	if err != nil {
		panic(err) // the test gives the address
	}
	return r
}

func main() {
	running := map[string]context.CancelFunc{}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		a := &application{}
		if err := json.Unmarshal(lines.Bytes(), &a.command); err != nil {
			fmt.Println(err)
			continue
		}
		if a.Stop {
			running[a.Cell]()
			continue
		}
		ctx, cancel := context.WithCancel(context.Background())
		running[a.Cell] = cancel
		go func() {
			over := "done"
			if err := adapters[a.Client](ctx, a); err != nil && !errors.Is(err, io.EOF) {
				over = err.Error()
			}
			a.report("over", over)
		}()
	}
}
