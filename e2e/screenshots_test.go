package e2e

import (
	"fmt"
	"testing"
)

// TestPage_isDrawn fills the page with life and saves what it looks like, for a
// person to look at. readme.png is the picture of the README.
func TestPage_isDrawn(t *testing.T) {
	t.Parallel()
	e := startExample(t)
	p := openPage(t, e.url+"?user=Ada").live()
	grace := p.tab(e.url + "?user=Grace").live()
	p.click("#start-job")
	p.click("#crowd")
	grace.enter("#text", "Is anybody in here?")
	p.enter("#text", "You are, and so am I.")
	p.enter("#to", "Grace")
	p.enter("#text", "This is for you alone, in all your tabs.")
	p.click("#run-cors")
	p.click("#ask .primary")
	p.until("the model has answered", patience, `document.querySelector("#ask-note").textContent.includes("tokens in")`)
	p.click("#burst")
	p.until("the job is over", 2*patience, `document.querySelector("[data-step=quiet]").dataset.reached !== undefined`)
	if !testing.Short() {
		p.until("there is something to see", 2*patience, reached(23))
		p.click("#cut-burst")
		p.until("the burst is here", patience, `document.querySelector("#hub-note").textContent.includes("here after")`)
		p.until("the count is 27", patience, reached(27))
	}
	for _, l := range []look{
		{name: "readme", scheme: "light", width: 1200, height: 892, scale: 1.5},
		{name: "light", scheme: "light", width: 1280, scale: 1.5},
		{name: "dark", scheme: "dark", width: 1280, scale: 1.5},
		{name: "phone-light", scheme: "light", width: 390, scale: 2, phone: true},
		{name: "phone-dark", scheme: "dark", width: 390, scale: 2, phone: true},
	} {
		p.show(l)
		p.save(l.name)
	}
}

// reached says that the count has come so far, also to a test that was not looking
// in the very second.
func reached(count int) string {
	return fmt.Sprintf(`Number((document.querySelector("#tick-block").textContent.match(/id: (\d+)/) ?? [0, 0])[1]) >= %d`, count)
}
