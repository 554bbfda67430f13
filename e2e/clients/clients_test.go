package clients

// A client is one package, used in one way.
type client struct {
	name    string
	pkg     string // what it comes from, as npm and Go call it
	driver  string // what runs it: node, page, go, python
	dialect string // json if empty
	method  string // of its requests where it has the choice; GET if empty
	modes   []string
	plain   bool     // it takes each block for the application's
	silent  bool     // its routes have WithHeartbeat(0)
	broken  bool     // its hub's routes have WithBrokenEnds
	advised []string // those in which it is used as docs/clients.md says, so that the laws hold
	needs   string   // what that takes, as docs/clients.md has it
}

// says is the format of the client's events.
func (c *client) says() dialect {
	if c.dialect == "" {
		return dialects["json"]
	}
	return dialects[c.dialect]
}

var (
	everyMode = []string{byPost, withIDs, hubbed, plainly}
	getModes  = []string{withIDs, hubbed, plainly} // of clients that can only GET
	native    = []string{withIDs, hubbed}          // of those, what suits them
	llmModes  = []string{byPost, plainly}          // of those that neither send nor keep IDs
	postModes = []string{byPost, hubbed, plainly}  // of those that read one answer by POST
	resumable = []string{withIDs, plainly}         // what suits those that keep an ID, and read every block
)

var clients = []*client{
	{name: "openai 7", pkg: "openai", driver: "node", dialect: "openai", method: "POST", modes: postModes, advised: postModes, needs: "`[DONE]` at the end; no `finish_reason` means cut"},
	{name: "openai 6", pkg: "openai6", driver: "node", dialect: "openai", method: "POST", modes: postModes, advised: postModes, needs: "the same"},
	{name: "AI SDK, useChat", pkg: "ai", driver: "node", dialect: "ai", method: "POST", modes: postModes, advised: postModes, needs: "`[DONE]` at the end; no part `finish` means cut"},
	{name: "AI SDK, parseJsonEventStream", pkg: "ai", driver: "node", modes: postModes, plain: true, advised: llmModes, needs: "POST or `WithPlain()`; data that is JSON"},
	{name: "AI SDK, openai-compatible", pkg: "@ai-sdk/openai-compatible", driver: "node", dialect: "openai", method: "POST", modes: postModes, advised: postModes, needs: "`[DONE]` at the end"},
	{name: "@anthropic-ai/sdk", pkg: "@anthropic-ai/sdk", driver: "node", dialect: "anthropic", method: "POST", modes: postModes, advised: postModes, needs: "no `message_stop` means cut"},
	{name: "@google/genai", pkg: "@google/genai", driver: "node", dialect: "gemini", method: "POST", modes: llmModes},
	{name: "@google/genai, WithHeartbeat(0)", pkg: "@google/genai", driver: "node", dialect: "gemini", method: "POST", modes: []string{byPost}, silent: true, advised: []string{byPost}, needs: "`WithHeartbeat(0)`, and no comments"},
	{name: "@ag-ui/client", pkg: "@ag-ui/client", driver: "node", dialect: "ag-ui", method: "POST", modes: postModes, advised: postModes, needs: "no `RUN_FINISHED` means cut"},
	{name: "graphql-sse", pkg: "graphql-sse", driver: "node", dialect: "graphql", method: "POST", modes: postModes, advised: postModes, needs: "the end is `ssegin.Event{Type: \"complete\"}`"},
	{name: "eventsource 5", pkg: "eventsource", driver: "node", modes: getModes, advised: native},
	{name: "eventsource 4", pkg: "eventsource4", driver: "node", modes: getModes, advised: native},
	{name: "undici", pkg: "undici", driver: "node", modes: getModes, advised: native},
	{name: "extended-eventsource", pkg: "extended-eventsource", driver: "node", modes: everyMode, advised: native},
	{name: "eventsource-client", pkg: "eventsource-client", driver: "node", modes: everyMode, plain: true},
	{name: "eventsource-client, stops at 410", pkg: "eventsource-client", driver: "node", modes: resumable, plain: true, advised: resumable, needs: "`WithPlain()`; [code](#eventsource-client)"},
	{name: "event-source-plus", pkg: "event-source-plus", driver: "node", modes: everyMode, plain: true},
	{name: "event-source-plus, stops at 204 and 410", pkg: "event-source-plus", driver: "node", modes: resumable, plain: true, advised: resumable, needs: "`WithPlain()`; [code](#event-source-plus)"},
	{name: "event-source-plus, no retries", pkg: "event-source-plus", driver: "node", method: "POST", modes: llmModes, plain: true, advised: llmModes, needs: "[code](#event-source-plus)"},
	{name: "@sentool/fetch-event-source", pkg: "@sentool/fetch-event-source", driver: "node", modes: postModes, plain: true, advised: llmModes, needs: "an end of its own, or a cut looks complete"},
	{name: "eventsource-parser", pkg: "eventsource-parser", driver: "node", modes: postModes, plain: true, advised: llmModes, needs: "POST or `WithPlain()`"},
	{name: "fetch-event-stream", pkg: "fetch-event-stream", driver: "node", modes: postModes, plain: true, advised: llmModes, needs: "POST or `WithPlain()`"},
	{name: `a loop over split("\n\n")`, driver: "node", modes: postModes, plain: true, advised: llmModes, needs: "POST or `WithPlain()`"},

	{name: "EventSource in Chromium", driver: "page", modes: getModes, advised: native},
	{name: "fetch-event-source", pkg: "@microsoft/fetch-event-source", driver: "page", modes: everyMode, plain: true},
	{name: "fetch-event-source, JSON.parse", pkg: "@microsoft/fetch-event-source", driver: "page", modes: everyMode, plain: true},
	{name: "fetch-event-source, onclose throws", pkg: "@microsoft/fetch-event-source", driver: "page", modes: resumable, plain: true, advised: resumable, needs: "`WithPlain()`; [code](#fetch-event-source)"},
	{name: "fetch-event-source, onerror throws", pkg: "@microsoft/fetch-event-source", driver: "page", method: "POST", modes: llmModes, plain: true, advised: llmModes, needs: "[code](#fetch-event-source)"},
	{name: "event-source-polyfill", pkg: "event-source-polyfill", driver: "page", modes: getModes, advised: native},
	{name: "reconnecting-eventsource", pkg: "reconnecting-eventsource", driver: "page", modes: getModes},
	{name: "reconnecting-eventsource, close()", pkg: "reconnecting-eventsource", driver: "page", modes: native, advised: native, needs: "`close()` at the end"},
	{name: "sse.js", pkg: "sse.js", driver: "page", modes: everyMode, advised: []string{byPost}, needs: "an end of its own, or a cut looks complete"},
	{name: "sse.js, autoReconnect", pkg: "sse.js", driver: "page", modes: everyMode},
	{name: "sse.js, autoReconnect, close()", pkg: "sse.js", driver: "page", modes: native, advised: native, needs: "[code](#ssejs)"},
	{name: "react-native-sse", pkg: "react-native-sse", driver: "page", modes: everyMode},
	{name: "react-native-sse, open() and close()", pkg: "react-native-sse", driver: "page", modes: native, advised: native, needs: "[code](#react-native-sse)"},
	{name: "react-native-sse, pollingInterval: 0", pkg: "react-native-sse", driver: "page", method: "POST", modes: llmModes},
	{name: "htmx 2", pkg: "htmx2", driver: "page", dialect: "html", modes: getModes},
	{name: "htmx 2, sse-close", pkg: "htmx2", driver: "page", dialect: "html", modes: native, advised: native, needs: "[code](#htmx)"},
	{name: "htmx 4", pkg: "htmx.org", driver: "page", dialect: "html", modes: getModes},
	{name: "htmx 4, hx-sse:close", pkg: "htmx.org", driver: "page", dialect: "html", modes: native, advised: native, needs: "[code](#htmx)"},
	{name: "Datastar", pkg: "@starfederation/datastar", driver: "page", dialect: "datastar", modes: everyMode},
	{name: "Datastar, broken ends", pkg: "@starfederation/datastar", driver: "page", dialect: "datastar", modes: []string{hubbed}, broken: true, advised: []string{hubbed}, needs: "`WithBrokenEnds()`"},
	{name: "VueUse, autoReconnect", pkg: "@vueuse/core", driver: "page", modes: getModes},
	{name: "VueUse, close()", pkg: "@vueuse/core", driver: "page", modes: native, advised: native, needs: "`close()` at the end"},

	{name: "openai-go", pkg: "github.com/openai/openai-go/v3", driver: "go", dialect: "openai", method: "POST", modes: postModes, advised: postModes, needs: "`[DONE]` at the end; no `finish_reason` means cut"},
	{name: "sashabaranov/go-openai", pkg: "github.com/sashabaranov/go-openai", driver: "go", dialect: "openai", method: "POST", modes: postModes, advised: postModes, needs: "the same"},
	{name: "anthropic-sdk-go", pkg: "github.com/anthropics/anthropic-sdk-go", driver: "go", dialect: "anthropic", method: "POST", modes: postModes, advised: postModes, needs: "no `message_stop` means cut"},
	{name: "launchdarkly/eventsource", pkg: "github.com/launchdarkly/eventsource", driver: "go", modes: everyMode},
	{name: "launchdarkly/eventsource, CloseNow", pkg: "github.com/launchdarkly/eventsource", driver: "go", modes: native, advised: native, needs: "[code](#go)"},
	{name: "tmaxmax/go-sse", pkg: "github.com/tmaxmax/go-sse", driver: "go", modes: everyMode},
	{name: "tmaxmax/go-sse, Connect in a loop", pkg: "github.com/tmaxmax/go-sse", driver: "go", modes: native, advised: native, needs: "[code](#go)"},
	{name: "tmaxmax/go-sse, every event", pkg: "github.com/tmaxmax/go-sse", driver: "go", modes: everyMode, plain: true},
	{name: "r3labs/sse", pkg: "github.com/r3labs/sse/v2", driver: "go", modes: getModes, plain: true},
	{name: "donovanhide/eventsource", pkg: "github.com/donovanhide/eventsource", driver: "go", modes: getModes},
	{name: "bufio.Scanner", driver: "go", modes: postModes, plain: true, advised: llmModes, needs: "POST or `WithPlain()`"},
	{name: "every blank line dispatches", driver: "go", modes: postModes, plain: true, advised: llmModes, needs: "POST or `WithPlain()`"},

	{name: "requests", pkg: "python3-requests", driver: "python", modes: postModes, plain: true, advised: llmModes, needs: "POST or `WithPlain()`"},
	{name: "httpx", pkg: "python3-httpx", driver: "python", modes: postModes, plain: true, advised: llmModes, needs: "POST or `WithPlain()`"},
	{name: "the decoder of Python's openai", driver: "python", dialect: "openai", method: "POST", modes: postModes, advised: postModes, needs: "`[DONE]` at the end"},
}
