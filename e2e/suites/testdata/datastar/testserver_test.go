package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	plain "net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// cases are what a client of the test server asks for, each kind of event with
// and without its options.
var cases = map[string]string{
	"elements":                    `{"type":"patchElements","elements":"<div>One</div>"}`,
	"elements of several lines":   `{"type":"patchElements","elements":"<div>\n  <span>One</span>\n</div>"}`,
	"elements with every option":  `{"type":"patchElements","elements":"<li>One</li>","selector":"#list","mode":"append","useViewTransition":true,"eventId":"e1","retryDuration":2500}`,
	"elements with the defaults":  `{"type":"patchElements","elements":"<li>One</li>","mode":"outer","useViewTransition":false,"retryDuration":1000}`,
	"elements of SVG":             `{"type":"patchElements","elements":"<circle r=\"1\"/>","namespace":"svg"}`,
	"elements removed":            `{"type":"patchElements","selector":"#gone","mode":"remove"}`,
	"elements removed, an ID":     `{"type":"patchElements","selector":"#gone","mode":"remove","useViewTransition":true,"eventId":"e2","retryDuration":3000}`,
	"signals":                     `{"type":"patchSignals","signals":{"one":1,"two":{"three":"3"}}}`,
	"signals of several lines":    `{"type":"patchSignals","signals-raw":"{\n\"one\": 1,\n\"two\": 2\n}"}`,
	"signals with every option":   `{"type":"patchSignals","signals":{"one":1},"onlyIfMissing":true,"eventId":"e3","retryDuration":2500}`,
	"signals with the defaults":   `{"type":"patchSignals","signals":{"one":1},"onlyIfMissing":false,"retryDuration":1000}`,
	"signals removed":             `{"type":"patchSignals","signals":{"one":null}}`,
	"signals removed, an ID":      `{"type":"patchSignals","signals":{"one":null,"two":{"three":null}},"eventId":"e4","retryDuration":3000}`,
	"script":                      `{"type":"executeScript","script":"console.log('one')"}`,
	"script of several lines":     `{"type":"executeScript","script":"if (true) {\n  console.log('one')\n}"}`,
	"script with every option":    `{"type":"executeScript","script":"console.log('one')","autoRemove":false,"attributes":{"type":"module","blocking":false},"eventId":"e5","retryDuration":2500}`,
	"script with the defaults":    `{"type":"executeScript","script":"console.log('one')","autoRemove":true,"retryDuration":1000}`,
	"two events":                  `{"type":"patchElements","elements":"<div>One</div>"},{"type":"patchSignals","signals":{"one":1}}`,
	"no event":                    ``,
	"a hundred events with an ID": strings.Repeat(`{"type":"patchSignals","signals":{"one":1},"eventId":"e6"},`, 99) + `{"type":"patchSignals","signals":{"one":1},"eventId":"e7"}`,
}

// The answer is the one that the handler gives without an engine, to the byte.
func TestServer_answersAsWithoutAnEngine(t *testing.T) {
	want := plain.NewServer(http.HandlerFunc(testHandler))
	defer want.Close()
	got := httptest.NewServer(http.HandlerFunc(testHandler))
	defer got.Close()
	for name, events := range cases {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			t.Run(method+" "+name, func(t *testing.T) {
				input := `{"events":[` + events + `]}`
				if want, got := ask(t, want.URL, method, input), ask(t, got.URL, method, input); got != want {
					t.Errorf("want %s\ngot  %s", want, got)
				}
			})
		}
	}
	t.Run("no JSON", func(t *testing.T) {
		if want, got := ask(t, want.URL, http.MethodPost, "{"), ask(t, got.URL, http.MethodPost, "{"); got != want {
			t.Errorf("want %s\ngot  %s", want, got)
		}
	})
}

// ask returns all that matters of the answer.
func ask(t *testing.T, base, method, input string) string {
	t.Helper()
	target, body := base+"/test", input
	if method == http.MethodGet {
		target, body = target+"?datastar="+url.QueryEscape(input), ""
	}
	r, err := http.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	r.Header.Set("Datastar-Request", "true")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	all, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal([]any{resp.StatusCode, resp.Header["Content-Type"], string(all)})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
