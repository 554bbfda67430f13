package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin"
	"github.com/ssegin/ssegin/ssegintest"
)

// socketBuffer keeps what the kernels on both sides take for a client that does
// not read far below what is published in a second.
const socketBuffer = 64 << 10

// A followed is the report of who followed a stream.
type followed struct {
	Verdict     ssegintest.Verdict
	Connections int
	Resets      int
	Told        uint64 // events that the resets said were missed
}

// stoppable follows a stream as an EventSource does, until an event of the type
// "done", whose data is the number of the last event.
func stoppable(args []string) error {
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err == nil {
			err = conn.(*net.TCPConn).SetReadBuffer(socketBuffer)
		}
		return conn, err
	}}}
	ctx := context.Background()
	s, err := ssegintest.Connect(ctx, args[0], ssegintest.WithClient(client))
	if err != nil {
		return err
	}
	var r followed
	for check := ssegintest.NewChecker(1, number); ; {
		first := true
		for e, err := range s.Events(ctx) {
			if err != nil {
				break // it was cut, and comes back
			}
			switch n, counts := number(e); {
			case e.Type == "ssegin.reset":
				var reset ssegin.Reset
				if err := json.Unmarshal([]byte(e.Data), &reset); err != nil {
					return err
				}
				r.Resets++
				r.Told += uint64(max(reset.Missed, 0))
			case e.Type == "done":
				r.Verdict, r.Connections = check.Verdict(n), s.Connections()
				return printReport(r)
			case counts && first:
				first = false
				fmt.Println("connection", s.Connections(), "has events")
			}
			check.Check(e)
		}
		if err := s.Resume(ctx); err != nil {
			return err
		}
	}
}

// A load publishes events of 16 KiB, from number 1 on, until it is stopped.
type load struct {
	hub  *ssegin.Hub
	stop chan struct{}
	done chan struct{}
	took times  // each Broadcast
	last uint64 // the number of the last event
	err  error
}

func startLoad(hub *ssegin.Hub, rate int) *load {
	l := &load{hub: hub, stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(l.done)
		tick := time.NewTicker(time.Second / time.Duration(rate))
		defer tick.Stop()
		filler := " " + strings.Repeat("x", 16<<10)
		for l.err == nil {
			select {
			case <-l.stop:
				l.publish(ssegin.Event{Type: "done", Data: l.last})
				return
			case <-tick.C:
			}
			l.last++
			l.publish(ssegin.Event{Data: strconv.FormatUint(l.last, 10) + filler})
		}
	}()
	return l
}

func (l *load) publish(e ssegin.Event) {
	l.took.note(func() { _, l.err = l.hub.Broadcast(context.Background(), e) })
}

// end publishes the event "done" and returns the number of the one before it.
func (l *load) end(t *testing.T) (last uint64) {
	t.Helper()
	close(l.stop)
	<-l.done
	require.NoError(t, l.err)
	return l.last
}

// read reads a stream up to the event "done". It is quicker than a strict
// reader: the load is to be on the server.
func read(url string, check *ssegintest.Checker) error {
	resp, err := http.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewReaderSize(resp.Body, 32<<10)
	for {
		line, err := lines.ReadSlice('\n')
		if err != nil {
			return err
		}
		if bytes.Equal(line, []byte("event: done\n")) {
			return nil
		}
		if data, ok := bytes.CutPrefix(line, []byte("data: ")); ok {
			digits, _, _ := bytes.Cut(data, []byte(" "))
			check.Check(ssegintest.Event{Data: string(digits)})
		}
	}
}

func TestFault_aStoppedProcessCostsTheOthersNothingAndLosesNothingInSilence(t *testing.T) {
	t.Parallel()
	for kind, opts := range kinds {
		for history, events := range map[string]int{"long history": 100_000, "short history": shortHistory} {
			t.Run(kind+", "+history, func(t *testing.T) {
				if !long { // in full they would be in each other's way
					t.Parallel()
				}
				testStopped(t, events, opts...)
			})
		}
	}
}

// shortHistory is how far the others may be behind on a busy machine.
const shortHistory = 900

func testStopped(t *testing.T, history int, opts ...ssegin.StreamOption) {
	others, rate, timeout, late := 4, 200, 10*time.Second, 10*time.Second
	if long { // on a machine that has nothing else to do
		others, rate, timeout, late = 9, 500, 5*time.Second, 2*time.Second
	}
	hub := ssegin.NewHub(ssegin.WithHistory(history, 256<<20, 0))
	type cut struct {
		at    time.Time
		cause error
	}
	cuts := make(chan cut, 2+others)
	server := &http.Server{
		Handler: events(hub, append(opts, ssegin.WithWriteTimeout(timeout), ssegin.OnDisconnect(func(s *ssegin.Stream) {
			cuts <- cut{time.Now(), context.Cause(s.Context())}
		}))...),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			_ = c.(*net.TCPConn).SetWriteBuffer(socketBuffer)
			return ctx
		},
	}
	url := "http://" + startServer(t, server, hub) + "/events"
	child := startRole(t, thisProgram(t), "stoppable", url)
	wait := startReaders(url, others)
	until(t, "all are here", patience, func() bool { return hub.Stats().Streams == others+1 })
	load := startLoad(hub, rate)
	child.says(t, "connection 1 has events")

	published := hub.Stats().Published
	require.NoError(t, child.cmd.Process.Signal(syscall.SIGSTOP))
	stopped := time.Now()
	var c cut
	select {
	case c = <-cuts:
	case <-time.After(timeout + patience):
		require.Fail(t, "the stopped client is never cut")
	}
	until(t, "a short history is over", 4*patience, func() bool { return hub.Stats().Published-published > 3*shortHistory })
	require.NoError(t, child.cmd.Process.Signal(syscall.SIGCONT))
	child.says(t, "connection 2 has events")
	last := load.end(t)
	sum, err := wait(last)
	require.NoError(t, err)
	r := report[followed](t, child, patience)
	silent := int(r.Verdict.Missing) - int(r.Told)
	t.Logf("1 of %d clients is a process that is stopped, 16 KiB events at %d/s: the others %v, %d of %d each; publish p99 %v, max %v; "+
		"the stopped one is cut after %v (write timeout %v): %v; continued, it got %v, and was told of %d missing in %d resets: silent %d",
		others+1, rate, sum, sum.Events/uint64(others), last, load.took.percentile(0.99), load.took.max(),
		c.at.Sub(stopped), timeout, c.cause, r.Verdict, r.Told, r.Resets, silent)
	assert.Equal(t, ssegintest.Verdict{Events: uint64(others) * last}, sum)
	assert.Less(t, load.took.max(), timeout*3/4, "who waited for it would wait as long as this; the goal is a p99 of 5 ms")
	assert.LessOrEqual(t, c.at.Sub(stopped), timeout+late, "the goal is one second more than the write timeout")
	assert.Zero(t, silent)
	assert.Equal(t, 2, r.Connections)
	assert.Equal(t, ssegintest.Verdict{Events: last - r.Told, Missing: r.Told}, r.Verdict)
	assert.Equal(t, history == shortHistory, r.Resets == 1)
	assert.EqualValues(t, r.Resets, hub.Stats().Resets, "the others were told of nothing")
}

// startReaders starts clients that read up to the event "done". Wait waits for
// them and returns what they have, all together, of so many events.
func startReaders(url string, n int) (wait func(last uint64) (ssegintest.Verdict, error)) {
	var all sync.WaitGroup
	checks, errs := make([]*ssegintest.Checker, n), make([]error, n)
	for i := range n {
		checks[i] = ssegintest.NewChecker(1, number)
		all.Go(func() { errs[i] = read(url, checks[i]) })
	}
	return func(last uint64) (sum ssegintest.Verdict, err error) {
		all.Wait()
		for _, check := range checks {
			sum = sum.Plus(check.Verdict(last))
		}
		return sum, errors.Join(errs...)
	}
}
