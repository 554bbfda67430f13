package clients

import (
	"fmt"

	"github.com/ssegin/ssegin"
)

// last is the number of the last event of a stream, but for its end.
const last = 10

// A dialect is what the events of a stream say, because many clients take only one
// format. Each number from 1 on is a step, which the application must be given once.
type dialect struct {
	step func(n int) []ssegin.Event
	end  ssegin.Event
}

// raw is data that is JSON already.
func raw(format string, args ...any) ssegin.Event {
	return ssegin.Event{Data: fmt.Sprintf(format, args...)}
}

// typed is raw with a type.
func typed(kind, format string, args ...any) ssegin.Event {
	return ssegin.Event{Type: kind, Data: fmt.Sprintf(format, args...)}
}

var dialects = map[string]dialect{
	// For clients that leave the format to the application. The text has a byte 0x85 in
	// its UTF-8, which some readers take for a line end if they take it for Latin-1.
	"json": {
		step: func(n int) []ssegin.Event { return []ssegin.Event{raw(`{"n":%d,"text":"✅ 入Å"}`, n)} },
		end:  raw(`{"end":true}`),
	},
	"openai": {
		step: func(n int) []ssegin.Event {
			reason := "null"
			if n == last {
				reason = `"stop"`
			}
			return []ssegin.Event{raw(`{"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"%d "},"finish_reason":%s}]}`, n, reason)}
		},
		end: ssegin.Event{Data: "[DONE]"},
	},
	"ai": {
		step: func(n int) (events []ssegin.Event) {
			if n == 1 {
				events = append(events, raw(`{"type":"start"}`), raw(`{"type":"text-start","id":"1"}`))
			}
			events = append(events, raw(`{"type":"text-delta","id":"1","delta":"%d "}`, n))
			if n == last {
				events = append(events, raw(`{"type":"text-end","id":"1"}`), raw(`{"type":"finish"}`))
			}
			return events
		},
		end: ssegin.Event{Data: "[DONE]"},
	},
	"anthropic": {
		step: func(n int) (events []ssegin.Event) {
			if n == 1 {
				events = append(events,
					typed("message_start", `{"type":"message_start","message":{"id":"1","type":"message","role":"assistant","content":[],"model":"m","stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":1}}}`),
					typed("content_block_start", `{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`))
			}
			events = append(events, typed("content_block_delta", `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"%d "}}`, n))
			if n == last {
				events = append(events, typed("content_block_stop", `{"type":"content_block_stop","index":0}`),
					typed("message_delta", `{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":1}}`))
			}
			return events
		},
		end: typed("message_stop", `{"type":"message_stop"}`),
	},
	"gemini": {
		step: func(n int) []ssegin.Event {
			reason := ""
			if n == last {
				reason = `,"finishReason":"STOP"`
			}
			return []ssegin.Event{raw(`{"candidates":[{"content":{"role":"model","parts":[{"text":"%d "}]}%s}]}`, n, reason)}
		},
	},
	"ag-ui": {
		step: func(n int) (events []ssegin.Event) {
			if n == 1 {
				events = append(events, raw(`{"type":"RUN_STARTED","threadId":"t","runId":"r"}`),
					raw(`{"type":"TEXT_MESSAGE_START","messageId":"1","role":"assistant"}`))
			}
			events = append(events, raw(`{"type":"TEXT_MESSAGE_CONTENT","messageId":"1","delta":"%d "}`, n))
			if n == last {
				events = append(events, raw(`{"type":"TEXT_MESSAGE_END","messageId":"1"}`))
			}
			return events
		},
		end: raw(`{"type":"RUN_FINISHED","threadId":"t","runId":"r"}`),
	},
	"graphql": {
		step: func(n int) []ssegin.Event { return []ssegin.Event{typed("next", `{"data":{"n":%d}}`, n)} },
		end:  ssegin.Event{Type: "complete"},
	},
	"html": {
		step: func(n int) []ssegin.Event { return []ssegin.Event{raw(`<i>%d</i>`, n)} },
	},
	"datastar": {
		step: func(n int) []ssegin.Event {
			return []ssegin.Event{typed("datastar-merge-signals", "signals {n: %d}", n)}
		},
		end: typed("datastar-merge-signals", "signals {n: -1}"),
	},
}
