package proxies

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// talkers is how many clients follow streams that end at a time, and how many make
// POSTs beside them.
const talkers = 4

// A row is what was found of a proxy: a word for each column, as the docs have it.
type row struct {
	proxy, client    string // what, and the protocol of the client
	live, gone       string
	compressed, idle string
	lost, broken     string
}

const head = `| proxy | client | events arrive | a client that leaves is noticed | if it compresses, events arrive | a stream without heartbeats | POSTs beside ends | a broken end, or a crash, looks |
|---|---|---|---|---|---|---|---|
`

func (r row) String() string {
	return "| " + strings.Join([]string{r.proxy, r.client, r.live, r.gone, r.compressed, r.idle, r.lost, r.broken}, " | ") + " |\n"
}

// A trial is a proxy in front of two apps, with one kind of streams and of clients.
type trial struct {
	*setting
	kind, protocol string
	client         *http.Client
}

// A setting is what the trials of a proxy share.
type setting struct {
	proxy
	app    *app
	urls   map[string]string // of the proxy in front of app
	mortal string            // the address of an app that crashes
	strict map[string]string // of the proxy, set up strictly, in front of that
}

// topic names one that no other stream of the app has.
func (x *trial) topic(what string) string { return what + " " + x.protocol + " " + x.kind }

func (x *trial) base() string { return x.urls[x.protocol] }

func TestProxies_theTableOfTheDocsHolds(t *testing.T) {
	found := make([][]row, len(proxies))
	t.Run("proxies", func(t *testing.T) {
		for i, p := range proxies {
			t.Run(p.name, func(t *testing.T) {
				t.Parallel()
				found[i] = try(t, p)
			})
		}
	})
	if !t.Failed() {
		compare(t, slices.Concat(found...))
	}
}

// try finds out about a proxy: a row for each protocol of clients.
func try(t *testing.T, p proxy) (rows []row) {
	s := &setting{proxy: p, app: startApp(t)}
	s.urls = startProxy(t, p, s.app.addr, false)
	mortal, crash := startMortal(t)
	s.mortal, s.strict = mortal, startProxy(t, p, mortal, true)

	var trials []*trial
	for _, protocol := range p.speaks {
		for kind := range kinds {
			trials = append(trials, &trial{s, kind, protocol, newClient(t, protocol)})
		}
	}
	found := make([]row, len(trials))
	var all sync.WaitGroup
	for i, x := range trials {
		r := &found[i]
		r.proxy, r.client = x.name, x.protocol
		all.Go(func() { r.live = x.live(t) })
		all.Go(func() { r.gone = x.gone(t) })
		all.Go(func() { r.broken = x.broken(t) })
		all.Go(func() { r.compressed = x.compressed(t) })
		all.Go(func() { r.idle = x.cut(t) })
	}
	all.Wait()
	for i, x := range trials { // one at a time, as each takes all of the machine
		found[i].lost = x.lost(t)
	}
	var ends []func()
	for i, x := range trials {
		l := x.toCrash(t)
		ends = append(ends, func() {
			assert.Equal(t, found[i].broken, x.crashed(t, l), "a crash looks like a broken end")
		})
	}
	crash()
	for _, end := range ends {
		end()
	}
	for i := 0; i < len(found); i += len(kinds) {
		assert.Equal(t, found[i], found[i+1], "attached and detached streams fare alike")
		rows = append(rows, found[i])
	}
	return rows
}

// lags publishes events, each of which arrives before the next is published, and
// returns how long they took, the quickest first.
func (x *trial) lags(t *testing.T, l *listener, addr, topic string) (lags []time.Duration) {
	for i := range 10 {
		lag, err := l.hears(t, addr, topic, fmt.Sprint(i))
		if err != nil {
			x.log(t, "event %d: %v", i, err)
			return nil
		}
		lags = append(lags, lag)
	}
	slices.Sort(lags)
	return lags
}

// live tells whether events arrive at once.
func (x *trial) live(t *testing.T) string {
	topic := x.topic("live")
	l := listen(t, x.client, x.base(), "/usual/"+x.kind, topic)
	defer l.leave()
	return x.late(t, x.lags(t, l, x.app.addr, topic))
}

// late puts into words how late events are that took so long. The quickest tells what
// the proxy does, the others also what the machine does.
func (x *trial) late(t *testing.T, lags []time.Duration) string {
	if len(lags) == 0 {
		return "not"
	}
	x.log(t, "events are late by %v, %v and %v at the least, in the median and at the most",
		lags[0], lags[len(lags)/2], lags[len(lags)-1])
	if lags[0] > 150*time.Millisecond {
		return fmt.Sprintf("%d ms late", lags[0].Round(50*time.Millisecond).Milliseconds())
	}
	return "at once"
}

func (x *trial) log(t *testing.T, format string, args ...any) {
	t.Logf("%s, %s, %s: %s", x.name, x.protocol, x.kind, fmt.Sprintf(format, args...))
}

// gone tells when the server knows that the client of a quiet stream has left.
func (x *trial) gone(t *testing.T) string {
	topic := x.topic("gone")
	l := listen(t, x.client, x.base(), "/usual/"+x.kind, topic)
	_, err := l.hears(t, x.app.addr, topic, "hello") // heartbeats count from here
	assert.NoError(t, err)
	began := time.Now()
	l.leave()
	for x.app.departed(topic).IsZero() && time.Since(began) < patience {
		time.Sleep(25 * time.Millisecond)
	}
	at := x.app.departed(topic)
	if !assert.False(t, at.IsZero(), "the server does not notice that the client has left") {
		return "never"
	}
	after := at.Sub(began)
	x.log(t, "a client that leaves is noticed after %v, %.2f heartbeats", after.Round(time.Millisecond), after.Seconds()/beat.Seconds())
	if after < beat/2 {
		return "at once"
	}
	assert.Less(t, after, 5*beat, "the third heartbeat after that has to fail, if not an earlier one")
	return "within 3 heartbeats"
}

// lost tells how many POSTs fail beside streams that end.
func (x *trial) lost(t *testing.T) string {
	total := int64(100)
	if long {
		total = 2_000
	}
	var following, saying sync.WaitGroup
	var begun, failed, ended atomic.Int64
	var over atomic.Bool
	for range talkers {
		following.Go(func() {
			for mine := 0; mine < 5 || !over.Load(); mine++ { // so many, or it proves nothing
				n := ended.Add(1)
				topic := x.topic(fmt.Sprint("end", n))
				l := listen(t, x.client, x.base(), "/usual/"+x.kind, topic)
				publish(t, x.app.addr, topic, "last")
				_, _ = x.app.hub.Disconnect(t.Context(), topic)
				over, err := l.ends(patience)
				assert.True(t, over)
				assert.NoError(t, err)
			}
		})
		saying.Go(func() {
			for begun.Add(1) <= total {
				if err := x.say(); err != nil {
					failed.Add(1)
					t.Logf("a POST fails: %v", err)
				}
			}
		})
	}
	saying.Wait()
	over.Store(true)
	following.Wait()
	x.log(t, "failed %d of %d POSTs beside %d streams that ended", failed.Load(), total, ended.Load())
	if failed.Load() == 0 {
		return "0 lost"
	}
	return "some are lost"
}

// say makes a POST, which nobody may repeat once it has been sent.
func (x *trial) say() error {
	resp, err := x.client.Post(x.base()+"/say", "text/plain", strings.NewReader("hello"))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(resp.Body)
	if err == nil && (resp.StatusCode != http.StatusOK || string(said) != "hello") {
		err = fmt.Errorf("status %s: %q", resp.Status, said)
	}
	return err
}

// broken tells what the client sees of a stream that ends as broken. That of one
// that ends in good order is a clean one.
func (x *trial) broken(t *testing.T) string {
	verdict := ""
	for _, manner := range []string{"usual", "broken"} {
		topic := x.topic(manner)
		l := listen(t, x.client, x.base(), "/"+manner+"/"+x.kind, topic)
		_, err := l.hears(t, x.app.addr, topic, "hello")
		assert.NoError(t, err)
		_, err = x.app.hub.Disconnect(t.Context(), topic)
		assert.NoError(t, err)
		over, err := l.ends(patience)
		assert.True(t, over, "the stream does not end")
		x.log(t, "after a %s end: %v", manner, err)
		if manner == "usual" {
			assert.NoError(t, err, "an end in good order")
		} else {
			verdict = looks(err)
		}
	}
	return verdict
}

func looks(err error) string {
	if err == nil {
		return "complete"
	}
	return "broken"
}

// compressed tells whether the proxy compresses if it is set to, and whether events
// are live all the same.
func (x *trial) compressed(t *testing.T) string {
	topic := x.topic("compressed")
	l := listen(t, x.client, x.strict[x.protocol], "/usual/"+x.kind, topic)
	defer l.leave()
	late := x.late(t, x.lags(t, l, x.mortal, topic))
	if l.coding == "" {
		return "it does not"
	}
	return late
}

// cut tells whether streams are cut that are quiet. Heartbeats prevent that.
func (x *trial) cut(t *testing.T) string {
	quiet := listen(t, x.client, x.strict[x.protocol], "/quiet/"+x.kind, x.topic("quiet"))
	beating := listen(t, x.client, x.strict[x.protocol], "/usual/"+x.kind, x.topic("beating"))
	defer quiet.leave()
	defer beating.leave()
	limit := patience
	if x.idle == "" {
		limit = 4 * beat
	}
	began := time.Now()
	over, err := quiet.ends(limit)
	x.log(t, "a quiet stream ends: %v, after %v: %v", over, time.Since(began).Round(time.Millisecond), err)
	dead, err := beating.ends(beat)
	assert.False(t, dead, "heartbeats do not keep a stream alive: %v", err)
	if over {
		return "is cut: " + x.idle
	}
	return "stays"
}

// toCrash opens a stream of the app that crashes.
func (x *trial) toCrash(t *testing.T) *listener {
	return listen(t, x.client, x.strict[x.protocol], "/usual/"+x.kind, x.topic("crashed"))
}

// crashed tells what its client sees when the process has died.
func (x *trial) crashed(t *testing.T, l *listener) string {
	over, err := l.ends(patience)
	assert.True(t, over, "the stream does not end")
	x.log(t, "after a crash: %v", err)
	return looks(err)
}

// The docs print what was tried.
func TestProxies_theDocsPrintEachConfiguration(t *testing.T) {
	text, err := os.ReadFile(docs)
	require.NoError(t, err)
	files, err := os.ReadDir("testdata")
	require.NoError(t, err)
	for _, file := range files {
		conf := configuration(t, file.Name())
		if file.Name() != "nginx-defaults.conf" { // which sets nothing
			assert.Contains(t, string(text), "\n"+conf+"```\n", file.Name())
		}
	}
}

const (
	docs   = "../../docs/proxies.md"
	begins = "<!-- go test ./proxies -update, in e2e, writes what follows -->\n"
	ends   = "<!-- up to here -->\n"
)

// compare compares what was found with the docs, or puts it there.
func compare(t *testing.T, found []row) {
	t.Helper()
	var table strings.Builder
	table.WriteString(head)
	for _, r := range found {
		table.WriteString(r.String())
	}
	text, err := os.ReadFile(docs)
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(text), begins)
	require.True(t, ok, "no %q in %s", begins, docs)
	recorded, after, ok := strings.Cut(rest, ends)
	require.True(t, ok, "no %q in %s", ends, docs)
	if *update {
		require.NoError(t, os.WriteFile(docs, []byte(before+begins+table.String()+ends+after), 0o644))
		return
	}
	assert.Equal(t, recorded, table.String(), "the proxies do something else than the docs say; if that is right, run with -update")
}
