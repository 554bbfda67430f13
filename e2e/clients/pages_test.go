package clients

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// pages runs clients in Chromium. Each cell has a frame of its own, from a host of its
// own, because browsers open only six connections to a host.
type pages struct {
	t      *testing.T
	tab    context.Context
	server *server

	mu sync.Mutex
}

func startPages(t *testing.T, s *server) *pages {
	t.Helper()
	path, err := exec.LookPath("chromium")
	require.NoError(t, err, "these tests need chromium: make e2e-deps installs it")
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.NoSandbox, // which does not work for root, as in CI
		chromedp.DisableGPU,
		// Nothing here leaves the machine, not even the browser's own errands.
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
	)
	allocator, stopAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	tab, stopTab := chromedp.NewContext(allocator)
	t.Cleanup(stopAllocator)
	t.Cleanup(stopTab)
	p := &pages{t: t, tab: tab, server: s}
	require.NoError(t, chromedp.Do(tab, chromedp.Navigate("http://ssegin.localhost:"+s.port+"/page/frames.html")))
	return p
}

func (p *pages) begin(c *cell) {
	cmd := c.command()
	cmd.URL = "/c/" + c.id
	text, err := json.Marshal(cmd)
	if err != nil {
		panic(err) // a struct of strings always encodes
	}
	p.evaluate(fmt.Sprintf("begin(%q, %s)", fmt.Sprintf("http://%s.ssegin.localhost:%s/page/page.html", c.id, p.server.port), text))
}

func (p *pages) stop(c *cell) { p.evaluate(fmt.Sprintf("stop(%q)", c.id)) }

func (p *pages) evaluate(expression string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	ctx, cancel := context.WithTimeout(p.tab, patience)
	defer cancel()
	if _, err := chromedp.Run(ctx, chromedp.Evaluate[bool](expression)); err != nil {
		p.t.Errorf("%s: %v", expression, err)
	}
}
