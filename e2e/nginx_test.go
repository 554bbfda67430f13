package e2e

import (
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
)

// nginx with its defaults, but for an idle time that a test can wait for: its
// own is 60 s, and ssegin's heartbeat comes every 15. It speaks HTTP/1.0 to its
// upstream unless told otherwise, and buffers.
const idleTime = "proxy_read_timeout 8s;"

func TestNginx_neitherHoldsEventsBackNorCutsIdleStreams(t *testing.T) {
	t.Parallel()
	e := startExample(t, "-heartbeat", "1s")
	var good atomic.Int32
	t.Run("upstreams", func(t *testing.T) {
		for name, directives := range map[string]string{
			"HTTP/1.0": idleTime,
			"HTTP/1.1": idleTime + ` proxy_http_version 1.1; proxy_set_header Connection "";`,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				p := openPage(t, startNginx(t, e.addr, directives)).live()
				listen(p)
				p.enter("#text", "through a proxy")
				p.until("a message arrives", patience, `document.querySelector("#messages").textContent.includes("through a proxy")`)
				p.until("the idle time has passed twice", 2*patience, "performance.now() - heard.since > 17000 && heard.events >= 10")
				events, lag, together := evaluate[int](p, "heard.events"), evaluate[int](p, "heard.lag"), evaluate[int](p, "heard.together")
				if assert.Less(t, together, events/2, "events of different half seconds arrive together") {
					good.Add(1)
				}
				opened, cuts := evaluate[int](p, "heard.opened"), evaluate[int](p, "heard.cuts")
				if assert.Equal(t, 1, opened) && assert.Zero(t, cuts) {
					good.Add(1)
				}
				t.Logf("live: %d events, %d of them together with the one before, at most %d ms old; idle: cut %d times", events, together, lag, cuts)
			})
		}
	})
	t.Logf("nginx: live, and not cut when idle: %d of 4", good.Load())
}

// Without heartbeats nginx does cut, so the test above can fail.
func TestNginx_cutsIdleStreamsThatHaveNoHeartbeat(t *testing.T) {
	t.Parallel()
	e := startExample(t, "-heartbeat", "0")
	p := openPage(t, startNginx(t, e.addr, idleTime)).live()
	listen(p)
	p.until("nginx cuts the stream", patience, "heard.cuts > 0")
}

// listen opens a stream that gets an event every half second, and measures how
// old they are and how many arrive together, and one that gets nothing but
// heartbeats, and counts its cuts.
func listen(p *page) {
	p.t.Helper()
	evaluate[bool](p, `(() => {
		window.heard = { events: 0, together: 0, last: 0, lag: 0, opened: 0, cuts: 0, since: performance.now() };
		const busy = new EventSource("/events?tab=e2e&user=e2e&room=garden");
		busy.addEventListener("stats", (e) => {
			heard.events++;
			heard.together += performance.now() - heard.last < 100;
			heard.last = performance.now();
			heard.lag = Math.max(heard.lag, Date.now() - Date.parse(JSON.parse(e.data).at));
		});
		const idle = new EventSource("/rooms/library");
		idle.onopen = () => heard.opened++;
		idle.onerror = () => heard.cuts++;
		return true;
	})()`)
	p.until("both are open", patience, "heard.opened > 0 && heard.events > 0")
}
