package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin/ssegintest"
)

// clusterBinary is the example of natslog, with the race detector, and
// clusterPlain without: that costs too much where a process has thousands of
// goroutines. Each is built when it is first needed.
var (
	clusterBinary = sync.OnceValues(func() (string, error) { return buildCluster("cluster", "-race") })
	clusterPlain  = sync.OnceValues(func() (string, error) { return buildCluster("cluster-plain", "-race=false") })
)

func buildCluster(name, flag string) (path string, err error) {
	path = filepath.Join(filepath.Dir(exampleBinary), name)
	build := exec.Command("go", "build", flag, "-o", path, "./_example")
	build.Dir = "../natslog"
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the example of natslog: %w\n%s", err, out)
	}
	return path, nil
}

var (
	clusterAnnounced = regexp.MustCompile(`open http://localhost:(\d+) `)
	workerAnnounced  = regexp.MustCompile(`\b[abc] runs, as pid \d+`)
)

// startCluster starts it on a free port, and returns when a process is there to answer:
// a page that comes before is told that there is none, and stays so. It ends the cluster
// with the test: in order, and without a data race in any of its processes.
func startCluster(t *testing.T, built func() (string, error), args ...string) *example {
	t.Helper()
	binary, err := built()
	require.NoError(t, err)
	p := start(t, binary, append([]string{"-addr", "localhost:0"}, args...)...)
	var port []string
	until(t, "the cluster is ready", patience, func() bool {
		port = clusterAnnounced.FindStringSubmatch(p.text())
		return port != nil && workerAnnounced.MatchString(p.text()) || !p.running()
	})
	require.NotNil(t, port, "the cluster did not start:\n%s", p.text())
	e := &example{process: p, url: "http://localhost:" + port[1]}
	t.Cleanup(func() {
		e.stop(t)
		require.Contains(t, e.text(), "done: every stream and every process has ended")
	})
	return e
}

func TestCluster_aPageLosesNothingWhoeverIsKilled(t *testing.T) {
	t.Parallel()
	kills := 4
	if testing.Short() {
		kills = 2
	}
	p := openPage(t, startCluster(t, clusterBinary).url).live()
	events := func() int { return p.ledger("ledger").Events }
	goOn := func() {
		t.Helper()
		before := events()
		until(t, "events go on", patience, func() bool { return events() >= before+100 })
	}
	served := func() string { return evaluate[string](p, `document.querySelector("#served").dataset.process`) }
	goOn()
	by := []string{served()}
	for range kills {
		p.click("#kill")
		p.until("another process serves the page", patience, `document.querySelector("#served").dataset.process !== %q`, by[len(by)-1])
		by = append(by, served())
		goOn()
	}
	killed := p.ledger("ledger")

	// The page says that it is silent for a moment only, which a busy machine may sleep through.
	evaluate[bool](p, `(() => {
		const state = document.querySelector("#state")
		new MutationObserver(() => { if (state.dataset.state === "open, and silent") state.dataset.silence = "seen" }).observe(state, {attributeFilter: ["data-state"]})
		return true
	})()`)
	p.click("#stop-nats")
	p.enter("#text", "said while NATS is away")
	p.until("the silence is seen", patience, `document.querySelector("#state").dataset.silence === "seen"`)
	p.until("NATS is back", patience, `document.querySelector("#nats-note").textContent.includes("NATS was away")`)
	p.until("what was said is here", patience, `document.querySelector("#messages").textContent.includes("said while NATS is away")`)
	goOn()
	p.live()
	assert.Contains(t, p.text("#nats-note"), "has stayed open")
	assert.Equal(t, 1, evaluate[int](p, `document.querySelectorAll("#messages li").length`), "said once")

	l := p.ledger("ledger")
	t.Logf("kills %d, served by %s; NATS away for 4 s, longest silence %s; events %d, reconnections %d, missing %d, duplicated %d, resets %d",
		kills, strings.Join(by, " "), p.text("#longest"), l.Events, l.Reconnections, l.Missing, l.Duplicated, l.Resets)
	assert.GreaterOrEqual(t, killed.Reconnections, kills)
	assert.Equal(t, ledger{Events: l.Events, Reconnections: killed.Reconnections}, l)
	for _, look := range []look{
		{name: "cluster-light", scheme: "light", width: 1280, scale: 1.5},
		{name: "cluster-dark", scheme: "dark", width: 1280, scale: 1.5},
		{name: "cluster-phone", scheme: "light", width: 390, scale: 2, phone: true},
	} {
		p.show(look)
		p.save(look.name)
	}
}

// Whether it ends in order or is killed, no worker stays; in order, no file does.
func TestCluster_endsWithItsSupervisor(t *testing.T) {
	t.Parallel()
	binary, err := clusterBinary()
	require.NoError(t, err)
	for _, signal := range []os.Signal{os.Interrupt, os.Kill} {
		dir := t.TempDir()
		// The supervisor and all workers write to the pipe: it ends with the last.
		output, theirs, err := os.Pipe()
		require.NoError(t, err)
		defer output.Close()
		cmd := exec.Command(binary, "-addr", "localhost:0")
		cmd.Env, cmd.Stderr = append(os.Environ(), "TMPDIR="+dir), theirs
		require.NoError(t, cmd.Start())
		theirs.Close()
		require.NoError(t, output.SetReadDeadline(time.Now().Add(patience)))
		lines := bufio.NewScanner(output)
		for running := 0; running < 3; {
			require.True(t, lines.Scan(), "the processes do not start: %v", lines.Err())
			if strings.Contains(lines.Text(), "runs, as pid") {
				running++
			}
		}
		require.NoError(t, cmd.Process.Signal(signal))
		for lines.Scan() {
			assert.NotContains(t, lines.Text(), "DATA RACE")
		}
		require.NoError(t, lines.Err(), "a worker is left behind after %v", signal)
		left, err := os.ReadDir(dir)
		require.NoError(t, err)
		if err = cmd.Wait(); signal == os.Interrupt {
			require.NoError(t, err)
			assert.Empty(t, left)
		}
	}
}

// This one is not parallel: it takes the whole machine.
func TestCluster_manyStreamsLoseNothingWhileProcessesAreKilled(t *testing.T) {
	built, streams, rate, lasting := clusterBinary, 200, 10, 20*time.Second
	switch {
	case os.Getenv("SSEGIN_LONG") != "":
		built, streams, rate, lasting = clusterPlain, 2000, 1, time.Minute
	case testing.Short():
		streams, lasting = 50, 5*time.Second
	}
	e := startCluster(t, built, "-rate", strconv.Itoa(rate), "-restart", "1s")
	speaker := speaker{url: e.url}
	speaker.say(t) // so that all processes are there

	ctx, cancel := context.WithTimeout(t.Context(), lasting+5*time.Minute)
	defer cancel()
	witnesses := make([]*witness, streams)
	for i := range witnesses {
		witnesses[i] = newWitness(ctx, t, e.url)
	}
	// Another one comes back without its last ID, to show that losses are seen.
	forgetful := newWitness(ctx, t, e.url)
	forgetful.forgetful = true
	first := speaker.said + 1
	var following, forgetting sync.WaitGroup
	for _, w := range witnesses {
		following.Go(func() { w.follow(ctx, first) })
	}
	forgetting.Go(func() { forgetful.follow(ctx, first) })
	kills := 0
	for end := time.Now().Add(lasting); time.Now().Before(end) || kills < 5; {
		kills += post(t, e.url+"/kill/"+string("abc"[rand.IntN(3)]), "", http.StatusOK) // not one that is dead
		speaker.say(t)
		time.Sleep(time.Duration(200+rand.IntN(600)) * time.Millisecond)
	}
	last := speaker.sayLast(t)
	following.Wait()
	cancel() // the forgetful one may have missed the last word, too
	forgetting.Wait()

	var sum ssegintest.Verdict
	resets, reconnections := 0, 0
	for _, w := range witnesses {
		require.NoError(t, w.err)
		sum = sum.Plus(w.verdict(last))
		resets += w.resets
		reconnections += w.reconnections
	}
	t.Logf("streams %d, %v; kills %d, reconnections %d; events %d: missing %d, duplicated %d, reordered %d, resets %d; a client without its last ID misses %d",
		streams, lasting, kills, reconnections, sum.Events, sum.Missing, sum.Duplicated, sum.Reordered, resets, forgetful.verdict(last).Missing)
	assert.Equal(t, ssegintest.Verdict{Events: sum.Events}, sum)
	assert.Zero(t, resets)
	assert.Greater(t, reconnections, streams/2)
	assert.Positive(t, forgetful.verdict(last).Missing)
}

// A speaker says 1, 2, 3 and so on, each until some process confirms it.
type speaker struct {
	url  string
	said int
}

func (s *speaker) say(t *testing.T) { s.send(t, "") }

// sayLast lets the witnesses end.
func (s *speaker) sayLast(t *testing.T) (said int) {
	s.send(t, lastWord)
	return s.said
}

const lastWord = "last"

func (s *speaker) send(t *testing.T, word string) {
	t.Helper()
	s.said++
	body := fmt.Sprintf(`{"id": "%d", "text": "word %s"}`, s.said, word)
	until(t, "a process confirms what is said", patience, func() bool {
		return post(t, s.url+"/say", body, http.StatusCreated) == 1
	})
}

// post returns 1 if the answer has that status, 0 if it has not, or is none.
func post(t *testing.T, url, body string, status int) int {
	t.Helper()
	response, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Log(err)
		return 0
	}
	response.Body.Close()
	if response.StatusCode == status {
		return 1
	}
	return 0
}

// A witness is one client through all of its connections, with the ledger
// that the page has, too: one series for each life of each process, and one of
// what is said.
type witness struct {
	url       string
	forgetful bool
	reader    *ssegintest.Reader
	close     func() // the connection, which also ends with the test

	series        map[string]*ssegintest.Checker
	names         map[string]bool
	acknowledged  map[string]uint64 // the newest number of a series that the log has acknowledged
	resets        int
	reconnections int
	err           error
}

func newWitness(ctx context.Context, t *testing.T, url string) *witness {
	t.Helper()
	w := &witness{
		url:          url,
		reader:       ssegintest.NewReader(nil),
		series:       map[string]*ssegintest.Checker{},
		names:        map[string]bool{},
		acknowledged: map[string]uint64{},
	}
	require.NoError(t, w.connect(ctx))
	t.Cleanup(func() { w.close() })
	return w
}

// connect does what an http.Client does with four goroutines for each stream,
// of which the race detector follows 8,128.
func (w *witness) connect(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url+"/events", nil)
	if err != nil {
		return err
	}
	request.Header.Set("Accept", "text/event-stream")
	if id := w.reader.LastEventID(); id != "" && !w.forgetful {
		request.Header.Set("Last-Event-ID", id)
	}
	dialer := net.Dialer{Timeout: patience}
	conn, err := dialer.DialContext(ctx, "tcp", request.URL.Host)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	w.close = func() {
		stop()
		conn.Close()
	}
	if err := request.Write(conn); err != nil {
		return err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), request)
	if err != nil {
		return err
	}
	w.reader.Reset(response.Body)
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%w %s", errStatus, response.Status)
	}
	return nil
}

// errStatus is an answer at which an EventSource gives up.
var errStatus = errors.New("status")

// follow reads until the last word, or until ctx ends. The next word is the
// first that the witness must hear.
func (w *witness) follow(ctx context.Context, next int) {
	w.series[saidSeries] = ssegintest.NewChecker(uint64(next), numberOf)
	for {
		event, err := w.reader.Next()
		switch {
		case err != nil:
			if w.err = w.comeBack(ctx); w.err != nil {
				return
			}
		case w.take(event):
			return
		}
	}
}

// comeBack waits as it was told, and connects again, as an EventSource does
// whatever happens to the connection, until there is an answer.
func (w *witness) comeBack(ctx context.Context) error {
	for {
		w.reconnections++
		w.close()
		wait, _ := w.reader.Retry()
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := w.connect(ctx); err == nil || errors.Is(err, errStatus) {
			return err
		}
	}
}

const saidSeries = "said"

// A message is what the cluster's events say, whatever their type.
type message struct {
	From      string `json:"from"`
	Name      string `json:"name"`
	Run       int    `json:"run"`
	N         uint64 `json:"n"`
	Published uint64 `json:"published"`
	ID        string `json:"id"`
	Text      string `json:"text"`
}

// messagesOf reads an event's data once for all witnesses: they get the same.
func messagesOf(e ssegintest.Event) []message {
	if read, ok := messages.Load(e.Data); ok {
		return read.([]message)
	}
	var all []message
	if json.Unmarshal([]byte(e.Data), &all) != nil { // of one alone, not of a list
		all = make([]message, 1)
		_ = json.Unmarshal([]byte(e.Data), &all[0]) // the checkers miss what makes no sense
	}
	messages.Store(e.Data, all)
	return all
}

var messages sync.Map // []message by data

func numberOf(e ssegintest.Event) (uint64, bool) {
	m := messagesOf(e)[0]
	if e.Type == "said" {
		n, err := strconv.ParseUint(m.ID, 10, 64)
		return n, err == nil
	}
	return m.N, true
}

// take notes an event, and reports whether it is the last.
func (w *witness) take(e ssegintest.Event) (last bool) {
	switch e.Type {
	case "said":
		w.series[saidSeries].Check(e)
		return strings.HasSuffix(messagesOf(e)[0].Text, lastWord)
	case "number":
		m := messagesOf(e)[0]
		w.checker(m.From, m.Run, m.N).Check(e)
	case "processes":
		for _, m := range messagesOf(e) {
			if w.names[m.Name] && m.Published > 0 {
				w.checker(m.Name, m.Run, 1)
				w.acknowledged[seriesOf(m.Name, m.Run)] = m.Published
			}
		}
	case "ssegin.reset":
		w.resets++
	}
	return false
}

// checker returns that of one life of a process. A life that was going on
// before the witness was there begins with n, every later one with 1.
func (w *witness) checker(name string, run int, n uint64) *ssegintest.Checker {
	series := seriesOf(name, run)
	if w.series[series] == nil {
		if w.names[name] {
			n = 1
		}
		w.names[name] = true
		w.series[series] = ssegintest.NewChecker(n, numberOf)
	}
	return w.series[series]
}

func seriesOf(name string, run int) string { return fmt.Sprint(name, run) }

// verdict sums up all series. What was acknowledged must be there, and so must
// everything that was said; of a life that was ended by a kill -9 the last
// number may be there or not.
func (w *witness) verdict(said int) (sum ssegintest.Verdict) {
	w.acknowledged[saidSeries] = uint64(said)
	for name, c := range w.series {
		sum = sum.Plus(c.Verdict(max(w.acknowledged[name], c.Next()-1)))
	}
	return sum
}
