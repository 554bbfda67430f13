package gate

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/ssegin/ssegin/bench/process"
)

// Measure does all works, one after the other, and returns their figures.
// Uncounted is why there are no figures of instructions, empty if there are.
func Measure(ctx context.Context) (figures []Figure, uncounted string, err error) {
	for i := range works {
		w := &works[i]
		counts, err := measure(ctx, w)
		if err != nil {
			return nil, "", fmt.Errorf("%s: %w", w.name, err)
		}
		uncounted = counts.Uncounted
		figures = append(figures, w.figures(counts)...)
	}
	for _, path := range []string{attached, detached} {
		holding, err := measureIdle(ctx, path)
		if err != nil {
			return nil, "", fmt.Errorf(idle+", %s: %w", path[1:], err)
		}
		figures = append(figures, holding...)
	}
	return figures, uncounted, nil
}

// figures are those of a work that has counted so much.
func (w *work) figures(c Counts) []Figure {
	per := func(kind Kind, count uint64) Figure {
		return newFigure(w.name, kind, w.per, float64(count)/float64(w.each*w.rounds))
	}
	figures := []Figure{per(Allocations, c.Allocations), per(Bytes, c.Bytes)}
	if !w.quiet {
		figures = append(figures, per(Writes, c.Writes))
	}
	if c.Uncounted == "" {
		figures = append(figures, per(Instructions, c.Instructions))
	}
	return figures
}

// A driver is the clients of one server, and the pace of its rounds.
type driver struct {
	*process.Child
	addr    string
	lastID  string // of those who come
	clients []*client
}

func start(name string) (*driver, error) {
	child, err := process.Start(serveRole, name)
	if err != nil {
		return nil, err
	}
	return &driver{Child: child, addr: child.Stream}, nil
}

func (d *driver) stop() {
	for _, c := range d.clients {
		c.close()
	}
	d.Stop()
}

// open opens one more client that stays.
func (d *driver) open(path string) error {
	c, err := connect(d.addr, path, "")
	if err != nil {
		return err
	}
	d.clients = append(d.clients, c)
	return nil
}

// measure does one work in a fresh process.
func measure(ctx context.Context, w *work) (counts Counts, err error) {
	d, err := start(w.name)
	if err != nil {
		return counts, err
	}
	defer d.stop()
	if w.past > 0 { // before there are clients that would have to take it
		if err := d.Call(ctx, "publish", 1+w.past, &d.lastID); err != nil {
			return counts, err
		}
	}
	for i := range w.clients {
		path := w.path
		if w.topics > 0 {
			path += "?topic=" + topicOf(w, i)
		}
		if err := d.open(path); err != nil {
			return counts, err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	paced := make(chan error, 1)
	go func() {
		err := d.pace(w)
		if err != nil {
			cancel()
		}
		paced <- err
	}()
	if err = d.Call(ctx, "rounds", process.None{}, &counts); err != nil {
		d.Stop() // what the pace waits for ends, too
	}
	return counts, errors.Join(err, <-paced)
}

// pace tells the server to do each round, and does the clients' part of it.
func (d *driver) pace(w *work) error {
	conn, err := net.Dial("tcp4", d.addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "GET /pace HTTP/1.1\r\nHost: %s\r\n\r\n", d.addr); err != nil {
		return err
	}
	for round := range w.total() + 1 {
		if _, err := conn.Write([]byte{'.'}); err != nil {
			return err
		}
		if w.join == nil || round == w.total() {
			continue
		}
		if err := w.join(d); err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
	}
	return nil
}

// measureIdle returns what a stream holds that waits, after its first event.
func measureIdle(ctx context.Context, path string) ([]Figure, error) {
	const first, more = 100, 1000 // what the first need is there once for all
	d, err := start(idle)
	if err != nil {
		return nil, err
	}
	defer d.stop()
	var before, after Live
	if err := d.idle(ctx, path, first, &before); err != nil {
		return nil, err
	}
	if err := d.idle(ctx, path, more, &after); err != nil {
		return nil, err
	}
	name := idle + ", " + path[1:]
	each := func(kind Kind, before, after uint64) Figure {
		return newFigure(name, kind, "stream", (float64(after)-float64(before))/more)
	}
	return []Figure{each(Heap, before.Heap, after.Heap), each(Stack, before.Stack, after.Stack)}, nil
}

// idle opens n more streams, gives each open one an event, and looks at what
// the server holds.
func (d *driver) idle(ctx context.Context, path string, n int, live *Live) error {
	for range n {
		if err := d.open(path); err != nil {
			return err
		}
	}
	if err := d.Call(ctx, "publish", 1, nil); err != nil {
		return err
	}
	if err := takes(1)(d); err != nil {
		return err
	}
	return d.Call(ctx, "live", process.None{}, live)
}
