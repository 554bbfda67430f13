package e2e

import (
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin/ssegintest"
)

func TestTick_goesOnAfterTheTenthWithoutLoss(t *testing.T) {
	t.Parallel()
	want := 22 // over two ends
	if testing.Short() {
		want = 12
	}
	p := openPage(t, startExample(t).url)
	p.until("ticks arrive", patience, `document.querySelector("#tick-block").textContent.includes("id: 1")`)
	until(t, "the count goes on", patience, func() bool { return p.ledger("tick-ledger").Events >= want })

	l := p.ledger("tick-ledger")
	t.Logf("ticks: %v", l)
	assert.Contains(t, p.text("#tick-block"), fmt.Sprintf("id: %d\n", l.Events))
	assert.Equal(t, (l.Events-1)/10, l.Reconnections)
	assert.Zero(t, l.Missing)
	assert.Zero(t, l.Duplicated)
}

func TestTick_givesItsConnectionBackWhileTheTabIsHidden(t *testing.T) {
	t.Parallel()
	e := startExample(t)
	p := openPage(t, e.url)
	ticks := func(p *page) int { return p.ledger("tick-ledger").Events }
	until(t, "ticks arrive", patience, func() bool { return ticks(p) >= 2 })
	over := p.tab(e.url, chromedp.WithNewWindow(false))
	p.until("the first tab is hidden", patience, "document.hidden")
	before := ticks(p)
	until(t, "the second tab ticks", patience, func() bool { return ticks(over) >= 3 })
	assert.Equal(t, before, ticks(p))

	call(p, cdppage.BringToFront, cdp.Empty{})
	until(t, "the count goes on", patience, func() bool { return ticks(p) >= before+2 })
	l := p.ledger("tick-ledger")
	t.Logf("hidden tab: %v", l)
	assert.Equal(t, ledger{Events: l.Events, Reconnections: 1}, l)
}

func TestChat_reachesTheRoomAndAllTabsOfAPerson(t *testing.T) {
	t.Parallel()
	e := startExample(t)
	as := func(name string) string { return e.url + "?" + url.Values{"user": {name}}.Encode() }
	ada := openPage(t, as("Ada")).live()
	grace1 := openPage(t, as("Grace")).live()
	grace2 := grace1.tab(as("Grace")).live()
	ken := openPage(t, as("Ken")).live()
	ken.click(`#rooms label:nth-of-type(2)`)
	until(t, "Ken is in the garden", patience, func() bool { return slices.Contains(ken.statuses("room=garden"), 200) })

	says := func(text string) string {
		return `document.querySelector("#messages").textContent.includes("` + text + `")`
	}
	ada.enter("#text", "hello, everybody in here")
	for _, p := range []*page{ada, grace1, grace2} {
		p.until("the room hears it", patience, says("hello, everybody in here"))
	}
	ada.enter("#to", "Grace")
	ada.enter("#text", "for you, wherever you are")
	for _, p := range []*page{ada, grace1, grace2} {
		p.until("Grace hears it in both tabs", patience, says("for you, wherever you are"))
	}
	grace2.enter("#to", "Ken")
	grace2.enter("#text", "you, too")
	ken.until("Ken hears what is for him", patience, says("you, too"))
	heard := ken.text("#messages")
	assert.NotContains(t, heard, "everybody", "another room's")
	assert.NotContains(t, heard, "wherever", "another person's")
}

func TestAsk_showsTheTokensAndStops(t *testing.T) {
	t.Parallel()
	p := openPage(t, startExample(t).url).live()
	p.enter("#prompt", "Why <b>SSE</b> & not more?")
	p.until("all tokens are here", patience, `document.querySelector("#ask-note").textContent.includes("tokens in")`)
	answer := p.text("#answer")
	assert.True(t, strings.HasPrefix(answer, "You asked: “Why <b>SSE</b> & not more?”\n\nI only pretend to think, yet each of"), answer)
	assert.True(t, strings.HasSuffix(answer, "and so do I."), answer)
	t.Logf("model: %s", p.text("#ask-note"))

	p.click("#ask .primary")
	p.until("some tokens are here", patience, `document.querySelector("#answer").textContent.length > 50`)
	p.click("#stop")
	p.until("it stops", patience, `document.querySelector("#ask-note").textContent.startsWith("Stopped after")`)
}

func TestJob_endsWithoutAFurtherRequest(t *testing.T) {
	t.Parallel()
	quiet := 5
	if testing.Short() {
		quiet = 2
	}
	p := openPage(t, startExample(t).url).live()
	p.click("#start-job")
	p.until("the browser has been told to stop", patience, `document.querySelector("[data-step=closed]").dataset.reached !== undefined`)
	assert.Equal(t, "100 %", p.text("#job-percent"))
	// The browser waits a second before it comes back: this is several.
	p.until("a while has passed", patience, `parseFloat(document.querySelector("[data-step=quiet] time").textContent) >= %d`, quiet)
	statuses := p.statuses("/jobs/")
	t.Logf("job: requests for its stream %d, with status %v; none in the %d s after", len(statuses), statuses, quiet)
	assert.Equal(t, []int64{200, 204}, statuses)
}

func TestCut_losesNothingOfABurst(t *testing.T) {
	t.Parallel()
	rounds := 4
	if testing.Short() {
		rounds = 1
	}
	p := openPage(t, startExample(t).url).live()
	p.click("#crowd")
	p.until("the crowd is here", patience, `document.querySelector("[data-chart=streams] strong").textContent === "51"`)
	for range rounds {
		p.click("#cut-burst")
		p.until("the burst is here", patience, `document.querySelector("#hub-note").textContent.includes("here after")`)
		assert.Contains(t, p.text("#hub-note"), " 1,000 here after")
		p.until("another burst is allowed", patience, `performance.now() - performance.getEntriesByType("resource").findLast((e) => e.name.endsWith("/burst")).responseEnd > 1100`)
	}
	l := p.ledger("hub-ledger")
	t.Logf("cut and burst, %d times, with 51 streams: %v", rounds, l)
	assert.GreaterOrEqual(t, l.Events, 1000*rounds)
	assert.Equal(t, ledger{Events: l.Events, Reconnections: rounds}, l)
	p.click("#crowd")
	p.until("the crowd has left", patience, `document.querySelector("[data-chart=streams] strong").textContent === "1"`)
}

func TestCors_letsOneOriginReadAndNoOther(t *testing.T) {
	t.Parallel()
	e := startExample(t)
	p := openPage(t, e.url).live() // which gives the browser its cookie
	read := func(url string) (cells []string) {
		tab := p.tab(url)
		tab.until("all has been tried", 2*patience, `document.querySelectorAll("[data-read]").length === 4`)
		return evaluate[[]string](tab, `Array.from(document.querySelectorAll("[data-read]"), (cell) => cell.textContent)`)
	}
	const stranger, refused = "3 events, as a stranger", "refused: nothing was read"
	allowed := read(e.corsURL)
	require.Len(t, allowed, 4)
	for i, client := range []string{"EventSource", "fetch"} {
		assert.Equal(t, stranger, allowed[2*i], client)
		assert.Regexp(t, `^3 events, as visitor \w{6}$`, allowed[2*i+1], client)
	}
	others := read(e.notURL)
	assert.Equal(t, []string{refused, refused, refused, refused}, others)
	t.Logf("cross-origin: allowed %v; not allowed %v; leaks 0", allowed, others)
}

func TestShutdown_drainsAndThePageIsToldOfTheRestart(t *testing.T) {
	t.Parallel()
	e := startExample(t, "-drain", "1s")
	p := openPage(t, e.url).live()
	p.until("ticks arrive", patience, `document.querySelector("#tick-block").textContent.includes("id: 2")`)
	client, err := ssegintest.Connect(t.Context(), e.url+"/rooms/lobby")
	require.NoError(t, err)
	defer client.Close()
	began := time.Now()
	e.stop(t)
	drained := time.Since(began)
	assert.Contains(t, e.text(), "done: every stream has ended")
	_, err = client.Next(t.Context())
	require.ErrorIs(t, err, io.EOF, "the streams end in order")
	retry, _ := client.Retry()
	assert.Greater(t, retry, 2*time.Second, "each with a time to come back of its own")

	startExample(t, "-addr", strings.TrimPrefix(e.url, "http://"))
	p.until("the page is told that it is another life", 2*patience, `document.querySelector("#hub-note").dataset.reset === "epoch"`)
	p.live()
	events := p.ledger("hub-ledger").Events
	p.until("events arrive again", patience, `Number(document.querySelector("#hub-ledger [data-count=events] dd").textContent) > %d`, events)
	p.until("the count goes on", 2*patience, `document.querySelector("#ticks").children.length > 1 && document.querySelector("#ticks > :last-child li:not(:empty)")`)

	hub, ticks := p.ledger("hub-ledger"), p.ledger("tick-ledger")
	t.Logf("restart: drained in %v; hub: %v, resets %d; ticks: %v", drained.Round(time.Millisecond), hub, hub.Resets, ticks)
	for _, l := range []ledger{hub, ticks} {
		assert.Zero(t, l.Missing)
		assert.Zero(t, l.Duplicated)
	}
	assert.Equal(t, 1, hub.Resets)
}

// A deploy ends the answer of a model in order, and a crash breaks it off: neither is
// the end of the answer. Of a job, a new process knows nothing.
func TestServerThatIsGone_leavesAnAnswerCutOffAndAJobLost(t *testing.T) {
	t.Parallel()
	for how, end := range map[string]func(*example, *testing.T){"stopped": (*example).stop, "killed": (*example).kill} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			e := launchExample(t)
			p := openPage(t, e.url).live()
			p.enter("#prompt", strings.Repeat("why ", 120)) // which is in the answer, so that this lasts
			p.click("#start-job")
			p.until("the job runs", patience, `document.querySelector("#job-progress").value > 0`)
			p.until("some tokens are here", patience, `document.querySelector("#answer").textContent.length > 10`)
			end(e, t)
			p.until("the answer ends", patience, `document.querySelector("#stop").disabled`)
			assert.Regexp(t, `^Cut off after \d+ tokens: `, p.text("#ask-note"))

			startExample(t, "-addr", strings.TrimPrefix(e.url, "http://"))
			p.until("the page has given up the job", patience, `!document.querySelector("#start-job").disabled`)
			assert.Equal(t, "Lost: the server has no such job any more.", p.text("#job-requests"))
			assert.False(t, evaluate[bool](p, `document.querySelector("[data-step=closed]").dataset.reached !== undefined`))
			t.Logf("%s: %s %s", how, p.text("#ask-note"), p.text("#job-requests"))
		})
	}
}

// Browsers open six HTTP/1.1 connections to a host. Two tabs with a job in each
// have all of them.
func TestTwoTabs_doNotStarve(t *testing.T) {
	t.Parallel()
	e := startExample(t)
	one := openPage(t, e.url+"?user=Ada").live()
	two := one.tab(e.url + "?user=Grace").live()
	for _, p := range []*page{one, two} {
		p.click("#start-job")
		p.until("the job runs", patience, `document.querySelector("#job-progress").value > 0`)
	}
	two.enter("#text", "still here")
	one.until("the message arrives", patience, `document.querySelector("#messages").textContent.includes("still here")`)
	for _, p := range []*page{one, two} {
		p.until("the job ends", patience, `document.querySelector("[data-step=closed]").dataset.reached !== undefined`)
	}
}
