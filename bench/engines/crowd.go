package engines

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ssegin/ssegin"
	"github.com/ssegin/ssegin/bench/payload"
	"github.com/ssegin/ssegin/bench/process"
)

// A Crowd is one kind of clients that come back with IDs that are older than the
// memory of the process to which they come.
type Crowd struct {
	Name     string
	Events   int // in the log, for a topic of nobody
	Size     int // bytes of each
	Memory   int // events that the process has in memory
	Clients  int
	SameID   bool          // all have the oldest one; else each has another
	Pace     int           // bytes a second that each client reads; 0: all that there is
	All      bool          // each follows what is in the log; else a topic of its own, with one event
	Forged   int           // loops that come with IDs that nobody has given, and leave at once
	Pause    time.Duration // of each of these loops after each request
	Detached bool          // its streams, and the live one, leave net/http
	Live     bool          // there is a live stream, too, whose events are among what is counted
	Wait     time.Duration // for all clients to have what is due to them
}

// Crowds are all there are.
var Crowds = []Crowd{
	{Name: "one", Events: 20_000, Size: 1 << 10, Memory: 1024, Clients: 1, Wait: time.Minute},
	{Name: "spread", Events: 20_000, Size: 1 << 10, Memory: 1024, Clients: 500, Wait: time.Minute},
	{Name: "spread-2000", Events: 20_000, Size: 1 << 10, Memory: 1024, Clients: 2000, Live: true, Wait: time.Minute},
	{Name: "spread-2000-detached", Events: 20_000, Size: 1 << 10, Memory: 1024, Clients: 2000, Detached: true, Live: true, Wait: time.Minute},
	{Name: "spread-2000-near", Events: 2000, Size: 1 << 10, Memory: 8192, Clients: 2000, Live: true, Wait: time.Minute},
	{Name: "spread-long", Events: 100_000, Size: 1 << 10, Memory: 1024, Clients: 500, Wait: time.Minute},
	{Name: "same", Events: 20_000, Size: 1 << 10, Memory: 1024, Clients: 5000, SameID: true, Wait: time.Minute},
	{Name: "same-near", Events: 1000, Size: 128, Memory: 10, Clients: 5000, SameID: true, Wait: time.Minute},
	{Name: "whole", Events: 20_000, Size: 1 << 10, Memory: 1024, Clients: 50, All: true, Live: true, Wait: time.Minute},
	{Name: "whole-detached", Events: 20_000, Size: 1 << 10, Memory: 1024, Clients: 50, All: true, Detached: true, Live: true, Wait: time.Minute},
	{Name: "whole-near", Events: 8000, Size: 1 << 10, Memory: 10_000, Clients: 125, All: true, Live: true, Wait: time.Minute},
	{Name: "large", Events: 800, Size: 256 << 10, Memory: 64, Clients: 1, Wait: time.Minute},
	{Name: "large-spread", Events: 800, Size: 256 << 10, Memory: 64, Clients: 50, Live: true, Wait: time.Minute},
	{Name: "slow", Events: 4000, Size: 16 << 10, Memory: 1024, Clients: 1000, Pace: 16 << 10, All: true, Live: true, Wait: 15 * time.Second},
	{Name: "slow-detached", Events: 4000, Size: 16 << 10, Memory: 1024, Clients: 1000, Pace: 16 << 10, All: true, Detached: true, Live: true, Wait: 15 * time.Second},
	// About 4,600 requests a second, if the process keeps up; and as many as the machine can make.
	{Name: "forged", Events: 40_000, Size: 2 << 10, Memory: 1024, Clients: 60, Forged: 100, Pause: 16 * time.Millisecond, Wait: time.Minute},
	{Name: "forged-flood", Events: 40_000, Size: 2 << 10, Memory: 1024, Clients: 60, Forged: 100, Wait: time.Minute},
}

func (c Crowd) path() string {
	if c.Detached {
		return detached
	}
	return attached
}

// A CrowdResult is what came of a crowd.
type CrowdResult struct {
	Crowd    string
	Engine   string
	Served   int              // clients that have what was due to them
	Sent     int              // clients that were sent away
	Took     time.Duration    // until the last one was served; of forged: how long the storm was
	Head     time.Duration    // median time to the head of the response
	Requests int              // to the engine; of forged: with IDs that nobody has given, to the process
	Read     float64          // bytes from the engine, in logs
	Memory   int              // heap and stacks of the process that each client adds, in bytes, when they have come
	Alone    [2]time.Duration // what a client takes without the storm, median and 90th percentile
	Under    [2]time.Duration // as a storm begins
	Later    [2]time.Duration // in the storm, some seconds later
	Near     [2]time.Duration // in the storm, of one whose ID is in memory, so that nothing is read: what the load alone costs
	Live     [2]time.Duration // latency of a live stream, 99th percentile: before, and while the crowd is there
	Err      error
}

// String is a line of a table.
func (r CrowdResult) String() string {
	if r.Err != nil {
		return fmt.Sprintf("| %s | %s | failed: %v |", r.Crowd, r.Engine, r.Err)
	}
	return fmt.Sprintf("| %s | %s | %d | %d | %d | %.3f | %d | %.2f | %d | %s | %s | %s | %s | %.1f | %.1f |", r.Crowd, r.Engine, r.Served, r.Sent, r.Took.Milliseconds(),
		r.Head.Seconds()*1e3, r.Requests, r.Read, r.Memory/1024, both(r.Alone), both(r.Under), both(r.Later), both(r.Near),
		r.Live[0].Seconds()*1e3, r.Live[1].Seconds()*1e3)
}

// both writes a median and a 90th percentile.
func both(d [2]time.Duration) string {
	return fmt.Sprintf("%.1f / %.1f", d[0].Seconds()*1e3, d[1].Seconds()*1e3)
}

// CrowdHead is the head of that table.
const CrowdHead = `| crowd | engine | served | sent away | ms until all are served | head p50 ms | requests | read, in logs | KB a client | alone p50 / p90 ms | as a storm begins p50 / p90 ms | later in the storm p50 / p90 ms | from memory in the storm p50 / p90 ms | live p99 ms before | live p99 ms with it |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|`

// Come lets the crowd come to a process with that engine.
func (c Crowd) Come(ctx context.Context, e Engine) (r CrowdResult) {
	r = CrowdResult{Crowd: c.Name, Engine: e.Name}
	a := &attempt{trial: Trial{Engine: e.Name}, result: newResult()}
	defer a.stop()
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	if a.engine, r.Err = e.start(); r.Err == nil {
		r.Err = c.come(ctx, a, &r)
	}
	return r
}

func (c Crowd) come(ctx context.Context, a *attempt, r *CrowdResult) error {
	if err := a.startHubs(ctx, 1, c.Memory, c.Events+c.Clients+1000); err != nil {
		return err
	}
	var filled Filled
	if err := a.hubs[0].Call(ctx, "fill", Fill{c.Events, c.Size, min(c.Clients, c.Memory/2)}, &filled); err != nil {
		return err
	}
	a.hubs[0].Stop() // so that what follows begins with nothing but the log
	a.hubs = nil
	if err := a.startHubs(ctx, 1, c.Memory, c.Events+c.Clients+1000); err != nil {
		return err
	}
	hub := a.hubs[0]
	time.Sleep(time.Second) // it has read what it has in memory
	if c.Forged > 0 {
		return c.underForged(ctx, hub, filled, r)
	}
	before, err := a.requests(ctx, hub)
	if err != nil {
		return err
	}
	var alone, with int
	if err := hub.Call(ctx, "heap", nil, &alone); err != nil {
		return err
	}
	var l *live
	if c.Live {
		if l, err = follow(ctx, hub, c.path()); err != nil {
			return err
		}
		defer l.stop()
		time.Sleep(time.Second)
		r.Live[0] = l.p99()
	}
	waiting := newWaiting(c, filled, hub.Stream)
	begun := time.Now()
	stopped := context.AfterFunc(ctx, waiting.stop)
	defer stopped()
	waiting.come()
	if c.Pace > 0 {
		time.Sleep(c.Wait)
		if err := hub.Call(ctx, "heap", nil, &with); err != nil {
			return err
		}
		r.Memory = (with - alone) / c.Clients
	} else {
		waiting.await(c.Wait)
	}
	if l != nil {
		r.Live[1] = l.p99()
	}
	waiting.stop()
	r.Served, r.Sent, r.Took, r.Head = int(waiting.served.Load()), int(waiting.sent.Load()), waiting.last().Sub(begun), waiting.head()
	after, err := a.requests(ctx, hub)
	if err != nil {
		return err
	}
	r.Requests = after.Requests - before.Requests
	r.Read = float64(after.In-before.In) / float64(c.Events*c.Size)
	return nil
}

// apart is how much time there is between two honest clients in a storm, on average.
const apart = 50 * time.Millisecond

// underForged compares a client that comes back honestly, alone and while others come
// with IDs that were never given.
func (c Crowd) underForged(ctx context.Context, hub *process.Child, filled Filled, r *CrowdResult) error {
	old := filled.IDs[:len(filled.IDs)*9/10] // beyond memory
	measure := func(old []string, from int) [2]time.Duration {
		var took []time.Duration
		for i := range c.Clients {
			begun := time.Now()
			if resume(hub.Stream, old[(i*7919+from)%len(old)]) {
				r.Served++
				took = append(took, time.Since(begun))
			} else {
				r.Sent++
			}
			time.Sleep(apart/2 + rand.N(apart)) // a storm has phases
		}
		slices.Sort(took)
		if len(took) == 0 {
			return [2]time.Duration{time.Hour, time.Hour}
		}
		return [2]time.Duration{took[len(took)/2], took[len(took)*9/10]}
	}
	var before, after Traffic
	r.Alone = measure(old, 0)
	if err := hub.Call(ctx, "traffic", nil, &before); err != nil {
		return err
	}
	stop := make(chan struct{})
	var storm sync.WaitGroup
	var forged atomic.Int64
	for range c.Forged {
		storm.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					forge(hub.Stream, old[rand.N(len(old))])
					forged.Add(1)
				}
				time.Sleep(c.Pause)
			}
		})
	}
	begun := time.Now()
	r.Under = measure(old, len(old)/2)
	time.Sleep(3 * time.Second)
	r.Later = measure(old, len(old)/3)
	r.Near = measure(filled.IDs[len(filled.IDs)-c.Memory/2:len(filled.IDs)-1], 0)
	close(stop)
	storm.Wait()
	r.Took = time.Since(begun)
	if err := hub.Call(ctx, "traffic", nil, &after); err != nil {
		return err
	}
	r.Requests = int(forged.Load())
	r.Read = float64(after.In-before.In) / float64(c.Events*c.Size)
	return nil
}

// forge asks with an ID of another check, or another position, and leaves at once.
func forge(address, id string) {
	parts := strings.Split(id, "-")
	check := []byte(parts[2])
	for i := range check {
		check[i] = "abcdefghijklmnopqrstuvwxyz234567"[rand.N(32)]
	}
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer conn.Close()
	ask(conn, attached, "x", parts[0]+"-"+parts[1]+"-"+string(check))
	time.Sleep(5 * time.Millisecond)
}

func ask(conn net.Conn, path, topic, id string) {
	fmt.Fprintf(conn, "GET %s?topic=%s HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nLast-Event-ID: %s\r\n\r\n", path, topic, id)
}

// resume reports whether a client gets what it has missed: the next event of the log.
func resume(address, id string) bool {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return false
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	ask(conn, attached, filler, id)
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return false
	}
	lines := bufio.NewReaderSize(response.Body, 4<<10)
	for {
		line, err := lines.ReadString('\n')
		if err != nil || strings.HasPrefix(line, "event: ssegin.later") || strings.HasPrefix(line, "event: ssegin.reset") {
			return false
		}
		if strings.HasPrefix(line, "data: x") {
			return true
		}
	}
}

// A waiting is a crowd that has come.
type waiting struct {
	crowd   Crowd
	filled  Filled
	address string

	served, sent atomic.Int64
	done         chan struct{}
	all          sync.WaitGroup
	mu           sync.Mutex
	conns        []net.Conn
	heads        []time.Duration
	at           time.Time
	over         bool
}

func newWaiting(c Crowd, filled Filled, address string) *waiting {
	return &waiting{crowd: c, filled: filled, address: address, done: make(chan struct{})}
}

func (w *waiting) come() {
	for n := range w.crowd.Clients {
		w.all.Go(func() { w.client(n) })
	}
}

// client comes back until it has the event that is due to it.
func (w *waiting) client(n int) {
	id := w.filled.IDs[n*len(w.filled.IDs)/w.crowd.Clients]
	if w.crowd.SameID {
		id = w.filled.IDs[0]
	}
	topic := fmt.Sprint("t", n)
	if w.crowd.All {
		topic = filler
	}
	for {
		served, err := w.visit(topic, id)
		switch {
		case served:
			return
		case err != nil:
			select {
			case <-w.done:
				return
			case <-time.After(2 * time.Second):
			}
		}
	}
}

var errSent = errors.New("sent away")

func (w *waiting) visit(topic, id string) (served bool, err error) {
	begun := time.Now()
	conn, err := net.Dial("tcp", w.address)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	w.mu.Lock()
	if w.over {
		w.mu.Unlock()
		return true, nil
	}
	w.conns = append(w.conns, conn)
	w.mu.Unlock()
	ask(conn, w.crowd.path(), topic, id)
	var in io.Reader = conn
	if w.crowd.Pace > 0 {
		_ = conn.(*net.TCPConn).SetReadBuffer(8 << 10)
		in = &paced{conn, w.crowd.Pace}
	}
	response, err := http.ReadResponse(bufio.NewReaderSize(in, 4<<10), nil)
	if err != nil {
		return false, err
	}
	w.mu.Lock()
	w.heads = append(w.heads, time.Since(begun))
	w.mu.Unlock()
	lines := bufio.NewReaderSize(response.Body, 4<<10)
	for {
		line, err := lines.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil:
			return false, err
		case strings.HasPrefix(string(line), "event: ssegin.later"):
			w.sent.Add(1)
			return false, errSent
		case strings.HasPrefix(string(line), "event: ssegin.reset"):
			return false, errors.New("reset")
		case strings.HasPrefix(string(line), "data: due"):
			w.mu.Lock()
			w.at = time.Now()
			w.mu.Unlock()
			w.served.Add(1)
			return true, nil
		}
	}
}

func (w *waiting) await(d time.Duration) {
	gone := make(chan struct{})
	go func() {
		w.all.Wait()
		close(gone)
	}()
	select {
	case <-gone:
	case <-time.After(d):
	}
}

func (w *waiting) stop() {
	w.mu.Lock()
	if !w.over {
		w.over = true
		close(w.done)
		for _, conn := range w.conns {
			conn.Close()
		}
	}
	w.mu.Unlock()
	w.all.Wait()
}

func (w *waiting) last() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at
}

func (w *waiting) head() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.heads) == 0 {
		return 0
	}
	slices.Sort(w.heads)
	return w.heads[len(w.heads)/2]
}

// paced reads so many bytes a second.
type paced struct {
	io.Reader
	pace int
}

func (p *paced) Read(b []byte) (int, error) {
	time.Sleep(250 * time.Millisecond)
	return p.Reader.Read(b[:min(len(b), p.pace/4)])
}

// A live is a stream that was there before a crowd, and gets an event now and then.
type live struct {
	conn    net.Conn
	cancel  context.CancelFunc
	running sync.WaitGroup
	mu      sync.Mutex
	took    []time.Duration
}

func follow(ctx context.Context, hub *process.Child, path string) (*live, error) {
	conn, body, err := openStream(hub.Stream, path, "live")
	if err != nil {
		return nil, err
	}
	l := &live{conn: conn}
	ctx, l.cancel = context.WithCancel(ctx)
	l.running.Go(func() {
		var id string
		for ctx.Err() == nil {
			_ = hub.Call(ctx, "probe", []string{"live"}, &id) // what fails is not measured
			time.Sleep(20 * time.Millisecond)                 // a pace
		}
	})
	l.running.Go(func() {
		for {
			line, err := body.ReadBytes('\n')
			if err != nil {
				return
			}
			if _, sent, ok := payload.Parse(line); ok {
				l.mu.Lock()
				l.took = append(l.took, time.Duration(payload.Now()-sent))
				l.mu.Unlock()
			}
		}
	})
	return l, nil
}

// p99 is that of the latencies since it was asked last.
func (l *live) p99() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	took := l.took
	l.took = nil
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return took[len(took)*99/100]
}

func (l *live) stop() {
	l.cancel()
	l.conn.Close()
	l.running.Wait()
}

// filler is the topic of what fills a log.
const filler = "filler"

// A Fill says what a hub puts into its log for a crowd: events, and one more for each
// of so many topics.
type Fill struct{ Events, Size, Topics int }

// Filled is what a crowd needs of it.
type Filled struct {
	IDs []string // of all events, in their order
}

// fill puts events into the log, and then one for each client, and for everybody.
func (h *hubHost) fill(ctx context.Context, f Fill) (filled Filled, err error) {
	ids := make([]string, f.Events)
	data := strings.Repeat("x", f.Size)
	var failed atomic.Pointer[error]
	var publishers sync.WaitGroup
	for p := range poolSize {
		publishers.Go(func() {
			for n := p; n < f.Events; n += poolSize {
				id, err := h.hub.Publish(ctx, filler, ssegin.Event{Data: data})
				if err != nil {
					failed.Store(&err)
					return
				}
				ids[n] = strings.Clone(id)
			}
		})
	}
	publishers.Wait()
	if err := failed.Load(); err != nil {
		return filled, *err
	}
	slices.SortFunc(ids, func(a, b string) int {
		return int(int64(positionOf([]byte("\nid: "+a))) - int64(positionOf([]byte("\nid: "+b))))
	})
	for n := range f.Topics {
		if _, err := h.hub.Publish(ctx, fmt.Sprint("t", n), ssegin.Event{Data: "due"}); err != nil {
			return filled, err
		}
	}
	if _, err := h.hub.Broadcast(ctx, ssegin.Event{Data: "due"}); err != nil {
		return filled, err
	}
	return Filled{IDs: ids}, nil
}

// heap is what the process uses of memory now: what lives in the heap, and stacks.
func heap() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc + m.StackInuse)
}
