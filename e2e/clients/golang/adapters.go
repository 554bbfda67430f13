package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/anthropics/anthropic-sdk-go"
	anthropicoption "github.com/anthropics/anthropic-sdk-go/option"
	donovanhide "github.com/donovanhide/eventsource"
	launchdarkly "github.com/launchdarkly/eventsource"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	r3labs "github.com/r3labs/sse/v2"
	goopenai "github.com/sashabaranov/go-openai"
	"github.com/tmaxmax/go-sse"

	"github.com/ssegin/ssegin/ssegintest"
)

// Each adapter is what the documentation of its package shows, and what docs/clients.md
// adds. It returns when its stream is over.
var adapters = map[string]func(ctx context.Context, a *application) error{
	"openai-go": func(ctx context.Context, a *application) error {
		client := openai.NewClient(option.WithAPIKey("-"), option.WithMaxRetries(0), option.WithHTTPClient(redirected(a.URL)))
		stream := client.Chat.Completions.NewStreaming(ctx, openai.ChatCompletionNewParams{Model: "m"})
		defer stream.Close()
		for stream.Next() {
			choice := stream.Current().Choices[0]
			a.text(choice.Delta.Content)
			if choice.FinishReason != "" {
				a.last()
			}
		}
		return stream.Err()
	},

	"sashabaranov/go-openai": func(ctx context.Context, a *application) error {
		config := goopenai.DefaultConfig("-")
		config.HTTPClient = redirected(a.URL)
		stream, err := goopenai.NewClientWithConfig(config).CreateChatCompletionStream(ctx, goopenai.ChatCompletionRequest{Model: "m"})
		if err != nil {
			return err
		}
		defer stream.Close()
		for {
			response, err := stream.Recv()
			if err != nil {
				return err
			}
			a.text(response.Choices[0].Delta.Content)
			if response.Choices[0].FinishReason != "" {
				a.last()
			}
		}
	},

	"anthropic-sdk-go": func(ctx context.Context, a *application) error {
		client := anthropic.NewClient(anthropicoption.WithAPIKey("-"), anthropicoption.WithMaxRetries(0), anthropicoption.WithHTTPClient(redirected(a.URL)))
		stream := client.Messages.NewStreaming(ctx, anthropic.MessageNewParams{Model: "m", MaxTokens: 1})
		defer stream.Close()
		for stream.Next() {
			switch event := stream.Current().AsAny().(type) {
			case anthropic.ContentBlockDeltaEvent:
				a.text(event.Delta.Text)
			case anthropic.MessageStopEvent:
				a.last()
			}
		}
		return stream.Err()
	},

	"launchdarkly/eventsource": func(ctx context.Context, a *application) error { return follow(ctx, a, false) },

	"launchdarkly/eventsource, CloseNow": func(ctx context.Context, a *application) error { return follow(ctx, a, true) },

	"tmaxmax/go-sse": func(ctx context.Context, a *application) error {
		connection := (&sse.Client{}).NewConnection(a.request(ctx))
		connection.SubscribeMessages(func(e sse.Event) { _ = a.json(e.Data, e.Type) })
		return connection.Connect()
	},

	"tmaxmax/go-sse, Connect in a loop": func(ctx context.Context, a *application) error {
		connection := (&sse.Client{}).NewConnection(a.request(ctx))
		connection.SubscribeMessages(func(e sse.Event) { _ = a.json(e.Data, e.Type) })
		for {
			// It returns nil at a clean end, and an error at 204.
			if err := connection.Connect(); err != nil {
				return err
			}
			time.Sleep(500 * time.Millisecond)
		}
	},

	"tmaxmax/go-sse, every event": func(ctx context.Context, a *application) error {
		connection := (&sse.Client{}).NewConnection(a.request(ctx))
		connection.SubscribeToAll(func(e sse.Event) { _ = a.json(e.Data, e.Type) })
		return connection.Connect()
	},

	"r3labs/sse": func(ctx context.Context, a *application) error {
		return r3labs.NewClient(a.URL).SubscribeRawWithContext(ctx, func(e *r3labs.Event) { _ = a.json(string(e.Data), string(e.Event)) })
	},

	"donovanhide/eventsource": func(ctx context.Context, a *application) error {
		stream, err := donovanhide.SubscribeWithRequest("", a.request(ctx))
		if err != nil {
			return err
		}
		var last error
		for {
			select {
			case e := <-stream.Events:
				if e != nil && e.Event() == "" {
					_ = a.json(e.Data(), e.Event())
				}
			case last = <-stream.Errors:
			case <-ctx.Done():
				go stream.Close()
				return last
			}
		}
	},

	"bufio.Scanner": func(ctx context.Context, a *application) error {
		response, err := http.DefaultClient.Do(a.request(ctx))
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("status %d", response.StatusCode)
		}
		lines := bufio.NewScanner(response.Body)
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				if err := a.json(data, ""); err != nil {
					return err
				}
			}
		}
		return lines.Err()
	},

	// No client, but the strictest habit of all of them.
	"every blank line dispatches": func(ctx context.Context, a *application) error {
		response, err := http.DefaultClient.Do(a.request(ctx))
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("status %d", response.StatusCode)
		}
		reader := ssegintest.NewReader(response.Body)
		reader.Habit(ssegintest.Strict)
		for {
			e, err := reader.Next()
			if err != nil {
				return err
			}
			if err := a.json(e.Data, e.Type); err != nil {
				return err
			}
		}
	},
}

// follow follows a stream with launchdarkly's client. It stops at statuses that say so,
// or never.
func follow(ctx context.Context, a *application, stops bool) error {
	var last error
	stream, err := launchdarkly.SubscribeWithRequestAndOptions(a.request(ctx), launchdarkly.StreamOptionErrorHandler(func(err error) launchdarkly.StreamErrorHandlerResult {
		status, ok := errors.AsType[launchdarkly.SubscriptionError](err)
		last = err
		return launchdarkly.StreamErrorHandlerResult{CloseNow: stops && ok && (status.Code == http.StatusNoContent || status.Code == http.StatusGone)}
	}), launchdarkly.StreamOptionInitialRetry(500*time.Millisecond), launchdarkly.StreamOptionCanRetryFirstConnection(-1))
	if err != nil {
		return err
	}
	for {
		select {
		case e, ok := <-stream.Events:
			if !ok {
				return last
			}
			if e.Event() == "" {
				_ = a.json(e.Data(), e.Event())
			}
		case <-ctx.Done():
			stream.Close()
			return ctx.Err()
		}
	}
}

// redirected is a client all of whose requests go to the cell.
func redirected(url string) *http.Client {
	return &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		to, err := http.NewRequestWithContext(r.Context(), r.Method, url, r.Body)
		if err != nil {
			return nil, err
		}
		to.Header = r.Header
		return http.DefaultTransport.RoundTrip(to)
	})}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
