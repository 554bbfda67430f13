package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each browser shows a page until the end of the test. They differ in when they
// take over an ID, when they come back and what they keep of a connection that is
// lost, so what rests on that is tried in all of them.
var browsers = map[string]func(t *testing.T, url string){
	"Chromium": func(t *testing.T, url string) { openPage(t, url) },
	"Firefox":  showInFirefox,
	"WebKit":   showInWebKit,
}

// showInFirefox shows a page in a profile of its own.
func showInFirefox(t *testing.T, url string) {
	t.Helper()
	dir := t.TempDir()
	// Nothing here leaves the machine, not even the browser's own errands.
	require.NoError(t, os.WriteFile(filepath.Join(dir, "user.js"), []byte(`
		user_pref("app.normandy.enabled", false);
		user_pref("app.update.enabled", false);
		user_pref("browser.aboutwelcome.enabled", false);
		user_pref("browser.safebrowsing.malware.enabled", false);
		user_pref("browser.safebrowsing.phishing.enabled", false);
		user_pref("browser.shell.checkDefaultBrowser", false);
		user_pref("browser.startup.homepage_override.mstone", "ignore");
		user_pref("datareporting.policy.dataSubmissionEnabled", false);
		user_pref("extensions.update.enabled", false);
		user_pref("network.captive-portal-service.enabled", false);
		user_pref("network.connectivity-service.enabled", false);
		user_pref("services.settings.server", "data:,");
		user_pref("toolkit.telemetry.enabled", false);
	`), 0o600))
	startBrowsing(t, exec.Command(firefoxBinary, "--headless", "--no-remote", "--profile", dir, url))
}

var displayNumber = regexp.MustCompile(`(?m)^(\d+)\n`)

// showInWebKit shows a page in the small browser that WebKitGTK brings, in a home
// of its own. It has no headless mode, so it gets a screen that nobody sees, and
// with which it goes, too.
func showInWebKit(t *testing.T, url string) {
	t.Helper()
	home := t.TempDir()
	screen := start(t, xvfbBinary, "-displayfd", "1", "-nolisten", "tcp")
	t.Cleanup(func() { screen.terminate(t) }) // or its socket would stay in /tmp
	var display []string
	until(t, "Xvfb is ready", patience, func() bool {
		display = displayNumber.FindStringSubmatch(screen.text())
		return display != nil || !screen.running()
	})
	require.NotNil(t, display, "Xvfb did not start:\n%s", screen.text())
	cmd := exec.Command(webkitBinary, "--private", url)
	// Nothing else, so that neither a desktop's Wayland nor its bus is used.
	cmd.Env = []string{"HOME=" + home, "DISPLAY=:" + display[1], "DBUS_SESSION_BUS_ADDRESS=disabled:"}
	startBrowsing(t, cmd)
}

// startBrowsing starts a browser, and ends it before what is its own is removed:
// its processes would still write to that.
func startBrowsing(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p := startCommand(t, cmd)
	t.Cleanup(func() {
		defer func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }() // an error only if all are gone
		p.terminate(t)
	})
}

// terminate lets a child end by itself.
func (p *process) terminate(t *testing.T) {
	t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // an error only if it is gone
	until(t, filepath.Base(p.cmd.Path)+" ends", patience, func() bool { return !p.running() })
}
