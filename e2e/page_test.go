package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A page is a tab of the browser.
type page struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	errors   []string
	requests []*request
}

// A request is one that the page has made.
type request struct {
	id     network.RequestID
	url    string
	status int64 // zero until there is a response
}

// openPage opens a page as somebody new: with a profile of its own.
func openPage(t *testing.T, url string) *page {
	t.Helper()
	return openTab(browser, t, url, chromedp.WithNewBrowserContext())
}

// tab opens another page of the same person, in a window of its own unless the
// options say otherwise.
func (p *page) tab(url string, options ...chromedp.ContextOption) *page {
	p.t.Helper()
	return openTab(p.ctx, p.t, url, options...)
}

func openTab(parent context.Context, t *testing.T, url string, options ...chromedp.ContextOption) *page {
	t.Helper()
	ctx, cancel := chromedp.NewContext(parent, options...)
	p := &page{t: t, ctx: ctx}
	t.Cleanup(cancel)
	t.Cleanup(p.close)
	require.NoError(t, chromedp.Do(ctx))
	require.NoError(t, chromedp.Listen(ctx, p.note))
	_, err := chromedp.Call(ctx, network.Enable, network.EnableParams{})
	require.NoError(t, err)
	p.do(chromedp.Navigate(url))
	return p
}

// note keeps what the tests ask for later.
func (p *page) note(event any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		text := e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			text += ": " + e.ExceptionDetails.Exception.Description
		}
		p.errors = append(p.errors, text)
	case *network.EventRequestWillBeSent:
		p.requests = append(p.requests, &request{id: e.RequestID, url: e.Request.URL})
	case *network.EventResponseReceived:
		for _, r := range p.requests {
			if r.id == e.RequestID {
				r.status = e.Response.Status
			}
		}
	}
}

// close looks at the page a last time.
func (p *page) close() {
	p.mu.Lock()
	errors := p.errors
	p.mu.Unlock()
	assert.Empty(p.t, errors, "the page threw")
	if p.t.Failed() {
		p.save("failed-" + strings.ReplaceAll(p.t.Name(), "/", "-"))
	}
}

// statuses of the requests whose URL contains that, in their order; zero where
// there is no response yet.
func (p *page) statuses(urlPart string) (statuses []int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.requests {
		if strings.Contains(r.url, urlPart) {
			statuses = append(statuses, r.status)
		}
	}
	return statuses
}

func (p *page) do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, 2*patience)
	defer cancel()
	require.NoError(p.t, chromedp.Do(ctx, steps...))
}

// evaluate returns the value of a JavaScript expression.
func evaluate[T any](p *page, format string, args ...any) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	expression := fmt.Sprintf(format, args...)
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	require.NoError(p.t, err, expression)
	return value
}

// until waits until a JavaScript expression is true.
func (p *page) until(what string, limit time.Duration, format string, args ...any) {
	p.t.Helper()
	until(p.t, what, limit, func() bool { return evaluate[bool](p, "!!("+format+")", args...) })
}

func (p *page) text(selector string) string {
	p.t.Helper()
	return evaluate[string](p, "document.querySelector(%q).textContent", selector)
}

// live waits until the page follows the hub.
func (p *page) live() *page {
	p.t.Helper()
	p.until("the page is live", patience, `document.querySelector("#state").dataset.state === "live"`)
	return p
}

func (p *page) click(selector string) {
	p.t.Helper()
	p.do(chromedp.Click(chromedp.CSS(selector)))
}

// enter replaces what is in a field, as fingers do, and presses Enter. (chromedp.SendKeys
// reads the attributes of a node while the page's events change them: a data race.)
func (p *page) enter(selector, text string) {
	p.t.Helper()
	p.until("the field has the focus", patience, `((field) => { field.value = ""; field.focus(); return document.activeElement === field })(document.querySelector(%q))`, selector)
	p.do(chromedp.KeyEvent(text + "\r"))
}

// A ledger is what the page has counted.
type ledger struct{ Events, Reconnections, Missing, Duplicated, Resets int }

func (l ledger) String() string {
	return fmt.Sprintf("%d events, %d reconnections: missing %d, duplicated %d", l.Events, l.Reconnections, l.Missing, l.Duplicated)
}

func (p *page) ledger(id string) ledger {
	p.t.Helper()
	return evaluate[ledger](p, `Object.fromEntries(Array.from(document.querySelectorAll("#%s [data-count]"), (row) =>
		[row.dataset.count[0].toUpperCase() + row.dataset.count.slice(1), Number(row.querySelector("dd").textContent.replaceAll(",", ""))]))`, id)
}

// save writes a screenshot of what is on the screen.
func (p *page) save(name string) {
	p.t.Helper()
	png, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot())
	if !assert.NoError(p.t, err) {
		return
	}
	if err := os.MkdirAll("screenshots", 0o755); assert.NoError(p.t, err) {
		assert.NoError(p.t, os.WriteFile(filepath.Join("screenshots", name+".png"), png, 0o600))
	}
}

// A look is how a screen is.
type look struct {
	name          string
	scheme        string // light or dark
	width, height int64  // zero: as high as the page
	scale         float64
	phone         bool
}

// show changes the screen.
func (p *page) show(l look) {
	p.t.Helper()
	call(p, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: l.scheme}},
	})
	resize := func(height int64) {
		call(p, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
			Width: l.width, Height: height, DeviceScaleFactor: l.scale, Mobile: l.phone,
		})
	}
	resize(max(l.height, 600))
	if l.height == 0 {
		// What is outside of the window would not be drawn: frames, for one.
		resize(evaluate[int64](p, "document.documentElement.scrollHeight"))
	}
	// Two frames later it is on the screen.
	call(p, runtime.Evaluate, runtime.EvaluateParams{
		Expression:   "new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))",
		AwaitPromise: new(true),
	})
}

func call[P, R any](p *page, command cdp.Command[P, R], params P) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	_, err := chromedp.Call(ctx, command, params)
	require.NoError(p.t, err)
}
