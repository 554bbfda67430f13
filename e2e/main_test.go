package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/gin-gonic/gin"
)

// What all tests share, made once.
var (
	exampleBinary string
	firefoxBinary string
	haproxyBinary string
	nginxBinary   string
	webkitBinary  string
	xvfbBinary    string
	browser       context.Context
)

// long is set where the faults are made in full, which takes many minutes.
var long = os.Getenv("SSEGIN_LONG") != ""

func TestMain(m *testing.M) {
	gin.SetMode(gin.TestMode)
	if name := os.Getenv(roleKey); name != "" {
		play(name, os.Args[1:])
	}
	code, err := setUpAndRun(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

func setUpAndRun(m *testing.M) (code int, err error) {
	chromium, err := find("chromium")
	if err != nil {
		return 0, err
	}
	if firefoxBinary, err = find("firefox-esr", "firefox"); err != nil {
		return 0, err
	}
	// Debian keeps it where only libraries look.
	libraries, err := filepath.Glob("/usr/lib/*/webkit2gtk-4.1/MiniBrowser")
	if err != nil {
		return 0, err
	}
	if webkitBinary, err = find(append([]string{"MiniBrowser"}, libraries...)...); err != nil {
		return 0, err
	}
	if xvfbBinary, err = find("Xvfb"); err != nil {
		return 0, err
	}
	if nginxBinary, err = find("nginx", "/usr/sbin/nginx"); err != nil {
		return 0, err
	}
	if haproxyBinary, err = find("haproxy", "/usr/sbin/haproxy"); err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp("", "ssegin-e2e-")
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.RemoveAll(dir) }() // nobody is left to tell
	if exampleBinary, err = buildExample(dir); err != nil {
		return 0, err
	}
	stop, err := startBrowser(chromium)
	if err != nil {
		return 0, err
	}
	defer stop()
	// The tests mostly wait, so there may be more of them at a time than cores.
	flag.Parse()
	if err := flag.Set("test.parallel", "6"); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

// find fails rather than skips: a test that did not run proves nothing.
func find(names ...string) (path string, err error) {
	for _, name := range names {
		if path, err = exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("these tests need %s, and it is not here: make e2e-deps installs it: %w", names[0], err)
}

// buildExample builds it with the race detector: a race fails the test in
// whose process it happens.
func buildExample(dir string) (path string, err error) {
	path = filepath.Join(dir, "example")
	build := exec.Command("go", "build", "-race", "-o", path, "./_example")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the example: %w\n%s", err, out)
	}
	return path, nil
}

// startBrowser starts the one browser of all tests. Each test has profiles of
// its own in it.
func startBrowser(path string) (stop func(), err error) {
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.NoSandbox, // which does not work for root, as in CI
		chromedp.DisableGPU,
		chromedp.WindowSize(1280, 900),
		// Nothing here leaves the machine, not even the browser's own errands.
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
	)
	allocator, stopAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, stopBrowser := chromedp.NewContext(allocator)
	stop = func() {
		stopBrowser()
		stopAllocator()
	}
	if err := chromedp.Do(ctx); err != nil {
		stop()
		return nil, fmt.Errorf("starting %s: %w", path, err)
	}
	browser = ctx
	return stop, nil
}
