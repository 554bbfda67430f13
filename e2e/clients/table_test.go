package clients

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	update = flag.Bool("update", false, "record the table anew")
	only   = flag.String("only", "", "try only the clients whose name contains this, or whose driver it is")
)

// long is set where every cell is tried.
var long = os.Getenv("SSEGIN_LONG") != ""

const (
	atOnce   = 120             // cells
	silence  = 5 * time.Second // longer than any of them waits before it comes back
	recorded = "testdata/cells.txt"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.ReleaseMode)
	gin.DefaultErrorWriter = nowhere{} // connections are cut all the time
	os.Exit(m.Run())
}

type nowhere struct{}

func (nowhere) Write(b []byte) (int, error) { return len(b), nil }

// A driver runs clients of one kind.
type driver interface {
	begin(c *cell)
	stop(c *cell)
}

func TestClients(t *testing.T) {
	expected := readCells(t)
	s := startServer(t)
	drivers := map[string]driver{}
	var cells []*cell
	for _, client := range clients {
		if !strings.Contains(client.name, *only) && client.driver != *only {
			continue
		}
		if drivers[client.driver] == nil {
			drivers[client.driver] = startDriver(t, s, client.driver)
		}
		for _, mode := range client.modes {
			for _, scene := range scenes[mode] {
				c := &cell{client: client, mode: mode, scene: scene}
				if !long && !*update && *only == "" && !c.brief() {
					continue
				}
				s.add(c)
				cells = append(cells, c)
			}
		}
	}
	require.NotEmpty(t, cells)
	// In an order in which those of one driver do not come all at once.
	slices.SortStableFunc(cells, func(a, b *cell) int { return strings.Compare(a.scene+a.mode, b.scene+b.mode) })
	began := time.Now()
	found := try(t, drivers, cells, expected)
	deviations := 0
	for _, c := range cells {
		switch word := found[c.key()]; {
		case *update:
			if before := expected[c.key()]; before != word {
				t.Logf("%v: %q, was %q\n\t%s", c, word, before, c.story())
			}
		case word != expected[c.key()]:
			deviations++
			t.Errorf("%v: %q, and %q is recorded\n\t%s", c, word, expected[c.key()], c.story())
		default:
			if *only != "" {
				t.Logf("%v: %q\n\t%s", c, word, c.story())
			}
		}
		if err := c.unlawful(found[c.key()]); err != "" {
			assert.Fail(t, err, "%v: %q\n\t%s", c, found[c.key()], c.story())
		}
	}
	t.Logf("%d clients, %d cells, %d deviations, %.0f s", len(clients), len(cells), deviations, time.Since(began).Seconds())
	if *update {
		writeCells(t, expected, found)
	}
	if !t.Failed() {
		checkPage(t, expected)
	}
}

// try tries all cells, many at once, and returns what they say.
func try(t *testing.T, drivers map[string]driver, cells []*cell, expected map[string]string) map[string]string {
	t.Helper()
	var mu sync.Mutex
	var all sync.WaitGroup
	found := map[string]string{}
	room := make(chan struct{}, atOnce)
	for _, c := range cells {
		room <- struct{}{}
		all.Go(func() {
			defer func() { <-room }()
			word := c.try(t, drivers[c.client.driver], expected[c.key()])
			mu.Lock()
			defer mu.Unlock()
			found[c.key()] = word
		})
	}
	all.Wait()
	return found
}

// try runs a cell until it is settled, and returns what it says.
func (c *cell) try(t *testing.T, d driver, expected string) string {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c.set()
	if c.scene == full && !assert.NoError(t, c.fill(ctx), "%v", c) {
		return ""
	}
	if *update {
		expected = ""
	}
	c.change(func() {})
	d.begin(c)
	var played sync.WaitGroup
	played.Go(func() { c.play(ctx) })
	for deadline := time.Now().Add(patience); !c.settled(expected) && time.Now().Before(deadline); {
		pause(ctx, 100*time.Millisecond)
	}
	word := c.judge()
	d.stop(c)
	cancel()
	played.Wait()
	if c.hub != nil {
		gone, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = c.hub.Shutdown(gone) // whoever is still there is cut
	}
	return word
}

// unlawful says what no client does that is used as the documentation says.
func (c *cell) unlawful(word string) string {
	if !slices.Contains(c.client.advised, c.mode) {
		return ""
	}
	for _, bad := range []string{unasked, "twice", again, nothing, floods, loops, "no end", "then error"} {
		if strings.Contains(word, bad) && !(c.scene == gap && strings.HasSuffix(word, ", "+nothing)) {
			return "this must not happen to a client that is used as docs/clients.md says"
		}
	}
	if c.scene == live && !strings.HasPrefix(word, all) {
		return "all must arrive"
	}
	return ""
}

// brief reports whether the cell is in the short form: what the documentation advises,
// and of all else how it ends when all is well.
func (c *cell) brief() bool {
	return slices.Contains(c.client.advised, c.mode) || c.scene == live
}

// key is what the cell is recorded under.
func (c *cell) key() string { return fmt.Sprintf("%s\t%s\t%s", c.client.name, c.mode, c.scene) }

// readCells returns what is recorded, by client, mode and scene.
func readCells(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile(recorded)
	if *update && os.IsNotExist(err) {
		return map[string]string{}
	}
	require.NoError(t, err)
	cells := map[string]string{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Split(line, "|")
		require.Greater(t, len(fields), 2, line)
		name, mode := strings.TrimSpace(fields[0]), strings.TrimSpace(fields[1])
		for i, word := range fields[2:] {
			cells[name+"\t"+mode+"\t"+scenes[mode][i]] = strings.TrimSpace(word)
		}
	}
	return cells
}

// writeCells records what was found, and keeps what was not tried.
func writeCells(t *testing.T, cells, found map[string]string) {
	t.Helper()
	maps.Copy(cells, found)
	rows := [][]string{}
	for _, client := range clients {
		for _, mode := range client.modes {
			row := []string{client.name, mode}
			for _, scene := range scenes[mode] {
				row = append(row, cells[client.name+"\t"+mode+"\t"+scene])
			}
			rows = append(rows, row)
		}
	}
	widths := []int{40, 8, 28, 17, 20, 17, 23, 20}
	var b strings.Builder
	b.WriteString("# What each client does: go test . -update writes this file, see judge_test.go for the words.\n")
	fmt.Fprintf(&b, "# client | served as | %s\n", strings.Join(scenes[hubbed], " | "))
	for _, row := range rows {
		for i, cell := range row {
			if i > 0 {
				b.WriteString(" | ")
			}
			if i < len(row)-1 {
				cell += strings.Repeat(" ", max(0, widths[i]-len(cell)))
			}
			b.WriteString(cell)
		}
		b.WriteString("\n")
	}
	require.NoError(t, os.MkdirAll("testdata", 0o755))
	require.NoError(t, os.WriteFile(recorded, []byte(b.String()), 0o600))
}
