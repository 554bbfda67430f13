package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/ssegin/ssegin"
)

// A process is one worker, as the page shows it.
type process struct {
	Name      string    `json:"name"`
	State     string    `json:"state"` // starting, running or dead
	PID       int       `json:"pid"`
	Run       int       `json:"run"`       // its lives so far
	Since     time.Time `json:"since"`     // of this life, or of its end
	Streams   int       `json:"streams"`   // connections that the balancer has open to it
	Published int       `json:"published"` // of its numbers, how many the log has acknowledged in this life

	addr string      // where it listens; empty while it does not
	os   *os.Process // nil while it is dead
}

// A report is what a worker writes to its standard output, one on a line.
type report struct {
	Addr      string `json:"addr,omitempty"` // it listens
	Published int    `json:"published,omitempty"`
}

// processes are the workers, each of which is started again whenever it ends.
type processes struct {
	cfg     config
	program string
	natsURL string
	changed chan struct{} // holds one: there is news for the page

	mu   sync.Mutex
	all  []*process
	turn int // of the balancer
}

func newProcesses(cfg config, program, natsURL string) *processes {
	return &processes{
		cfg:     cfg,
		program: program,
		natsURL: natsURL,
		changed: make(chan struct{}, 1),
		all:     []*process{{Name: "a"}, {Name: "b"}, {Name: "c"}},
	}
}

// run keeps the processes running, and tells the page of them through the hub,
// until ctx ends and they have drained.
func (ps *processes) run(ctx context.Context, hub *ssegin.Hub) {
	var all sync.WaitGroup
	for _, p := range ps.all {
		all.Go(func() { ps.keep(ctx, p) })
	}
	all.Go(func() { ps.announce(ctx, hub) })
	all.Wait()
}

// keep runs a process, and again when that has ended.
func (ps *processes) keep(ctx context.Context, p *process) {
	for ctx.Err() == nil {
		err := ps.live(ctx, p)
		ps.set(func() {
			p.State, p.Since, p.addr, p.os = "dead", time.Now(), "", nil
		})
		if ctx.Err() != nil {
			return
		}
		log.Printf("%s has ended (%v), and comes again in %v", p.Name, err, ps.cfg.restart)
		wait(ctx, ps.cfg.restart)
	}
}

// live runs a process until it ends.
func (ps *processes) live(ctx context.Context, p *process) error {
	cmd := exec.CommandContext(ctx, ps.program, "-worker", p.Name, "-run", strconv.Itoa(p.Run+1), "-rate", strconv.Itoa(ps.cfg.rate))
	cmd.Env = append(os.Environ(), "NATS_URL="+ps.natsURL) // with the token, which others would see in the arguments
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	// The end of its input is how a worker is told to end. It also comes when
	// this process is killed: then nothing is left behind.
	cmd.Cancel = stdin.Close
	cmd.WaitDelay = drainTime + grace
	if err := cmd.Start(); err != nil {
		return err
	}
	ps.set(func() {
		p.State, p.PID, p.Since, p.Published = "starting", cmd.Process.Pid, time.Now(), 0
		p.Run++
		p.os = cmd.Process
	})
	ps.read(p, json.NewDecoder(stdout))
	return cmd.Wait()
}

// read takes a worker's reports until it has ended, perhaps in the midst of one.
func (ps *processes) read(p *process, reports *json.Decoder) {
	for {
		var r report
		if reports.Decode(&r) != nil {
			return
		}
		if r.Addr != "" {
			ps.set(func() { p.State, p.addr = "running", r.Addr })
			log.Printf("%s runs, as pid %d", p.Name, p.PID)
			continue
		}
		ps.mu.Lock()
		p.Published = r.Published
		ps.mu.Unlock()
	}
}

// set changes a process, and lets the page know soon.
func (ps *processes) set(change func()) {
	ps.mu.Lock()
	change()
	ps.mu.Unlock()
	select {
	case ps.changed <- struct{}{}:
	default: // it will be told already
	}
}

// announce tells the page of the processes whenever something has changed, and
// every second. While NATS is away the page is not told; the next time it is.
func (ps *processes) announce(ctx context.Context, hub *ssegin.Hub) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ps.changed:
		case <-ticker.C:
		}
		if _, err := hub.Broadcast(ctx, ssegin.Event{Type: "processes", Data: ps.list()}); err != nil && ctx.Err() == nil {
			log.Print(err)
		}
	}
}

func (ps *processes) list() []process {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	var all []process
	for _, p := range ps.all {
		all = append(all, *p)
	}
	return all
}

// kill is kill -9: the process has no time for a last word.
func (ps *processes) kill(name string) (pid int, err error) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	i := slices.IndexFunc(ps.all, func(p *process) bool { return p.Name == name })
	if i < 0 || ps.all[i].os == nil {
		return 0, fmt.Errorf("there is no process %.8q to kill", name)
	}
	return ps.all[i].PID, ps.all[i].os.Kill()
}
