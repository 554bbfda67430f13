package main

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/ssegin/ssegin"
)

const maxPrompt = 500

// ask streams the answer to a POST, token by token. An EventSource cannot
// POST, so the page reads this with fetch; nothing else is different.
func ask(c *gin.Context) {
	var question struct {
		Prompt string `json:"prompt"`
	}
	// Bind before the first Send: after it there is no way back to a 400.
	if !bind(c, &question) {
		return
	}
	if err := checkLength("prompt", strings.TrimSpace(question.Prompt), maxPrompt); err != nil {
		fail(c, http.StatusBadRequest, err)
		return
	}
	stream := ssegin.From(c)
	for token := range generate(stream.Context(), question.Prompt) {
		if err := stream.Send(ssegin.Event{Type: "token", Data: token}); err != nil {
			return // the client has left, so the model stops
		}
	}
	// OpenAI's clients and the AI SDK wait for these very words. Without them an answer
	// is not complete, however its response has ended: the page says "cut off" then.
	_ = stream.End(ssegin.Event{Data: "[DONE]"})
}

// generate stands in for a language model. Like the real ones, it gives tokens
// with a leading space, which must arrive as it is, and stops with its context.
func generate(ctx context.Context, prompt string) iter.Seq[string] {
	answer := fmt.Sprintf("You asked: “%s”\n\n", strings.TrimSpace(prompt)) +
		"I only pretend to think, yet each of these words travels as an event of its own, " +
		"the moment it is made. A POST carries the question, the response stays open, " +
		"and the page reads it with fetch in a few lines.\n\n" +
		"Press Stop, and the server knows at once: the context of the stream ends, and so do I."
	return func(yield func(string) bool) {
		for answer != "" {
			token := answer
			if space := strings.IndexByte(answer[1:], ' '); space >= 0 {
				token = answer[:1+space]
			}
			answer = answer[len(token):]
			if !yield(token) || !wait(ctx, 40*time.Millisecond) {
				return
			}
		}
	}
}

// wait waits, and reports whether ctx let it.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
